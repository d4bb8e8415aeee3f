"""Verdicts: which figures count, the sentence on a group, the table of all groups, and the numbers of better and worse ones."""

from dataclasses import replace

import numpy as np
import pytest
from fake_runs import figure, only_group, three_runs, write_run

from ppo.compare.groups import compare_all
from ppo.compare.published import Figure
from ppo.compare.tables import COUNTS, VERDICTS, Notes, narrow
from ppo.compare.verdicts import counts, highest, rivals, rows, targets, verdict

SAME = "HalfCheetah-v5"


@pytest.fixture
def group(tmp_path):
    return only_group(three_runs(tmp_path))


def curve(*means, std=100.0):
    """Return a curve on our id with points from 0 to 1,000,000 steps."""
    steps = np.linspace(0, 1_000_000, len(means)).astype(int)
    return Figure("curves", "PPO", SAME, "sampled, evaluation", 5, steps, np.array(means), np.full(len(means), std))


def test_single_runs_other_budgets_and_curves_that_never_learn_do_not_count(group):
    figures = [figure(1.0), figure(2.0, seeds=1), figure(3.0, step=500_000), curve(-500.0, -500.0), curve(0.0, 99.0)]
    assert [c.mean for c in targets(compare_all(group, figures))] == [1.0]
    assert highest(compare_all(group, figures[1:])) is None


def test_of_one_source_and_id_a_score_counts_before_a_curve_then_the_highest(group):
    figures = [
        curve(0.0, 5000.0, 5000.0),
        replace(figure(4000.0, env_id=SAME), source="curves"),
        curve(0.0, 6000.0, 6000.0),
    ]
    assert [c.mean for c in targets(compare_all(group, figures))] == [4000.0]
    assert [c.mean for c in targets(compare_all(group, figures[::2]))] == [6000.0]


def test_rivals_are_each_source_on_the_same_id_then_the_highest_of_all(group):
    mine = [replace(figure(mean, env_id=SAME), source=source) for source, mean in (("b", 4000.0), ("a", 4500.0))]
    others = [figure(5000.0), figure(6000.0, env_id="HalfCheetah-v4")]
    assert [c.mean for c in rivals(compare_all(group, [*others, *mine]))] == [4500.0, 4000.0, 6000.0]
    assert [c.mean for c in rivals(compare_all(group, [figure(3000.0), *mine]))] == [4500.0, 4000.0]


def test_the_verdict_is_against_the_highest_figure_over_several_runs(group):
    figures = [figure(4000.0), figure(9999.0, seeds=1), figure(6000.0, std=10.0)]
    text = verdict(group, compare_all(group, figures))
    assert text.startswith(
        "HalfCheetah-v5, ppo (3 runs): 5,033 at 1,000,000 steps (sampled policy), worse than theirs's 6,000"
    )
    assert "difference -966.7" in text
    assert text.endswith("multi-run figures at this budget: worse 1")  # both are of one source: counted once


def test_the_verdict_names_the_same_id_first_then_the_highest_on_another(group):
    figures = [figure(9000.0), replace(figure(4000.0, env_id=SAME), source="ours-too")]
    first, second, ending = verdict(group, compare_all(group, figures), Notes()).split("; ")
    assert "better than ours-too's 4,000 on HalfCheetah-v5, the highest on the same id, difference 1,033" in first
    assert "worse than theirs's 9,000 on HalfCheetah-v3, the highest multi-run figure at this budget" in second
    assert ending == "multi-run figures at this budget: better 1, worse 1"
    alone = verdict(group, compare_all(group, figures[1:]))
    assert "the highest on the same id and the highest multi-run figure at this budget" in alone


def test_without_a_figure_over_several_runs_there_is_no_verdict(group):
    assert verdict(group, compare_all(group, [figure(seeds=1)])).endswith(
        "ppo (3 runs): no verdict, since no published figure has several runs and the same budget"
    )


def test_one_run_gets_no_verdict(tmp_path):
    write_run(tmp_path / "s1")
    group = only_group(tmp_path)
    assert verdict(group, compare_all(group, [figure()])).endswith(
        "no verdict, since one run has no interval; train more seeds"
    )


def test_the_verdict_refers_to_the_notes(group):
    notes = Notes()
    text = verdict(group, compare_all(group, [figure(2500.0)]), notes)
    assert f" (notes {notes.marks(list(notes))}); multi-run figures" in text


def test_the_table_of_verdicts_has_a_row_for_each_rival_below_its_group(group):
    own = compare_all(group, [figure(9000.0), replace(figure(5050.0, env_id=SAME), source="a")])
    assert narrow(rows([group, group], [own, []]), VERDICTS)[1:] == [
        ("HalfCheetah-v5, ppo, 3 runs", "", "", "", "", ""),
        ("  a", "same", "5,050", "5,033 s", "-16.67", "unclear"),
        ("  theirs", "v3", "9,000", "5,033 s", "-3,967", "worse"),
        ("HalfCheetah-v5, ppo, 3 runs", "", "", "", "", ""),
        ("  none", "–", "–", "–", "–", "–"),
    ]


def test_the_counts_are_of_groups_better_and_worse_on_the_same_id_and_on_any(tmp_path, group):
    write_run(tmp_path / "one" / "s1", gamma=0.5)
    single = only_group(tmp_path / "one")
    figures = [figure(9000.0), replace(figure(4000.0, env_id=SAME), source="a")]
    lists = [compare_all(g, f) for g, f in ((group, figures), (group, figures[1:]), (single, figures))]
    head, *body = counts([group, group, single], lists)
    assert head == ("against", "id", "groups", "better", "not distinguishable", "worse", "no verdict")
    assert body == [
        ("ppo against a", "same", "3", "2", "0", "0", "1"),
        ("ppo against the highest", "any", "3", "1", "0", "1", "1"),
    ]
    assert narrow([head, *body], COUNTS)[0] == ("against", "id", "groups", "better", "unclear", "worse", "–")

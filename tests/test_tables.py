"""Tables: numbers and rows."""

import math

import pytest
from fake_runs import figure, only_group, three_runs, write_run

from ppo.compare.groups import compare_all, group_runs
from ppo.compare.logs import find_runs
from ppo.compare.tables import (
    BETWEEN,
    OWN,
    PUBLISHED,
    Notes,
    between_rows,
    by_id,
    narrow,
    own_rows,
    published_rows,
    runs_text,
    span,
)


@pytest.fixture
def group(tmp_path):
    return only_group(three_runs(tmp_path))


def test_an_interval_and_a_number_of_runs_as_text():
    assert (span(1.0, 2000.0), span(math.nan, math.nan)) == ("[1, 2,000]", "–")
    assert [runs_text(n) for n in (0, 1, 5)] == ["number of runs not stated", "one run", "5 runs"]


def test_a_row_of_our_runs_has_mean_and_deviation(group):
    _, sampled, deterministic = own_rows([group])
    assert sampled[:6] == ("HalfCheetah-v5", "ppo", "3 runs", "sampled", "1,000,000", "5,033 ± 152.8")
    assert deterministic[3] == "deterministic"


def test_a_row_of_a_comparison_has_the_difference_and_the_verdict(group):
    (row,) = published_rows(compare_all(group, [figure(2500.0)]))[1:]
    assert row[:4] == ("theirs, PPO, HalfCheetah-v3, 10 runs", "2,500 ± 100", "1,000,000", "5,033 (sampled)")
    assert row[4].startswith("2,533 [")
    assert row[5] == "better"
    assert 200_000 < int(row[6].replace(",", "")) < 300_000  # of a rise to 5,000 over the first 500,000 steps


def test_figures_on_the_same_id_are_a_table_of_their_own_before_others(group):
    figures = [figure(9000.0), figure(1000.0, env_id="HalfCheetah-v5"), figure(2000.0, env_id="HalfCheetah-v5")]
    tables = [(title, [c.mean for c in own]) for title, own in by_id(compare_all(group, figures))]
    assert tables == [("figures on the same id", [2000.0, 1000.0]), ("figures on other ids of the task", [9000.0])]
    assert [title for title, _ in by_id(compare_all(group, figures[:1]))] == ["figures on other ids of the task"]


def test_two_groups_are_compared_by_the_probability_of_improvement(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", seed, level=5000.0 + seed, gamma=0.9)
        write_run(tmp_path / f"b{seed}", seed, level=100.0 + seed, gamma=0.5)
    _, row = between_rows(group_runs(find_runs([tmp_path])[0]))
    assert row[1:3] == ("ppo, gamma 0.5 (2 runs)", "ppo, gamma 0.9 (2 runs)")
    assert row[-3:] == ("101.5", "5,002", "0.00")


def test_a_note_has_one_number_wherever_it_is_used(group):
    notes = Notes()
    assert (notes.marks(["a", "b"]), notes.marks(["c", "a"]), notes.marks([])) == ("1, 2", "1, 3", "")
    assert notes == {"a": 1, "b": 2, "c": 3}
    comparisons, notes = compare_all(group, [figure(2500.0, seeds=1)]), Notes()
    ((*_, head), (*_, marks)) = published_rows(comparisons, notes)
    assert (head, marks) == ("notes", ", ".join(map(str, range(1, len(notes) + 1))))
    assert list(notes) == comparisons[0].caveats


def test_a_narrow_table_stacks_what_belongs_together(group):
    rows = narrow(published_rows(compare_all(group, [figure(2500.0), figure(5033.0)]), Notes()), PUBLISHED)
    assert rows[0] == ("source, at step", "published", "ours", "difference\n[95 %]", "verdict", "notes")
    by_figure = {row[1]: row for row in rows[1:]}
    row = by_figure["2,500\n± 100"]
    assert row[0] == "theirs, PPO, HalfCheetah-v3, 10 runs, 1,000,000"
    assert row[2] == "5,033 s"
    assert row[3].startswith("2,533\n[")
    assert (row[4], by_figure["5,033\n± 100"][4]) == ("better", "unclear")
    assert narrow(own_rows([group]), OWN)[1][:3] == (
        "HalfCheetah-v5\nppo, 3 runs",
        "sampled\n1,000,000",
        "5,033\n± 152.8",
    )
    assert narrow(between_rows([group]), BETWEEN) == [
        ("environment", "first, its IQM", "second, its IQM", "P(first is better)")
    ]

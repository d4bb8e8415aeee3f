"""Groups and comparisons: runs are grouped by their settings and compared with figures of the same task."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import figure, only_group, three_runs, write_run

from ppo.compare.curves import Curve, Run
from ppo.compare.groups import Group, compare, compare_all, contrasts, group_runs
from ppo.compare.logs import find_runs
from ppo.compare.published import Figure


@pytest.fixture
def three(tmp_path):
    return three_runs(tmp_path)


def test_runs_that_differ_only_in_their_seed_are_one_group(three):
    write_run(three / "other", 1, gamma=0.9)
    groups = group_runs(find_runs([three])[0])
    assert sorted((g.name, len(g.runs)) for g in groups) == [("ppo, gamma 0.9", 1), ("ppo, gamma 0.99", 3)]


def test_groups_whose_settings_do_not_tell_them_apart_have_their_first_runs_in_their_names(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / "ours" / f"s{seed}", seed, gamma=0.9)
        theirs = tmp_path / "theirs" / f"PPO_{seed}"
        theirs.mkdir(parents=True)
        (theirs / "monitor.csv").write_text('#{"t_start": 0.0, "env_id": "HalfCheetah-v5"}\nr,l,t\n2.0,1000,1.0\n')
    names = [group.name for group in group_runs(find_runs([tmp_path])[0])]
    assert names == [f"ppo ({tmp_path / first}, …)" for first in ("ours/s1", "theirs/PPO_1")]


def test_a_score_is_the_mean_over_the_last_steps_before_it(tmp_path):
    run = Run("", "X-v0", "ppo", "1", (), {"sampled": Curve(np.arange(10, 1010, 10), np.arange(100.0), np.ones(100))})
    group = Group("X-v0", "ppo", "ppo", [run])
    assert group.scores("sampled", 1000) == [97.0]  # the points 96 … 100 at 960 … 1000 hold 95 … 99
    assert group.scores("sampled", 500) == [48.0]  # in (475, 500]


def test_runs_that_share_no_step_have_no_score_of_that_policy():
    def run(seed, evaluated):
        points = {"sampled": [100, 2000], "deterministic": [evaluated]}
        return Run("", "X-v0", "ppo", seed, (), {
            policy: Curve(np.array(steps), np.ones(len(steps)), np.ones(len(steps))) for policy, steps in points.items()
        })  # fmt: skip

    group = Group("X-v0", "ppo", "ppo", [run("1", 1984), run("2", 1990)])
    assert group.policies() == ["sampled"]
    assert group.notes == ["scores of the deterministic policy are left out: they share no step"]
    assert Group("X-v0", "ppo", "ppo", [run("1", 1984), run("2", 1984)]).policies() == ["sampled", "deterministic"]


@pytest.mark.parametrize(("mean", "word"), [(4000.0, "better"), (5050.0, "not distinguishable"), (9000.0, "worse")])
def test_the_verdict_follows_from_the_interval(three, mean, word):
    group = only_group(three)
    result = compare(group, figure(mean))
    assert result.outcome == word
    assert result.difference == pytest.approx(5033.33 - mean, abs=0.1)
    assert result.low < result.difference < result.high


def test_equal_scores_on_every_seed_give_no_verdict(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed)
    group = only_group(tmp_path)
    assert compare(group, figure(std=math.nan)).outcome == "no spread"
    assert compare(group, figure()).outcome == "better"


def test_the_caveats_name_every_difference_of_the_protocols(tmp_path):
    for seed in (1, 2):
        changes = {
            "env_kwargs": {"ctrl_cost_weight": 0.0},
            "wrap": ["a:B n=3"],
            "max_episode_steps": 200,
            "eval_env_kwargs": {"n": 9},
        }
        write_run(tmp_path / f"s{seed}", seed, total_timesteps=3_000_000, **changes)
    group = only_group(tmp_path)
    caveats = compare(group, figure(std=0.0)).caveats
    assert "our budget is 3,000,000 steps" in caveats
    assert "our environment has other arguments: {'ctrl_cost_weight': 0.0}" in caveats
    assert "our environment has wrappers: ['a:B n=3']" in caveats
    assert "our episodes end after 200 steps" in caveats
    assert "theirs has no standard deviation over seeds and counts as exact" in caveats
    assert "our evaluations have other arguments: {'n': 9}" in compare(group, figure(protocol="deterministic")).caveats
    assert not any("evaluations" in text for text in compare(group, figure(protocol="sampled")).caveats)
    assert "does not state which policy" in " ".join(compare(group, figure(protocol="mine")).caveats)


def test_groups_on_a_game_say_what_differs_in_their_protocols(tmp_path):
    write_run(tmp_path / "a", env_id="ALE/Pong-v5", clip_rewards=1.0, env_kwargs={})
    write_run(tmp_path / "b", env_id="ALE/Pong-v5", clip_rewards=0.0, env_kwargs={"frameskip": 2})
    write_run(tmp_path / "c", gamma=0.9, clip_rewards=1.0)
    write_run(tmp_path / "d", gamma=0.99, clip_rewards=0.0)
    without, clipped = "ppo, clip_rewards 0.0, env_kwargs {'frameskip': 2}", "ppo, clip_rewards 1.0, env_kwargs {}"
    assert contrasts(group_runs(find_runs([tmp_path])[0])) == [
        f"ALE/Pong-v5: training does not clip rewards ({without}); training clips rewards to ± 1 ({clipped})",
        f"ALE/Pong-v5: 2 frames a decision ({without}); 4 frames a decision ({clipped})",
    ]


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_a_recurrent_policy_is_compared_only_with_recurrent_figures_of_its_algorithm(tmp_path, algorithm):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, policy="gru", algorithm=algorithm)
    group = only_group(tmp_path)
    assert compare(group, replace(figure(), algorithm=algorithm.upper())) is None
    assert (compare(group, replace(figure(), algorithm="PPO-LSTM")) is not None) == (algorithm == "ppo")


def test_short_runs_and_duplicate_seeds_are_noted(three):
    write_run(three / "short", 4, end=300_000)
    write_run(three / "shorter", 5, end=200_000)
    write_run(three / "again", 3)
    group = only_group(three, three / "again")
    assert len(group.runs) == 6  # each folder is read once
    notes = " ".join(group.notes)
    assert re.search(r"short ends at 300,000 steps, others at 1,000,000; all are compared at 200,000", notes)
    assert len(re.findall(r"has seed 3, like another run of its group", notes)) == 2


def test_one_run_gets_no_verdict(tmp_path):
    write_run(tmp_path / "s1")
    group = only_group(tmp_path)
    result = compare(group, figure())
    assert result.outcome == "one run"
    assert math.isnan(result.low)


def test_our_policy_is_the_one_that_the_figure_measured(three):
    group = only_group(three)
    sampled, greedy = compare(group, figure()), compare(group, figure(protocol="deterministic, evaluation"))
    assert sampled.policy == "sampled"
    assert "theirs a separate evaluation" in " ".join(sampled.caveats)
    assert greedy.policy == "deterministic"
    assert greedy.scores.mean() == pytest.approx(sampled.scores.mean() + 100)
    assert "v4 changed the MuJoCo bindings" in sampled.caveats[0]


def test_a_curve_is_compared_at_our_last_step_and_a_later_score_not_at_all(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, end=500_000)
    group = only_group(tmp_path)
    curve = Figure("theirs", "PPO", "HalfCheetah-v3", "sampled, evaluation", 10,
                   np.array([0, 1_000_000]), np.array([0.0, 8000.0]), np.array([0.0, 10.0]))  # fmt: skip
    result = compare(group, curve)
    assert (result.step, result.mean) == (500_000, pytest.approx(3900.0))  # of 3,800 … 4,000 at 475,000 … 500,000 steps
    assert compare(group, figure()) is None
    assert compare(group, figure(env_id="Ant-v3", step=400_000)) is None


def test_the_step_at_which_their_level_was_reached(three):
    group = only_group(three)
    assert compare(group, figure(mean=2516.0)).steps_to == pytest.approx(250_000, rel=0.1)
    assert math.isnan(compare(group, figure(mean=6000.0)).steps_to)


def test_the_same_id_comes_first_then_our_last_step_then_the_highest(three):
    same = {"env_id": "HalfCheetah-v5"}
    figures = [figure(1.0), figure(3.0), figure(9.0, step=500_000), figure(2.0, env_id="Ant-v3"), figure(4.0, step=500_000, **same), figure(0.5, **same)]  # fmt: skip
    assert [c.mean for c in compare_all(only_group(three), figures)] == [0.5, 4.0, 3.0, 1.0, 9.0]


def test_a_score_slightly_after_our_last_step_is_compared_even_if_a_later_one_follows(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, end=999_424)
    scores = Figure("theirs", "PPO", "HalfCheetah-v5", "sampled, evaluation", 10,
                    np.array([1_000_000, 2_000_000]), np.array([4000.0, 8000.0]), np.array([9.0, 9.0]))  # fmt: skip
    result = compare(only_group(tmp_path), scores)
    assert (result.step, result.mean, result.is_target) == (999_424, 4000.0, True)


def test_the_caveats_have_the_note_of_the_source_and_a_curve_that_never_learns(three):
    steps, flat = np.array([0, 1_000_000]), np.array([-200.0, -200.0])
    never = Figure(
        "xuance-benchmarks-2026", "PPO", "HalfCheetah-v5", "sampled, evaluation", 5, steps, flat, np.zeros(2)
    )
    caveats = compare(only_group(three), never).caveats
    assert "their curve ends no higher than it begins, so the verdict leaves it out" in caveats
    assert caveats[-1].startswith("xuance-benchmarks-2026: 3 episodes an evaluation, ")
    assert "the policy is presumably sampled" in caveats[-1]

"""The published figures: what the package says of the field is what the field has printed."""

import math

import numpy as np
import pytest

from ppo.compare.published import caveats, read_figures, read_sources, task_of
from ppo.errors import UsageError

FIGURES = read_figures()


def find(source, algorithm, env_id):
    return [f for f in FIGURES if (f.source, f.algorithm, f.env_id) == (source, algorithm, env_id)]


def test_every_figure_has_a_source_and_every_source_a_figure():
    assert {f.source for f in FIGURES} == set(read_sources())


def test_every_figure_says_which_policy_it_is_of():
    assert {f.policy for f in FIGURES} == {"sampled", "deterministic", "unstated"}


def test_figures_rise_in_steps_and_are_finite():
    for figure in FIGURES:
        assert (np.diff(figure.steps) > 0).all(), figure
        assert np.isfinite(figure.means).all(), figure
        assert figure.env_id


def test_a_single_run_has_no_spread_over_seeds():
    assert all(np.isnan(f.stds).all() for f in FIGURES if f.seeds < 2)


@pytest.mark.parametrize(
    ("source", "algorithm", "env_id", "step", "mean", "std"),
    [  # Weng et al. 2022 as its README and plots give it; Huang et al.'s tables; the PPO paper's Table 6
        ("tianshou-mujoco-2021", "PPO", "HalfCheetah-v3", 1_000_000, 5708, 1245),
        ("tianshou-mujoco-2021", "A2C", "Ant-v3", 1_000_000, 3479, 489.1),
        ("tianshou-mujoco-2021", "REINFORCE", "InvertedPendulum-v2", 1_000_000, 902.9, 101.9),
        ("cleanrl-docs-history", "PPO", "HalfCheetah-v4", 1_000_000, 2906, 1129),
        ("ppo-paper-table6", "PPO", "BreakoutNoFrameskip-v4", 10_000_000, 274.8, math.nan),
        ("xuance-benchmarks-2026", "PPO", "HalfCheetah-v5", 1_000_000, 4942, 770),
        ("xuance-benchmarks-2026", "REINFORCE", "Ant-v5", 998_400, 252.56, 96.98),
        ("mushroomrl-benchmark-2023", "TRPO", "HalfCheetah-v3", 1_500_000, 4427.3, 1541.3),
    ],
)
def test_well_known_figures_are_there(source, algorithm, env_id, step, mean, std):
    figures = find(source, algorithm, env_id)
    found = [(np.interp(step, f.steps, f.means), np.interp(step, f.steps, f.stds)) for f in figures]
    assert any(a == pytest.approx(mean, rel=2e-3) and b == pytest.approx(std, rel=2e-2, nan_ok=True) for a, b in found)


def test_a_score_is_that_of_its_budget_and_a_curve_counts_over_the_last_steps(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("env_id,step,mean,std\nA-v0,0,0,0\nA-v0,1000,1000,100\nB-v0,500,1,2\nB-v0,1000,3,4\n")
    curve, scores = read_figures(path)
    assert curve.at(1000) == pytest.approx((975.0, 97.5))
    assert [scores.at(step) for step in (400, 500, 1000)] == [(1.0, 2.0), (1.0, 2.0), (3.0, 4.0)]


def test_curves_that_never_learn_are_known():
    never = {(f.algorithm, f.env_id) for f in FIGURES if f.seeds > 1 and not f.learns}
    assert never == {
        *((algorithm, "MountainCar-v0") for algorithm in ("PPO", "A2C", "REINFORCE")), ("PPO", "Acrobot-v1"),
        ("A2C", "BipedalWalker-v3"), ("REINFORCE", "BipedalWalker-v3"), ("A2C", "Pendulum-v1"), ("REINFORCE", "Pendulum-v1"),
        ("REINFORCE", "Pusher-v5"), ("A2C", "EnduroNoFrameskip-v4"),
    }  # fmt: skip


def test_the_figures_of_the_v5_tasks_are_on_the_same_ids_over_several_runs():
    tasks = [
        "Ant",
        "HalfCheetah",
        "Hopper",
        "Humanoid",
        "HumanoidStandup",
        "InvertedDoublePendulum",
        "InvertedPendulum",
    ]
    for name in [*tasks, "Pusher", "Reacher", "Swimmer", "Walker2d"]:
        curve, score = find("xuance-benchmarks-2026", "PPO", f"{name}-v5")
        assert (curve.seeds, score.seeds, curve.is_curve, score.is_curve) == (5, 5, True, False)
        assert abs(score.means[0] - curve.at(998_400)[0]) < score.stds[0]  # both are of the same runs


def test_versions_of_a_game_are_one_task():
    assert task_of("BreakoutNoFrameskip-v4") == task_of("envpool:Breakout-v5") == ("Atari Breakout", 0)
    assert task_of("ALE/Breakout-v5") == ("Atari Breakout", 0)
    assert task_of("my.module:Maze-v2") == ("my.module:Maze", 2)


def test_caveats_are_the_changes_between_the_versions():
    assert caveats("HalfCheetah-v4", "HalfCheetah-v4") == []
    assert caveats("Ant-v4", "HalfCheetah-v4") is None
    (text,) = caveats("Hopper-v5", "Hopper-v4")
    assert "healthy reward" in text
    assert len(caveats("Ant-v5", "Ant-v3")) == 2
    (text,) = caveats("ALE/Pong-v5", "PongNoFrameskip-v4")
    assert text == "ours: the last action repeats with probability 0.25 (sticky actions); theirs: no sticky actions"
    assert caveats("PongNoFrameskip-v4", "envpool:Pong-v5", {"env_kwargs": "{}", "clip_rewards": "1.0"}) == []
    assert caveats("Maze-v2", "Maze-v1") == ["the changes between Maze-v1 and Maze-v2 are not recorded"]


def test_figures_of_ones_own_need_three_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("env_id,step,mean\nMaze-v0,1000,1.5\nMaze-v0,500,0.5\n")
    (figure,) = read_figures(path)
    assert (figure.source, figure.seeds, figure.policy) == ("mine", 0, "unstated")
    assert figure.at(750)[0] == 1.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("env_id,mean\nMaze-v0,1\n", "lacks the column step"),
        ("env_id,step,mean\nMaze-v0,1,high\n", "line 2 is not a figure"),
        ("env_id,step,mean\nMaze-v0,1,nan\n", "line 2 is not a figure"),
        ("env_id,step,mean,seeds\nMaze-v0,1,1,-3\n", "line 2 is not a figure"),
    ],
)
def test_a_file_that_holds_no_figures_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_figures(path)

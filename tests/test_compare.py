"""Runs beside published figures: what is read, what is put together, what is concluded."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from ppo.cli import main as cli
from ppo.compare.curves import Curve, Run, find_runs, write_curves
from ppo.compare.groups import Group, beside, group_runs
from ppo.compare.published import Figure


def write_run(folder, seed=1, env_id="HalfCheetah-v5", level=5000.0, end=1_000_000, **settings):
    """Write a run folder whose curve rises linearly to level at half of the steps and stays."""
    folder.mkdir(parents=True)
    config = {"env_id": env_id, "algorithm": "ppo", "seed": seed, "gamma": 0.99, "runs_dir": str(folder)} | settings
    (folder / "config.json").write_text(json.dumps(config))
    lines = ["iteration,global_step,charts/episodic_return,eval/episodic_return"]
    for n in range(1, 101):
        step = end * n // 100
        lines.append(f"{n},{step},{level * min(1.0, n / 50)},{level + 100 if n % 10 == 0 else ''}")
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    return folder


def figure(mean=4000.0, std=100.0, seeds=10, protocol="sampled, evaluation", env_id="HalfCheetah-v3", step=1_000_000):
    return Figure("theirs", "PPO", env_id, protocol, seeds, *(np.array([x]) for x in (step, mean, std)))


@pytest.fixture
def three(tmp_path):
    for seed, level in ((1, 4900.0), (2, 5000.0), (3, 5200.0)):
        write_run(tmp_path / f"s{seed}", seed, level=level)
    return tmp_path


def test_runs_that_differ_in_their_seed_alone_are_one_group(three):
    write_run(three / "other", 1, gamma=0.9)
    groups = group_runs(find_runs([three])[0])
    assert sorted((g.name, len(g.runs)) for g in groups) == [("ppo, gamma 0.9", 1), ("ppo, gamma 0.99", 3)]


def test_a_score_is_the_mean_over_the_last_steps_before_it(tmp_path):
    run = Run("", "X-v0", "ppo", "1", (), {"sampled": Curve(np.arange(10, 1010, 10), np.arange(100.0), np.ones(100))})
    group = Group("X-v0", "ppo", "ppo", [run])
    assert group.scores("sampled", 1000) == [97.0]  # the points 96 … 100 at 960 … 1000 hold 95 … 99
    assert group.scores("sampled", 500) == [48.0]  # in (475, 500]


def test_every_episode_counts_once():
    curve = Curve(np.array([100, 200, 300]), np.array([10.0, 40.0, 100.0]), np.array([1.0, 3.0, 1.0]))
    assert curve.over(0, 200) == 32.5
    assert curve.thinned(1).returns == [46.0]
    assert curve.thinned(1).episodes == [5.0]


@pytest.mark.parametrize(("mean", "word"), [(4000.0, "better"), (5050.0, "not distinguishable"), (9000.0, "worse")])
def test_the_verdict_follows_from_the_interval(three, mean, word):
    (group,) = group_runs(find_runs([three])[0])
    found = beside(group, figure(mean))
    assert found.word == word
    assert found.difference == pytest.approx(5033.33 - mean, abs=0.1)
    assert found.low < found.difference < found.high


def test_the_same_number_on_every_seed_is_no_proof(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed)
    (group,) = group_runs(find_runs([tmp_path])[0])
    assert beside(group, figure(std=math.nan)).word == "no spread"
    assert beside(group, figure()).word == "better"


def test_what_stands_between_is_said(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, total_timesteps=3_000_000, env_kwargs={"ctrl_cost_weight": 0.0})
    (group,) = group_runs(find_runs([tmp_path])[0])
    said = " ".join(beside(group, figure(std=0.0)).caveats)
    assert "ours goes on to 3,000,000 steps" in said
    assert "ours changes the environment: {'ctrl_cost_weight': 0.0}" in said
    assert "theirs has no spread over seeds and is taken as a point" in said
    assert "does not say which policy" in " ".join(beside(group, figure(protocol="mine")).caveats)


def test_a_recurrent_policy_is_not_beside_feed_forward_figures(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, policy="gru")
    (group,) = group_runs(find_runs([tmp_path])[0])
    assert beside(group, figure()) is None
    assert beside(group, replace(figure(), algorithm="PPO-LSTM")) is not None


def test_runs_that_stop_early_or_stand_twice_are_noted(three):
    write_run(three / "short", 4, end=300_000)
    write_run(three / "again", 3)
    (group,) = group_runs(find_runs([three, three / "again"])[0])
    assert len(group.runs) == 5  # a folder that is named twice is read once
    notes = " ".join(group.notes)
    assert re.search(r"short ends at 300,000 steps, others at 1,000,000", notes)
    assert len(re.findall(r"holds seed 3, which another run of the group has", notes)) == 2


def test_runs_that_cannot_count_are_named(three):
    (three / "s1" / "progress.csv").write_text("iteration,global_step,charts/episodic_return\n1,1000,nan\n")
    with (three / "s2" / "progress.csv").open("a") as file:
        file.write("101,1010000,48")  # half a line, as a run that is writing leaves it
    runs, left_out = find_runs([three])
    assert len(runs) == 2
    assert runs[0].curves["sampled"].steps[-1] == 1_000_000
    assert re.search(r"s1 is left out: it has logged no finite return", left_out[0])


def test_one_run_gets_no_verdict(tmp_path):
    write_run(tmp_path / "s1")
    (group,) = group_runs(find_runs([tmp_path])[0])
    found = beside(group, figure())
    assert found.word == "one run"
    assert math.isnan(found.low)


def test_like_is_compared_with_like(three):
    (group,) = group_runs(find_runs([three])[0])
    sampled, greedy = beside(group, figure()), beside(group, figure(protocol="deterministic, evaluation"))
    assert sampled.policy == "sampled"
    assert "theirs a separate evaluation" in " ".join(sampled.caveats)
    assert greedy.policy == "deterministic"
    assert greedy.scores.mean() == pytest.approx(sampled.scores.mean() + 100)
    assert "v4 changed the MuJoCo bindings" in sampled.caveats[0]


def test_a_curve_is_met_where_ours_ends_and_a_later_score_not_at_all(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"s{seed}", seed, end=500_000)
    (group,) = group_runs(find_runs([tmp_path])[0])
    curve = Figure("theirs", "PPO", "HalfCheetah-v3", "sampled, evaluation", 10,
                   np.array([0, 1_000_000]), np.array([0.0, 8000.0]), np.array([0.0, 10.0]))  # fmt: skip
    assert (beside(group, curve).step, beside(group, curve).mean) == (500_000, 4000.0)
    assert beside(group, figure()) is None
    assert beside(group, figure(env_id="Ant-v3", step=400_000)) is None


def test_the_step_at_which_their_level_was_reached(three):
    (group,) = group_runs(find_runs([three])[0])
    assert beside(group, figure(mean=2516.0)).steps_to == pytest.approx(250_000, rel=0.1)
    assert math.isnan(beside(group, figure(mean=6000.0)).steps_to)


@pytest.mark.parametrize(
    ("name", "tag", "env_id"),
    [
        ("Hopper-v4__ppo_continuous_action__3__1700000000", "charts/episodic_return", ""),
        ("PPO_1", "rollout/ep_rew_mean", "Hopper-v4"),
    ],
)
def test_event_files_of_other_trainers_are_read(tmp_path, name, tag, env_id):
    with SummaryWriter(str(tmp_path / name)) as writer:
        for step in range(1, 101):
            writer.add_scalar(tag, float(step), step * 1000)
    (run,) = find_runs([tmp_path], env_id)[0]
    assert (run.env_id, run.algorithm) == ("Hopper-v4", "ppo")
    assert run.curves["sampled"].steps[-1] == 100_000
    assert run.curves["sampled"].over(90_000, 100_000) == 95.5


def test_compact_curves_are_read_back(three, tmp_path_factory):
    runs, path = find_runs([three])[0], tmp_path_factory.mktemp("csv") / "curves.csv"
    write_curves(path, runs, 50)
    (group,) = group_runs(find_runs([path])[0])
    assert group.scores("sampled", 1_000_000) == pytest.approx([4900, 5000, 5200])
    assert group.policies() == ["sampled", "deterministic"]


def test_cleanrls_own_evaluation_is_another_thing(tmp_path):
    """It samples actions, and numbers its points 0, 1, 2 …"""
    with SummaryWriter(str(tmp_path / "Hopper-v4__ppo__1__170")) as writer:
        for n in range(10):
            writer.add_scalar("charts/episodic_return", 5.0, (n + 1) * 1000)
            writer.add_scalar("eval/episodic_return", 9.0, n)
    (run,) = find_runs([tmp_path], env_id="Ant-v4")[0]  # what a run says of itself goes before the flag
    assert (list(run.curves), run.env_id) == (["sampled"], "Hopper-v4")


@pytest.mark.parametrize(
    ("name", "env_id"),
    [("ALE/Pong-v5__ppo_atari__1__170", "ALE/Pong-v5"), ("Pong-v5__ppo_atari_envpool__1__170", "envpool:Pong-v5")],
)
def test_atari_ids_of_other_trainers_are_understood(tmp_path, name, env_id):
    with SummaryWriter(str(tmp_path / name)) as writer:
        writer.add_scalar("charts/episodic_return", 5.0, 1000)
    assert find_runs([tmp_path])[0][0].env_id == env_id


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{folder}"], "holds no run: no progress.csv"),
        (["{folder}/run", "--against", "nobody"], "there is no source 'nobody'; known are cleanrl-docs"),
        (["{folder}/run", "--against", "{folder}/none.csv"], "cannot read figures from"),
        (["{folder}/PPO_1"], "PPO_1 does not say its env_id; give it with --env-id"),
        (["{folder}/nowhere"], "nowhere does not exist"),
        (["{folder}/run/config.json"], "config.json holds no run"),
        (["--against", "cleanrl-docs"], "which runs? give run folders, or --list"),
        (["{folder}/broken"], "cannot read the run"),
        (["{folder}/run", "--out", "{folder}/run/config.json"], "cannot write to"),
        (["--list", "--env-id", "Maze-v0"], "nothing is published here for Maze-v0"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty").mkdir()
    if arguments != ["{folder}"]:
        write_run(tmp_path / "run")
        with SummaryWriter(str(tmp_path / "PPO_1")) as writer:
            writer.add_scalar("rollout/ep_rew_mean", 1.0, 1)
        (write_run(tmp_path / "broken") / "config.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *(a.format(folder=tmp_path) for a in arguments)])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_command_prints_a_verdict_and_writes_pictures_and_a_page(three, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["compare", str(three), "--out", "out"])
    out = capsys.readouterr().out
    assert "tianshou-mujoco-2021" in out
    assert "verdict  HalfCheetah-v5, ppo (3 runs): 5,033 at 1,000,000 steps" in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"HalfCheetah-v5.png", "HalfCheetah-v5.svg", "index.html"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<svg" in page
    assert not re.search(r'(src|href)="(?!#)', page)  # nothing is fetched
    assert "Weng et al." in page


def test_the_list_names_sources_and_figures(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["compare", "--list"])
    assert "Weng et al." in capsys.readouterr().out
    cli.main(["compare", "--list", "--env-id", "Hopper-v5"])
    out = capsys.readouterr().out
    assert "gymnasium-v5-validation-sb3" in out
    assert "healthy reward" in out

"""Logs: our runs, and event files, tables and monitor files of other libraries."""

import re
from dataclasses import replace

import pytest
from fake_runs import only_group, three_runs, write_run
from torch.utils.tensorboard import SummaryWriter

from ppo import Config
from ppo.compare.curves import write_curves
from ppo.compare.groups import group_runs
from ppo.compare.logs import find_runs
from ppo.errors import UsageError


@pytest.fixture
def three(tmp_path):
    return three_runs(tmp_path)


def test_runs_without_a_finite_return_are_left_out(three):
    (three / "s1" / "progress.csv").write_text("iteration,global_step,charts/episodic_return\n1,1000,nan\n")
    with (three / "s2" / "progress.csv").open("a") as file:
        file.write("101,1010000,48")  # half a line, as a run that is writing leaves it
    runs, left_out = find_runs([three])
    assert len(runs) == 2
    assert runs[0].curves["sampled"].steps[-1] == 1_000_000
    assert re.search(r"s1 is left out: it has not logged a finite return", left_out[0])


@pytest.mark.parametrize(
    ("name", "tag", "env_id"),
    [
        ("Hopper-v4__ppo_continuous_action__3__1700000000", "charts/episodic_return", ""),
        ("PPO_1", "rollout/ep_rew_mean", "Hopper-v4"),
    ],
)
def test_event_files_of_other_libraries_are_read(tmp_path, name, tag, env_id):
    with SummaryWriter(str(tmp_path / name)) as writer:
        for step in range(1, 101):
            writer.add_scalar(tag, float(step), step * 1000)
    (run,) = find_runs([tmp_path], env_id)[0]
    assert (run.env_id, run.algorithm) == ("Hopper-v4", "ppo")
    assert run.curves["sampled"].steps[-1] == 100_000
    assert run.curves["sampled"].over(90_000, 100_000) == 95.5


def test_cleanrls_own_evaluation_is_ignored(tmp_path):
    """It samples actions, and numbers its points 0, 1, 2 …"""
    with SummaryWriter(str(tmp_path / "Hopper-v4__ppo__1__170")) as writer:
        for n in range(10):
            writer.add_scalar("charts/episodic_return", 5.0, (n + 1) * 1000)
            writer.add_scalar("eval/episodic_return", 9.0, n)
    (run,) = find_runs([tmp_path], env_id="Ant-v4")[0]  # the run's own id has priority over the argument
    assert (list(run.curves), run.env_id) == (["sampled"], "Hopper-v4")


@pytest.mark.parametrize(
    ("name", "env_id"),
    [("ALE/Pong-v5__ppo_atari__1__170", "ALE/Pong-v5"), ("Pong-v5__ppo_atari_envpool__1__170", "envpool:Pong-v5")],
)
def test_atari_ids_of_other_libraries_are_read(tmp_path, name, env_id):
    with SummaryWriter(str(tmp_path / name)) as writer:
        writer.add_scalar("charts/episodic_return", 5.0, 1000)
    assert find_runs([tmp_path])[0][0].env_id == env_id


def test_a_run_from_before_wrappers_existed_is_of_the_group_without_them(tmp_path):
    write_run(tmp_path / "old", 1)
    write_run(tmp_path / "new", 2, wrap=[], max_episode_steps=0)
    write_run(tmp_path / "wrapped", 3, wrap=["a:B"])
    old, new, wrapped = (run.settings for run in find_runs([tmp_path / n for n in ("old", "new", "wrapped")])[0])
    assert old == new != wrapped


def test_evaluations_that_sample_are_no_scores_of_the_deterministic_policy(tmp_path):
    write_run(tmp_path / "a", eval_sampled=False)
    write_run(tmp_path / "b", eval_sampled=True)
    assert [list(run.curves) for run in find_runs([tmp_path])[0]] == [["sampled", "deterministic"], ["sampled"]]


def test_settings_of_the_run_and_of_the_machine_do_not_tell_groups_apart(tmp_path):
    settings = Config().to_json()
    del settings["seed"]
    write_run(tmp_path / "a", 1, **settings)
    others = {"device": "cuda", "threads": 4, "compile": "on", "vectorization": "sync", "eval_episodes": 3, "eval_max_steps": 9,
              "precision": "bfloat16", "checkpoint_every": 7, "keep_checkpoints": True, "exp_name": "x", "runs_dir": "y",
              "log_info": ["fuel"], "eval_sampled": True, "track": "mlflow",
              "stop_at": "charts/SPS >= 9"}  # fmt: skip
    write_run(tmp_path / "b", 2, **(settings | others))
    assert len(only_group(tmp_path).runs) == 2
    names = {name for name, _ in find_runs([tmp_path])[0][0].settings}
    assert names == set(settings) - set(others) - {"env_id", "algorithm"}


def test_evaluations_in_another_environment_are_a_group_of_their_own(tmp_path):
    for seed, kwargs in enumerate(({}, {"max_episode_steps": 1000}), 1):
        write_run(tmp_path / str(seed), seed, "CartPole-v1", eval_env_kwargs=kwargs)
    runs = find_runs([tmp_path])[0]
    older = tmp_path / "curves.csv"  # of a version without the setting
    write_curves(older, [replace(runs[0], settings=runs[0].settings[1:]), runs[1]], 9)
    for paths in ([tmp_path / "1", tmp_path / "2"], [older]):
        names = {group.name for group in group_runs(find_runs(paths)[0])}
        assert names == {f"ppo, eval_env_kwargs {kwargs}" for kwargs in ("{}", "{'max_episode_steps': 1000}")}
    write_run(tmp_path / "sampled" / "3", 3, "CartPole-v1", eval_sampled=True, eval_env_kwargs={"a": 1})
    write_run(tmp_path / "sampled" / "4", 4, "CartPole-v1", eval_sampled=True)
    assert len(group_runs(find_runs([tmp_path / "sampled"])[0])) == 1


def test_a_run_of_ale_from_before_rewards_were_clipped_by_the_trainer_does_not_say_that_they_were_not(tmp_path):
    for name, settings in {"old": {}, "new": {"clip_rewards": 1.0}}.items():
        write_run(tmp_path / name, env_id="ALE/Breakout-v5", **settings)
    old, new = (dict(find_runs([tmp_path / name])[0][0].settings) for name in ("old", "new"))
    assert "clip_rewards" not in old
    write_run(tmp_path / "walker", env_id="Walker2d-v5")
    assert dict(find_runs([tmp_path / "walker"])[0][0].settings)["clip_rewards"] == "0.0"
    assert new["clip_rewards"] == "1.0"


def test_monitor_files_of_a_game_without_skipped_frames_count_frames(tmp_path):
    (tmp_path / "PPO_1").mkdir()
    text = '#{"t_start": 0.0, "env_id": "BreakoutNoFrameskip-v4"}\nr,l,t\n2.0,1000,1.0\n3.0,600,2.0\n'
    (tmp_path / "PPO_1" / "0.monitor.csv").write_text(text)
    assert find_runs([tmp_path])[0][0].curves["sampled"].steps.tolist() == [250, 400]


def test_points_without_an_episode_or_beyond_any_return_are_left_out(three):
    lines = "iteration,global_step,charts/episodic_return,charts/episodes\n1,100.0,7,2\n2,200.0,8,0\n3,300,1e308,1\n4,400,9,1\n"
    (three / "s1" / "progress.csv").write_text(lines)
    curve = find_runs([three / "s1"])[0][0].curves["sampled"]
    assert (curve.steps.tolist(), curve.returns.tolist()) == ([100, 400], [7, 9])


def test_progress_of_stable_baselines3_is_read(tmp_path):
    (tmp_path / "PPO_1").mkdir()
    (tmp_path / "PPO_1" / "progress.csv").write_text(
        "time/fps,rollout/ep_rew_mean,time/total_timesteps,eval/mean_reward\n900,,2048,\n900,11.5,4096,\n900,,5000,20.0\n"
    )
    ((run,), _) = find_runs([tmp_path], env_id="Hopper-v5")
    assert (run.env_id, run.algorithm) == ("Hopper-v5", "ppo")
    assert [(c.steps.tolist(), c.returns.tolist()) for c in run.curves.values()] == [([4096], [11.5]), ([5000], [20.0])]


def test_monitor_files_of_stable_baselines3_are_one_run_of_all_their_environments(tmp_path):
    (tmp_path / "A2C_3").mkdir()
    for n, start, rows in ((0, 100.0, "10.0,5,1.0\n30.0,7,4.0\n"), (1, 101.0, "20.0,6,1.5\n")):
        text = f'#{{"t_start": {start}, "env_id": "Hopper-v4"}}\nr,l,t\n{rows}'
        (tmp_path / "A2C_3" / f"{n}.monitor.csv").write_text(text)
    for path in (tmp_path, tmp_path / "A2C_3" / "1.monitor.csv"):
        ((run,), _) = find_runs([path])
        curve = run.curves["sampled"]
        assert (run.env_id, run.algorithm) == ("Hopper-v4", "a2c")
        assert (curve.steps.tolist(), curve.returns.tolist()) == ([5, 11, 18], [10, 20, 30])
    (tmp_path / "A2C_3" / "1.monitor.csv").write_text("#{}\nr,l,t\n1.0,many,2.0\n")
    with pytest.raises(UsageError, match=r"line 3 is not an episode: \{'r': '1.0', 'l': 'many', 't': '2.0'\}"):
        find_runs([tmp_path])

"""Evaluation: whole episodes of the policy that was trained, as many as were asked for, in raw rewards."""

import math
import signal
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from ppo import Config, Trainer, UsageError, evaluate, load_policy, preset
from ppo.evaluation import Report, film
from ppo.loop.episodes import Episode


def trained(folder: Path, env_id: str, **settings: Any) -> Path:
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": [8], "total_timesteps": 32}
    return Trainer(Config(env_id=env_id, runs_dir=folder, eval_episodes=0).replace(sizes | settings)).train()


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), "CartPole-v1")


@pytest.mark.parametrize("episodes", [1, 5, 16, 17, 35])
def test_as_many_episodes_are_played_as_were_asked_for(cartpole, episodes):
    report = evaluate(cartpole, episodes)
    assert len(report.episodes) == episodes
    assert all(episode.episode_return == episode.length for episode in report.episodes)  # CartPole pays 1 a step


def test_returns_are_raw_and_episodes_are_whole(tmp_path):
    run = trained(tmp_path, "probes:Constant-v0", scale_rewards=True, env_kwargs={"length": 7})
    assert {(e.episode_return, e.length) for e in evaluate(run, 20).episodes} == {(7.0, 7)}


def test_every_environment_plays_its_share(cartpole):
    # Short episodes end more often; taking the first 32 that end would count them more.
    envs = [episode.env for episode in evaluate(cartpole, 32).episodes]
    assert [envs.count(n) for n in range(16)] == [2] * 16


def test_the_same_seed_plays_the_same_episodes(cartpole):
    assert evaluate(cartpole, 8, seed=5).episodes == evaluate(cartpole, 8, seed=5).episodes
    assert evaluate(cartpole, 8, seed=5).episodes != evaluate(cartpole, 8, seed=6).episodes
    sampled = evaluate(cartpole, 8, deterministic=False, seed=5)
    assert sampled.episodes == evaluate(cartpole, 8, deterministic=False, seed=5).episodes
    assert sampled.episodes != evaluate(cartpole, 8, seed=5).episodes


def test_a_report_says_what_was_played(tmp_path):
    run = trained(tmp_path, "probes:Constant-v0", env_kwargs={"length": 3})
    assert str(evaluate(run, 2)) == (
        "probes:Constant-v0, latest checkpoint, deterministic policy, 2 episodes: "
        "return 3 ± 0 (lowest 3, highest 3), length 3"
    )


def test_the_training_loops_evaluation_is_this_evaluation(tmp_path):
    # Deterministic episodes from the seed that the trainer documents: the run's, plus 1,000,003.
    run = trained(tmp_path, "probes:Sign-v0", num_envs=4, num_steps=8, eval_episodes=4)
    logged = float((run / "progress.csv").read_text().splitlines()[-1].split(",")[_column(run, "eval/episodic_return")])
    assert logged == evaluate(run, 4, seed=1_000_004).mean
    assert not math.isnan(logged)


def _column(run: Path, name: str) -> int:
    return (run / "progress.csv").read_text().splitlines()[0].split(",").index(name)


def test_an_episode_that_never_ends_is_cut_and_counted(tmp_path):
    def late(*_: Any) -> None:
        raise TimeoutError("the evaluation does not come back")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        run = trained(tmp_path, "probes:Endless-v0", eval_episodes=2, eval_max_steps=100)  # evaluates, too
        report = evaluate(run, 3, max_steps=50)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert [episode.env for episode in report.episodes] == [0, 1, 2]
    assert all(episode.episode_return == episode.length == 50 for episode in report.episodes)  # it pays 1 a step
    assert "3 episodes did not end" in str(report)
    assert load_policy(run).act(0)[0] in (0, 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run: evaluate(run, 0), "episodes = 0 is too small; choose at least 1"),
        (lambda run: evaluate(run, max_steps=-1), "max_steps = -1 is too small; choose at least 0"),
        (lambda run: evaluate(run, checkpoint="best"), "has no checkpoint 'best'"),
        (lambda run: evaluate(run.parent), "is not a run folder"),
        (lambda run: load_policy(run, "iteration_000001"), "has no checkpoint 'iteration_000001'"),
        (lambda run: film(run, "best"), "has no checkpoint 'best'"),
    ],
)
def test_what_cannot_be_evaluated_is_named(cartpole, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call(cartpole)


def test_a_run_is_evaluated_by_its_path_as_text(cartpole):
    assert len(evaluate(str(cartpole), 1).episodes) == 1


@pytest.mark.filterwarnings("ignore:.*render_mode:UserWarning")
def test_an_environment_that_cannot_be_filmed_says_so(tmp_path):
    pytest.importorskip("imageio")
    run = trained(tmp_path, "probes:Bandit-v0")
    with pytest.raises(UsageError, match="probes:Bandit-v0 cannot be filmed: it has no render modes"):
        film(run)
    assert not list(run.glob("videos/*"))


def test_an_episode_is_filmed(cartpole):
    pytest.importorskip("pygame")
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    path = film(cartpole, seed=3)
    assert path == cartpole / "videos" / "latest__s3.mp4"
    with imageio.get_reader(path) as reader:
        assert reader.count_frames() == evaluate(cartpole, 1, seed=3).episodes[0].length


def test_other_arguments_of_the_environment_are_said_and_must_leave_its_spaces(tmp_path):
    config = preset("LunarLander-v3").replace(
        {"total_timesteps": 32, "num_envs": 2, "num_steps": 16, "num_minibatches": 2, "eval_episodes": 0}
    )
    run = Trainer(config.replace({"runs_dir": str(tmp_path)})).train()
    report = evaluate(run, 1, env_kwargs={"gravity": -5.0})
    assert str(report).startswith("LunarLander-v3, gravity -5.0, latest checkpoint")
    assert report.episodes != evaluate(run, 1).episodes
    with pytest.raises(UsageError, match="LunarLander-v3 has other spaces or another vocabulary"):
        evaluate(run, 1, env_kwargs={"continuous": True})


def test_the_deviation_of_a_report_is_the_samples():
    episodes = [Episode(0, episode_return, 10) for episode_return in (0.955, 2.955, 4.955)]
    text = "E, best checkpoint, sampled policy, 3 episodes: return 2.955 ± 2 (lowest 0.955, highest 4.955), length 10"
    assert str(Report("E", "best", False, episodes, 99)) == text
    one = Report("E", "best", False, [Episode(0, -0.083, 1, ended=False)], 1)
    assert str(one) == (
        "E, best checkpoint, sampled policy, 1 episode: return -0.083, length 1; 1 episode did not end within 1 step, and "
        "the return so far counts"
    )


class Filmed(gymnasium.Env):
    """An environment that renders what it is told."""

    observation_space, action_space = Discrete(2), Discrete(2)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 9}

    def __init__(self, picture: str = "", render_mode: str | None = None) -> None:
        self.picture, self.render_mode = picture, render_mode
        if picture == "human":
            self.metadata = {"render_modes": ["human"]}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, True, False, {}

    def render(self):
        return {"floats": np.full((4, 4, 3), 200.0), "grey": np.zeros((4, 4), np.uint8)}.get(self.picture)


gymnasium.register("Filmed-v0", Filmed)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("human", "Filmed-v0 cannot be filmed: its render modes are human, not rgb_array"),
        (
            "floats",
            r"renders an array of shape \(4, 4, 3\) and dtype float64; a film needs \(height, width, 3\) of uint8",
        ),
        ("grey", r"renders an array of shape \(4, 4\) and dtype uint8; a film needs"),
        ("nothing", "Filmed-v0 cannot be filmed"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*RGB-array:UserWarning")
def test_pictures_that_are_no_film_are_one_sentence(tmp_path, picture, sentence):
    pytest.importorskip("imageio")
    run = trained(tmp_path, "Filmed-v0", vectorization="sync")
    with pytest.raises(UsageError, match=sentence):
        film(run, env_kwargs={"picture": picture})
    assert not (run / "videos").exists()


def test_a_seed_beyond_int64_is_one_sentence(cartpole):
    with pytest.raises(UsageError, match="seed = 18446744073709551616 is too large for int64; choose at least 0"):
        evaluate(cartpole, 1, seed=2**64)

"""Atari games: which ids, which arguments, lives that end the value; ALE itself where ale-py is installed."""

import sys
from types import ModuleType, SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from ppo import Trainer, evaluate, preset
from ppo.check import check, list_families
from ppo.envs import FAMILIES, check_envs, find_spec, make_envs, time_limit
from ppo.envs.atari import Game, Games, make_games, refusal
from ppo.envs.lives import Lives
from ppo.errors import UsageError
from ppo.evaluation import film
from ppo.loop.collector import Collector
from ppo.loop.episodes import Episode
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy

ALE = {
    env_id: EnvSpec(env_id, entry_point="ale_py.env:AtariEnv")
    for env_id in ("ALE/Pong-v5", "Pong-v0", "Pong-v4", "PongNoFrameskip-v0", "PongNoFrameskip-v4", "ALE/Skiing-v5")
}
INSTEAD = "use PongNoFrameskip-v4, or ALE/Pong-v5 with sticky actions"


@pytest.mark.parametrize(
    ("env_id", "why"),
    [
        ("ALE/Pong-v5", ""),
        ("PongNoFrameskip-v4", ""),
        ("PongNoFrameskip-v0", ""),
        ("CartPole-v1", ""),
        ("ALE/Pongg-v5", ""),  # which Gymnasium does not know: the nearest names are in its sentence
        ("Pong-v4", f"skips a random number of frames, unlike published runs; {INSTEAD}"),
        ("PongDeterministic-v4", f"is not an id of ale-py; {INSTEAD}"),
        ("Pong-v5", f"is not an id of ale-py; {INSTEAD}"),
        ("Pong-ram-v4", f"shows the console's memory, for which there are no published protocols; {INSTEAD}"),
        (
            "Pong-ramNoFrameskip-v4",
            f"shows the console's memory, for which there are no published protocols; {INSTEAD}",
        ),
    ],
)
def test_ids_without_the_standard_preprocessing_are_refused_with_those_to_use(env_id, why):
    assert refusal(env_id, ALE) == (f"env_id = {env_id!r} {why}" if why else "")


def test_a_game_without_an_id_that_skips_no_frames_has_its_other_id_recommended():
    only = {"ALE/Tetris-v5": EnvSpec("ALE/Tetris-v5", entry_point="ale_py.env:AtariEnv")}
    sentence = "env_id = 'TetrisNoFrameskip-v4' is not an id of ale-py; use ALE/Tetris-v5 with sticky actions"
    assert refusal("TetrisNoFrameskip-v4", only) == sentence


def test_another_packages_environment_may_have_a_games_name():
    own = ALE | {"Pong-v1": EnvSpec("Pong-v1", entry_point="mine:Pong")}
    assert refusal("Pong-v1", own) == ""
    assert refusal("Pong-v1", {}) == ""


class FakeALE(VectorEnv):
    """Two games in SAME_STEP as ALE steps them: environment n shows its lives, and pays 5 for each step.

    The lives of a game fall as LIVES says; those of the infos are of the next game where one has ended.
    """

    LIVES = ((3, 3, 2, 2, 1, 0, 0), (3, 2, 2))  # 0 lives for a moment before the end
    made: list[dict] = []  # noqa: RUF012
    first = 0

    def __init__(self, num_envs, *, game="", num_threads=0, grayscale=True, img_height=84, img_width=84, stack_num=4, frameskip=4,
                 max_num_frames_per_episode=0, use_fire_reset=True, autoreset_mode="", reward_clipping=True, episodic_life=False, batch_size=0,
                 repeat_action_probability=0.0):  # fmt: skip
        FakeALE.made.append(dict(locals()))
        self.num_envs, self.metadata = num_envs, {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.ale, self.pressed = self, []
        self.single_observation_space, self.single_action_space = Box(0, 9, (1, 1), np.uint8), Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def get_action_set(self):
        return [SimpleNamespace(name=name) for name in ("NOOP", "FIRE")]

    def reset(self, *, seed=None, options=None):
        self.seeds, self.time = seed, np.zeros(self.num_envs, int)
        return self._obs(), {"lives": self._lives(), "frame_number": self.time}

    def step(self, actions):
        self.time += 1
        self.pressed.append(actions)
        done = np.array([self.time[n] == len(self._game(n)) - 1 for n in range(self.num_envs)])
        final = self._obs()
        self.time[done] = 0
        cut = done & (np.arange(self.num_envs) % 2 != self.first)
        infos = {"lives": self._lives(), "final_obs": final}
        return self._obs(), np.full(self.num_envs, 5, np.int32), done & ~cut, cut, infos

    def _lives(self):
        return np.array([self._game(n)[t] for n, t in enumerate(self.time)], np.int32)

    def _game(self, n):
        return self.LIVES[(n + self.first) % 2]

    def _obs(self):
        return self._lives().astype(np.uint8)[:, None, None]


@pytest.fixture
def fake_ale(monkeypatch):
    module = ModuleType("ale_py.vector_env")
    module.AtariVectorEnv = FakeALE
    monkeypatch.setitem(sys.modules, "ale_py.vector_env", module)
    monkeypatch.setitem(sys.modules, "ale_py", ModuleType("ale_py"))
    monkeypatch.setattr(FakeALE, "made", [])


def collector_of(envs):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = build_policy("mlp", envs.single_observation_space, envs.single_action_space, {})
    collector = Collector(envs, FlatPolicy(policy))
    collector.reset(2**31 - 1)
    return collector


def test_lives_end_the_value_and_the_game_goes_on(fake_ale):
    envs = make_games(2)
    rollout, episodes = collector_of(envs).collect(6)
    # Environment 0 loses a life in its second and its fourth step; the last one is the end of the game. Environment 1 loses one
    # in its first step, and is cut after its second.
    assert rollout.value_ends.T.int().tolist() == [[0, 1, 0, 1, 0, 0], [1, 0, 1, 0, 1, 0]]
    assert rollout.terminated[:, 0].int().tolist() == [0, 0, 0, 0, 0, 1]
    assert rollout.truncated[:, 1].int().tolist() == [0, 1, 0, 1, 0, 1]
    # A length counts the policy's decisions.
    assert episodes == [Episode(1, 10.0, 1), Episode(1, 10.0, 1), Episode(0, 30.0, 4), Episode(1, 10.0, 1)]
    without = collector_of(make_games(2, life_loss_info=False)).collect(6)[0]
    assert not without.value_ends.any()
    assert without.valid.all()


def test_fire_begins_the_next_life_in_a_row_that_is_not_the_policys(fake_ale):
    envs = make_games(2)
    rollout = collector_of(envs).collect(6)[0]
    assert rollout.valid.T.int().tolist() == [[1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]]
    assert np.stack(envs.env.pressed)[~rollout.valid.numpy()].tolist() == [1] * 5
    assert np.array_equal(np.stack(envs.env.pressed)[rollout.valid.numpy()], rollout.actions[rollout.valid].flatten())
    assert collector_of(make_games(2, use_fire_reset=False)).collect(6)[0].valid.all()


def test_environment_n_has_the_seed_plus_n_in_31_bits(fake_ale):
    envs = make_games(3)
    envs.reset(seed=2**31 - 2)
    assert envs.env.seeds.tolist() == [2**31 - 2, 2**31 - 1, 0]
    envs.reset()
    first = envs.env.seeds
    envs.reset()
    assert (first >= 0).all()
    assert first.tolist() != envs.env.seeds.tolist()


def test_a_film_has_the_games_speed_whatever_the_frames_of_a_decision(fake_ale):
    assert [make_games(1, frameskip=n).metadata["render_fps"] for n in (2, 4, 90)] == [30, 15, 1]
    assert Game(frameskip=2).metadata["render_fps"] == 30


def test_games_are_made_with_raw_rewards_in_same_step(fake_ale):
    make_games(2, game="pong", stack_num=2, reward_clipping=False, episodic_life=False)
    make_games(1, max_episode_steps=100, frameskip=2)
    assert FakeALE.made.pop()["max_num_frames_per_episode"] == 200
    (made,) = FakeALE.made
    assert (made["game"], made["stack_num"], made["reward_clipping"]) == ("pong", 2, False)
    assert made["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert made["num_threads"] in (1, 2)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            {"reward_clipping": True},
            "reward_clipping = True is refused: returns would be of clipped rewards; use --clip-rewards 1",
        ),
        ({"episodic_life": True}, "episodic_life = True is refused: a game would begin anew with each life"),
        ({"batch_size": 1}, "batch_size = 1 is refused"),
        ({"autoreset_mode": "NextStep"}, "autoreset_mode = 'NextStep' is refused: it is SAME_STEP"),
        ({"repeat_action_probability": 2}, "repeat_action_probability = 2 is not a probability; choose 0 to 1"),
        ({"mode": 1}, "mode is not an argument of Atari games; they take frameskip, grayscale, img_height"),
        ({"stack_num": 0}, "stack_num = 0 must be a whole number of at least 1"),
        ({"max_episode_steps": -4}, "max_episode_steps = -4 must be a whole number of at least 1"),
        ({"life_loss_info": "maybe"}, "life_loss_info = 'maybe' must be true or false"),
    ],
)
def test_arguments_that_give_other_games_than_the_published_ones_are_refused(fake_ale, argument, sentence):
    with pytest.raises(UsageError) as caught:
        make_games(2, **argument)
    assert str(caught.value).startswith(sentence)


def test_ales_environment_itself_is_refused(fake_ale, monkeypatch):
    monkeypatch.setattr(FakeALE, "__module__", "ale_py.vector_env")
    check_envs(VectorWrapper(make_games(2)))
    for envs in (FakeALE(2), VectorWrapper(FakeALE(2))):
        with pytest.raises(
            UsageError, match=r"AtariVectorEnv clips rewards by default.* by ppo.make_envs\(env_id, num_envs\)"
        ):
            check_envs(envs)


def test_a_game_that_a_wrapper_cuts_begins_anew_with_a_seed_of_its_own(fake_ale):
    game, other = Game(), Game()
    for each in (game, other):
        each.reset(seed=7)
        each.step(0)
    np.random.seed(0)
    game.reset()  # in mid-game, as a time limit around it does
    np.random.seed(1)
    other.reset()
    assert game.games.env.seeds == other.games.env.seeds != [7]


def test_a_single_game_is_one_of_the_games(fake_ale):
    """The next game has begun when one ends, and a reset without a seed hands it over."""
    single = SyncVectorEnv([lambda: Game()] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    single.envs[1].games.env.first = 1
    several = Games(FakeALE(2), Lives(fire=1))
    rollouts = [collector_of(envs).collect(14) for envs in (single, several)]
    assert rollouts[0][1] == rollouts[1][1]
    for name in ("obs", "rewards", "terminated", "truncated", "value_ends", "valid", "starts", "next_values"):
        assert torch.equal(getattr(rollouts[0][0], name), getattr(rollouts[1][0], name)), name
    assert [int(game.games.env.seeds[0]) for game in single.envs] == [2**31 - 1, 0]


# --- ALE itself ------------------------------------------------------------------------------------------------------

SMALL = {"num_steps": 16, "total_timesteps": 64, "num_envs": 2, "num_minibatches": 2, "eval_max_steps": 20, "eval_episodes": 2,
         "compile": "off", "threads": 1}  # fmt: skip


@pytest.fixture(scope="module")
def ale():
    return pytest.importorskip("ale_py")


def played(envs, seed, actions):
    """Return what actions, (T, N), bring."""
    columns = []
    obs, _ = envs.reset(seed=seed)
    for step in actions:
        after, rewards, terminated, truncated, infos = envs.step(step)
        columns.append((obs, rewards, terminated, truncated, infos["value_ends"]))
        obs = after
    envs.close()
    return [np.array(column) for column in zip(*columns, strict=True)]


@pytest.mark.parametrize("env_id", ["BreakoutNoFrameskip-v4", "ALE/Breakout-v5"])
def test_the_same_seeds_play_the_same_games_whatever_the_threads_the_vectorization_and_the_processes(ale, env_id):
    actions = np.random.default_rng(0).integers(4, size=(300, 3))
    whole = played(make_envs(env_id, 3, "auto", {"num_threads": 1}), 3, actions)
    obs, rewards, terminated, _, ends = whole
    assert obs.shape == (300, 3, 4, 84, 84)
    assert terminated.sum() >= 2
    assert ends.sum() >= 4 * terminated.sum()  # five lives, the last of which is the end of the game
    assert not (ends & terminated).any()
    assert rewards.sum() > 0
    assert not np.array_equal(obs[:, 0], obs[:, 1])
    others = [(slice(3), "auto", {"num_threads": 2}), (slice(3), "sync", {}), (slice(1, 3), "auto", {})]
    for own, way, kwargs in others:
        run = played(make_envs(env_id, own.stop - (own.start or 0), way, kwargs), 3 + (own.start or 0), actions[:, own])
        for column, expected in zip(run, whole, strict=True):
            assert np.array_equal(column, expected[:, own])


@pytest.mark.parametrize(("kwargs", "ends"), [({}, True), ({"life_loss_info": False}, False)])
def test_a_policy_that_never_fires_loses_all_lives(ale, kwargs, ends):
    envs = make_envs("BreakoutNoFrameskip-v4", 1, "auto", kwargs)
    assert played(envs, 0, np.zeros((400, 1), int))[2].any() == ends


def test_a_game_is_the_standard_one(ale):
    envs = make_envs("PongNoFrameskip-v4", 2)
    assert str(envs.single_observation_space) == "Box(0, 255, (4, 84, 84), uint8)"
    kwargs = find_spec("PongNoFrameskip-v4").kwargs
    assert (kwargs["frameskip"], kwargs["repeat_action_probability"]) == (4, 0.0)
    kwargs = find_spec("ALE/Pong-v5").kwargs
    assert (kwargs["frameskip"], kwargs["repeat_action_probability"]) == (4, 0.25)
    assert kwargs["max_num_frames_per_episode"] == 108_000
    envs.close()


def test_pictures_and_rewards_are_those_of_the_published_wrappers(ale):
    """Four frames with one action, the maximum of the last two, resized by area; by hand on ALE's single environment."""
    cv2 = pytest.importorskip("cv2")
    envs = make_envs("BreakoutNoFrameskip-v4", 1, "auto", {"noop_max": 1, "use_fire_reset": False})
    single, rng = gymnasium.make("BreakoutNoFrameskip-v4", obs_type="grayscale").unwrapped, np.random.default_rng(0)
    envs.reset(seed=0)
    single.reset(seed=0)
    for _ in range(100):
        action, frames, paid = rng.integers(4), [], 0.0
        for _ in range(4):
            frame, reward, *_ = single.step(action)
            frames.append(frame)
            paid += reward
        obs, rewards, *_ = envs.step(np.array([action]))
        picture = cv2.resize(np.maximum(*frames[-2:]), (84, 84), interpolation=cv2.INTER_AREA)
        assert np.array_equal(picture, obs[0, -1])
        assert rewards[0] == paid
    envs.close()


@pytest.mark.parametrize("vectorization", ["auto", "sync"])
def test_a_game_may_have_a_time_limit_in_decisions(ale, vectorization):
    envs = make_envs("PongNoFrameskip-v4", 2, vectorization, {"max_episode_steps": 3})
    assert time_limit(envs) == 3
    truncated = played(envs, 0, np.zeros((6, 2), int))[3]
    assert truncated[:, 1].tolist() == [False, False, True] * 2


def test_rewards_are_raw_and_clipped_in_training_only(ale):
    envs = check_envs(make_envs("SpaceInvadersNoFrameskip-v4", 4))
    rollout, episodes = collector_of(envs).collect(300)
    assert set(rollout.rewards.unique().tolist()) >= {0.0, 5.0, 10.0}
    assert len(episodes) >= 1
    config = preset("SpaceInvadersNoFrameskip-v4")
    assert (config.clip_rewards, config.total_timesteps, config.eval_sampled) == (1.0, 10_000_000, True)


def test_a_run_trains_evaluates_and_is_filmed(ale, tmp_path):
    pytest.importorskip("imageio")
    config = preset("BreakoutNoFrameskip-v4")
    with Trainer(config.replace(SMALL | {"runs_dir": str(tmp_path)})) as trainer:
        rows = [progress.row for progress in trainer.iterations()]
        assert trainer.parts.policy_name == "cnn"
    assert rows[-1]["eval/episodic_length"] <= 20
    report = evaluate(trainer.run_dir, 2, max_steps=30)
    assert (report.deterministic, len(report.episodes)) == (False, 2)
    assert film(trainer.run_dir, max_steps=10).stat().st_size > 1000


def test_the_games_of_a_film_play_along(ale):
    from ale_py.vector_env import AtariVectorEnv

    same = {
        "game": "breakout",
        "num_envs": 2,
        "repeat_action_probability": 0.25,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    games, rng = Games(AtariVectorEnv(**same), Lives(), AtariVectorEnv(**same)), np.random.default_rng(0)
    obs, _ = games.reset()
    for _ in range(300):
        assert np.array_equal(obs[:, -1], games.render())
        obs = games.step(rng.integers(4, size=2))[0]
    games.close()
    colour = make_games(1, game="breakout", render_mode="rgb_array")
    colour.reset(seed=0)
    assert [picture.shape for picture in colour.render()] == [(210, 160, 3)]
    colour.close()


def test_check_and_the_list_of_families_know_the_games(ale, monkeypatch):
    found = dict(check("PongNoFrameskip-v4", 2, 30))
    assert found["determinism"] == "the same seed gives the same episodes"
    assert (
        "cnn policy, preset ppo + atari: 8 environments x 128 steps, 4 epochs x 4 minibatches, 10,000,000"
        in found["would train"]
    )
    monkeypatch.setattr("ppo.check.FAMILIES", [family for family in FAMILIES if family.name == "Atari"])
    listed = {(name, text): ids for name, text, ids in list_families()}
    (ids,) = listed.values()
    assert {"ALE/Pong-v5", "PongNoFrameskip-v4"} <= set(ids)
    assert "Pong-v4" not in ids


def test_ids_of_games_are_one_sentence_where_they_cannot_be_trained(ale):
    for env_id, words in (
        ("PongDeterministic-v4", f"is not an id of ale-py; {INSTEAD}"),
        ("ALE/Pongg-v5", "is unknown; did you mean ALE/Pong-v5"),
    ):
        with pytest.raises(UsageError, match=words):
            make_envs(env_id, 1)

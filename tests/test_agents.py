"""Several agents: places, gone agents, masks, the critic that sees all, and refusals; with stand-ins for PettingZoo."""

import sys
from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from benchmarks.runs import installed
from ppo import Trainer, UsageError, evaluate, make_envs, preset
from ppo.envs.agents import Agents
from ppo.loop.collector import Collector
from ppo.loop.play import play

pytestmark = pytest.mark.usefixtures("stand_ins")
RELAY = "pettingzoo:relay"


@pytest.fixture
def mixed(monkeypatch):
    """A module in which one agent has another action space."""
    from pettingzoo.relay import Relay

    class Mixed(Relay):
        def action_space(self, agent):
            return Discrete(4 if agent == "b" else 3)

    module = ModuleType("pettingzoo.mixed")
    module.parallel_env = Mixed
    monkeypatch.setitem(sys.modules, "pettingzoo.mixed", module)


def test_each_agent_is_a_place_and_a_copy_ends_when_all_its_agents_are_gone():
    envs = make_envs(RELAY, 4)  # rounded up to whole copies
    assert envs.num_envs == 6
    obs, infos = envs.reset(seed=5)
    assert obs[:, 1].tolist() == [5, 5, 5, 8, 8, 8]  # each copy has the seed of its first place
    assert infos["valid"].all()
    rows = [envs.step(np.array([0, 1, 2, 2, 2, 2])) for _ in range(4)]
    valid = [infos["valid"].tolist()[:3] for *_, infos in rows]
    assert valid == [[True, True, True], [False, True, True], [False, False, True], [True, True, True]]
    ends = [infos["value_ends"].tolist()[:3] for *_, infos in rows]  # the third agent is truncated
    assert ends == [[False, False, False], [True, False, False], [False, True, False], [False, False, False]]
    assert [reward.tolist()[:3] for _, reward, *_ in rows] == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 0, 2]]
    assert [(t | s).any() for _, _, t, s, _ in rows] == [False, False, False, True]
    obs, _, terminated, truncated, infos = rows[-1]
    assert terminated.tolist() == [True, True, False] * 2
    assert truncated.tolist() == [False, False, True] * 2
    assert infos["final_obs"][:3, 0].tolist() == [2, 3, 4]  # of each agent's last step
    assert obs[:, 0].tolist() == [0] * 6
    assert infos["team_return"].tolist() == [11] * 3 + [18] * 3
    assert [infos[f"return_{agent}"].tolist()[0] for agent in "abc"] == [0, 3, 8]


def test_the_collector_skips_agents_that_are_gone():
    trainer = Trainer(small(RELAY))
    trainer.collector.reset(0)
    rollout, episodes = trainer.collector.collect(8)
    assert rollout.valid[:, :3].int().sum(0).tolist() == [4, 6, 8]
    assert rollout.value_ends[:, :3].int().sum(0).tolist() == [2, 2, 0]
    assert sorted(episode.length for episode in episodes) == [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert isinstance(trainer.collector, Collector)
    assert episodes[0].metrics.keys() == {"team_return", "return_a", "return_b", "return_c"}
    trainer.close()


def small(env_id, **more):
    settings = {
        "num_envs": 6,
        "num_steps": 8,
        "num_minibatches": 2,
        "total_timesteps": 200,
        "eval_episodes": 2,
        "compile": "off",
    }
    return preset(env_id).replace(settings | more)


@pytest.mark.parametrize("kwargs", [{}, {"critic": "all"}, {"masked": True}, {"critic": "all", "masked": True}])
def test_a_policy_trains_and_plays(tmp_path, kwargs):
    with Trainer(small(RELAY, env_kwargs=kwargs, runs_dir=str(tmp_path), learning_rate=0.03)) as trainer:
        run = trainer.train()
        assert ("critic" in str(trainer.envs.single_observation_space)) == ("critic" in kwargs)
    report = evaluate(run, 3)
    assert report.metric("team_return") == sum(report.metric(f"return_{agent}") for agent in "abc")
    if kwargs.get("masked"):
        assert report.metric("return_b") <= 3  # its third action is masked


def test_the_critic_sees_all_agents():
    envs = make_envs(RELAY, 3, env_kwargs={"critic": "all", "masked": True})
    obs, _ = envs.reset(seed=1)
    for _ in range(3):
        obs, *_ = envs.step(np.array([0, 0, 0]))
    assert obs["observation"][:, 0].tolist() == [2, 3, 3]
    assert [obs["critic"][agent]["observation"][0, 0] for agent in "abc"] == [2, 3, 3]
    assert "action_mask" not in obs["critic"]["a"]


@pytest.mark.parametrize(
    ("env_id", "more", "message"),
    [
        (
            "pettingzoo:mixed",
            {},
            "the agents of pettingzoo:mixed have different spaces, a Discrete.3. and b Discrete.4.",
        ),
        (RELAY, {"num_envs": 8}, "num_envs = 8 .* choose --num-envs 9"),
        (RELAY, {"env_kwargs": {"size": 3}}, "size"),
    ],
)
def test_bad_input_is_one_sentence(mixed, env_id, more, message):
    with pytest.raises(UsageError, match=message):
        Trainer(small(RELAY).replace({"env_id": env_id} | more))


def broken(change):
    """Return a parallel environment whose answers at the second step are changed."""
    from pettingzoo.relay import Relay

    class Broken(Relay):
        def step(self, actions):
            answer = super().step(actions)
            if self.time == 2:
                change(*answer)
            return answer

    return Agents(Broken, 3, "broken", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda obs, *_: obs.pop("b"), "the agent b acted, and step.. returned no observation for it"),
        (lambda obs, *_: obs.update(c=np.zeros(5)), r"the agent c got an observation .* has the shape \(5,\)"),
        (lambda obs, reward, *_: reward.pop("b"), "the agent b acted, and step.. returned reward = None for it"),
        (lambda obs, reward, *_: reward.update(b="x"), "returned reward = 'x' for it; it must be one number"),
        (lambda obs, reward, ended, *_: ended.pop("a"), "the agent a acted, and step.. returned termination = None"),
        (lambda obs, reward, ended, cut, _: cut.pop("c"), "the agent c acted, and step.. returned truncation = None"),
    ],
)
def test_a_step_that_does_not_answer_an_agent_is_refused(change, message):
    envs = broken(change)
    envs.reset(seed=0)
    envs.step(np.zeros(3, int))
    with pytest.raises(UsageError, match=message):
        envs.step(np.zeros(3, int))


def test_an_agent_that_is_terminated_needs_no_observation():
    envs = broken(lambda obs, *_: obs.pop("a"))  # its last step
    envs.reset(seed=0)
    rows = [envs.step(np.zeros(3, int))[0] for _ in range(2)]
    assert rows[1][:, 0].tolist() == [1, 2, 2]  # it keeps its last one


def test_an_agent_may_come_later():
    from pettingzoo.relay import Relay

    class Late(Relay):
        def reset(self, seed=None, options=None):
            observations, infos = super().reset(seed, options)
            self.agents = self.agents[:1]
            return {agent: observations[agent] for agent in self.agents}, infos

    envs = Agents(Late, 3, "late", shared=True)
    obs, info = envs.reset(seed=0)
    assert info["valid"].tolist() == [True, False, False]
    assert envs.observation_space.contains(obs)


@pytest.mark.parametrize("games", [1, 3, 5])
def test_an_evaluation_plays_whole_games(tmp_path, games):
    with Trainer(small(RELAY, runs_dir=str(tmp_path), total_timesteps=60)) as trainer:
        run = trainer.train()
        episodes = play(trainer.collector, games, seed=0)
        assert sorted(Counter(episode.env % 3 for episode in episodes).values()) == [games] * 3
    assert len(evaluate(run, games).episodes) == 3 * games


def test_a_real_environment_of_pettingzoo():
    if not installed("mpe2"):  # a stand-in has no distribution
        pytest.skip("mpe2 is not installed")
    envs = make_envs("pettingzoo:mpe2/simple_spread_v3", 6, env_kwargs={"max_cycles": 3})
    envs.reset(seed=0)
    rows = [envs.step(np.zeros(6, int)) for _ in range(3)]
    assert rows[-1][3].all()
    assert rows[-1][4]["team_return"][0] == pytest.approx(sum(row[1][:3].sum() for row in rows))
    envs.close()

"""Any id becomes a VectorEnv, or an error says in one sentence why not."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ppo.envs import autoreset_mode, make_envs, time_limit
from ppo.errors import UsageError

MODULE = """
import gymnasium

class Corridor(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Discrete(5), gymnasium.spaces.Discrete(2)

    def __init__(self, length=4, render_mode=None):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action):
        self.at += 1
        return self.at, 1.0, self.at == self.length, False, {}

gymnasium.register("Corridor-v0", entry_point=Corridor)
"""


@pytest.fixture
def corridor(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "corridor_env.py").write_text(MODULE)
    yield "corridor_env:Corridor-v0"
    gymnasium.registry.pop("Corridor-v0", None)
    sys.modules.pop("corridor_env", None)


def refusal(env_id, **options):
    """The sentence that make_envs refuses with; it is one line."""
    with pytest.raises(UsageError) as caught:
        make_envs(env_id, 2, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("CartPole", "CartPole-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("Taxi-v3", "Taxi-v4"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("Copy-v0", "text/Copy-v0"),
        ("copy", "text/Copy-v0"),
        ("other/Pendulum-v9", "Pendulum-v1"),
    ],
)
def test_an_unknown_id_is_refused_with_one_that_is_near(wrong, right):
    message = refusal(wrong)
    assert repr(wrong) in message
    assert f"did you mean {right}" in message


def test_another_version_of_a_known_environment_suggests_nothing_else():
    assert refusal("CartPole-v7").endswith("did you mean CartPole-v1, CartPole-v0?")


@pytest.mark.parametrize("env_id", ["", ":", "NoSuchThing-v0"])
def test_an_id_that_is_near_nothing_points_to_the_list(env_id):
    assert "did you mean" not in refusal(env_id)
    assert "`ppo envs` lists the installed ones" in refusal(env_id)


@pytest.mark.parametrize("env_id", ["HalfCheetah-v2", "HalfCheetah-v3", "Ant-v3", "Reacher-v2"])
def test_old_mujoco_versions_are_refused_in_one_sentence(env_id):
    message = refusal(env_id)
    assert env_id in message
    assert "gymnasium-robotics" in message


def test_an_environment_whose_simulator_is_missing_says_so(monkeypatch):
    def entry_point(**_):
        raise gymnasium.error.DependencyNotInstalled("run `pip install warehouse`")

    spec = gymnasium.envs.registration.EnvSpec("Warehouse-v0", entry_point=entry_point)
    monkeypatch.setitem(gymnasium.registry, "Warehouse-v0", spec)
    assert "Warehouse-v0 needs a package that is not installed: run `pip install warehouse`" in refusal("Warehouse-v0")


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("Pendulum-v1", {"wheels": 1}),  # no such argument
        ("CartPole-v1", {"wheels": 1}),  # nor with a vector entry point
        ("FrozenLake-v1", {"desc": "9x9"}),  # ValueError
        ("FrozenLake-v1", {"map_name": "9x9"}),  # KeyError
        ("LunarLander-v3", {"gravity": 5.0}),  # AssertionError
    ],
)
def test_arguments_that_an_environment_refuses_are_named_with_it_in_one_sentence(env_id, kwargs):
    message = refusal(env_id, env_kwargs=kwargs)
    assert env_id in message
    assert str(kwargs) in message


@pytest.mark.parametrize("vectorization", ["auto", "sync", "vector_entry_point"])
def test_a_time_limit_replaces_the_registered_one(vectorization):
    envs = make_envs("CartPole-v1", 2, vectorization, max_episode_steps=3)
    envs.reset(seed=0)
    assert [envs.step(np.array([0, 1]))[3].tolist() for _ in range(3)] == [[False, False], [False, False], [True, True]]
    assert time_limit(envs) == 3


@pytest.mark.parametrize(
    ("env_id", "options", "sentence"),
    [
        ("text/Copy-v0", {}, "max_episode_steps = 5 cannot be set: the vector environment of text/Copy-v0 takes no time limit; "
         "leave it out"),
        ("Untimed-v0", {}, "the vector environment of Untimed-v0 takes no time limit; use --vectorization sync or async"),
    ],
)  # fmt: skip
def test_a_time_limit_that_cannot_be_set_is_refused(env_id, options, sentence, monkeypatch):
    spec = gymnasium.envs.registration.EnvSpec("Untimed-v0", dict, vector_entry_point=lambda num_envs: None)
    monkeypatch.setitem(gymnasium.registry, "Untimed-v0", spec)
    assert sentence in refusal(env_id, max_episode_steps=5, **options)


def test_arguments_reach_every_copy(corridor):
    envs = make_envs(corridor, 3, env_kwargs={"length": 2})
    assert [env.unwrapped.length for env in envs.envs] == [2, 2, 2]


def test_a_render_mode_reaches_the_environment():
    assert make_envs("CartPole-v1", 1, "sync", render_mode="rgb_array").render_mode == "rgb_array"
    assert make_envs("CartPole-v1", 1, "sync").render_mode is None


def test_a_module_before_the_id_is_imported_and_registers_it(corridor):
    envs = make_envs(corridor, 2)
    assert envs.single_observation_space == Discrete(5)
    envs.reset(seed=0)
    assert envs.step(np.zeros(2, int))[0].tolist() == [1, 1]


def test_an_unknown_id_of_a_module_is_refused_with_one_that_is_near(corridor):
    for _ in range(2):  # imported now, or before
        assert "did you mean corridor_env:Corridor-v0?" in refusal("corridor_env:Coridor-v0")
    assert "did you mean CartPole-v1, CartPole-v0" in refusal("corridor_env:CartPol-v1")


def test_a_missing_module_is_named():
    assert "there is no module no_such_module" in refusal("no_such_module.envs:Corridor-v0")


def test_an_error_in_a_users_module_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "faulty_module.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        make_envs("faulty_module:Corridor-v0", 1)


def test_an_unknown_id_of_a_module_is_refused_with_those_that_it_registers(tmp_path, monkeypatch, corridor):
    assert refusal("corridor_env:Maze-v3").endswith("is unknown; module corridor_env registers Corridor-v0")
    assert refusal("corridor_env:Maze-v3").endswith("is unknown; module corridor_env registers Corridor-v0")  # imported
    (tmp_path / "empty_env.py").write_text("")
    assert refusal("empty_env:Maze-v3").endswith(
        "module empty_env registers no environment; call gymnasium.register('Maze-v3', entry_point=…) in it"
    )
    monkeypatch.setattr("ppo.envs.gym.register_families", lambda name: gymnasium.register("Other-v0", "a:B") or [])
    monkeypatch.delitem(sys.modules, "empty_env")
    assert "module empty_env registers no environment" in refusal("empty_env:Maze-v3")
    del gymnasium.registry["Other-v0"]


def test_an_argument_that_an_environment_requires_is_named(monkeypatch):
    def entry_point(size, *, colour, length=3):
        raise AssertionError

    spec = gymnasium.envs.registration.EnvSpec("Warehouse-v0", entry_point=entry_point, kwargs={"colour": "red"})
    monkeypatch.setitem(gymnasium.registry, "Warehouse-v0", spec)
    assert refusal("Warehouse-v0") == "Warehouse-v0 needs size; use --env-kwargs size VALUE"
    assert refusal("Warehouse-v0", env_kwargs={"length": 4}) == "Warehouse-v0 needs size; use --env-kwargs size VALUE"


def test_auto_takes_the_vector_entry_point_where_there_is_one_and_else_sync_without_dead_rows():
    own, sync = make_envs("CartPole-v1", 3), make_envs("Pendulum-v1", 3)
    assert type(own.unwrapped).__name__ == "CartPoleVectorEnv"
    assert autoreset_mode(own) is AutoresetMode.NEXT_STEP
    assert isinstance(sync, SyncVectorEnv)
    assert autoreset_mode(sync) is AutoresetMode.SAME_STEP
    assert own.num_envs == sync.num_envs == 3


def test_sync_is_taken_where_it_is_asked_for():
    assert isinstance(make_envs("CartPole-v1", 2, "sync"), SyncVectorEnv)


def test_a_vector_entry_point_that_is_not_there_is_refused():
    message = refusal("Pendulum-v1", vectorization="vector_entry_point")
    assert message == "Pendulum-v1 has no vector entry point of its own; use --vectorization sync or async"

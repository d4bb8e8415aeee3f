"""Environments: any id becomes a VectorEnv, or one sentence says why it cannot."""

import signal
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from ppo.envs import autoreset_mode, check_envs, families, make_envs
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


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("CartPole", "CartPole-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("Taxi-v3", "Taxi-v4"),
        ("Pendulum-v0", "Pendulum-v1"),
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
    assert "`ppo envs` lists what is installed" in refusal(env_id)


@pytest.mark.parametrize("env_id", ["HalfCheetah-v2", "HalfCheetah-v3", "Ant-v3", "Reacher-v2"])
def test_old_mujoco_versions_are_refused_in_one_sentence(env_id):
    message = refusal(env_id)
    assert env_id in message
    assert "gymnasium-robotics" in message


@pytest.mark.parametrize(
    ("env_id", "install"),
    [
        ("ALE/Pong-v5", "pip install ale-py"),
        ("PongNoFrameskip-v4", "pip install ale-py"),
        ("MiniGrid-Empty-5x5-v0", "pip install minigrid"),
        ("phys2d/CartPole-v1", 'pip install "gymnasium[jax]"'),
        ("HalfCheetah-v5", 'pip install "gymnasium[mujoco]"'),
        ("LunarLander-v3", 'pip install "gymnasium[box2d]"'),
    ],
)
def test_the_id_of_a_family_that_is_not_installed_gives_the_line_that_installs_it(env_id, install, monkeypatch):
    monkeypatch.setattr(families, "find_spec", lambda name: None if name != "gymnasium" else "found")
    message = refusal(env_id)
    assert repr(env_id) in message
    assert message.endswith(f"not installed: {install}")


def test_an_environment_whose_simulator_is_missing_says_so(monkeypatch):
    def entry_point(**_):
        raise gymnasium.error.DependencyNotInstalled("run `pip install warehouse`")

    spec = gymnasium.envs.registration.EnvSpec("Warehouse-v0", entry_point=entry_point)
    monkeypatch.setitem(gymnasium.registry, "Warehouse-v0", spec)
    assert "Warehouse-v0 needs a package that is not installed: run `pip install warehouse`" in refusal("Warehouse-v0")


# --- arguments -------------------------------------------------------------------------------------------------------


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


def test_arguments_reach_every_copy(corridor):
    envs = make_envs(corridor, 3, env_kwargs={"length": 2})
    assert [env.unwrapped.length for env in envs.envs] == [2, 2, 2]


def test_a_render_mode_reaches_the_environment():
    assert make_envs("CartPole-v1", 1, "sync", render_mode="rgb_array").render_mode == "rgb_array"
    assert make_envs("CartPole-v1", 1, "sync").render_mode is None


# --- modules ---------------------------------------------------------------------------------------------------------


def test_a_module_before_the_id_is_imported_and_registers_it(corridor):
    envs = make_envs(corridor, 2)
    assert envs.single_observation_space == Discrete(5)
    envs.reset(seed=0)
    assert envs.step(np.zeros(2, int))[0].tolist() == [1, 1]


def test_an_unknown_id_of_a_module_is_refused_with_one_that_is_near(corridor):
    assert "did you mean Corridor-v0" in refusal("corridor_env:Coridor-v0")


def test_a_missing_module_is_named():
    assert "there is no module no_such_module" in refusal("no_such_module.envs:Corridor-v0")


def test_a_module_that_a_module_needs_and_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "needy_env.py").write_text("import no_such_simulator")
    assert "there is no module no_such_simulator" in refusal("needy_env:Corridor-v0")


def test_an_error_in_a_users_module_keeps_its_type(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "faulty_env.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        make_envs("faulty_env:Corridor-v0", 1)


# --- vectorisation ---------------------------------------------------------------------------------------------------


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


def test_async_steps_as_sync_does_and_leaves_ctrl_c_as_it_was(corridor):
    handler = signal.getsignal(signal.SIGINT)
    stepped = []
    for vectorization, kind in (("async", AsyncVectorEnv), ("sync", SyncVectorEnv)):
        envs = make_envs(corridor, 2, vectorization)
        assert isinstance(envs, kind)
        assert autoreset_mode(envs) is AutoresetMode.SAME_STEP
        envs.reset(seed=0)
        steps = [envs.step(np.zeros(2, int)) for _ in range(5)]
        stepped.append([[column.tolist() for column in step[:4]] for step in steps])
        envs.close()
    assert stepped[0] == stepped[1]
    assert [step[0] for step in stepped[0]] == [[1, 1], [2, 2], [3, 3], [0, 0], [1, 1]]
    assert signal.getsignal(signal.SIGINT) is handler


# --- check_envs ------------------------------------------------------------------------------------------------------


class Silent(VectorEnv):
    """Shows 0; `metadata` and the infos are given."""

    def __init__(self, metadata, infos=None, num_envs=2):
        self.metadata, self.num_envs, self.infos = metadata, num_envs, infos or {}
        self.single_observation_space, self.single_action_space = Box(-1, 1, (1,), np.float32), Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        return np.zeros((self.num_envs, 1), np.float32), dict(self.infos)

    def step(self, actions):
        flags = np.zeros(self.num_envs, bool)
        return np.zeros((self.num_envs, 1), np.float32), np.zeros(self.num_envs), flags, flags, dict(self.infos)


@pytest.mark.parametrize("metadata", [{}, {"autoreset_mode": None}, {"autoreset_mode": "sometimes"}])
def test_an_environment_that_does_not_say_how_it_resets_is_refused(metadata):
    with pytest.raises(UsageError) as caught:
        check_envs(Silent(metadata))
    assert str(caught.value) == (
        f"Silent.metadata['autoreset_mode'] is {metadata.get('autoreset_mode')!r}; set it to the "
        "gymnasium.vector.AutoresetMode that its step() follows, or use --vectorization sync"
    )


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled", *AutoresetMode])
def test_an_autoreset_mode_may_be_the_enum_or_its_value(mode):
    assert autoreset_mode(Silent({"autoreset_mode": mode})) is AutoresetMode(mode)


def test_environments_without_a_mask_stay_as_they_are():
    envs = make_envs("CartPole-v1", 2)
    assert check_envs(envs) is envs


def test_a_mask_in_the_info_becomes_part_of_the_observation():
    envs = check_envs(make_envs("Taxi-v4", 3))
    assert envs.single_observation_space == Dict([("obs", Discrete(500)), ("action_mask", MultiBinary(6))])
    obs, infos = envs.reset(seed=3)
    assert np.array_equal(obs["action_mask"], infos["action_mask"])
    assert envs.observation_space.contains(obs)
    obs, *_, infos = envs.step(obs["action_mask"].argmax(1))
    assert np.array_equal(obs["action_mask"], infos["action_mask"])
    assert 0 < obs["action_mask"].sum() < 18


def test_nothing_is_ruled_out_where_an_environment_gives_no_mask():
    given = {"action_mask": np.array([[0, 1, 0], [9, 9, 9]]), "_action_mask": np.array([True, False])}
    envs = check_envs(Silent({"autoreset_mode": "NextStep"}, given))
    assert envs.reset(seed=0)[0]["action_mask"].tolist() == [[0, 1, 0], [1, 1, 1]]
    envs.env.infos = {}
    assert envs.step(np.zeros(2, int))[0]["action_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_mask_that_one_environment_alone_gives_has_its_width():
    given = {
        "action_mask": np.array([None, np.array([1, 0, 1])], dtype=object),
        "_action_mask": np.array([False, True]),
    }
    envs = check_envs(Silent({"autoreset_mode": "NextStep"}, given))
    assert envs.reset(seed=0)[0]["action_mask"].tolist() == [[1, 1, 1], [1, 0, 1]]

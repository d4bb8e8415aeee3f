"""An environment that writes its observations into one array is refused where Gymnasium resets before it copies."""

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from probes import Probe

from ppo.envs.reuse import check_reuse, equal_parts, shares
from ppo.errors import UsageError


class Shared(Probe):
    """Shows the number of the step; cut after 3 steps. `form` says which results are copies."""

    observation_space = Box(0.0, 9.0, (1,), np.float32)
    length, truncates = 3, True

    def __init__(self, form):
        self.form, self.array = form, np.zeros(1, np.float32)

    def see(self):
        self.array[:] = self.time
        copy = self.form == "new" or (self.form == "copied in reset" and self.time == 0)
        return self.array.copy() if copy else self.array


class Copying(VectorWrapper):
    """Copies last observations, too late."""

    def step(self, actions):
        *answer, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos["final_obs"] = np.array([obs.copy() for obs in infos["final_obs"]])
        return *answer, infos


def run(envs):
    envs = check_reuse(envs)
    envs.reset(seed=0)
    try:
        return [envs.step(np.zeros(2, int))[-1].get("final_obs") for _ in range(3)][-1]
    finally:
        envs.close()


def copying(makers, **options):
    return Copying(SyncVectorEnv(makers, **options))


@pytest.mark.parametrize(
    ("kind", "form", "evidence"),
    [
        (SyncVectorEnv, "reused", "environment 0 returned an array that it had returned before"),
        (SyncVectorEnv, "copied in reset", "environment 0 returned an array that it had returned before"),
        (copying, "reused", "environment 0 returned an array that it had returned before"),
        (AsyncVectorEnv, "copied in reset", "the last observation of an episode of environment 0 equals the first one"),
    ],
)
def test_it_is_refused_at_the_first_cut(kind, form, evidence):
    with pytest.raises(UsageError) as caught:
        run(kind([lambda: Shared(form)] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert str(caught.value).startswith(evidence)
    assert "an environment must return a new array in each step (obs.copy()); or use" in str(caught.value)


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_one_that_returns_new_arrays_is_left_alone(kind):
    final = run(kind([lambda: Shared("new")] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert [obs.tolist() for obs in final] == [[3.0], [3.0]]


def test_other_modes_are_not_checked():
    envs = SyncVectorEnv([lambda: Shared("reused")] * 2)
    assert check_reuse(envs) is envs


def test_observations_share_what_may_change():
    array, values = np.zeros(4), [1.0]
    assert shares({"a": (array[:2],)}, {"a": (array[1:],)})
    assert shares(values, values)
    assert shares(memoryview(array), array)
    assert not shares({"a": (array[:2], 3)}, {"a": (array[2:], 3)})
    assert not shares(3, 3)


def test_parts_that_cannot_change_are_no_evidence():
    stacked = {"a": np.array([0.1], np.float32), "b": (np.array(3), np.array([1, 2]))}
    assert equal_parts({"a": np.array([0.1]), "b": (3, [1, 5])}, stacked) == [True, False]

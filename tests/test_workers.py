"""Worker processes step as this process does, do not run the user's script again, and leave Ctrl-C to the trainer."""

import signal
import subprocess
import sys
import threading

import numpy as np
import probes  # noqa: F401 (registers Reusing-v0)
import pytest
from gymnasium.spaces import MultiBinary
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from ppo.envs import autoreset_mode, check_envs, make_envs
from ppo.envs.workers import hide_main, ignore_interrupts


def test_async_steps_as_sync_does_and_leaves_ctrl_c_as_it_was():
    handler = signal.getsignal(signal.SIGINT)
    stepped = []
    for vectorization, kind in (("async", AsyncVectorEnv), ("sync", SyncVectorEnv)):
        envs = make_envs("CartPole-v1", 2, vectorization)
        assert isinstance(envs, kind)
        assert autoreset_mode(envs) is AutoresetMode.SAME_STEP
        envs.reset(seed=0)
        steps = [envs.step(np.zeros(2, int)) for _ in range(12)]
        stepped.append([[column.tolist() for column in step[:4]] for step in steps])
        envs.close()
    assert stepped[0] == stepped[1]
    assert any(any(step[2]) for step in stepped[0])  # episodes end on the way
    assert signal.getsignal(signal.SIGINT) is handler


def test_workers_give_what_the_copies_give_do_not_import_torch_and_raise_their_own_errors():
    envs = check_envs(make_envs("Reusing-v0", 2, "async"), log_info=("steps", "torch"))
    assert envs.single_observation_space["action_mask"] == MultiBinary(2)  # from the method action_masks()
    envs.reset(seed=0)
    for _ in range(5):
        *_, infos = envs.step(np.zeros(2, int))
    assert [obs["obs"].tolist() for obs in infos["final_obs"]] == [[5], [5]]
    assert infos["final_info"]["steps"].tolist() == [5, 5]
    assert infos["final_info"]["torch"].tolist() == [0, 0]
    with pytest.raises(AssertionError, match="action 1 is masked") as error:
        envs.step(np.array([0, 1]))
    assert error.value.__notes__[0] == "(raised by environment 1)"
    assert error.value.__notes__[1].startswith("in the worker process:")
    envs.close(terminate=True)


def test_the_script_is_hidden_inside_the_block_alone():
    main = sys.modules["__main__"].__dict__
    before = {name: main.get(name) for name in ("__file__", "__spec__")}
    with hide_main():
        assert "__file__" not in main
        assert main["__spec__"] is None
    assert {name: main.get(name) for name in before} == before


def test_interrupts_are_ignored_inside_the_block_alone_and_by_the_main_thread_alone():
    handler, inside = signal.getsignal(signal.SIGINT), []

    def look():
        with ignore_interrupts():
            inside.append(signal.getsignal(signal.SIGINT))

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.SIG_IGN, handler]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_script_that_trains_at_its_top_level_is_not_run_again_by_its_workers(tmp_path):
    (tmp_path / "script.py").write_text(
        """
import gymnasium
from gymnasium.spaces import Discrete
from gymnasium.spaces import MultiBinary
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from ppo import Config, Trainer

class Mine(gymnasium.Env):
    observation_space, action_space = Discrete(10), Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 0
        return 0, {}
    def step(self, action):
        self.cell += 1
        return self.cell, 1.0, self.cell == 9, False, {}

gymnasium.register("Mine-v0", entry_point=Mine)
config = Config(env_id="Mine-v0", vectorization="async", total_timesteps=64, num_envs=2, num_steps=32)
trainer = Trainer(config)
print("trained once:", trainer.train())
trainer.envs.close()
"""
    )
    process = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert process.stdout.splitlines() == ["trained once: runs/Mine-v0__ppo__s1"], process.stderr

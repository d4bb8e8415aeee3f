"""Worker processes step as this process does, do not run the user's script again, and leave Ctrl-C to the trainer."""

import signal
import subprocess
import sys
import threading

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from ppo.envs import autoreset_mode, make_envs
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

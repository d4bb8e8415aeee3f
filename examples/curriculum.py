"""A curriculum: `Trainer.iterations()` makes a task harder as the policy improves, and stops when it is solved.

    python examples/curriculum.py

The task is a lock. Its code has eight digits; a wrong digit ends the episode, and only the last right one is rewarded. A random
code opens it once in 100 million times, so that there is nothing to learn from: without a curriculum every return is 0. Here the
lock first asks for one digit, and for one more whenever the policy opens it in nine of ten episodes.
"""

from typing import Any

import gymnasium
from gymnasium.spaces import Discrete

from ppo import Trainer, preset

CODE = (3, 1, 4, 1, 5, 9, 2, 6)


class Lock(gymnasium.Env):
    """Enter the first `length` digits of the code; the observation is the number of digits entered."""

    metadata = {"render_modes": []}
    observation_space, action_space = Discrete(len(CODE)), Discrete(10)
    length = len(CODE)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin with no digit entered."""
        super().reset(seed=seed)
        self.entered = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Enter a digit."""
        right = action == CODE[self.entered]
        opened = bool(right and self.entered + 1 == self.length)
        self.entered += int(right and not opened)
        return self.entered, float(opened), opened or not right, False, {}


gymnasium.register("Lock-v0", entry_point=Lock)


def main(total_timesteps: int = 100_000, first: int = 1) -> int:
    """Train until the whole code is learnt or the budget is spent; return the number of digits that the policy masters."""
    config = preset("curriculum:Lock-v0")
    settings = {"num_steps": 64, "num_minibatches": 1, "update_epochs": 4, "learning_rate": 1e-2, "anneal_lr": False}
    settings |= {"ent_coef": 0.1, "normalize_obs": False, "scale_rewards": False}  # a new digit needs exploration
    mastered = first - 1
    with Trainer(config.replace(settings | {"total_timesteps": total_timesteps})) as trainer:
        trainer.envs.set_attr("length", first)
        for progress in trainer.iterations():
            opened = progress.row["charts/episodic_return"]  # mean over the iteration's episodes
            if opened < 0.9:
                continue
            mastered += 1
            print(f"step {progress.global_step:7,}: opens {mastered} of {len(CODE)} digits in {opened:.0%} of episodes")
            if mastered < len(CODE):
                trainer.envs.set_attr("length", mastered + 1)
            else:
                trainer.stop()  # ends the loop with a checkpoint, as Ctrl-C does; `break` would write none
    return mastered


if __name__ == "__main__":
    main()

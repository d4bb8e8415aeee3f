"""A curriculum: `Trainer.iterations()` makes MountainCar harder as the policy improves, and stops when it is solved.

    python examples/curriculum.py

The car must swing up to the flag at position 0.5, and every step costs 1. Random actions never reach the flag, so without a
curriculum a policy learns nothing from its first 100,000 steps: each return is -200. Here the flag first stands near the
valley (position -0.5) and moves up whenever the policy reaches it in less than 130 steps.
"""

from ppo import Trainer, preset

FLAG, FIRST, STEP = 0.5, -0.3, 0.1  # positions: the task's own flag, the first one, and a move
FAST = -130.0  # return at which the flag moves on


def main(total_timesteps: int = 300_000, first: float = FIRST) -> float:
    """Train until the car reaches the flag of the task fast, and return the position of the last flag."""
    _, config = preset("MountainCar-v0")
    settings = {"total_timesteps": total_timesteps, "eval_episodes": 0, "vectorization": "sync", "num_steps": 64}
    with Trainer(config.replace(settings)) as trainer:
        flag = first
        trainer.envs.set_attr("goal_position", flag)
        for progress in trainer.iterations():
            reached = progress.row["charts/episodic_return"]  # NaN if no episode ended
            if reached < FAST or reached != reached: continue
            print(f"step {progress.global_step:7,}: flag at {flag:4.1f} reached in {-reached:.0f} steps")
            if flag >= FLAG:
                trainer.stop()
            flag = min(FLAG, flag + STEP)
            trainer.envs.set_attr("goal_position", flag)
    return flag


if __name__ == "__main__":
    main()

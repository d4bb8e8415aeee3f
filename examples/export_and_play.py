"""Export a trained policy to a file, and play with it in a process that knows torch and Gymnasium, but not ppo.

    python examples/export_and_play.py               # train, export, and play in a new process
    python examples/export_and_play.py policy.pt2    # only play: copy `play` and the file to wherever you need them

The file is a function of N observations. Whatever the policy needs is inside: observation statistics, masks, a recurrent state.
"""

import subprocess
import sys

import gymnasium
import torch


def play(path: str, episodes: int = 5) -> list[float]:
    """Play CartPole with an exported policy and return the return of each episode."""
    policy, env, returns = torch.export.load(path).module(), gymnasium.make("CartPole-v1"), []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            (actions,) = policy(torch.from_numpy(obs).unsqueeze(0))  # N = 1
            obs, reward, terminated, truncated, _ = env.step(actions[0].item())
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def train_and_export(total_timesteps: int = 50_000) -> str:
    """Train a policy, export it, and return the path of the file."""
    from ppo import Trainer, export, preset

    config = preset("CartPole-v1")
    run = Trainer(config.replace({"total_timesteps": total_timesteps})).train()
    exported = export(run)  # compares the file's actions with the policy's
    print(f"{exported.path} takes {', '.join(exported.inputs)} and returns {', '.join(exported.outputs)}")
    return str(exported.path)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        subprocess.run([sys.executable, __file__, train_and_export()], check=True)
    else:
        print(f"returns without ppo: {play(sys.argv[1])}; ppo is imported: {'ppo' in sys.modules}")

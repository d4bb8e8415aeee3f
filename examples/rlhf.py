"""RLHF in small, from end to end: a language model, a reward model of preferences, and PPO with a KL penalty.

    python examples/rlhf.py

1. A GRU learns to write lines like those of a small corpus, which this file makes: half of them praise, half complain.
2. A judge compares pairs of lines. It stands for people: a hidden rule that likes praise, in at most nine words. The reward
   model sees only which line of a pair the judge prefers, never the rule.
3. PPO trains the GRU on the reward model's score, near the language model by a KL penalty.

The judge scores samples before and after. Only step 3 changes the policy, so the difference is what PPO has learnt.
"""

import json
from pathlib import Path

import numpy as np

from ppo import Trainer, preset, pretrain, train_reward_model
from ppo.sampling import sample

THINGS, GOOD, BAD = ("film", "plot", "cast", "music"), ("great", "lovely", "warm"), ("awful", "dull", "cold")
FOLDER = Path("runs/rlhf")


def write_line(rng: np.random.Generator) -> str:
    """Return a line such as: the plot is dull and the cast is great."""
    clauses = [
        f"the {rng.choice(THINGS)} is {rng.choice(GOOD if rng.random() < 0.5 else BAD)}"
        for _ in range(rng.integers(1, 4))
    ]
    return " and ".join(clauses)


def judge(line: str) -> float:
    """Return the hidden score of a line: praise minus complaint, and 2 less if it is long. At best it is 2."""
    words = line.split()
    return sum(word in GOOD for word in words) - sum(word in BAD for word in words) - 2 * (len(words) > 9)


def write_data(rng: np.random.Generator, lines: int, comparisons: int) -> tuple[Path, Path]:
    """Write the corpus and the judge's preferences, and return the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    corpus, preferences = FOLDER / "corpus.txt", FOLDER / "preferences.jsonl"
    corpus.write_text("\n".join(write_line(rng) for _ in range(lines)))
    rows: list[str] = []
    while len(rows) < comparisons:
        rejected, chosen = sorted((write_line(rng), write_line(rng)), key=judge)
        if judge(chosen) > judge(rejected):
            rows.append(json.dumps({"chosen": chosen, "rejected": rejected}))
    preferences.write_text("\n".join(rows))
    return corpus, preferences


def show(name: str, run: Path) -> float:
    """Print five samples of a policy and return the judge's mean score of 200."""
    lines = [completion.response for completion, _ in sample(run, number=200, seed=2)]
    score = float(np.mean([judge(line) for line in lines]))
    print(f"{name}: the judge's score is {score:.2f}", *lines[:5], sep="\n    ")
    return score


def main(tokens: int = 60_000, comparisons: int = 1000) -> tuple[float, float]:
    """Run the three steps; return the judge's mean score before and after PPO."""
    corpus, preferences = write_data(np.random.default_rng(0), 1000, comparisons)
    config = preset("text/Write-v0")
    write = {"corpus": str(corpus), "max_tokens": 20}
    config = config.replace({"env_kwargs": write, "runs_dir": str(FOLDER), "total_timesteps": tokens, "state_size": 64})

    language = pretrain(Trainer(config.replace({"exp_name": "language", "learning_rate": 5e-3}))).run_dir
    rating = config.replace({"exp_name": "reward", "num_envs": 32, "num_minibatches": 1, "reference": str(language)})
    reward = train_reward_model(Trainer(rating), str(preferences))
    print(f"the reward model agrees with the judge on {reward.quality.accuracy:.0%} of held-out pairs")
    near = {"init_from": str(language), "reference": str(language), "kl_coef": 0.03}
    tuning = config.replace(near | {"env_kwargs": write | {"reward": str(reward.run_dir)}})
    tuned = Trainer(tuning).train()
    return show("before", language), show("after", tuned)


if __name__ == "__main__":
    main()

"""Presets: what an algorithm and an environment family change in `Config`, with the reason beside it.

The algorithm's settings come first, then those of the environment or, where it has none, of its family. The latter are
tuned for PPO; A2C and REINFORCE take only those that describe the problem (PROBLEM).
"""

from typing import Any

from ppo.config import Config
from ppo.envs import find_spec, module_of

# What belongs to the problem and not to the optimizer: these reach every algorithm.
PROBLEM = (
    "gamma", "total_timesteps", "normalize_obs", "scale_rewards", "env_kwargs", "policy", "state_size", "hidden_sizes",
    "num_layers", "context",
)  # fmt: skip

ALGORITHMS: dict[str, dict[str, Any]] = {
    "ppo": {},
    # One gradient step on each short rollout: PPO's clip is idle, and its gradient is A2C's (Mnih et al. 2016). With the
    # usual λ of 0.95 instead of 1, Hopper ended at 1,786 instead of 991 (one seed).
    "a2c": {
        "num_steps": 8, "update_epochs": 1, "num_minibatches": 1, "learning_rate": 7e-4, "optimizer": "rmsprop",
        "norm_adv": False,
    },
    # Williams (1992): weights are returns (λ = 1), whose mean over the rollout is the baseline; values only close those
    # that the rollout's end cuts. Without that mean InvertedPendulum ended at 420, with it at 1,000 (seed 2).
    "reinforce": {
        "num_steps": 256, "update_epochs": 1, "num_minibatches": 1, "learning_rate": 3e-3, "gae_lambda": 1.0,
        "baseline": False,
    },
    # Shao et al. (2024), section 4.1: no critic in the weights, but the other responses to the same prompt.
    "grpo": {
        "num_envs": 64, "num_steps": 64, "update_epochs": 4, "num_minibatches": 8, "learning_rate": 1e-3,
        "gae_lambda": 1.0, "baseline": False, "norm_adv": False, "ent_coef": 0.01, "group_size": 8, "gamma": 1.0,
    },
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    # An environment we know nothing of: normalise whatever scale it has.
    "": {
        "num_steps": 256, "update_epochs": 10, "num_minibatches": 8, "normalize_obs": True, "scale_rewards": True,
        "ent_coef": 0.001,
    },
    "gymnasium.envs.toy_text": {"num_steps": 128, "update_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01},
    # Without the entropy bonus BipedalWalker's seeds lie from 122 to 308, with it from 221 to 283 (docs/results.md).
    "gymnasium.envs.box2d": {
        "num_envs": 16, "num_steps": 1024, "total_timesteps": 1_000_000, "update_epochs": 10, "num_minibatches": 32,
        "gamma": 0.999, "gae_lambda": 0.98, "ent_coef": 0.01, "normalize_obs": True, "scale_rewards": True,
    },
    # After Weng et al. (2022): advantages as they are, computed anew each epoch, and several environments, so that a
    # rollout is not one long episode. A gait pays over seconds: at 0.99 Swimmer stays below 50 and HalfCheetah learns
    # more slowly (benchmarks/results/ablation.md).
    "gymnasium.envs.mujoco": {
        "num_envs": 8, "num_steps": 256, "total_timesteps": 1_000_000, "update_epochs": 10, "num_minibatches": 32,
        "gamma": 0.995, "vf_coef": 0.25, "norm_adv": False, "recompute_advantages": True, "normalize_obs": True,
        "scale_rewards": True,
    },
    # A sequence is worth what it earns up to its end: nothing is discounted. Memory needs whole sequences to learn from, so
    # several fit into a rollout.
    "ppo.text": {
        "state_size": 128, "hidden_sizes": (64,), "num_envs": 64, "num_steps": 64, "update_epochs": 4,
        "num_minibatches": 8, "gamma": 1.0, "gae_lambda": 0.95, "learning_rate": 1e-3, "ent_coef": 0.01,
        "total_timesteps": 2_000_000,
    },
}  # fmt: skip

# A prompt and its one answer. Each place is rewarded by itself, so that no action is to be credited with what comes later.
# A critic soon expects nothing where the same wrong letter is always written, and then nothing drives it away: it learns
# slowly. To find a letter by its place takes attention (a GRU came to 0.56), and a hit is rare at first: large rollouts, and
# an entropy bonus that keeps looking for it.
STRINGS = FAMILIES["ppo.text"] | {
    "policy": "transformer", "context": 20, "num_layers": 2, "num_envs": 256, "num_steps": 32, "gamma": 0.0,
    "vf_coef": 0.05, "ent_coef": 0.05, "total_timesteps": 3_000_000,
}  # fmt: skip

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "CartPole": {
        "total_timesteps": 100_000, "num_steps": 16, "update_epochs": 10, "num_minibatches": 1, "learning_rate": 5e-3,
        "gamma": 0.98, "gae_lambda": 0.8,
    },
    "Acrobot": {
        "total_timesteps": 500_000, "num_envs": 16, "num_steps": 256, "update_epochs": 4, "num_minibatches": 16,
        "gae_lambda": 0.94, "normalize_obs": True, "scale_rewards": True,
    },
    "MountainCar": {
        "total_timesteps": 1_000_000, "num_envs": 16, "num_steps": 16, "update_epochs": 4, "num_minibatches": 4,
        "gae_lambda": 0.98, "normalize_obs": True, "scale_rewards": True,
    },
    "text/Copy": STRINGS,
    "text/Reverse": STRINGS,
    # To carry and to count repetitions takes a layer more, and to count them smaller steps: with 1e-3 Dedup ended at 0.98
    # after 6M tokens.
    "text/Add": STRINGS | {"num_layers": 3},
    "text/Dedup": STRINGS | {"num_layers": 3, "learning_rate": 5e-4, "total_timesteps": 4_000_000},
    # The next token does not depend on the guess: each is judged by itself, one temporal difference a token. Advantages as
    # they are, so that the entropy bonus is a temperature: normalised, the policy was sure of itself too early (42 % of
    # held-out characters instead of 45 % after 2M tokens, one seed).
    "text/NextToken": FAMILIES["ppo.text"] | {
        "gamma": 0.0, "gae_lambda": 0.0, "num_envs": 128, "learning_rate": 2e-3, "norm_adv": False, "ent_coef": 0.03,
        "total_timesteps": 4_000_000,
    },
    # What was said has to be found again, which takes attention. For a policy that was cloned first: the critic knows nothing
    # yet, and what it says destroys the clone in the first iterations, unless a small target_kl ends them early.
    "text/Dialogue": FAMILIES["ppo.text"] | {
        "policy": "transformer", "context": 64, "num_layers": 2, "num_envs": 128, "learning_rate": 1e-4, "target_kl": 0.01,
        "total_timesteps": 1_000_000,
    },
    # What is asked for is the critic: short episodes of γ 0.9, whose values it is to know within 2 %.
    "TrafficLight": {
        "total_timesteps": 50_000, "num_envs": 8, "num_steps": 64, "update_epochs": 4, "learning_rate": 3e-3, "gamma": 0.9,
        "vf_coef": 1.0,
    },
    "CarRacing": {"num_steps": 128, "update_epochs": 4, "ent_coef": 0.01, "total_timesteps": 1_000_000},
    "Pendulum": {
        "total_timesteps": 200_000, "num_envs": 4, "num_steps": 1024, "update_epochs": 10, "num_minibatches": 64,
        "learning_rate": 1e-3, "gamma": 0.9, "gae_lambda": 0.95, "scale_rewards": True,
    },
}  # fmt: skip


def preset(env_id: str, algorithm: str = "ppo", policy: str = "auto") -> tuple[str, Config]:
    """Return the preset's name and settings for an environment, an algorithm and a policy.

    Raises:
        UsageError: the environment is unknown or not installed.
    """
    entry = module_of(find_spec(env_id))
    family = next((name for name in FAMILIES if name and entry.startswith(name)), "")
    base = env_id.rpartition(":")[2].rpartition("-v")[0]
    tuned = (ENVIRONMENTS if base in ENVIRONMENTS else FAMILIES)[base if base in ENVIRONMENTS else family]
    if algorithm != "ppo":
        tuned = {name: value for name, value in tuned.items() if name in PROBLEM}
    settings = {"policy": policy} | tuned | ALGORITHMS[algorithm]
    if policy != "auto":
        settings["policy"] = policy
    if policy in ("gru", "transformer") and family != "ppo.text":  # whole segments fill few minibatches
        settings["num_minibatches"] = min(4, settings.get("num_minibatches", 4))
        settings["recompute_advantages"] = False  # it would start from states of the policy that collected
        # CartPole's 5e-3 is too steep for it.
        settings["learning_rate"] = min(2e-3, settings.get("learning_rate", Config.learning_rate))
    name = " + ".join([algorithm, base if base in ENVIRONMENTS else family.rpartition(".")[2] or "general"])
    return name, Config().replace({"env_id": env_id, "algorithm": algorithm} | settings)

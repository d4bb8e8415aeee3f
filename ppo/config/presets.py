"""Presets: the settings that an algorithm and an environment family change, each with its reason.

The algorithm's settings come first, then those of the environment or, if it has none, of its family. The latter are
tuned for PPO: the other algorithms take only those with the role problem, network or run.
"""

from typing import Any

from gymnasium.envs.registration import EnvSpec

from ppo.config.config import Config
from ppo.config.setting import names, schedules
from ppo.envs import find_spec, module_of

ALGORITHMS: dict[str, dict[str, Any]] = {
    "ppo": {},
    # One gradient step per short rollout: the clip never acts, so the gradient is A2C's (Mnih et al. 2016). λ is the
    # usual 0.95: Hopper's return ended at 1,786, with A2C's λ of 1 at 991 (one seed).
    "a2c": {
        "num_steps": 8, "update_epochs": 1, "num_minibatches": 1, "learning_rate": 7e-4, "optimizer": "rmsprop",
        "norm_adv": False,
    },
    # Williams (1992): the weights are returns (λ = 1), the baseline is their mean over the rollout, and values only
    # bootstrap truncated returns. InvertedPendulum's return ended at 1,000, without that mean at 420 (seed 2).
    "reinforce": {
        "num_steps": 256, "update_epochs": 1, "num_minibatches": 1, "learning_rate": 3e-3, "gae_lambda": 1.0,
        "baseline": False,
    },
    # Shao et al. (2024), section 4.1: the baseline is the other responses to the same prompt, not a critic.
    "grpo": {
        "num_envs": 64, "num_steps": 64, "update_epochs": 4, "num_minibatches": 8, "learning_rate": 1e-3, "vf_coef": 0.0,
        "gae_lambda": 1.0, "baseline": False, "norm_adv": False, "ent_coef": 0.01, "group_size": 8, "gamma": 1.0,
    },
    # Agarwal et al. (2024), on-policy distillation with the reverse divergence: the student learns at the states that it visits
    # itself. Nothing is left to a critic, and an entropy bonus would draw the student away from its teacher.
    "distill": {
        "num_envs": 64, "num_steps": 64, "update_epochs": 4, "num_minibatches": 8, "learning_rate": 1e-3, "reward": "none",
        "kl_coef": 1.0, "vf_coef": 0.0, "ent_coef": 0.0, "norm_adv": False, "clip_rewards": 0.0, "scale_rewards": False,
    },
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    # An unknown environment: normalise, since its scales are unknown.
    "": {
        "num_steps": 256, "update_epochs": 10, "num_minibatches": 8, "normalize_obs": True, "scale_rewards": True,
        "ent_coef": 0.001,
    },
    "gymnasium.envs.toy_text": {"num_steps": 128, "update_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01},
    # With the entropy bonus BipedalWalker's seeds range from 221 to 283, without it from 122 to 308 (docs/results/classic.md).
    "gymnasium.envs.box2d": {
        "num_envs": 16, "num_steps": 1024, "total_timesteps": 1_000_000, "update_epochs": 10, "num_minibatches": 32,
        "gamma": 0.999, "gae_lambda": 0.98, "ent_coef": 0.01, "normalize_obs": True, "scale_rewards": True,
    },
    # As in Weng et al. (2022), advantages are not normalised, and are recomputed in each epoch. With several
    # environments a rollout is not one long episode. A gait pays off over seconds: with γ = 0.99 Swimmer stays below 50
    # and HalfCheetah learns more slowly (docs/results/ablation.md). But while Hopper falls after 50 steps, a horizon of 200
    # teaches half of the seeds to stand instead of to hop, and Reacher's 50 steps and Pusher's 100 are better off with half
    # of them: the horizon follows the length of episodes (docs/results/mujoco.md).
    "gymnasium.envs.mujoco": {
        "num_envs": 8, "num_steps": 256, "total_timesteps": 1_000_000, "update_epochs": 10, "num_minibatches": 32,
        "gamma": "adaptive", "vf_coef": 0.25, "norm_adv": False, "recompute_advantages": True, "normalize_obs": True,
        "scale_rewards": True,
    },
    # Schulman et al. (2017), Table 5, as CleanRL's ppo_atari.py: 10M decisions are 40M frames. Episodes are whole games; a greedy
    # policy may never press FIRE and play on to the time limit, so evaluations sample. Eight games of at most 12,500 decisions
    # are at most a tenth of the decisions between two checkpoints.
    "ppo.envs.atari": {
        "num_envs": 8, "num_steps": 128, "total_timesteps": 10_000_000, "update_epochs": 4, "num_minibatches": 4,
        "learning_rate": 2.5e-4, "clip_coef": 0.1, "clip_vloss": True, "ent_coef": 0.01, "clip_rewards": 1.0,
        "eval_sampled": True, "eval_episodes": 8, "eval_max_steps": 12_500,
    },
    # The general settings with the learning rate of MAPPO (Yu et al. 2022) and the γ of MADDPG (Lowe et al. 2017); 48 places are whole
    # copies of 2, 3, 4, 6 or 8 agents. Episodes of MPE are cut after 25 steps, where values bootstrap from states that no rollout
    # goes on from: with γ = 0.99 simple_spread's team return rose from −78 to −59 and fell to −132 (seed 1 after 1.2M and 1.4M steps).
    "ppo.envs.pettingzoo": {
        "num_envs": 48, "num_steps": 100, "total_timesteps": 3_000_000, "update_epochs": 10, "num_minibatches": 4,
        "learning_rate": 7e-4, "gamma": 0.95, "ent_coef": 0.01, "normalize_obs": True, "scale_rewards": True,
    },
    # The settings of PureJaxRL (Lu et al. 2022) for these games, but for its clipped values; they suit one convolution as well. With
    # 1e-3 instead of 5e-3, Asterix's return after 500,000 steps was 1.5 instead of 3.2 (one seed).
    "minatar": {
        "num_envs": 64, "num_steps": 128, "total_timesteps": 5_000_000, "update_epochs": 4, "num_minibatches": 8,
        "learning_rate": 5e-3, "ent_coef": 0.01,
    },
    # The settings of torch-ac (rl-starter-files), with scaled rewards and without its clipped values. Most episodes pay nothing at
    # first: normalised advantages are then the critic's noise, and make the policy certain before it finds the goal. DoorKey-8x8 was
    # solved after 250,000 steps; with normalised advantages and raw rewards it was not after 300,000 (one seed).
    "minigrid": {
        "num_envs": 16, "num_steps": 128, "total_timesteps": 2_000_000, "update_epochs": 4, "num_minibatches": 8,
        "learning_rate": 1e-3, "ent_coef": 0.01, "norm_adv": False, "normalize_obs": True, "scale_rewards": True,
    },
    # The general settings for images: fewer epochs, an entropy bonus, and a frame of the size that the convolutions are made for.
    "vizdoom": {
        "num_steps": 128, "update_epochs": 4, "ent_coef": 0.01, "resize": 84, "normalize_obs": True, "scale_rewards": True,
    },
    # The value of a sequence is its whole reward, so γ is 1. A recurrent policy learns from whole sequences, so a rollout
    # has room for several.
    "ppo.text": {
        "state_size": 128, "hidden_sizes": (64,), "num_envs": 64, "num_steps": 64, "update_epochs": 4,
        "num_minibatches": 8, "gamma": 1.0, "gae_lambda": 0.95, "learning_rate": 1e-3, "ent_coef": 0.01,
        "total_timesteps": 2_000_000,
    },
}  # fmt: skip

# One correct answer per prompt. Each position has its own reward, so an action gets no credit for later ones (γ = 0). If
# the policy always writes the same wrong letter at a position, the critic soon predicts its zero reward and the gradient
# vanishes; so the critic learns slowly. Finding a letter by its position takes attention (a GRU reached 0.56). A hit is
# rare at first, so rollouts are large, and an entropy bonus keeps the policy exploring.
STRINGS = FAMILIES["ppo.text"] | {
    "policy": "transformer", "context": 20, "num_layers": 2, "num_envs": 256, "num_steps": 32, "gamma": 0.0,
    "vf_coef": 0.05, "ent_coef": 0.05, "total_timesteps": 3_000_000,
}  # fmt: skip

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "CartPole": {
        "total_timesteps": 100_000, "num_steps": 16, "update_epochs": 10, "num_minibatches": 1, "learning_rate": 5e-3,
        "gamma": 0.98, "gae_lambda": 0.8,
    },
    # The best of 25 trials of `ppo tune` (docs/howto/tune.md). With 16 × 256 rows, 4 epochs, γ 0.99, 3e-4 and no
    # bonus, the return ended at −84.3 instead of −74.7 (seeds 1 to 5).
    "Acrobot": {
        "total_timesteps": 500_000, "num_envs": 16, "num_steps": 64, "update_epochs": 10, "num_minibatches": 16, "learning_rate": 8e-4,
        "gamma": 0.995, "gae_lambda": 0.94, "ent_coef": 0.001, "normalize_obs": True, "scale_rewards": True,
    },
    "MountainCar": {
        "total_timesteps": 1_000_000, "num_envs": 16, "num_steps": 16, "update_epochs": 4, "num_minibatches": 4,
        "gae_lambda": 0.98, "normalize_obs": True, "scale_rewards": True,
    },
    "text/Copy": STRINGS,
    "text/Reverse": STRINGS,
    # Carrying digits and counting repetitions take another layer. Counting also takes smaller steps: with a learning
    # rate of 1e-3 Dedup ended at 0.98 after 6M tokens.
    "text/Add": STRINGS | {"num_layers": 3},
    "text/Dedup": STRINGS | {"num_layers": 3, "learning_rate": 5e-4, "total_timesteps": 4_000_000},
    # The next token does not depend on the guess, so each is judged alone, by one temporal difference. Advantages are not
    # normalised, so that the entropy bonus acts as a temperature: with normalisation the policy became certain too early
    # (42 % of held-out characters instead of 45 % after 2M tokens, one seed).
    "text/NextToken": FAMILIES["ppo.text"] | {
        "gamma": 0.0, "gae_lambda": 0.0, "num_envs": 128, "learning_rate": 2e-3, "norm_adv": False, "ent_coef": 0.03,
        "total_timesteps": 4_000_000,
    },
    # Finding earlier turns takes attention. These settings are for a pretrained policy: its critic is untrained and would
    # destroy the policy in the first iterations, unless a small target_kl ends them early.
    "text/Dialogue": FAMILIES["ppo.text"] | {
        "policy": "transformer", "context": 64, "num_layers": 2, "num_envs": 128, "learning_rate": 1e-4, "target_kl": 0.01,
        "total_timesteps": 1_000_000,
    },
    # A search for one expression, so it is risk-seeking, with one gradient step per rollout as in Petersen et al. (2021). Plain PPO
    # became certain of an expression with the return 0.76: its entropy was 0.01 after 1.2M tokens (Nguyen-2, one seed). Nothing reads
    # the values, and the critic's gradient would disturb the GRU that it shares with the actor. With half the rollout, half of the runs
    # stayed at an expression with a return of up to 0.98 instead of Nguyen-4 (docs/results/formulas.md).
    "text/Formulas": FAMILIES["ppo.text"] | {
        "state_size": 32, "hidden_sizes": (32,), "num_envs": 128, "num_steps": 128, "update_epochs": 1, "num_minibatches": 1,
        "learning_rate": 3e-3, "anneal_lr": False, "ent_coef": 0.005, "norm_adv": False, "risk_quantile": 0.05,
        "vf_coef": 0.0, "total_timesteps": 3_000_000,
    },
    # Both are for a pretrained policy, which is good already: small steps over large rollouts, and no entropy bonus, which would undo
    # what likelihood has learnt. The critic is slow to learn: with 2 epochs over 4 minibatches Pronounce's explained nothing after
    # 250,000 tokens (22 % with these settings), and Molecules' QED was 0.754 instead of 0.802 after 500,000 (one seed).
    "text/Pronounce": FAMILIES["ppo.text"] | {
        "state_size": 256, "num_envs": 128, "num_steps": 128, "learning_rate": 3e-4, "ent_coef": 0.0,
        "eval_env_kwargs": {"part": "held-out"},
    },
    "text/Molecules": FAMILIES["ppo.text"] | {
        "state_size": 256, "num_envs": 128, "num_steps": 128, "learning_rate": 3e-4, "ent_coef": 0.0, "gae_lambda": 1.0,
    },
    # This task tests the critic: its values must be within 2 % in short episodes with γ = 0.9.
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


def preset(env_id: str, algorithm: str = "ppo", policy: str = "auto") -> Config:
    """Return the settings of the preset for an environment, an algorithm and a policy.

    Raises:
        UsageError: the environment is unknown or not installed.
    """
    spec = find_spec(env_id)
    own, family = _tables(env_id, spec)
    tuned = ENVIRONMENTS[own] if own else FAMILIES[family]
    if algorithm != "ppo":
        tuned = {name: tuned[name] for name in names(Config, "problem", "network", "run") if name in tuned}
    settings = {"policy": policy} | tuned | ALGORITHMS[algorithm]
    if policy != "auto":
        settings["policy"] = policy
    if policy in ("gru", "transformer") and family != "ppo.text":  # whole sequences fill few minibatches
        settings["num_minibatches"] = min(4, settings.get("num_minibatches", 4))
        settings["recompute_advantages"] = False  # the stored states are of the policy that collected the rollout
        largest = max(point.value for point in schedules(Config().replace(settings))["learning_rate"].points)
        settings |= {"learning_rate": 2e-3} if largest > 2e-3 else {}  # 5e-3 is too large
    return Config().replace({"env_id": env_id, "algorithm": algorithm} | settings)


def preset_name(env_id: str, algorithm: str = "ppo") -> str:
    """Return what the preset of an environment and an algorithm is called, such as "ppo + mujoco"; raises as `preset`."""
    own, family = _tables(env_id, find_spec(env_id))
    return f"{algorithm} + {own or family.rpartition('.')[2] or 'general'}"


def _tables(env_id: str, spec: EnvSpec) -> tuple[str, str]:
    """Return the key of an environment in `ENVIRONMENTS`, "" if it has none, and the key of its family in `FAMILIES`."""
    entry = module_of(spec)
    base = env_id.rpartition(":")[2].rpartition("-v")[0]
    return base if base in ENVIRONMENTS else "", next(
        (name for name in FAMILIES if name and entry.startswith(name)), ""
    )

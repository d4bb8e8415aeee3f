"""Every setting of a run: one frozen dataclass, one field per setting."""

# ruff: noqa: RUF009 (`setting` returns a dataclass field)

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ppo.config.effects import check_needs, check_together
from ppo.config.lengths import sequence_length
from ppo.config.memory import check_memory
from ppo.config.penalty import check_penalty
from ppo.config.schedule import GAMMA, LEARNING_RATE, Scheduled
from ppo.config.setting import check_changeable, check_ranges, names, read_schedules, setting
from ppo.config.values import convert, plain
from ppo.config.words import EnvKwargs, Name, Wraps, default_hint, override
from ppo.envs.critic_key import CRITIC_KEY

Algorithm = Literal["ppo", "a2c", "reinforce", "grpo", "distill"]
EnvId = Annotated[Positional[str], arg(metavar="[ENV_ID]")]


@dataclass(frozen=True)
class Config:
    """The settings of a run, named as in Gymnasium and CleanRL.

    A field is everything there is to a setting: flag, key in TOML, type, help, range, role, and when it has an effect.
    """

    env_id: EnvId = setting("CartPole-v1", "problem", main=True, fixed=True)
    """Gymnasium id, or `package.module:EnvId-v0` for an environment of your own."""
    algorithm: Algorithm = setting("ppo", "update", main=True, fixed=True)
    """Preset of the training loop. a2c: one epoch over one minibatch. reinforce: returns instead of advantages. grpo: returns
    relative to those of other responses to the same prompt (text). distill: no reward, the reference policy is the teacher."""
    policy: str = setting("auto", "network", main=True)
    """auto, mlp, cnn, impala, gru, transformer, or `package.module:Class`. auto: the preset's policy if it has one,
    otherwise cnn for images, gru for text, mlp for everything else."""
    total_timesteps: int = setting(500_000, "problem", main=True, low=1)
    """Budget: decisions of the policy, summed over environments. Never exceeded."""
    seed: int = setting(1, "run", main=True, fixed=True, low=0)
    """Seed of environments, action sampling, minibatch shuffling and initial weights."""
    num_envs: int = setting(8, "rollout", main=True, low=1)
    """N, the number of environments stepped together."""
    num_steps: int = setting(128, "rollout", main=True, low=1)
    """T, the steps of each environment between two updates."""
    learning_rate: Scheduled = setting(3e-4, "update", main=True, positive=True, adaptive=LEARNING_RATE)
    """Step size of the optimizer: a number, which anneal_lr decreases; a schedule, as "3e-4 -> 1e-5 cosine at 0.8"; or adaptive,
    which starts at 3e-4 and keeps approx_kl near target_kl."""

    env_kwargs: EnvKwargs = setting({}, "problem")
    """Keyword arguments of the environment, for example `--env-kwargs continuous true`, or `continuous=true`. Values are
    read as in TOML or JSON; other words are text."""
    wrap: Wraps = setting((), "problem", fixed=True)
    """Wrapper around each environment: `package.module:Class` and its arguments, for example `--wrap
    gymnasium.wrappers:FrameStackObservation stack_size 4`. Repeat the flag for more; the first one is innermost."""
    max_episode_steps: int = setting(0, "problem", low=0)
    """Steps of the environment, inside its wrappers, after which Gymnasium truncates an episode. 0: the registered limit."""
    gamma: Scheduled = setting(0.99, "problem", low=0, high=1, adaptive=GAMMA)
    """Discount factor γ. adaptive: 1 / (1 − γ), the steps that it looks ahead, is the mean length of episodes, or half of a time limit."""
    reward: Literal["env", "none"] = setting("env", "update", needs="reference")
    """none: learn nothing from the environment's rewards, only the divergence from the reference policy. They are still logged."""
    clip_rewards: float = setting(0.0, "problem", low=0)
    """Clip rewards to ± this number in training, as Atari's ± 1. 0: no clipping. Logged returns stay raw."""
    scale_rewards: bool = setting(False, "problem", fixed=True)
    """Divide rewards by the running standard deviation of the discounted return. Logged returns stay raw."""
    resize: int = setting(0, "problem", fixed=True, low=0)
    """Height and width to which larger images are made smaller, 84 for example. 0: as they are."""
    critic_key: Name = setting(CRITIC_KEY, "problem", fixed=True)
    """Key of a Dict in the observation that the critic alone sees, if there is one. "": actor and critic see every key."""

    anneal_lr: bool = setting(True, "update")
    """Decrease a learning rate that is one number linearly to 0 over the budget, as "3e-4 -> 0" does."""
    optimizer: Literal["adam", "rmsprop"] = setting("adam", "update", fixed=True)
    """adam (eps 1e-5) as in PPO, or rmsprop (alpha 0.99, eps 1e-5) as in A2C."""
    max_grad_norm: float = setting(0.5, "update", low=0)
    """Largest global norm of the gradients; they are scaled down to it. 0: no clipping."""
    update_epochs: int = setting(4, "update", low=1)
    """Passes over each rollout."""
    num_minibatches: int = setting(4, "update", low=1)
    """Minibatches of one pass. Each is one optimizer step."""
    seq_len: int = setting(0, "update", low=0)
    """L, the length of a training sequence, which must divide num_steps. 0: 1, or as long as possible for recurrent policies."""
    gae_lambda: float = setting(0.95, "update", low=0, high=1)
    """λ of generalised advantage estimation. 1: Monte Carlo; 0: one-step temporal difference."""
    baseline: bool = setting(True, "update")
    """Weight the policy gradient by advantages. Off: by returns; the critic then only bootstraps truncated returns."""
    group_size: int = setting(1, "update", low=1)
    """Responses per prompt (GRPO's G): this many neighbouring environments share a prompt, and their returns are normalised
    within the group. Text only."""
    risk_quantile: float = setting(0.0, "update", low=0, high=1)
    """ε: train only on the share ε of episodes with the highest returns, by their distance to the quantile. 0: on all."""
    recompute_advantages: bool = setting(False, "update")
    """Recompute values and advantages in each epoch instead of once per iteration."""
    norm_adv: bool = setting(True, "update")
    """Normalise advantages to mean 0 and standard deviation 1 in each minibatch."""
    clip_coef: Scheduled = setting(0.2, "update", positive=True)
    """ε: the probability ratio is clipped to 1 ± ε."""
    clip_vloss: bool = setting(False, "update")
    """Clip the change of the value to ± clip_coef, as the original implementation does."""
    ent_coef: Scheduled = setting(0.0, "update", low=0)
    """Weight of the entropy bonus; a schedule is for example "0.01 -> 0 at 0.5"."""
    target_entropy: float | Literal["off"] = setting("off", "update")
    """Adapt ent_coef to keep the policy's mean entropy, in nats, at or above this. off: ent_coef as it is."""
    vf_coef: Scheduled = setting(0.5, "update", low=0)
    """Weight of the value loss."""
    target_kl: float = setting(0.0, "update", low=0)
    """End an iteration's epochs when approx_kl exceeds this; an adaptive learning_rate aims at it instead. 0: no target."""
    critic_warmup: int = setting(0, "update", fixed=True, low=0)
    """Iterations at the start in which only the critic learns, not what it shares with the actor; after them, Adam starts anew."""

    hidden_sizes: Annotated[tuple[int, ...], arg(help_behavior_hint=default_hint)] = setting((), "network", low=1)
    """Widths of the hidden layers. All but mlp use only the last. None: 64 64 for mlp, 64 for gru and transformer; for cnn
    512, or 128 for small images, and 256 for impala."""
    activation: Literal["tanh", "relu", "silu"] = setting("tanh", "network")
    """Activation of the hidden layers."""
    normalize_obs: bool = setting(False, "network")
    """Normalise observations by running statistics, which are part of the policy."""
    state_size: int = setting(64, "network", low=1)
    """Width of one layer of the gru policy's state."""
    num_layers: int = setting(1, "network", low=1)
    """Layers of the gru or transformer."""
    context: int = setting(32, "network", low=1)
    """Number of past steps that the transformer attends to."""
    separate_critic: bool = setting(False, "network")
    """Give the critic of a gru or transformer its own memory. mlp always has a separate critic, cnn never."""
    feedforward_critic: bool = setting(False, "network")
    """Give the critic of a gru or transformer no memory: it reads each observation by itself."""
    convolutions: Literal["cnn", "impala"] = setting("cnn", "network")
    """The policy whose convolutions a gru or transformer has for images."""
    action_bound: Literal["clip", "tanh"] = setting("clip", "network", acts_on="gaussian")
    """Bounded Box actions: clip the Gaussian's sample to the bounds, or squash it by tanh with the exact log-probability."""

    log_std_init: float | Literal["auto"] = setting("auto", "sampling", fixed=True, acts_on="gaussian", low=-10, high=2)
    """Initial log standard deviation of Box actions, in units of half a bounded range. auto: −½ log of their number."""
    temperature: float = setting(1.0, "sampling", acts_on="categorical", low=1e-6)
    """Divides the logits of discrete actions, in sampling and in the loss."""
    top_k: int = setting(0, "sampling", acts_on="categorical", low=0)
    """Sample only from the k most probable discrete actions. 0: from all."""
    top_p: float = setting(1.0, "sampling", acts_on="categorical", positive=True, high=1)
    """Sample only from the most probable discrete actions that together have this probability. 1: from all."""

    init_from: Name = setting("", "reference", fixed=True)
    """Run folder whose latest policy is the initial policy. `ppo train` also takes its network settings and its last gamma."""
    reference: Name = setting("", "reference")
    """Run folder of the reference policy for the KL penalty."""
    kl_coef: Scheduled = setting(0.1, "reference", needs="reference", low=0)
    """β: weight of the KL penalty; a number or a schedule."""
    kl_in: Literal["auto", "rewards", "loss"] = setting("auto", "reference", needs="reference")
    """Subtract β (log π − log π_ref) of each action from its reward, or add β KL(π ‖ π_ref) of each state to the loss. auto:
    loss with group_size or without a reward, otherwise rewards."""
    kl_target: float = setting(0.0, "reference", needs="reference", low=0)
    """Adapt kl_coef to keep the KL divergence of an episode near this many nats (Ziegler et al. 2019). 0: kl_coef as it is."""
    kl_horizon: int = setting(10_000, "reference", needs="kl_target", low=1)
    """Episodes over which kl_coef is adapted."""

    exp_name: Name = setting("", "run", fixed=True)
    """Second part of the run folder's name. None: the algorithm."""
    runs_dir: Path = setting(Path("runs"), "run", fixed=True)
    """Folder that holds the run folders."""
    checkpoint_every: int = setting(0, "run", low=0)
    """Iterations between checkpoints. Each evaluates the policy and starts new episodes. 0: at most ten checkpoints."""
    keep_checkpoints: bool = setting(False, "run")
    """Keep every checkpoint, named by its iteration, not only the latest and the best."""
    eval_episodes: int = setting(10, "run", low=0)
    """Episodes of the evaluation at a checkpoint. 0: no evaluations."""
    eval_sampled: bool = setting(False, "run")
    """Sample actions in evaluations, as in training, instead of taking the mode."""
    eval_env_kwargs: EnvKwargs = setting({}, "run")
    """Keyword arguments of the environment in evaluations, which override env_kwargs; the value null removes one."""
    eval_max_steps: int = setting(0, "run", low=0)
    """Steps after which an evaluation cuts an episode. 0: the environment's time limit; without one, the run's steps of one
    environment, from 1,000 to 27,000."""

    stop_at: Name = setting("", "run")
    """End the run when a logged scalar reaches a value: `--stop-at "eval/episodic_return >= 475"`; <= for a fall."""
    log_info: Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint=default_hint)] = setting((), "run")
    """Log these numbers of the last info of an episode as `episode/NAME` and `eval/NAME`, for example `is_success`."""

    track: Literal["none", "wandb", "mlflow", "trackio"] = setting("none", "run")
    """Service that receives what TensorBoard does: Weights & Biases, MLflow or Trackio, set by its own environment variables."""

    vectorization: Literal["auto", "sync", "async", "vector_entry_point", "envpool"] = setting("auto", "machine")
    """How environments are vectorised. auto: the environment's own vector entry point if it has one, otherwise sync or
    async, whichever is faster in a short trial."""
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "machine")
    """Device of the policy. auto: cuda if there is one and the policy has convolutions, otherwise cpu."""
    compile: Literal["auto", "on", "off"] = setting("auto", "machine")
    """Compile the policy and the optimizer step (AOTInductor; CUDA graphs on a GPU). auto: only if the run is long enough
    to repay the compile time."""
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "machine")
    """Number format inside the networks (autocast). auto: float32."""
    threads: int | Literal["auto"] = setting("auto", "machine", low=1, high=1024)
    """Torch's CPU threads. auto: enough for the work of one minibatch. On a machine that is busy, 1 can be twice as fast."""

    def __post_init__(self) -> None:
        read_schedules(self)

    @property
    def batch_size(self) -> int:
        """Rows of a rollout, N · T."""
        return self.num_envs * self.num_steps

    def validate(self) -> None:
        """Check ranges, divisibility, and settings that need each other.

        Raises:
            UsageError: the first setting that cannot be used, in one sentence.
        """
        check_ranges(self)
        check_penalty(self)
        check_needs(self)
        check_together(self)
        sequence_length(self, recurrent=False)
        check_memory(self)

    def policy_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a policy's class, without those that are left to the policy."""
        options = {name: getattr(self, name) for name in names(self, "network", "sampling") if name != "policy"}
        return {name: value for name, value in options.items() if value != ()}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return plain(vars(self))

    def replace(self, settings: dict[str, Any], source: str = "settings") -> "Config":
        """Return a copy with some settings changed.

        Args:
            settings: JSON or TOML values by name.
            source: where they were read, for the error.

        Raises:
            UsageError: an unknown key, a value of another type, or a number out of range.
        """
        values = convert(settings, type(self), source)
        check_ranges(self, values, source)
        return dataclasses.replace(self, **values)

    def change(self, settings: dict[str, Any]) -> "Config":
        """Return a copy with some settings changed, as `replace` does, for a run that is resumed; None removes an argument.

        Raises:
            UsageError: see `replace`; or the setting is fixed when a run begins.
        """
        check_changeable(self, settings)
        arguments = override(self.env_kwargs, settings.get("env_kwargs", {}))
        return self.replace(settings | {"env_kwargs": arguments})

"""Every setting of a run in one frozen dataclass; `tyro` turns it into command-line flags."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from ppo.config.values import convert
from ppo.errors import UsageError

POLICY_OPTIONS = (
    "hidden_sizes", "activation", "state_size", "normalize_obs", "action_bound", "log_std_init", "temperature", "top_k",
    "top_p", "num_layers", "context", "separate_critic",
)  # fmt: skip
AUTO = {"threads": 1, "log_std_init": 0.0}  # settings that are a number of this kind, or "auto"
Algorithm = Literal["ppo", "a2c", "reinforce", "grpo"]
EnvKwarg = bool | int | float | str


@dataclass(frozen=True)
class Config:
    """What is trained, where, and how. Names follow Gymnasium and CleanRL; a preset fills in what is not given."""

    env_id: Annotated[Positional[str], arg(metavar="[ENV_ID]")] = "CartPole-v1"
    """Gymnasium id, or `package.module:EnvId-v0` for an environment of your own."""
    algorithm: Algorithm = "ppo"
    """Preset of the one loop: A2C is one epoch over one minibatch, REINFORCE weighs by returns, GRPO by returns
    relative to those of the same prompt."""
    policy: str = "auto"
    """auto, mlp, cnn, gru, transformer, or `package.module:Class`; auto: the preset's, or cnn for
    images, gru for text, else mlp."""
    seed: int = 1
    """Seed of environments, sampling, shuffling and initialisation."""
    exp_name: str = ""
    """Second part of the run folder's name; empty: the algorithm."""
    runs_dir: Path = Path("runs")
    """Folder in which the run's own folder is made."""

    total_timesteps: int = 500_000
    """Budget in decisions of the policy (steps summed over environments); never exceeded."""
    num_envs: int = 8
    """N: environments stepped together."""
    num_steps: int = 128
    """T: steps of each environment between two updates."""
    env_kwargs: Annotated[dict[str, EnvKwarg], arg(metavar="KEY VALUE ...")] = field(default_factory=dict)
    """Keyword arguments of the environment: `--env-kwargs continuous True`."""
    vectorization: Literal["auto", "sync", "async", "vector_entry_point", "envpool"] = "auto"
    """How environments are vectorised; auto takes the environment's own vector entry point, else the faster by trial."""

    learning_rate: float = 3e-4
    """Step size of the optimizer at the start."""
    anneal_lr: bool = True
    """Let the learning rate fall linearly to zero over the budget."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam (eps 1e-5) for PPO; RMSprop (alpha 0.99, eps 1e-5) is what A2C was published with."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm; 0 switches clipping off."""
    update_epochs: int = 4
    """Passes over each rollout."""
    num_minibatches: int = 4
    """Minibatches, and so optimizer steps, of one pass."""
    seq_len: int = 0
    """L: steps in a training sequence, a divisor of num_steps; 0: 1 without memory, the longest that fits with."""

    gamma: float = 0.99
    """Discount factor."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation; 1 is Monte Carlo, 0 is one-step temporal difference."""
    baseline: bool = True
    """Weigh log-probabilities by advantages; off: by returns, and values only close returns that were cut."""
    group_size: int = 1
    """Environments side by side that get the same prompt, whose weights are normalised among them (text; GRPO)."""
    recompute_advantages: bool = False
    """Compute values and advantages anew at each epoch instead of once an iteration."""
    norm_adv: bool = True
    """Normalise advantages to mean 0 and deviation 1 within each minibatch."""
    clip_coef: float = 0.2
    """Epsilon: the probability ratio is clipped to 1 ± this."""
    clip_vloss: bool = False
    """Clip the value's change to ± clip_coef, as the original implementation did."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    target_kl: float = 0.0
    """Stop the epochs of an iteration when approx_kl exceeds this; 0 never stops."""

    normalize_obs: bool = False
    """Normalise observations by running statistics, which are kept inside the policy."""
    scale_rewards: bool = False
    """Divide rewards by the running deviation of the discounted return (logged returns stay raw)."""
    hidden_sizes: tuple[int, ...] = ()
    """Widths of the hidden layers (but for mlp, the last one counts); empty: mlp 64 64, cnn 512, else 64."""
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    """Activation of the hidden layers."""
    state_size: int = 64
    """Width of a layer of the gru policy's state."""
    num_layers: int = 1
    """Layers of the gru or the transformer."""
    context: int = 32
    """Steps back that the transformer sees."""
    separate_critic: bool = False
    """Give the critic of a gru or transformer policy a memory of its own; mlp always does, cnn never."""
    action_bound: Literal["clip", "tanh"] = "clip"
    """Bounded Box actions: clip the Gaussian's sample to the bounds, or squash it with exact log-probability."""
    log_std_init: float | Literal["auto"] = "auto"
    """Initial log standard deviation of Box actions, in units of half their range where they are bounded; auto: −½ log of
    how many numbers an action has, so that the noise of all together has size 1."""
    temperature: float = 1.0
    """Divides the logits of choices; what is trained is what is sampled."""
    top_k: int = 0
    """Sample only among the k most probable entries of a choice; 0: among all."""
    top_p: float = 1.0
    """Sample only among the most probable entries that together have this probability; 1: among all."""

    init_from: str = ""
    """Folder of a run (of `ppo pretrain`, say) whose latest policy is the start; `ppo train` takes its network's settings too."""
    reference: str = ""
    """Folder of a run whose latest policy the trained one is kept near; empty: none."""
    kl_coef: float = 0.1
    """Beta: weight of log π − log π_ref of each action, docked from its reward."""
    kl_target: float = 0.0
    """Nats an episode to which kl_coef is adapted (Ziegler et al. 2019); 0: kl_coef is fixed."""
    kl_horizon: int = 10_000
    """Episodes over which kl_coef is adapted."""

    checkpoint_every: int = 0
    """Iterations between checkpoints, each with an evaluation and new episodes; 0: ten in a run, or fewer."""
    keep_checkpoints: bool = False
    """Keep every checkpoint by its iteration, not only the latest and the best."""
    eval_episodes: int = 10
    """Episodes of an evaluation at a checkpoint (deterministic policy); 0 switches evaluations off."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the policy lives; auto takes cuda for convolutions, where there is one, else cpu."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Run the policy and the optimizer step as machine code; auto does where that wins back compiling it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers inside the networks; bfloat16 (autocast) is for large networks on hardware that is built for it."""
    threads: int | Literal["auto"] = "auto"
    """Threads of torch on the CPU; auto takes as many cores as a minibatch has work for."""

    @property
    def batch_size(self) -> int:
        """Rows of a rollout, N · T."""
        return self.num_envs * self.num_steps

    def work(self) -> tuple[int, int, int]:
        """Return the optimizer steps and the vector steps of the whole run, and through how many layers of attention."""
        iterations, layers = self.total_timesteps // self.batch_size, self.num_layers * (self.policy == "transformer")
        return iterations * self.update_epochs * self.num_minibatches, iterations * self.num_steps, layers

    def validate(self) -> None:
        """Check ranges and divisibility.

        Raises:
            UsageError: one sentence with the first setting that is out of range.
        """
        at_least = {"total_timesteps": 1, "num_envs": 1, "num_steps": 1, "update_epochs": 1, "num_minibatches": 1}
        at_least |= {"state_size": 1, "seed": 0, "seq_len": 0, "checkpoint_every": 0, "eval_episodes": 0, "threads": 1}
        at_least |= {"top_k": 0, "kl_horizon": 1, "num_layers": 1, "context": 1, "group_size": 1}
        for name, low in at_least.items():
            if getattr(self, name) != "auto" and getattr(self, name) < low:
                raise UsageError(f"{name} = {getattr(self, name)} is too small; choose at least {low}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} = {getattr(self, name)} is out of range; choose a number from 0 to 1")
        for name in ("learning_rate", "clip_coef", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} = {getattr(self, name)} is out of range; choose a positive number")
        for name in ("ent_coef", "vf_coef", "max_grad_norm", "target_kl", "kl_coef", "kl_target"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} = {getattr(self, name)} is out of range; choose 0 or a positive number")
        if self.kl_target and not self.reference:
            raise UsageError(f"kl_target = {self.kl_target} is a distance from a reference; name it with --reference")
        if self.group_size > 1 and self.gamma != 1:
            raise UsageError(f"group_size = {self.group_size} compares whole returns; gamma = {self.gamma} must be 1")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p = {self.top_p} is out of range; choose a number above 0, up to 1")
        if self.threads != "auto" and self.threads > 1024:
            raise UsageError(f"threads = {self.threads} is too large; choose at most the number of cores")
        if set(self.exp_name) & set("/\\:"):
            raise UsageError(f"exp_name = {self.exp_name!r} is part of a folder's name; leave out slashes and colons")
        if self.log_std_init != "auto" and not -10 <= self.log_std_init <= 2:
            raise UsageError(f"log_std_init = {self.log_std_init} is out of range; choose a number from -10 to 2")
        if any(size < 1 for size in self.hidden_sizes):
            raise UsageError(f"hidden_sizes = {self.hidden_sizes} is out of range; give widths of at least 1")
        if self.total_timesteps < self.batch_size:
            raise UsageError(
                f"total_timesteps = {self.total_timesteps} is less than one rollout of num_envs * num_steps = "
                f"{self.batch_size}; raise the budget or lower num_envs or num_steps"
            )
        self.sequence_length(recurrent=False)

    def sequence_length(self, recurrent: bool) -> int:
        """Return L: `seq_len`, or what 0 stands for.

        Without memory that is 1; with memory, the longest divisor of T that leaves every minibatch whole sequences.

        Raises:
            UsageError: the sizes do not divide.
        """
        if self.batch_size % self.num_minibatches:
            raise UsageError(
                f"num_envs * num_steps = {self.batch_size} does not divide into num_minibatches = "
                f"{self.num_minibatches}; choose a divisor of {self.batch_size}"
            )
        if self.seq_len == 0:
            fits = (n for n in range(self.num_steps, 0, -1) if self._divides(n))
            return next(fits) if recurrent else 1
        if not self._divides(self.seq_len):
            raise UsageError(
                f"seq_len = {self.seq_len} does not divide num_steps = {self.num_steps} into sequences that fill "
                f"num_minibatches = {self.num_minibatches} evenly; choose another divisor of {self.num_steps}"
            )
        return self.seq_len

    def _divides(self, length: int) -> bool:
        return self.num_steps % length == 0 and (self.batch_size // length) % self.num_minibatches == 0

    def policy_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a policy's class; those left to the policy are missing."""
        options = {name: getattr(self, name) for name in POLICY_OPTIONS}
        return {name: value for name, value in options.items() if value != ()}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self) | {"runs_dir": str(self.runs_dir), "hidden_sizes": list(self.hidden_sizes)}

    def replace(self, settings: dict[str, Any], source: str = "settings") -> "Config":
        """Return a copy with `settings` (JSON or TOML values) in place.

        Raises:
            UsageError: an unknown key or a value of another type; `source` names where it stood.
        """
        return dataclasses.replace(self, **convert(settings, self, AUTO, source))

"""Coefficients: the numbers of an update that may change from iteration to iteration, by schedule or by its statistics."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from ppo.config import Config
from ppo.config.schedule import Point, Schedule
from ppo.config.setting import schedules
from ppo.errors import UsageError
from ppo.loop.advantages import count_ends
from ppo.loop.losses import Coefs
from ppo.loop.rollout import Rollout
from ppo.run.checkpoint import fits

FACTOR = 1.5  # of the learning rate, as in rsl_rl, skrl and rl_games
STEP, LARGEST_ERROR = 0.1, 1.0  # of log ent_coef for each nat of the entropy's error, and its clip in nats
ENT_COEF = 1e-6, 1.0  # bounds of an ent_coef that adapts
EPISODES = 10  # of each environment, which a gamma that adapts remembers


class Coefficients:
    """The discount, and, as tensors whose values change while compiled code reads them, the learning rate and the loss's coefficients.

    Args:
        config: the settings.
        vector: of the policy, for the device and the learning rate's dtype.
    """

    def __init__(self, config: Config, vector: Tensor) -> None:
        self.config, self.schedules = config, schedules(config)
        rate = self.schedules["learning_rate"]
        if config.anneal_lr and rate.constant:
            self.schedules["learning_rate"] = Schedule((*rate.points, Point(0.0, share=1.0)))
        self.learning_rate = vector.new_zeros(())
        self.loss = Coefs(*(vector.new_zeros((), dtype=torch.float64) for _ in Coefs._fields))
        names = [name for name, schedule in self.schedules.items() if schedule.adapts]
        names += ["ent_coef"] if config.target_entropy != "off" else []
        self.adapted = {name: torch.zeros((), dtype=torch.float64) for name in names}
        self.restart(self.adapted)
        self.gamma = self.schedules["gamma"].at(0.0)

    @property
    def changing(self) -> list[str]:
        """Return the names of the learning rate and of what may change during the run."""
        may = {name for name, schedule in self.schedules.items() if not schedule.constant} | self.adapted.keys()
        return [name for name in self.schedules if name in may | {"learning_rate"}]

    @property
    def largest_kl(self) -> float:
        """Return the KL divergence that ends an iteration's epochs; 0: none does."""
        return 0.0 if "learning_rate" in self.adapted else self.config.target_kl

    def set(self, spent: float) -> dict[str, float]:
        """Set the values for an update, and return the learning rate and those that change during the run, by name.

        Args:
            spent: share of the budget.
        """
        values = {name: schedule.at(spent) for name, schedule in self.schedules.items()}
        values |= {name: self.schedules[name].within(float(x)) for name, x in self.adapted.items()}
        self.gamma = values["gamma"]
        self.learning_rate.fill_(values["learning_rate"])
        for name, x in self.loss._asdict().items():
            x.fill_(values[name])
        return {name: values[name] for name in self.changing}

    def follow(self, rollout: Rollout) -> None:
        """Adapt to a rollout (T, N) before the update from it."""
        if "gamma" in self.adapted:
            self.adapted["gamma"].fill_(self._gamma(rollout))

    def _gamma(self, rollout: Rollout) -> float:
        """Return γ whose horizon h = 1 / (1 − γ) is the mean length of episodes: h ← (k N h + decisions) / (k N + ends), k = EPISODES.

        A time limit counts as two ends, so that values look half as far as it: beyond the limit, they bootstrap from states that no
        rollout goes on from. The bounds hold what is used, not the mean: a horizon held at its upper bound would fall below it at each
        wave of time limits.
        """
        columns = rollout.valid, rollout.terminated | rollout.value_ends, rollout.truncated
        decisions, ends = count_ends(*(x.cpu().numpy() for x in columns))
        before = EPISODES * rollout.valid.shape[1]
        horizon = 1 / max(1 - float(self.adapted["gamma"]), 1e-9)
        return 1 - (before + ends) / (before * horizon + decisions)

    def adapt(self, stats: dict[str, float]) -> None:
        """Adapt to the statistics of an update, which are the same on all ranks."""
        if "learning_rate" in self.adapted:
            self.adapted["learning_rate"].fill_(self._learning_rate(stats["approx_kl"]))
        if "ent_coef" in self.adapted:
            self.adapted["ent_coef"].fill_(self._ent_coef(stats["entropy"]))

    def _learning_rate(self, kl: float) -> float:
        """Divide the rate where the KL divergence is above twice the target, multiply it where it is below half of it.

        After Schulman et al. (2017), section 4, who adapt a penalty once an iteration; libraries adapt the learning rate instead:
        rsl_rl after each minibatch, skrl after each epoch, rl_games after either.
        """
        rate, target = float(self.adapted["learning_rate"]), self.config.target_kl
        factor = 1 / FACTOR if kl > 2 * target else FACTOR if 0 < kl < target / 2 else 1.0
        return self.schedules["learning_rate"].within(rate * factor)

    def _ent_coef(self, entropy: float) -> float:
        """Step along the dual gradient in log c: log c ← log c + η (H* − H) (Haarnoja et al. 2018, arXiv 1812.05905, section 5)."""
        error = float(self.config.target_entropy) - entropy
        step = STEP * min(max(error, -LARGEST_ERROR), LARGEST_ERROR)
        return min(max(float(self.adapted["ent_coef"]) * math.exp(step), ENT_COEF[0]), ENT_COEF[1])

    def restart(self, names: Collection[str]) -> None:
        """Let those of these numbers that adapt begin again at the start that the settings name."""
        for name in self.adapted.keys() & set(names):
            self.adapted[name].fill_(self.schedules[name].at(0.0))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the numbers that adapt, by name."""
        return {f"adapted.{name}": x for name, x in self.adapted.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned; a number that began to adapt after that stays at its start.

        Raises:
            UsageError: a tensor has another shape or dtype.
        """
        for name, own in self.state_dict().items():
            if name in tensors and not fits(tensors[name], own):
                raise UsageError(f"the checkpoint is damaged: {name} is not a number; use another one")
            own.copy_(tensors.get(name, own))

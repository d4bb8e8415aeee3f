"""A player: a run's policy as a function from raw observations to actions, without an environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor

from ppo.envs.fits import MASK_KEY, castable, flat_mask, is_binary
from ppo.envs.spaces import Packer, has_mask, leaf_values, one_line, take
from ppo.errors import UsageError
from ppo.errors import one_line as name_error
from ppo.policies.distributions import Bernoulli, Categorical, Distribution, Product
from ppo.run.load import Saved, load


@dataclass(frozen=True)
class Player(Saved):
    """A trained policy as a function from raw observation to action, without an environment.

    >>> player = load_policy("runs/CartPole-v1__ppo__s1")  # doctest: +SKIP
    >>> action, state = player.act(obs, state)  # doctest: +SKIP
    """

    @torch.no_grad()
    def act(
        self,
        obs: Any,
        state: Tensor | None = None,
        *,
        mask: Any = None,
        starts: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Tensor]:
        """Return the action for a raw observation, or the actions for N of them, and the state for the next call.

        Args:
            obs: one observation, as `env.reset()` or `env.step()` returned it, or N as a VectorEnv returns them.
            state: (N, H) that the previous call returned, N = 1 for one observation; None at the start of an episode.
            mask: `info["action_mask"]`, if the environment puts its mask there.
            starts: (N,) bool, where an episode begins and the state is cleared; None: everywhere without a state.
            deterministic: take the mode: the most probable action, or the Gaussian's mean.

        Raises:
            UsageError: the observation does not fit the policy's space, or its action mask is missing.
        """
        dist, state, one = self._forward(obs, state, mask, starts)
        noise = self.policy.head.noise(1, len(state), deterministic=deterministic)
        actions = self.policy.head.to_env(dist.sample(noise)[0])
        return (take(actions, 0) if one else actions), state

    @torch.no_grad()
    def probabilities(self, obs: Any, state: Tensor | None = None, *, mask: Any = None, starts: Any = None) -> Any:
        """Return the probability of each choice of an action, (A,), or (N, A) for N observations; see `act`.

        For MultiBinary they are those of ones, and for an action of several parts there is a list with an array for each.

        Raises:
            UsageError: see `act`; or a part of the action is a Box, which has no probabilities.
        """
        dist, _, one = self._forward(obs, state, mask, starts)
        parts = []
        for part in dist.dists if isinstance(dist, Product) else [dist]:
            if not isinstance(part, Categorical | Bernoulli):
                raise UsageError(
                    f"the action space {one_line(self.action_space)} has a Box, which has no probabilities"
                )
            x = part.log_probs.exp() if isinstance(part, Categorical) else part.logits.sigmoid()  # (1, N, A)
            parts.append(x[0, 0].numpy() if one else x[0].numpy())
        return parts if len(parts) > 1 else parts[0]

    def _forward(self, obs: Any, state: Tensor | None, mask: Any, starts: Any) -> tuple[Distribution, Tensor, bool]:
        """Return the distribution over (1, N) actions, the next state, and whether there is one observation, no batch."""
        space: Any = self.obs_space
        own_mask = has_mask(space) and set(space.spaces) == {"obs", MASK_KEY}
        if mask is None and own_mask and not (isinstance(obs, dict) and MASK_KEY in obs):
            raise UsageError(
                "this policy was trained with action masks; give mask=info['action_mask']",
                page="environments#action-masks",
            )
        if mask is not None and not own_mask:
            raise UsageError("this policy takes no mask besides the observation; leave out mask")
        values, one = _batch(space if mask is None else space["obs"], obs)
        if mask is not None:
            values.insert(
                0 if next(iter(space.spaces)) == MASK_KEY else len(values), _masks(mask, one, space[MASK_KEY].n)
            )
        packed = Packer(space).join(values)  # (N, *obs)
        begin = torch.full((len(packed),), state is None) if starts is None else torch.as_tensor(starts)
        state = self.policy.initial_state(len(packed)) if state is None else state
        if len(state) != len(packed) or begin.shape != (len(packed),):
            raise UsageError(
                f"there are {len(packed)} observations, but {len(state)} states and {begin.numel()} starts"
            )
        dist, _, state = self.policy(packed.unsqueeze(0), state, begin.bool().unsqueeze(0))
        return dist, state, one


def _masks(mask: Any, one: bool, size: int) -> np.ndarray:
    """Return action masks (N, A) from one, or from N."""
    rows = [flat_mask(row) for row in ([mask] if one else mask)]
    masks = [row.astype(np.int8) for row in rows if row is not None and row.size == size and is_binary(row).all()]
    if len(masks) < len(rows):
        raise UsageError(f"mask = {mask!r} must be {size} numbers for each observation, 1 where an action is allowed")
    return np.stack(masks)


def _batch(space: Space[Any], obs: Any) -> tuple[list[np.ndarray], bool]:
    """Return the leaves of observations, (N, *shape) each, and whether there is one observation, no batch."""
    try:
        pairs = [(part.shape or (), _cast(part, x)) for part, x in leaf_values(space, obs)]
    except UsageError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UsageError(f"the observation does not fit {one_line(space)} ({name_error(error)})") from error
    sizes = {x.shape[: -len(shape) or None] if x.shape[x.ndim - len(shape) :] == shape else None for shape, x in pairs}
    if len(sizes) > 1 or None in sizes or len(size := sizes.pop() or ()) > 1:
        shapes = ", ".join(str(x.shape) for _, x in pairs)
        raise UsageError(f"an observation of shape {shapes} is neither one of {one_line(space)} nor a batch")
    return [x if size else x[None] for _, x in pairs], not size


def _cast(space: Space[Any], value: Any) -> np.ndarray:
    """Return a leaf of observations in its dtype; pixels already divided by 255 would become black, so they are refused."""
    array = np.asarray(value)
    if array.dtype.kind not in castable(space.dtype):
        raise UsageError(
            f"the observation has the dtype {array.dtype}, and {one_line(space)} needs {space.dtype}; give it as the environment does"
        )
    return array.astype(space.dtype, copy=False)


def load_policy(run: str | Path, checkpoint: str = "latest", trust: bool = False, told: bool = False) -> Player:
    """Load a run's policy, on the CPU, without making its environment.

    Args:
        run: the run's folder.
        checkpoint: "latest", "best" (by evaluation) or "iteration_000123".
        trust: import the modules that the run names, even if another person made it.
        told: observations have what the critic alone sees, as in training.

    Raises:
        UsageError: the folder is not a run, the checkpoint is missing or damaged, or the run needs trust.
    """
    return Player(**vars(load(run, checkpoint, trust, told)))

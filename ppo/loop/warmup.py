"""Critic warm-up: the first iterations of a run, in which only the critic learns."""

import torch
from torch import Tensor

from ppo.errors import UsageError
from ppo.loop.batch import Batch
from ppo.machine.flat import FlatPolicy


class Warmup:
    """Which parameters learn in an update: all, or during the warm-up those on which the actor does not depend.

    The others get no gradient, and their bits stay. So a trunk that actor and critic share stays as it is; of such a policy
    only the layers between the trunk and the value learn. After the warm-up the optimizer begins anew, because Adam's step count
    would let the actor's first steps be about three times as long. Statistics of observations and rewards are kept throughout.

    Args:
        policy: the policy.
        iterations: of the warm-up; 0: there is none.
    """

    def __init__(self, policy: FlatPolicy, iterations: int) -> None:
        self.policy, self.iterations = policy, iterations
        self.left = torch.tensor(iterations)  # iterations; −1 once the optimizer has begun anew
        # (P,) 1 for a parameter that learns, 0 for others: an argument of the compiled step, if there is a warm-up.
        self.learns = (torch.ones_like(policy.vector),) * (iterations > 0)

    @property
    def on(self) -> bool:
        """Whether the update that has begun belongs to the warm-up."""
        return bool(self.learns) and int(self.left) >= 0

    def begin(self, batch: Batch, moments: dict[str, Tensor]) -> None:
        """Begin the update of an iteration.

        Args:
            batch: a minibatch of it.
            moments: of the optimizer.

        Raises:
            UsageError: the actor depends on every parameter.
        """
        left = int(self.left)
        for learns in self.learns:
            learns.copy_(self._alone(batch) if left > 0 else torch.ones_like(learns))
        for moment in moments.values() if self.learns and left == 0 else ():
            moment.zero_()
        self.left.fill_(max(left - 1, -1))

    @torch.random.fork_rng([])
    def _alone(self, batch: Batch) -> Tensor:
        """Return 1 for each parameter on which the actor does not depend, else 0, (P,)."""
        leaves = self.policy.leaves
        with torch.enable_grad():
            dist, _, _ = self.policy.forward(batch.obs, batch.states, batch.starts)
            acts = (dist.log_prob(batch.actions) + dist.entropy()).sum()
        gradients = torch.autograd.grad(acts, leaves, allow_unused=True)
        alone = torch.cat(
            [x.new_full((x.numel(),), gradient is None) for x, gradient in zip(leaves, gradients, strict=True)]
        )
        if not alone.any():
            raise UsageError(
                f"critic_warmup = {self.iterations} has no effect, since the actor depends on every parameter of the policy; leave "
                "it out, or give the values a layer of their own",
                page="howto/policy#critic-warm-up",
            )
        return alone.to(self.policy.vector)

    def apply(self, gradient: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return a copy of the gradient (P,) without that of parameters which do not learn, and the state without `learns`."""
        if not self.learns:
            return gradient.clone(), *state
        *state_of_optimizer, learns = state
        return gradient * learns, *state_of_optimizer

    def state_dict(self) -> dict[str, Tensor]:
        """Return the iterations left, by name, if there is a warm-up."""
        return {"warmup.left": self.left} if self.learns else {}

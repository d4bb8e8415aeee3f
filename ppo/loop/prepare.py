"""Both functions of a run, the policy and the optimizer step, begin to compile before the first rollout, at the same time."""

import torch

from ppo.config.penalty import kl_in_loss
from ppo.loop.batch import Batch
from ppo.loop.collector import Collector, act
from ppo.loop.estimates import Estimates
from ppo.loop.learner import Learner
from ppo.loop.rollout import Rollout, Successors
from ppo.machine.distributed import rank, size


@torch.no_grad()
def prepare(collector: Collector, learner: Learner, num_steps: int) -> None:
    """Begin to compile for rollouts of `num_steps` steps; the first rollout and the first update wait for the end.

    Nothing is stepped or learnt, and the generators stay as they are.

    Args:
        collector: after its `reset`.
        learner: of the same policy.
        num_steps: T.
    """
    if not collector.act.enabled:
        return
    obs, starts, states = (
        collector.now.obs,
        torch.from_numpy(collector.now.starts).to(collector.device),
        collector.state,
    )
    noise = collector.head.noise(len(obs), deterministic=True)
    collector.act.prepare(*(x.clone() for x in (obs, states, starts, noise)))
    if rank() and not learner.shares:
        return
    with torch.random.fork_rng([]):  # a network may draw random numbers
        actions, log_probs, values, _ = act(collector.policy, obs, states, starts, noise)
        dist = collector.policy.forward(obs.unsqueeze(0), states, starts.unsqueeze(0))[0]
        near = dist.parameters()[0]  # (N, K)
    columns = {"obs": obs, "actions": actions, "log_probs": log_probs}
    columns |= dict.fromkeys(("values", "next_values", "rewards", "penalties", "kl_coefs"), values)
    columns["reference"] = near if kl_in_loss(learner.config) else near[:, :0]
    columns |= dict.fromkeys(("starts", "valid", "terminated", "truncated", "value_ends"), starts)
    own = Rollout(
        **{name: x.expand(num_steps, *x.shape) for name, x in columns.items()},
        states=states.expand(num_steps // collector.seq_len, *states.shape),
        next_valid=starts,
        successors=Successors(starts.new_zeros(0, dtype=torch.int64), obs[:0], states[:0]),
    )
    rollout = Rollout.side_by_side([own] * size())
    batch = Batch.from_rollout(rollout, rollout.valid, Estimates(*[rollout.values] * 3), learner.seq_len)
    order = torch.arange(batch.num_sequences, device=collector.device).view(learner.config.num_minibatches, -1)
    for function, arguments in learner.calls(batch.minibatches(order, learner.part, learner.config.norm_adv)[0]):
        function.prepare(*arguments)

"""Sizes that must divide (sequences fill minibatches, and processes share the environments, evenly), and the work of a run."""

from typing import Any

from ppo.errors import UsageError


def sequence_length(num_envs: int, num_steps: int, num_minibatches: int, seq_len: int, recurrent: bool) -> int:
    """Return L: `seq_len`, or if that is 0, its default.

    The default is 1 for a feed-forward policy. For a recurrent one it is the longest divisor of T with which every
    minibatch holds whole sequences.

    Raises:
        UsageError: the sizes do not divide.
    """
    batch = num_envs * num_steps
    if batch % num_minibatches:
        raise UsageError(
            f"num_envs * num_steps = {batch} does not divide into num_minibatches = {num_minibatches}; choose a divisor of "
            f"{batch}"
        )

    def divides(length: int) -> bool:
        return num_steps % length == 0 and (batch // length) % num_minibatches == 0

    if seq_len == 0:
        return next(length for length in range(num_steps, 0, -1) if divides(length)) if recurrent else 1
    if not divides(seq_len):
        raise UsageError(
            f"seq_len = {seq_len} does not divide num_steps = {num_steps} into sequences that fill "
            f"num_minibatches = {num_minibatches} evenly; choose a divisor of {num_steps} that does"
        )
    return seq_len


def share(num_envs: int, group_size: int, rank: int, processes: int) -> range:
    """Return the numbers of the environments that one of several processes steps.

    Raises:
        UsageError: the environments, or their groups, do not divide.
    """
    if processes > 1 and num_envs % (processes * group_size):
        groups = "num_envs / group_size = " * (group_size > 1)
        rule = f"choose a divisor of {groups}{num_envs // group_size}"
        raise UsageError(f"num_envs = {num_envs} does not divide into processes = {processes}; {rule}")
    own = num_envs // processes
    return range(rank * own, (rank + 1) * own)


def work(config: Any) -> tuple[int, int, int]:
    """Return the whole run's optimizer steps and vector steps, and the number of attention layers."""
    iterations, layers = (
        config.total_timesteps // config.batch_size,
        config.num_layers * (config.policy == "transformer"),
    )
    return iterations * config.update_epochs * config.num_minibatches, iterations * config.num_steps, layers

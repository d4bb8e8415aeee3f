"""Sizes that follow from the settings and must divide, and the work of a run."""

from typing import Any

from ppo.errors import UsageError


def sequence_length(settings: Any, recurrent: bool) -> int:
    """Return L: `seq_len`, or if that is 0, its default.

    The default is 1 for a feed-forward policy. For a recurrent one it is the longest divisor of T with which every
    minibatch holds whole sequences.

    Raises:
        UsageError: the sizes do not divide.
    """
    num_steps, num_minibatches, seq_len = settings.num_steps, settings.num_minibatches, settings.seq_len
    batch = settings.batch_size
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


def share(settings: Any, rank: int, processes: int) -> range:
    """Return the numbers of the environments that one of several processes steps.

    Raises:
        UsageError: the environments, or their groups, do not divide.
    """
    num_envs, group_size = settings.num_envs, settings.group_size
    if processes > 1 and num_envs % (processes * group_size):
        groups = "num_envs / group_size = " * (group_size > 1)
        rule = f"choose a divisor of {groups}{num_envs // group_size}"
        raise UsageError(f"num_envs = {num_envs} does not divide into processes = {processes}; {rule}")
    own = num_envs // processes
    return range(rank * own, (rank + 1) * own)


def work(settings: Any) -> tuple[int, int, int]:
    """Return the whole run's optimizer steps and vector steps, and the number of attention layers."""
    iterations = settings.total_timesteps // settings.batch_size
    layers = settings.num_layers * (settings.policy == "transformer")
    return iterations * settings.update_epochs * settings.num_minibatches, iterations * settings.num_steps, layers

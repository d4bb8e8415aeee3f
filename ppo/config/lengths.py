"""The length of training sequences: a divisor of the rollout's steps with which minibatches hold whole sequences."""

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

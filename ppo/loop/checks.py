"""Checks of a run under way: the ranks agree, and the policy decides."""

from ppo.envs.text_env import text_env
from ppo.errors import UsageError
from ppo.loop.assemble import Parts
from ppo.machine.distributed import gathered, size
from ppo.run.checkpoint import digest_of


def check_alike(parts: Parts) -> None:
    """Check that all ranks have the same settings and hold the same numbers.

    Raises:
        UsageError: they do not.
    """
    if size() == 1:
        return
    settings = parts.config.to_json()
    tensors = {name: x.detach().cpu().contiguous() for name, x in parts.state_dict().items()}
    others = gathered((settings, digest_of(tensors, "")))
    for number, (other, digest) in enumerate(others):
        if differing := [name for name, value in others[0][0].items() if other[name] != value]:
            raise UsageError(
                f"rank {number} has other settings than rank 0: {', '.join(differing)}; start all ranks alike"
            )
        if digest != others[0][1]:
            raise UsageError(
                f"rank {number} no longer holds the same numbers as rank 0; use machines of one kind with the same packages, and "
                "resume"
            )


def check_decisions(parts: Parts, iteration: int, global_step: int) -> None:
    """Refuse to go on if the policy took no decision before the first checkpoint, or none that trains: new episodes would get no further.

    Args:
        parts: of the run.
        iteration: iterations so far.
        global_step: decisions so far.

    Raises:
        UsageError: names the number of steps that is too small.
    """
    if parts.config.risk_quantile and not parts.learner.trained:
        raise UsageError(
            f"in no rollout of num_steps = {parts.config.num_steps} an episode began and ended, so nothing could train; raise num_steps to "
            "several times the length of an episode, its prompt included",
            page="text#risk-seeking",
        )
    if global_step:
        return
    steps, text = iteration * parts.config.num_steps, text_env(parts.envs)
    longest = 0 if text is None else text.prompt_length
    prompts = f", since prompts have up to {longest} tokens" if longest else ""
    raise UsageError(
        f"the policy took no decision in the {steps} steps before the first checkpoint{prompts}; choose num_steps above "
        f"{max(longest, steps)}"
    )

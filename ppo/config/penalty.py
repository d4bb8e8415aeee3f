"""Where the KL penalty near a reference policy counts: in the rewards, or in the loss."""

from typing import Any

from ppo.errors import UsageError


def kl_in_loss(settings: Any) -> bool:
    """Return whether the divergence from the reference policy is a term of the loss."""
    if settings.kl_in == "auto":
        return bool(settings.reference) and settings.group_size > 1
    return bool(settings.reference) and settings.kl_in == "loss"


def check_penalty(settings: Any) -> None:
    """Refuse a penalty that does not go with the other settings.

    Raises:
        UsageError: names them.
    """
    if settings.kl_in == "rewards" and settings.group_size > 1:
        raise UsageError(
            f"kl_in = rewards does not go with group_size = {settings.group_size}, which divides rewards by their deviation in the group "
            "and with them the weight of the penalty; leave out kl_in, so that it is in the loss",
            page="text#without-a-critic",
        )

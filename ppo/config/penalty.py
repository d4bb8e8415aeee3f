"""Where the KL penalty near a reference policy counts: in the rewards, or in the loss."""

from typing import Any

from ppo.errors import UsageError

NEUTRAL: dict[
    str, dict[str, Any]
] = {  # settings that act on rewards, or on returns, and their values that change nothing
    "rewards": {"clip_rewards": 0.0, "group_size": 1},
    "returns": {"scale_rewards": False, "risk_quantile": 0.0, "critic_warmup": 0},
}


def kl_in_loss(settings: Any) -> bool:
    """Return whether the divergence from the reference policy is a term of the loss."""
    if settings.kl_in == "auto":
        return bool(settings.reference) and (settings.group_size > 1 or settings.reward == "none")
    return bool(settings.reference) and settings.kl_in == "loss"


def distils(settings: Any) -> bool:
    """Return whether the divergence in the loss is all that the actor learns from."""
    return settings.reward == "none" and kl_in_loss(settings)


def check_penalty(settings: Any) -> None:
    """Refuse a penalty that does not go with the other settings.

    Raises:
        UsageError: names them.
    """
    if settings.algorithm == "distill" and not settings.reference:
        raise UsageError("algorithm = distill needs a teacher; add --reference RUN", page="text#distillation")
    if settings.kl_in == "rewards" and settings.group_size > 1:
        raise UsageError(
            f"kl_in = rewards does not go with group_size = {settings.group_size}, which divides rewards by their deviation in the group "
            "and with them the weight of the penalty; leave out kl_in, so that it is in the loss",
            page="text#without-a-critic",
        )
    if settings.reward == "none":
        if settings.kl_coef == 0:
            raise UsageError(
                "kl_coef = 0 with reward = none leaves the actor nothing to learn from; choose a positive number",
                page="text#distillation",
            )
        if not kl_in_loss(settings) and settings.reference and not settings.vf_coef and settings.baseline:
            raise UsageError(
                "kl_in = rewards learns from a critic, which vf_coef = 0 leaves untrained; add --vf-coef 0.5 or leave out kl_in",
                page="text#distillation",
            )
        of_rewards, of_returns = NEUTRAL["rewards"], NEUTRAL["returns"] if distils(settings) else {}
        for name, neutral in (of_rewards | of_returns).items():
            if getattr(settings, name) != neutral:
                raise UsageError(
                    f"{name} = {getattr(settings, name)} has no effect with reward = none; set it to {neutral}",
                    page="text#distillation",
                )

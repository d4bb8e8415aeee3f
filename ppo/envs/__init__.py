"""Environments: one call that makes any of them, and the spaces that turn their data into tensors."""

from ppo.envs.families import FAMILIES, Family, missing_family
from ppo.envs.gym import autoreset_mode, check_envs, expose_mask, find_spec, make_envs

__all__ = [
    "FAMILIES",
    "Family",
    "autoreset_mode",
    "check_envs",
    "expose_mask",
    "find_spec",
    "make_envs",
    "missing_family",
]

"""Environments: one call makes any of them, and spaces turn their data into tensors."""

from ppo.envs.families import FAMILIES, module_of
from ppo.envs.gym import find_spec, make_envs
from ppo.envs.vector import autoreset_mode, check_envs, check_vector_env, lines_of, notes, time_limit

__all__ = [
    "FAMILIES",
    "autoreset_mode",
    "check_envs",
    "check_vector_env",
    "find_spec",
    "lines_of",
    "make_envs",
    "module_of",
    "notes",
    "time_limit",
]

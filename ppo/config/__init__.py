"""Every setting of a run, the presets, and values from TOML and JSON."""

from ppo.config.config import Algorithm, Config
from ppo.config.words import EnvKwargs, Wraps, read_wrappers

__all__ = ["Algorithm", "Config", "EnvKwargs", "Wraps", "read_wrappers"]

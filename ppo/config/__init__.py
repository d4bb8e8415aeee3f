"""Every setting of a run, the presets, and values from TOML and JSON."""

from ppo.config.config import Algorithm, Config, EnvKwargs

__all__ = ["Algorithm", "Config", "EnvKwargs"]

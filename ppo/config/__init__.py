"""Settings: every one of them, presets, and values from outside."""

from ppo.config.config import Algorithm, Config, EnvKwarg

__all__ = ["Algorithm", "Config", "EnvKwarg"]

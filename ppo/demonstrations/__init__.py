"""Demonstrations: recorded episodes of any environment, as a file without pickle, from Minari, or from a table."""

from ppo.demonstrations.arrays import Demonstrations, demonstrations_of
from ppo.demonstrations.sources import read

__all__ = ["Demonstrations", "demonstrations_of", "read"]

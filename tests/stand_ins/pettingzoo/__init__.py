"""A package in the place of PettingZoo."""

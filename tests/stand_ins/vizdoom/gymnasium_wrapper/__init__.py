"""Registers a scenario as ViZDoom does."""

import gymnasium

gymnasium.register("VizdoomBasic-v1", entry_point="vizdoom.gymnasium_wrapper.scenarios:Scenario")

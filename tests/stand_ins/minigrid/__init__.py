"""Stands in for MiniGrid: registers its environments when it is imported."""

import gymnasium

for name, limit in (("DoorKey-8x8", 640), ("FourRooms", 100)):
    gymnasium.register(f"MiniGrid-{name}-v0", entry_point="minigrid.envs:Room", max_episode_steps=limit)

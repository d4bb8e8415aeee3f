"""Memory: a run that certainly exceeds the machine is refused before anything is allocated, and no other."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Text

from ppo import Config, UsageError
from ppo.config import memory
from ppo.config.memory import check_memory


@pytest.mark.parametrize(
    ("settings", "shape", "megabytes"),
    [
        ({"num_envs": 1000, "num_steps": 1000}, (17,), 100),  # 10⁶ rows of 68 + 32 bytes
        ({"num_envs": 1000, "num_steps": 1}, (), 1),  # 1,000 bytes for each environment
        ({"policy": "mlp", "hidden_sizes": (1000, 1000)}, (), 32),  # actor and critic, four copies of 10⁶ floats
        ({"policy": "gru", "state_size": 1000}, (), 96),  # six matrices
        ({"policy": "transformer", "hidden_sizes": (1000,)}, (), 192),  # twelve
    ],
)
def test_a_run_is_refused_if_its_parts_exceed_the_memory(monkeypatch, settings, shape, megabytes):
    config, space = Config().replace(settings), Box(0, 1, shape) if shape else None
    monkeypatch.setattr(memory, "memory", lambda: megabytes * 1.2e6)
    check_memory(config, space)
    monkeypatch.setattr(memory, "memory", lambda: megabytes * 0.9e6)
    with pytest.raises(UsageError, match="is too large: the run needs at least"):
        check_memory(config, space)


def test_an_image_among_numbers_takes_as_many_bytes_as_it_has_pixels(monkeypatch):
    space = Dict(eye=Box(0, 255, (100, 100, 3), np.uint8), speed=Box(-1, 1, (2,)))
    config = Config().replace({"num_envs": 10, "num_steps": 100})  # 1,000 rows of 30,000 bytes of pixels
    monkeypatch.setattr(memory, "memory", lambda: 30.2e6)
    check_memory(config, space)
    monkeypatch.setattr(memory, "memory", lambda: 30.0e6)
    with pytest.raises(UsageError, match="is too large"):
        check_memory(config, space)


def test_this_machine_has_memory():
    assert memory.memory() > 1e8


def test_an_observation_that_is_not_supported_is_one_sentence():
    with pytest.raises(UsageError, match="observation space is Text, which is not supported"):
        check_memory(Config(), Text(3))

"""Memory: a run that certainly exceeds the machine is refused before anything is allocated, and no other."""

import pytest

from ppo import Config, UsageError
from ppo.config import memory
from ppo.config.memory import check_memory


@pytest.mark.parametrize(
    ("settings", "obs_bytes", "megabytes"),
    [
        ({"num_envs": 1000, "num_steps": 1000}, 68, 100),  # 10⁶ rows of 68 + 32 bytes
        ({"num_envs": 1000, "num_steps": 1}, 1, 1),  # 1,000 bytes for each environment
        ({"policy": "mlp", "hidden_sizes": (1000, 1000)}, 1, 32),  # actor and critic, four copies of 10⁶ floats
        ({"policy": "gru", "state_size": 1000}, 1, 96),  # six matrices
        ({"policy": "transformer", "hidden_sizes": (1000,)}, 1, 192),  # twelve
    ],
)
def test_a_run_is_refused_if_its_parts_exceed_the_memory(monkeypatch, settings, obs_bytes, megabytes):
    config = Config().replace(settings)
    monkeypatch.setattr(memory, "memory", lambda: megabytes * 1.2e6)
    check_memory(config, obs_bytes)
    monkeypatch.setattr(memory, "memory", lambda: megabytes * 0.9e6)
    with pytest.raises(UsageError, match="is too large: the run needs at least"):
        check_memory(config, obs_bytes)


def test_this_machine_has_memory():
    assert memory.memory() > 1e8

"""The length of training sequences follows from the sizes of a rollout."""

import pytest

from ppo import Config
from ppo.config.lengths import sequence_length


@pytest.mark.parametrize(
    ("envs", "steps", "minibatches", "length"),
    [
        (8, 128, 4, 128),  # eight sequences of the whole rollout fill four minibatches
        (8, 128, 16, 64),  # 16 sequences of half of it fill sixteen
        (1, 2048, 32, 64),
        (2, 6, 3, 2),  # 2 sequences of 6 or 4 of 3 do not fill three minibatches; 6 of 2 do
        (3, 5, 5, 1),
    ],
)
def test_a_recurrent_policy_gets_the_longest_sequences_that_fill_the_minibatches(envs, steps, minibatches, length):
    config = Config(num_envs=envs, num_steps=steps, num_minibatches=minibatches)
    assert sequence_length(config, recurrent=True) == length
    assert sequence_length(config, recurrent=False) == 1


def test_a_sequence_length_that_is_asked_for_is_kept():
    assert sequence_length(Config(seq_len=32), recurrent=True) == 32
    assert sequence_length(Config(seq_len=32), recurrent=False) == 32

"""Writing: the first sequence of each place, whatever their lengths."""

import torch
from gymnasium.spaces import Discrete

from ppo.policies import build_policy
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.writing import write


def test_each_place_writes_one_sequence_that_depends_on_the_seed_alone():
    torch.manual_seed(1)
    policy = build_policy("gru", Discrete(4), Discrete(4), {"state_size": 8})
    env = TokenEnv(Task(Vocabulary("abc"), lambda cs: [len(c.response) for c in cs], 6, lambda rng: "ab"), 5)
    written = [
        write(policy, policy.head, policy.initial_state(5), env, seed, deterministic)
        for seed, deterministic in ((3, False), (4, False), (3, False), (3, True))
    ]
    assert written[0] == written[2] != written[1]
    assert len(written[0]) == 5
    assert all(completion.prompt == "ab" for completion, _ in written[0])
    assert all(value == len(completion.response) for completion, value in written[0])
    assert len({completion.response for completion, _ in written[3]}) == 1

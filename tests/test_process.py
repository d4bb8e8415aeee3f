"""The process: one seed decides every stream and no two streams are alike; devices and threads say why they are."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from ppo import UsageError
from ppo.machine.process import resolve_device, resolve_threads, seed_everything

KEYS = ((), (0, 0), (0, 1), (1, 0), (0, 10))


@pytest.fixture(autouse=True)
def _as_before():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def draws(seed: int, key: tuple[int, ...]) -> tuple[int, float, float, float]:
    """Return the environments' seed, and a number of every generator."""
    envs = seed_everything(seed, key)
    return envs, float(torch.rand(())), float(np.random.rand()), random.random()


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_seed_and_a_key_decide_every_generator(key):
    assert draws(3, key) == draws(3, key)


def test_no_two_seeds_and_keys_share_a_stream():
    # The weights come from the empty key, so that no rollout is sampled with the numbers the weights were made of.
    found = [draws(seed, key) for seed in (0, 1, 2) for key in KEYS]
    for stream in zip(*found, strict=True):
        assert len(set(stream)) == len(found)


@pytest.mark.parametrize("seed", [0, 1, 2**40, 10**30])
def test_the_environments_seed_fits_32_bits_with_a_sign(seed):
    seeds = [seed_everything(seed, (0, iteration)) for iteration in range(200)]
    assert all(0 <= found < 2**31 for found in seeds)
    assert max(seeds) > 2**30
    assert len(set(seeds)) == 200


@pytest.mark.parametrize(
    ("network", "there", "asked", "expected", "why"),
    [
        (nn.Linear(2, 2), True, "auto", "cpu", "without convolutions"),
        (nn.Conv2d(1, 1, 3), True, "auto", "cuda", "convolutions"),
        (nn.Conv2d(1, 1, 3), False, "auto", "cpu", "no CUDA device"),
        (nn.Linear(2, 2), True, "cuda", "cuda", "asked for"),
        (nn.Conv2d(1, 1, 3), True, "cpu", "cpu", "asked for"),
    ],
)
def test_the_device_is_that_of_the_network_unless_it_is_asked_for(monkeypatch, network, there, asked, expected, why):
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    device, reason = resolve_device(asked, nn.Sequential(network))
    assert device == torch.device(expected)
    assert why in reason


def test_cuda_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="device = 'cuda' is asked for but torch finds no CUDA device"):
        resolve_device("cuda", nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("cores", "work", "expected"),
    [
        (1, 10**9, 1),
        (8, 0, 1),
        (8, 256 * 4_610, 1),  # a minibatch of 256 rows through two towers of 64
        (8, 10**7, 4),  # a thread for each 2.5 million
        (8, 10**9, 8),
        (2, 10**7, 2),
    ],
)
def test_threads_are_as_many_as_there_is_work_for(monkeypatch, cores, work, expected):
    monkeypatch.setattr("ppo.machine.process.cores", lambda: cores)
    assert resolve_threads("auto", work)[0] == expected


def test_threads_that_are_asked_for_are_taken():
    assert resolve_threads(3, 0) == (3, "asked for")

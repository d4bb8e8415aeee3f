"""The process: one seed decides every random stream, and the choice of device and threads comes with its reason."""

import random
import signal
import socket
import threading

import numpy as np
import pytest
import torch
from torch import nn

from ppo import UsageError
from ppo.machine import process
from ppo.machine.process import (
    Choice,
    compiler,
    resolve_device,
    resolve_precision,
    resolve_threads,
    seed_everything,
    stop_signals,
)

KEYS = ((), (0, 0), (0, 1), (0, 5), (0, 10))


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
    # The initial weights have the empty key, so that no rollout is sampled with the numbers that made the weights.
    rows = [draws(seed, key) for seed in (0, 1, 2) for key in KEYS]
    for stream in zip(*rows, strict=True):
        assert len(set(stream)) == len(rows)


@pytest.mark.parametrize("seed", [0, 1, 2**40, 10**30])
def test_the_environments_seed_fits_32_bits_with_a_sign(seed):
    seeds = [seed_everything(seed, (0, iteration)) for iteration in range(200)]
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**30
    assert len(set(seeds)) == 200


@pytest.mark.parametrize(
    ("network", "available", "setting", "device", "reason"),
    [
        (nn.Linear(2, 2), True, "auto", "cpu", "without convolutions, GPU transfers cost more than they save"),
        (nn.Conv2d(1, 1, 3), True, "auto", "cuda", "the policy has convolutions"),
        (nn.Conv2d(1, 1, 3), False, "auto", "cpu", "torch finds no CUDA device"),
        (nn.Linear(2, 2), True, "cuda", "cuda", "requested"),
        (nn.Conv2d(1, 1, 3), True, "cpu", "cpu", "requested"),
    ],
)
def test_the_network_decides_the_device_unless_one_is_requested(
    monkeypatch, network, available, setting, device, reason
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    assert resolve_device(setting, nn.Sequential(network)) == Choice(torch.device(device), reason)


@pytest.mark.parametrize(
    ("network", "setting", "value", "reason"),
    [
        (nn.Linear(2, 2), "auto", "float32", "without convolutions, bfloat16 saves little"),
        (nn.Conv2d(1, 1, 3), "auto", "float32", "whether bfloat16 learns as well is not measured; to try it, --precision bfloat16"),
        (nn.Linear(2, 2), "bfloat16", "bfloat16", "requested"),
    ],
)  # fmt: skip
def test_auto_is_float32_and_says_why(network, setting, value, reason):
    assert resolve_precision(setting, nn.Sequential(network)) == Choice(value, reason)


def test_cuda_without_a_device_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="device = 'cuda' needs a CUDA device, but torch finds none"):
        resolve_device("cuda", nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("cores", "work", "threads", "reason"),
    [
        (1, 10**9, 1, "all cores"),
        (1, 0, 1, "all cores"),
        (8, 0, 1, "a minibatch is too small to use more of the 8 cores"),
        (8, 256 * 4_610, 1, "a minibatch is too small to use more of the 8 cores"),  # 256 rows, two towers of 64
        (8, 10**7, 4, "a minibatch is too small to use more of the 8 cores"),  # a thread per 2.5 million
        (8, 10**9, 8, "all cores"),
        (2, 10**7, 2, "all cores"),
    ],
)
def test_a_thread_per_unit_of_work_up_to_all_cores(monkeypatch, cores, work, threads, reason):
    monkeypatch.setattr("ppo.machine.process.cores", lambda: cores)
    assert resolve_threads("auto", work) == Choice(threads, reason)


def test_a_requested_number_of_threads_is_used():
    assert resolve_threads(3, 0) == Choice(3, "requested")


def test_the_first_signal_is_an_event_and_the_second_has_its_usual_effect():
    with stop_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_under_an_agent_the_same_signal_again_is_ignored_and_the_other_has_its_usual_effect(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(process, "_told", set())
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stop_signals() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.is_set()
            assert signal.getsignal(signal.SIGINT) is usual[signal.SIGINT]
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # perhaps late
    finally:
        signal.signal(signal.SIGTERM, usual[signal.SIGTERM])


@pytest.mark.parametrize(
    ("numbers", "running", "told", "code"),
    [
        ([signal.SIGTERM, signal.SIGTERM], True, set(), None),
        ([signal.SIGINT, signal.SIGTERM], True, set(), 143),
        ([signal.SIGINT], False, set(), 130),
        ([signal.SIGINT], False, {signal.SIGINT}, None),  # which has stopped the run, before the thread looked
        ([signal.SIGCHLD], False, set(), None),
    ],
)
def test_a_rank_ends_by_two_different_signals_or_by_one_outside_of_a_run(monkeypatch, numbers, running, told, code):
    codes = []
    monkeypatch.setattr(process.os, "_exit", codes.append)
    monkeypatch.setattr(process, "_stops", [threading.Event()] * running)
    monkeypatch.setattr(process, "_told", told)
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(bytes(numbers))
        writer.shutdown(socket.SHUT_WR)
        process._heed(reader, writer)
    assert codes == ([] if code is None else [code])


def test_handlers_of_signals_are_restored_and_other_threads_have_none():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    handlers = []

    def in_a_thread() -> None:
        with stop_signals() as stop:
            handlers.append((signal.getsignal(signal.SIGTERM), stop.is_set()))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert handlers == [(before, False)]


@pytest.mark.parametrize(("command", "expected"), [("sh", True), ("no-such-compiler", False)])
def test_the_compiler_is_that_of_cxx_if_it_exists(monkeypatch, command, expected):
    monkeypatch.setenv("CXX", command)
    assert (compiler() is not None) is expected


def test_a_run_that_another_thread_ends_does_not_swallow_the_next_signal():
    stops = stop_signals()
    stops.__enter__()
    thread = threading.Thread(target=lambda: stops.__exit__(None, None, None))
    thread.start()
    thread.join()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_signal_stops_every_run_under_way():
    with stop_signals() as first, stop_signals() as second:
        signal.raise_signal(signal.SIGTERM)
        assert (first.is_set(), second.is_set()) == (True, True)

"""A worker starts without torch, lets signals pass, and takes the trainer's death for a request to close."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from ppo.machine.worker import Copy, _Pipe, signal_mask


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX")
def test_signals_wait_inside_the_block_and_are_not_lost():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with signal_mask(blocked=True):
            signal.raise_signal(signal.SIGTERM)  # to this thread
            assert seen == []
            with signal_mask(blocked=False):
                assert seen == [signal.SIGTERM]
            assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX")
def test_what_an_environment_starts_does_not_inherit_the_mask(monkeypatch):
    masks = []

    def make(spec, **kwargs):
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return spec, kwargs

    monkeypatch.setattr("gymnasium.make", make)
    with signal_mask(blocked=True):
        assert Copy("spec", {"a": 1})() == ("spec", {"a": 1})
    assert not masks[0] & {signal.SIGINT, signal.SIGTERM}


def test_the_death_of_the_trainer_is_a_request_to_close():
    parent, child = multiprocessing.Pipe()
    pipe = _Pipe(child)
    parent.send(("step", 1))
    assert pipe.recv() == ("step", 1)
    parent.close()
    pipe.send("an answer that nobody reads")
    assert pipe.recv() == ("close", None)


def test_a_worker_imports_no_torch():
    code = "import sys, ppo.machine.worker; print('torch' in sys.modules, 'gymnasium' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(__file__) + "/..")  # fmt: skip
    assert done.stdout.split() == ["False", "False"], done.stderr

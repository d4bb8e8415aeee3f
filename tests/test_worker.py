"""A worker starts without torch, lets signals pass, and takes the trainer's death for a request to close."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from ppo.machine.worker import _Pipe, signal_mask


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

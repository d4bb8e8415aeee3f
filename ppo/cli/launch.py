"""One command in several processes: the start through torch's elastic launcher, and what the user reads when they end.

Nothing here starts, watches or ends a process; the agent of torch.distributed does.
"""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousInfo,
    RendezvousParameters,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ppo.cli.terminal import print_error
from ppo.machine import agent
from ppo.machine.distributed import LOST_CODE
from ppo.numbers import count

# Seconds in which the ranks may stop in order, with a checkpoint, before they are killed. A step of the slowest environment and a
# large checkpoint on a slow disk fit in; whoever cannot wait presses Ctrl-C again.
PATIENCE = "300"
SHOW_CURSOR = b"\x1b[?25h"  # which the panel of a killed rank hides
REASONS = {
    signal.SIGKILL: "did memory run out? if so, use fewer processes or environments",
    signal.SIGBUS: "did shared memory run out? if so, use fewer processes or environments",
    signal.SIGSEGV: "a fault in compiled code, of the environment or of a package",
    signal.SIGABRT: "a fault in compiled code, of the environment or of a package",
}


class Rendezvous(StaticTCPRendezvous):
    """The meeting of the ranks of this machine. It is closed once the run has ended, because a restart would repeat its error."""

    def __init__(self, store: TCPStore) -> None:
        super().__init__("localhost", store.port, rank=0, world_size=1, run_id=agent.NAME, timeout=60)
        self.notes = PrefixStore(agent.NAME, store)

    def get_backend(self) -> str:
        """Return the name under which torch finds this class."""
        return agent.NAME

    def next_rendezvous(self) -> RendezvousInfo:
        """Let the ranks start, or start again.

        Raises:
            RendezvousClosedError: the run has ended.
        """
        if agent.outcome(self.notes) is not None:
            raise RendezvousClosedError
        return super().next_rendezvous()


def launch(args: list[str], processes: int, restarts: int) -> int:
    """Run this command line in several processes, and return its exit code.

    Args:
        args: of the command line.
        processes: their number.
        restarts: how often all start again when one was killed.
    """
    store = TCPStore("localhost", 0, is_master=True, multi_tenant=True, wait_for_workers=False)
    rendezvous = Rendezvous(store)

    def create(parameters: RendezvousParameters) -> Rendezvous:
        return rendezvous

    rendezvous_handler_registry.register(agent.NAME, create)
    logging.disable()  # torch's launcher logs each signal and each rank that ends
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # of connections to ranks that have ended
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as under torchrun; torch has the setting `threads`
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", PATIENCE)
    # A killed rank cannot remove the semaphores of its environments' processes, and Python would say so.
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]))
    signals = [number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
               if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP  # fmt: skip
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=restarts, run_id=agent.NAME, role=agent.NAME,
        rdzv_backend=agent.NAME, rdzv_endpoint=f"localhost:{store.port}", logs_specs=DefaultLogsSpecs(os.devnull),
        signals_to_handle=",".join(number.name for number in signals),
    )  # fmt: skip
    path = [] if sys.path[0] in ("", os.getcwd()) else ["-P"]  # as this process has it
    failures: Mapping[int, int] = {}
    told: signal.Signals | None = None
    try:
        elastic_launch(config, sys.executable)(*path, "-m", "ppo", *args)
    except SignalException as error:
        told = signal.Signals(error.sigval)
    except ChildFailedError as error:
        failures = {rank: failure.exitcode for rank, failure in error.failures.items()}
    except RendezvousClosedError:  # after an error
        pass
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    code, sentence = ending(rendezvous.notes, failures, told, restarts)
    if sentence:
        print_error(sentence)
    return code


def ending(notes: Store, failures: Mapping[int, int], told: signal.Signals | None, restarts: int) -> tuple[int, str]:
    """Return the exit code of a run and, if no rank has said how it ended, a sentence.

    Args:
        notes: of the ranks; see `ppo.machine.agent`.
        failures: exit code of each rank that failed, negative for a signal.
        told: the signal that this process received.
        restarts: that have taken place.
    """
    code = agent.outcome(notes)
    if code is None and told is not None:
        return 128 + told, "interrupted" if told == signal.SIGINT else ""
    if code is not None or not failures:
        return code or 0, ""
    # The agent ends the others with SIGTERM, and those that wait for a dead rank lose it.
    rank, code = min(failures.items(), key=lambda item: (item[1] == -signal.SIGTERM, item[1] == LOST_CODE))
    sentence = cause(rank, code, agent.noted(notes, agent.LOSS)) + (
        f", after {count(restarts, 'restart')}" if restarts else ""
    )
    folder = Path(agent.noted(notes, agent.FOLDER))
    resumable = (folder / "checkpoints" / "latest.safetensors").exists()
    remedy = f"continue with: ppo resume {shlex.quote(str(folder))}" if resumable else "start the command again"
    return (128 - code if code < 0 else code), f"error: {sentence}; {remedy}"


def cause(rank: int, code: int, loss: str) -> str:
    """Return why the ranks ended.

    Args:
        rank: the first that failed.
        code: its exit code, negative for a signal.
        loss: what a rank noted that lost another one.
    """
    if code == LOST_CODE:
        return loss
    if code >= 0:
        return f"rank {rank} ended with exit code {code} and no Python error"
    number = signal.Signals(-code)
    return f"rank {rank} was killed by {number.name}" + (f" ({REASONS[number]})" if number in REASONS else "")

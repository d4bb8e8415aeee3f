"""What the ranks of a run tell one another through torchrun's agent, which outlives them: how the run ended, and its folder.

The agent is the process that starts the ranks of a machine and starts them again when one dies; that of the first machine holds a
store. A process that no agent started has nobody to tell, and is the first to everything.
"""

import contextlib
import functools
import os
import signal
import threading
import time
import uuid
from pathlib import Path

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

NAME = "ppo"  # of the ranks' role if `ppo --processes` started them, and of what they keep in the store
FAULT, DONE, FOLDER, LOSS, TOKEN, MEETING = "fault", "done", "folder", "loss", "token", "meeting"  # keys of the store
TICK, MEETING_TICK = 1.0, 0.02  # seconds between two looks at the agent, and at its store


def attached() -> bool:
    """Return whether an agent started this process, perhaps as its only one."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@functools.cache
def agent_store() -> Store | None:
    """Return the agent's store; None without an agent that has one."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)


def notes() -> Store | None:
    """Return the part of the agent's store that outlasts a restart."""
    store = agent_store()
    return None if store is None else PrefixStore(NAME, store)


def meeting(rank: int, ranks: int) -> Store | None:
    """Return a part of the agent's store in which only the ranks of this start find each other; None without an agent.

    What ranks left there that have died since must not be read: their addresses are no longer valid. So each rank draws a token,
    rank 0 calls a meeting of all tokens, and calls another one until each rank has found its own token in it.
    """
    store, token = notes(), uuid.uuid4().hex[:8]
    if store is None:
        return None
    store.set(f"{TOKEN} {rank}", token)
    name = ""
    while not (name and store.check([f"{name} begins"])):
        if rank == 0:
            name = " ".join(store.get(f"{TOKEN} {number}").decode() for number in range(ranks))
            store.set(MEETING, name)
        called = store.get(MEETING).decode()
        if token in called.split():
            name = called
            store.set(f"{name} {rank}", "")
        if rank == 0 and store.check([f"{name} {number}" for number in range(ranks)]):
            store.set(f"{name} begins", "")
        time.sleep(MEETING_TICK)
    return PrefixStore(name, store)


def claim(code: int) -> bool:
    """Return whether this rank is the first that ends with an error, and so the one that prints it.

    Args:
        code: its exit code.
    """
    store = notes()
    if store is None:
        return True
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM):  # with which the agent ends all ranks once one has failed
            signal.signal(number, lambda number, frame: None)
    return _first(store, FAULT, f"{os.environ['RANK']} {code}")


def report_loss(text: str) -> bool:
    """Note that this rank has lost another one; return whether it must print that, because nobody else says why.

    Args:
        text: what happened.
    """
    store = notes()
    if store is None:
        return True
    with contextlib.suppress(RuntimeError):  # the agent has died
        if outcome(store) is not None:
            return False
    first = _first(store, LOSS, text)
    return first and os.environ.get("ROLE_NAME") != NAME


def _first(store: Store, key: str, text: str) -> bool:
    try:
        return bool(store.compare_set(key, "", text) == text.encode())
    except RuntimeError:  # the agent has died, and with it the other ranks' notes
        return True


def finish() -> None:
    """Note that the run has ended without an error."""
    store = notes()
    if store is not None:
        with contextlib.suppress(RuntimeError):  # the agent has died
            store.set(DONE, "")


def keep_folder(folder: Path) -> None:
    """Note the run's folder, in which a restart goes on."""
    store = notes()
    if store is not None:
        store.set(FOLDER, str(folder))


def outcome(store: Store | None) -> int | None:
    """Return the exit code of a run that has ended: of the first rank with an error, or 0; None if it goes on.

    Args:
        store: `notes`, of the ranks or in the agent.
    """
    if store is not None and store.check([FAULT]):
        return int(store.get(FAULT).split()[1])
    return 0 if store is not None and store.check([DONE]) else None


def noted(store: Store | None, key: str) -> str:
    """Return what a rank noted under FOLDER or LOSS, or "".

    Args:
        store: `notes`, of the ranks or in the agent.
        key: FOLDER or LOSS.
    """
    return store.get(key).decode() if store is not None and store.check([key]) else ""


def end_with_agent() -> None:
    """Stop this process, as a signal does, when its agent has died; nobody else would."""
    threading.Thread(target=_watch, args=[os.getppid()], daemon=True).start()


def _watch(agent: int) -> None:
    while os.getppid() == agent:
        time.sleep(TICK)
    os.kill(os.getpid(), signal.SIGTERM)

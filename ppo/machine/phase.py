"""The phase that a run is in: whoever does something slow says what, and whoever shows the run listens.

Nothing that runs in every step of an environment belongs here.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Listener = Callable[[str], None]
_phases: ContextVar[tuple[str, ...]] = ContextVar("phases", default=())  # under way, the innermost last
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def phase(text: str) -> Iterator[None]:
    """Say what the block, or the function that this decorates, is doing.

    Args:
        text: a participle with its object, for example "compiling the policy"; after a colon comes what to expect.
    """
    outer = _phases.get()
    _enter((*outer, text))
    try:
        yield
    finally:
        _enter(outer)


def _enter(phases: tuple[str, ...]) -> None:
    _phases.set(phases)
    listener = _listener.get()
    if listener is not None:
        listener(phases[-1] if phases else "")


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` with the text of the innermost phase whenever it changes in this thread; "" if there is none."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)

"""python -m ppo, the same as the console script: Ctrl-C ends it quietly at any moment, also while it imports."""

import atexit
import os
import signal
import sys
from typing import Any

INTERRUPTED = 130  # exit code: 128 + SIGINT


def main() -> None:
    """Run the command line."""
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not if the shell ignores Ctrl-C
    if own:
        signal.signal(signal.SIGINT, _end)
    sys.unraisablehook = _unraisable
    from ppo.cli.main import main as run  # takes seconds

    try:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _end()
    except SystemExit as error:
        if error.code == INTERRUPTED:  # Python would change it if the interrupt came inside an `exec`
            signal.signal(signal.SIGINT, _end)
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(INTERRUPTED)
        raise
    finally:
        if own:
            signal.signal(signal.SIGINT, _end)  # while Python shuts down


def _end(*_: Any) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _unraisable(error: Any) -> None:
    if isinstance(error.exc_value, KeyboardInterrupt):  # it came while Python could not raise it
        _end()
    sys.__unraisablehook__(error)


if __name__ == "__main__":
    main()

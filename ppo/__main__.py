"""python -m ppo, the same as the console script: Ctrl-C ends it quietly at any moment, also while it imports.

A training run takes the first Ctrl-C over (`ppo.machine.process.stop_signals`). Elsewhere nothing needs an orderly end: files are
written whole or not at all, and worker processes end with this one. An exception would be lost where a library catches all.
"""

import os
import signal
from typing import Any

INTERRUPTED = 130  # exit code: 128 + SIGINT
SHOW_CURSOR = b"\x1b[?25h"  # which a progress bar hides


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if the shell ignores Ctrl-C
        signal.signal(signal.SIGINT, _end)
    from ppo.cli.main import main as run  # takes seconds

    run()


def _end(*_: Any) -> None:
    if os.isatty(1):
        os.write(1, SHOW_CURSOR)
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # one of several processes, for which the launcher speaks
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()

"""The command `ppo report`: what a maintainer needs in an issue."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ppo.cli.flags import optional
from ppo.cli.terminal import console


@dataclass(frozen=True)
class Report:
    """Print what an issue needs: versions, machine, a run.

    In Markdown, without paths and names: also the run's settings that differ from its preset, and its last rows.
    """

    run_dir: Annotated[Positional[Path | None], arg(name="run"), optional("[RUN]", "none")] = None
    """Run folder. Without it, report only versions and the machine."""

    def run(self) -> None:
        """Print the report."""
        from ppo.report import report

        console.print(report(self.run_dir), markup=False)

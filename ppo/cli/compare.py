"""The command that compares runs with published results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ppo.cli.flags import optional
from ppo.cli.terminal import SafeConsole, console
from ppo.errors import UsageError


@dataclass(frozen=True)
class Compare:
    """Compare runs with published figures.

    Prints tables and a verdict with a confidence interval, draws curves and writes an HTML page.
    """

    runs: Annotated[Positional[tuple[Path, ...]], optional("RUN ...", "none")] = ()
    """Run folders (of ppo, or with TensorBoard event files), folders that contain them, or CSV files of curves."""
    against: Annotated[tuple[str, ...], optional("SOURCE ...", "all sources of `ppo compare --list`")] = ()
    """Names of published sources, or CSV files of figures."""
    list: bool = False
    """List the published sources, or with --env-id the figures of one environment."""
    env_id: str = ""
    """Environment of runs that do not name theirs."""
    algorithm: str = ""
    """Algorithm of runs that do not name theirs."""
    centre: Literal["iqm", "mean"] = "iqm"
    """Centre of the plotted curves: interquartile mean, or mean."""
    wide: bool = False
    """Print every column in one table, with the protocol differences in words; for wide terminals and files."""
    out: Annotated[Path | None, arg(metavar="FOLDER")] = Path("runs/compare")
    """Folder for the pictures and the page. None: only print."""

    def run(self) -> None:
        """Print the comparison and write the pictures and the page."""
        try:
            from ppo.compare import command
        except ModuleNotFoundError as error:
            raise UsageError(f"ppo compare needs {error.name}: pip install scipy matplotlib") from error
        if self.list:
            command.list_figures(console, self.env_id)
            return
        if not self.runs:
            raise UsageError(
                "there are no runs to compare; name run folders, or use --list to see the published figures"
            )
        result = command.compare_runs(list(self.runs), self.against, self.env_id, self.algorithm)
        page = (
            None if self.out is None else command.write(result, self.out, self.centre)
        )  # a refusal comes before tables
        unfolded = SafeConsole(highlight=False, soft_wrap=True, width=10_000)
        command.show(result, unfolded if self.wide and not console.is_terminal else console, self.wide)
        if page is not None:
            console.print(f"   page  {page}", markup=False)

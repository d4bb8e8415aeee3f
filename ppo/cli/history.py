"""The history of a run: what its rows have measured, as means over equal parts of the budget."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from ppo.run.table import is_row, parse

BINS = 36  # parts of the budget, and characters of a curve
BLOCKS = "▁▂▃▄▅▆▇█"


class History:
    """Collect the rows of a run, in memory and time that do not grow with their number.

    Args:
        total_timesteps: the budget.
    """

    def __init__(self, total_timesteps: int) -> None:
        self.total_timesteps, self.step, self.rows = total_timesteps, 0, 0
        self.latest: dict[str, float] = {}  # newest value of each tag
        self.seconds: dict[str, float] = {}  # so far, by part of the loop
        self.episodes = 0.0  # that ended
        self._sums: dict[
            str, tuple[list[float], list[int]]
        ] = {}  # by tag: the sum and the number of values in each part

    def add(self, row: Mapping[str, float], global_step: int) -> None:
        """Add a row; NaN means that there was nothing to measure."""
        self.step, self.rows = global_step, self.rows + 1
        part = min(BINS * max(global_step - 1, 0) // self.total_timesteps, BINS - 1)
        for tag, value in row.items():
            if math.isnan(value):
                continue
            self.latest[tag] = value
            if tag not in self._sums:
                self._sums[tag] = [0.0] * BINS, [0] * BINS
            sums, numbers = self._sums[tag]
            sums[part] += value
            numbers[part] += 1
            if tag.startswith("time/"):
                self.seconds[tag[5:]] = self.seconds.get(tag[5:], 0.0) + value
        self.episodes += row.get("charts/episodes", 0.0)

    def means(self, tag: str) -> list[float]:
        """Return the mean of a tag in each part of the budget; NaN where nothing was measured."""
        sums, numbers = self._sums.get(tag, ([0.0] * BINS, [0] * BINS))
        return [total / number if number else math.nan for total, number in zip(sums, numbers, strict=True)]

    def measured(self, tag: str) -> list[float]:
        """Return the means of the parts in which a tag was measured."""
        return [mean for mean in self.means(tag) if not math.isnan(mean)]

    @property
    def spent(self) -> float:
        """The share of the budget that is spent."""
        return self.step / self.total_timesteps

    def curve(self, tag: str) -> str:
        """Return a tag over the budget as block characters, from its lowest to its highest mean; a gap repeats the last one."""
        means, measured = self.means(tag), self.measured(tag)
        if not measured:
            return ""
        low, text = min(measured), ""
        scale = (len(BLOCKS) - 1) / ((max(measured) - low) or 1.0)
        for mean in means[: min(BINS * max(self.step - 1, 0) // self.total_timesteps, BINS - 1) + 1]:
            text += (text[-1:] or " ") if math.isnan(mean) else BLOCKS[round((mean - low) * scale)]
        return text


class Table:
    """Read the rows of a progress.csv as they come; a line without its end waits for the next time.

    Args:
        path: the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0

    def new_rows(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Yield (iteration, global step, row) of each complete line since the last call; damaged lines are left out."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            header = file.readline()
            file.seek(max(self.offset, len(header)))
            lines, newline, _ = file.read().rpartition(b"\n")
            self.offset = max(self.offset, len(header)) + len(lines + newline)
        names = parse(header.strip())
        for cells in map(parse, lines.split(b"\n")):
            if is_row(cells, len(names)):
                row = {name: float(cell) for name, cell in zip(names, cells, strict=True) if cell}
                if all(map(math.isfinite, row.values())):
                    yield int(row.pop("iteration")), int(row.pop("global_step")), row

"""The command on rated texts: download or summarise them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from ppo.cli.flags import optional
from ppo.cli.terminal import console, print_lines
from ppo.config.words import default_hint
from ppo.errors import UsageError
from ppo.numbers import count


@dataclass(frozen=True)
class Data:
    """Download rated texts, or summarise a file of your own.

    Prints the numbers of texts and ratings, and the agreement between raters.
    """

    name: Annotated[Positional[str], arg(metavar="[NAME]", help_behavior_hint=default_hint)] = ""
    """hutto-movies, hutto-amazon, hutto-nyt or hutto-tweets: about 15 ratings from -4 to +4 per text."""
    file: Annotated[Path | None, optional("FILE", "none")] = None
    """JSON lines of your own, with the keys text and (optional) ratings, or chosen, rejected and (optional) prompt."""

    def run(self) -> None:
        """Print a summary of the texts."""
        if (self.file is None) == (not self.name):
            raise UsageError("give either the name of a set (for example hutto-movies) or --file FILE")
        summarise(self.name, self.file, console)


def summarise(name: str, file: Path | None, console: Console) -> None:
    """Print a summary of rated texts: of the set `name`, which is downloaded the first time, or of a file."""
    from ppo.supervised.comparisons import repeats
    from ppo.supervised.quality import agreement
    from ppo.text.ratings import fetch, read

    path = file or fetch(name)
    rated = read(str(path))
    words = sorted(len(text.split()) for text in rated.texts)
    lines = [("file", str(path)), ("texts", f"{len(rated.texts):,}, with {words[0]} to {count(words[-1], 'word')}")]
    if rated.ratings:
        ratings = [rating for one_text in rated.ratings for rating in one_text]
        counts = sorted(map(len, rated.ratings))
        summary = f"{len(ratings):,} from {min(ratings):g} to {max(ratings):g}, {counts[0]} to {counts[-1]} per text"
        lines.append(("ratings", summary))
        if not math.isnan(alike := agreement(rated)):
            lines.append(("agreement", f"two raters order a pair of texts the same way in {alike:.3f} of comparisons"))
    if rated.pairs:
        prompts = f", {len(rated.prompts) // 2:,} of them with a prompt" if rated.prompts else ""
        lines.append(("preferences", f"{len(rated.pairs):,}{prompts}"))
    if same := repeats(rated):
        lines.append(("repeated", f"{same:,} lines have the texts of an earlier line"))
    print_lines(console, [*lines, ("first text", rated.texts[0])])

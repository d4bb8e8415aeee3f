"""Tables and lines of a comparison in the terminal: in full, or for 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ppo.compare import tables


def print_lines(console: Console, lines: list[tuple[str, str]], wide: bool) -> None:
    """Print (name, text) pairs, the texts wrapped in a column of their own; in the wide form each is one line."""
    if wide:
        for name, text in lines:
            console.print(f"{name:>7}  {text}", markup=False)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True, min_width=7)
    grid.add_column()
    for name, text in lines:
        grid.add_row(Text(name), Text(text))
    console.print(grid)


def print_table(console: Console, rows: tables.Rows, title: str, columns: tables.Columns | None = None) -> None:
    """Print a table, with all of its columns or these; a terminal folds the whole table to its width."""
    head, *rest = rows if columns is None else tables.narrow(rows, columns)
    narrow = columns is not None
    table = Table(
        title=Text(title), title_justify="left", box=None, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0)
    )
    for n, name in enumerate(head):
        figures = narrow and n > 0 and name not in tables.WORDS
        table.add_column(
            Text(name), overflow="fold", no_wrap=figures, max_width=8 if narrow and name == tables.NOTES else None
        )
    for row in rest:
        table.add_row(*map(Text, row))
    console.print(table)
    console.print()

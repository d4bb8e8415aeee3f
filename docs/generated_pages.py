"""What Sphinx adds to the written pages: the table of contents, from the lists of index.md, and every command's options."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from ppo.cli.main import COMMANDS, parse

TERMINAL = {"COLUMNS": "120", "NO_COLOR": "1"}  # the page must not depend on the terminal of whoever builds it
UNNAMED = ("positional arguments", "options")  # boxes of a command's own arguments; the others are groups of settings


def contents(index: str) -> str:
    """Return a hidden table of contents for each section of index.md: the pages of its list, under its heading."""
    toctrees = []
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"^- \[.*?\]\(([\w/]+)\.md\)", section, re.MULTILINE)
        if pages:
            toctrees += ["\n```{toctree}", ":hidden:", f":caption: {section.splitlines()[0]}\n", *pages, "```\n"]
    return "\n".join(toctrees)


def commands() -> str:
    """Return a section of Markdown for each command; settings that an earlier command has are named only."""
    lines: list[str] = []
    first: dict[tuple[str, str], str] = {}  # flag and meaning of a setting -> the first command that has it
    for name in COMMANDS:
        text = help_of(name)
        usage, about, _ = re.split(r"\n\n(?=\S)|\n(?=╭)", text, maxsplit=2)
        lines += [f"## {name}", " ".join(about.split()), f"```text\n{usage.removeprefix('usage: ')}\n```"]
        for title, description, options in boxes(text):
            settings = {(flag, meaning): name for flag, meaning, _ in options} if title not in UNNAMED else {}
            repeated = [key for key in settings if key in first]
            own = [option for option in options if option[:2] not in repeated]
            if own and settings:
                lines.append(f"**{title.capitalize()}.** {description}")
            if repeated:
                flags = ", ".join(f"`{flag.split()[0].rstrip(',')}`" for flag, _ in repeated)
                other = first[repeated[0]]
                lines.append(f"**{title.capitalize()}** as in [`ppo {other}`](#{other}): {flags}.")
            lines += [f"`{flag}`{f', {default}' if default else ''}\n: {text}" for flag, text, default in own]
            first = settings | first
    return "\n\n".join(lines)


def help_of(*command: str) -> str:
    """Return what `ppo COMMAND --help` prints, for a terminal of a fixed width without colours."""
    out = io.TextIOWrapper(
        io.BytesIO(), encoding="utf-8"
    )  # a text buffer has no encoding, so its frames would be ASCII
    with patch.dict(os.environ, TERMINAL), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        parse([*command, "--help"])
    out.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.read())


def boxes(text: str) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """Yield (title, description, options) of each box of a help text; an option is (flag, meaning, default)."""
    for title, box in re.findall(r"^╭─ (.*?) ─*╮$(.*?)^╰", text, re.MULTILINE | re.DOTALL):
        lines = [line.strip("│")[1:].rstrip() for line in box.splitlines() if line]
        ruler = next((n for n, line in enumerate(lines) if line and not line.strip("─")), -1)
        entries: list[str] = []
        for line in lines[ruler + 1 :]:
            if line.startswith(" "):  # goes on; two spaces stand between the flag and its meaning
                entries[-1] += f"{' ' if '  ' in entries[-1] else '  '}{line.strip()}"
            else:
                entries.append(line)
        options = [re.split("  +", entry, maxsplit=1) for entry in entries if not entry.startswith("-h, ")]
        yield title, " ".join(lines[: max(ruler, 0)]), [(flag, *_default(meaning)) for flag, meaning in options]


def _default(meaning: str) -> tuple[str, str]:
    """Split "Number of episodes. (default: 10)" into the meaning and "default `10`"."""
    meaning = re.sub(r"(\d,) (?=\d{3}\b)", r"\1", meaning)  # lines break after any comma
    match = re.fullmatch(r"(.*?) \((required|default: (.*?))\)", meaning)
    if not match or match[3] == "''":
        return match[1] if match else meaning, ""
    value = match[3] or ""
    return match[1], f"default {value if ' ' in value else f'`{value}`'}" if value else match[2]


def complete(app: Any, docname: str, source: list[str]) -> None:
    """Add what is not written by hand to a page, and mark links to Markdown outside docs/ as files, not pages."""
    if docname == "index":
        source[0] += contents(source[0])
    if docname == "commands":
        source[0] += f"\n{commands()}\n"
    up = "../" * (docname.count("/") + 1)
    source[0] = source[0].replace(f"]({up}", f"](path:{up}")


def plain(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Turn a docstring's Markdown into what Sphinx reads: `code` has two backticks there, and a star alone is a star."""
    parts = re.split(r"`([^`]+)`", "\n".join(lines))
    special = re.compile(r"(?<!\w)\*(?=\w)|(?<=\w)_(?!\w)|\||(?<=: [A-Z])\.$", re.MULTILINE)
    parts[::2] = [special.sub(r"\\\g<0>", text) for text in parts[::2]]
    parts[1::2] = [f"``{code}``" for code in parts[1::2]]
    lines[:] = "".join(parts).splitlines()


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", plain, priority=100)  # before napoleon
    return {"parallel_read_safe": True}

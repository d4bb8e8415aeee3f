"""The terminal: safe text, aligned lines, and where the time of a run went."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from ppo.cli.terminal import SafeConsole, print_lines, time_split


def test_a_split_without_a_dominant_part_gives_no_advice():
    seconds = {"environment": 4.0, "inference": 3.0, "update": 3.0}
    assert time_split(seconds, compiled=False, vectorization="auto") == "environment 40%, inference 30%, update 30%"


@pytest.mark.parametrize(
    ("part", "compiled", "vectorization", "advice"),
    [
        ("update", False, "auto", "--compile on, fewer --update-epochs, fewer --num-minibatches"),
        ("update", True, "auto", "fewer --update-epochs, fewer --num-minibatches"),
        ("inference", True, "auto", "more --num-envs with fewer --num-steps"),
        ("reference", True, "auto", "a smaller reference policy"),
        ("environment", True, "auto", "--vectorization envpool, if EnvPool has it"),
        ("environment", True, "envpool", "a faster environment"),
    ],
)
def test_a_dominant_part_comes_with_a_hint(part, compiled, vectorization, advice):
    seconds = {"environment": 1.0, "inference": 1.0, "update": 1.0} | {part: 8.0}
    assert time_split(seconds, compiled, vectorization).endswith(f"; to speed it up: {advice}")
    assert f"{part} {8 / sum(seconds.values()):.0%}" in time_split(seconds, compiled, vectorization)


def test_a_run_without_time_has_a_split_too():
    assert time_split(dict.fromkeys(("environment", "inference", "update"), 0.0), False, "auto").startswith(
        "environment 0%"
    )


def test_lines_are_aligned():
    console = Console(file=io.StringIO())
    print_lines(console, [("a", "x"), ("calibration", "y")])
    assert console.file.getvalue() == "            a  x\n  calibration  y\n"


def test_no_text_commands_the_terminal():
    console = SafeConsole(file=io.StringIO(), force_terminal=True, soft_wrap=True, highlight=False, color_system=None)
    table = Table()
    table.add_column("name")
    table.add_row("\x1b[2J")
    console.print("a run \x1b]0;title\x07", markup=False)
    console.print(table)
    print_lines(console, [("env\x1b[1m", "\x9b31m")])
    printed = console.file.getvalue()
    assert [c for c in printed if not c.isprintable() and c != "\n"] == []
    assert r"a run \x1b]0;title" in printed
    assert r"env\x1b[1m  \x9b31m" in printed


def test_a_reader_that_closes_the_pipe_is_not_an_exit_of_the_users_code():
    with pytest.raises(BrokenPipeError):
        SafeConsole().on_broken_pipe()


def test_long_texts_hang_below_their_beginning_on_a_terminal_and_commands_stay_whole():
    def printed(terminal, wrap):
        console = SafeConsole(file=io.StringIO(), force_terminal=terminal, width=40, soft_wrap=True, color_system=None)
        print_lines(console, [("budget", "100,000 steps, a checkpoint every 79")], wrap)
        return console.file.getvalue()

    whole = "       budget  100,000 steps, a checkpoint every 79\n"
    hanging = "       budget  100,000 steps, a\n               checkpoint every 79\n"
    assert (printed(True, True), printed(True, False), printed(False, True)) == (hanging, whole, whole)

"""The reporter: a panel on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from ppo.cli import reporter as module
from ppo.cli.reporter import Reporter
from ppo.cli.terminal import SafeConsole
from ppo.machine.phase import listening, phase
from ppo.run.logger import Progress

SETTINGS = {"total_timesteps": 1000}


def test_each_note_is_printed_once():
    console = Console(file=io.StringIO(), soft_wrap=True)
    with Reporter(console, SETTINGS) as reporter:
        for notes in (("one",), ("one", "two"), ("one", "two")):
            reporter(Progress({}, 1, 10, 1000, notes))
    assert console.file.getvalue() == "         note  one\n         note  two\n"


def test_without_a_terminal_a_line_comes_at_every_tenth_and_evaluation():
    console = Console(file=io.StringIO(), soft_wrap=True)
    with Reporter(console, SETTINGS) as reporter:
        for step in (50, 120, 150, 210):
            reporter(Progress({"charts/episodic_return": float(step)}, 1, step, 1000))
        reporter(Progress({"eval/episodic_return": 7.0, "charts/episodic_return": float("nan")}, 1, 220, 1000))
    lines = console.file.getvalue().splitlines()
    assert [line.split(" steps")[0] for line in lines] == ["120/1,000", "210/1,000", "220/1,000"]
    assert "return 210  eval 7" in lines[-1]  # the newest value that there was


def test_a_progress_bar_may_still_move_the_cursor():
    console = SafeConsole(file=io.StringIO(), force_terminal=True)
    with Reporter(console, SETTINGS) as reporter:
        reporter(Progress({"charts/episodic_return": 1.0}, 1, 10, 20))
    assert "\x1b[" in console.file.getvalue()


def test_an_alarm_is_a_line_that_comes_once():
    console = Console(file=io.StringIO(), soft_wrap=True)
    with Reporter(console, SETTINGS) as reporter:
        for step in range(25, 1001, 25):
            reporter(Progress({"charts/clipped_actions": 1.0}, 1, step, 1000))
    lines = console.file.getvalue().splitlines()
    assert lines.count("        alarm  all actions are clipped: lower --log-std-init (clipped_actions)") == 1
    assert len(lines) == 10 + 1


def test_notes_come_above_the_panel_and_an_error_leaves_it_and_shows_the_cursor():
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=80)
    reporter = Reporter(console, SETTINGS)

    def fail():
        with reporter:
            reporter(Progress({"charts/episodic_return": 1.0}, 1, 10, 1000, ("slow",)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    printed = console.file.getvalue()
    assert printed.index("note  slow") < printed.rindex("10/1,000")
    assert printed.rindex("\x1b[?25h") > printed.rindex("\x1b[?25l")


def test_the_panel_names_a_phase_that_lasts():
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=80)
    with Reporter(console, SETTINGS) as reporter, phase("compiling the policy: up to 30 s"):
        reporter.phases.since -= 45
        console.print(reporter)
    assert "compiling the policy, 45 s: up to 30 s" in console.file.getvalue()


def test_the_speed_of_a_run_elsewhere_is_that_of_its_rows():
    reporter = Reporter(Console(file=io.StringIO()), SETTINGS, None)
    assert reporter.speed == 0
    reporter(Progress({"time/update": 2.0, "time/evaluation": 3.0}, 1, 50, 1000))
    assert reporter.speed == 10


def test_a_slow_phase_is_a_line_that_comes_once_a_kind(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    console = Console(file=io.StringIO(), soft_wrap=True)
    phases = module.Phases(console)
    with listening(phases._begin):
        for episodes in (1, 2):
            with phase(f"evaluating: {episodes} episodes"), phase("collecting"):
                phases._tell()
            with phase(f"evaluating: {episodes} episodes"):
                phases._tell()
        phases._tell()
    assert console.file.getvalue() == "         wait  collecting\n         wait  evaluating: 1 episodes\n"


def test_the_clock_ends_with_the_command_and_at_a_closed_pipe():
    ticks = []

    def tick():
        ticks.append(1)
        raise BrokenPipeError

    with module.Phases(Console(file=io.StringIO()), tick) as phases:
        phases.clock.thread.join(5)
    assert (ticks, phases.clock.thread.is_alive()) == ([1], False)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_quiet_console_of_another_rank_shows_nothing(capsys, terminal):
    console = SafeConsole(file=io.StringIO(), force_terminal=terminal, quiet=True, force_interactive=False)
    with Reporter(console, SETTINGS) as reporter:
        reporter(Progress({"charts/episodic_return": 1.0}, 1, 1000, 1000, ("a note",)))
    assert console.file.getvalue() + capsys.readouterr().out == ""

"""The panel: at most nine lines of at most 80 columns, whatever a run has measured."""

import io

import pytest
from rich.console import Console

from ppo.cli.alarms import ALARMS
from ppo.cli.history import History
from ppo.cli.panel import State, duration, panel

PPO = {
    "charts/episodic_return": 487.25, "eval/episodic_return": 500.0, "losses/entropy": 0.524, "losses/approx_kl": 0.0081,
    "losses/clipfrac": 0.121, "losses/explained_variance": 0.853, "time/environment": 1.0, "time/inference": 1.0, "time/update": 2.0,
}  # fmt: skip
ENTROPY = next(alarm for alarm in ALARMS if alarm.tag == "losses/entropy")


def lines(row, state=None, plain=False, step=600):
    history, console = History(1000), Console(file=io.StringIO(), width=80)
    for end in range(200, step + 1, 200):
        history.add({tag: value + end for tag, value in row.items()} if "reward/loss" in row else row, end)
    console.print(panel(history, state or State(50.0, "", []), plain))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_run_of_ppo():
    assert lines(PPO, State(50.0, "evaluating the policy, 3 s", [ENTROPY])) == [
        "     progress  " + "━" * 21 + "─" * 15 + "  60%  600/1,000",
        "        speed  50 SPS   ETA 8 s   evaluating the policy, 3 s",
        "       return         ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁                487.2  evaluation 500",
        "       policy  entropy 0.524   KL 0.0081   clip fraction 0.121",
        "       critic  explained variance 0.853",
        "         time  environment 25%   inference 25%   update 50%",
        "        alarm  the entropy is gone: raise --ent-coef (entropy)",
    ]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"pretrain/loss": 1.5, "eval/perplexity": 4.0}, "loss  "),
        ({"reward/loss": 0.5, "eval/loss": 0.6}, "reward loss  "),
    ],
)
def test_supervised_runs_have_other_lines(row, line):
    printed = lines(row)
    assert len(printed) == 3
    assert printed[2].lstrip().startswith(line)


def test_a_run_without_rows_and_a_run_that_has_ended():
    assert lines(PPO, State(0.0, "waiting for the first row", []), step=0) == [
        "     progress  " + "─" * 36 + "  0%  0/1,000",
        "        speed  waiting for the first row",
    ]
    assert "ETA" not in " ".join(lines(PPO, State(9.0, "the run is finished", [], running=False)))


def test_the_panel_fits_a_small_terminal_with_every_line_and_without_blocks():
    row = PPO | {
        "episode/solved": 0.5,
        "reference/kl": -1234.5678,
        "reference/coef": 0.1,
        "time/reference": 3.0,
        "time/evaluation": 1.0,
    }
    row = row | {
        "charts/episodic_return": -123456.789,
        "eval/episodic_return": -123456.789,
        "losses/approx_kl": 1.23e-12,
    }
    printed = lines(row, State(123456.0, "collecting a rollout, 2 h 5 min", list(ALARMS)), plain=True)
    assert len(printed) <= 9
    assert max(map(len, printed)) <= 80
    assert "\n".join(printed).isascii()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (41.6, "42 s"), (200, "3 min"), (7500, "2 h 5 min"), (400_000, "5 days")]
)
def test_a_duration_as_a_person_says_it(seconds, text):
    assert duration(seconds) == text

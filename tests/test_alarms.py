"""Alarms: each comes with its sign, none in a healthy run, and each says what docs/metrics.md says."""

import re
from pathlib import Path

import pytest

from ppo.cli.alarms import ALARMS, alarms
from ppo.cli.history import BINS, History
from ppo.config import Config

METRICS = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
HEALTHY = {
    "charts/episodic_return": lambda n: n - 300 + 3 * (n % 2), "charts/episodes": lambda n: 5,
    "losses/entropy": lambda n: 0.7 - 0.01 * n, "losses/approx_kl": lambda n: 0.02, "losses/clipfrac": lambda n: 0.15,
    "losses/explained_variance": lambda n: min(n / 20, 0.9), "losses/epochs": lambda n: 4, "charts/clipped_actions": lambda n: 0.3,
}  # fmt: skip


def raised(changes, until=BINS, settings=None):
    """Return the words of the alarms of a run that is healthy but for these tags; None: the tag is not measured."""
    rows, history = HEALTHY | changes, History(BINS)
    for n in range(until):
        history.add({tag: float(value(n)) for tag, value in rows.items() if value is not None}, n + 1)
    return [alarm.words for alarm in alarms(history, Config().to_json() | (settings or {}))]


FALL = {"charts/episodic_return": lambda n: (n if n < 20 else 2) + n % 2}
FLAT = {"charts/episodic_return": lambda n: n % 2}
SIGNS = [
    ({"charts/episodes": lambda n: 0, "charts/episodic_return": None}, {}, "no episode ended"),
    (FALL, {}, "the return fell for good"),
    ({"charts/episodic_return": lambda n: 0.0}, {}, "every return is the same"),
    (FLAT | {"losses/approx_kl": lambda n: 1e-9}, {}, "the policy does not move"),
    (FALL | {"losses/approx_kl": lambda n: 0.5}, {}, "KL spikes"),
    (
        FLAT | {"losses/entropy": lambda n: 0.7 if n < 18 else 1e-3, "charts/clipped_actions": None},
        {},
        "the entropy is gone",
    ),
    (
        {"losses/entropy": lambda n: 0.7 if n < 3 else 0.0, "charts/clipped_actions": None},  # while the return rises
        {},
        "the entropy fell early",
    ),
    (FLAT | {"losses/explained_variance": lambda n: -0.2}, {}, "the critic explains nothing"),
    (FLAT | {"losses/clipfrac": lambda n: 0.6}, {}, "half of the ratios are clipped"),
    (FLAT | {"losses/clipfrac": lambda n: 0.0}, {}, "no ratio is ever clipped"),
    ({"losses/epochs": lambda n: 1}, {"target_kl": 0.01}, "each update ends after one epoch"),
    (FLAT | {"charts/clipped_actions": lambda n: 0.97}, {}, "all actions are clipped"),
    ({"reward/loss": lambda n: 0.7}, {}, "the model guesses"),
]


@pytest.mark.parametrize(("changes", "settings", "words"), SIGNS, ids=[words for *_, words in SIGNS])
def test_an_alarm_comes_with_its_sign_and_not_at_once(changes, settings, words):
    assert words in raised(changes, BINS, settings)
    assert raised(changes, 19, settings) == []


def test_every_alarm_has_a_sign_here():
    assert {alarm.words for alarm in ALARMS} == {words for *_, words in SIGNS}


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({}, {}),
        (dict.fromkeys(HEALTHY), {}),
        (FLAT | {"losses/explained_variance": lambda n: -9}, {"baseline": False}),  # REINFORCE, GRPO
        (FLAT | {"losses/approx_kl": lambda n: 0, "losses/clipfrac": lambda n: 0, "losses/epochs": lambda n: 1},
         {"update_epochs": 1, "num_minibatches": 1}),
        ({"losses/approx_kl": lambda n: 0.5}, {}),  # while the return rises
        (FLAT | {"losses/entropy": lambda n: -n}, {}),  # of a Gaussian
        ({"losses/entropy": lambda n: 0.7 if n < 3 else 0, "charts/clipped_actions": None, "episode/solved": lambda n: 1}, {}),
        ({"losses/entropy": lambda n: 0.7 if n < 8 else 0.02, "charts/clipped_actions": None}, {}),  # not early
        ({"losses/entropy": lambda n: 0.7 if n < 3 else 0.0, "charts/clipped_actions": None,
          "charts/episodic_return": lambda n: min(60 * n, 460) + n % 2}, {}),  # solved: CartPole's threshold is 475
        ({"losses/entropy": lambda n: 0.02 if n == 4 else 0.7, "charts/clipped_actions": None}, {}),  # it recovered
        ({"losses/entropy": lambda n: 0.7 if n < 3 else 0.02, "charts/clipped_actions": None}, {"action_bound": "tanh"}),
        (FLAT | {"losses/explained_variance": lambda n: -9}, {"risk_quantile": 0.1}),
        ({"losses/explained_variance": lambda n: 0.9 if n < 20 else -0.3}, {}),  # solved: returns do not vary
        (FLAT | {"losses/explained_variance": lambda n: -9, "losses/clipfrac": lambda n: 0.6, "charts/clipped_actions": None,
                 "losses/entropy": lambda n: 0.7 if n < 3 else 0.0}, {"reward": "none"}),  # the teacher is certain
        ({"charts/episodic_return": lambda n: 1e6 * n}, {}),
        ({"charts/episodic_return": lambda n: (-1) ** n * 100}, {}),  # noise
    ],
)  # fmt: skip
def test_a_healthy_run_has_no_alarm(changes, settings):
    assert [raised(changes, until, settings) for until in range(BINS + 1)] == [[]] * (BINS + 1)


@pytest.mark.parametrize("alarm", ALARMS, ids=str)
def test_an_alarm_is_a_warning_sign_in_the_documentation_with_its_remedy(alarm):
    (row,) = (line for line in METRICS.splitlines() if line.startswith("|") and f"`{alarm.tag}`" in line.split("|")[1])
    for flag in re.findall(r"--([a-z-]+)", alarm.remedy):
        assert flag.replace("-", "_") in row, f"{alarm.tag} does not mention {flag}"


def test_an_alarm_fits_its_line():
    assert max(len(str(alarm)) for alarm in ALARMS) <= 65

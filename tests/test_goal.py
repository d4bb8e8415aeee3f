"""The goal: what is read, when it is reached, and the nearest metrics of an unknown one."""

import math

import pytest

from ppo import UsageError
from ppo.config.goal import Goal, read_goal

METRICS = ["charts/episodic_return", "eval/episodic_return", "losses/approx_kl", "losses/clipfrac"]


@pytest.mark.parametrize("text", ["losses/approx_kl <= 0.1", "losses/approx_kl<=1e-1", " losses/approx_kl  <=  .1 "])
def test_a_goal_is_a_metric_a_sign_and_a_number(text):
    assert read_goal(text) == Goal("losses/approx_kl", "<=", 0.1)
    assert read_goal("") is None


@pytest.mark.parametrize(
    "text", ["a", "a 3", "a > 3", "a = 3", ">= 3", "a >= ", "a >= x", "a >= nan", "a >= 1 >= 2", " "]
)
def test_another_text_is_refused(text):
    with pytest.raises(UsageError, match="is not METRIC >= NUMBER or METRIC <= NUMBER, in quotation marks"):
        read_goal(text)


def test_a_goal_is_reached_by_a_rise_or_a_fall_to_its_value_and_not_by_nan():
    rise, fall = Goal("a/b", ">=", 475.0), Goal("a/b", "<=", 475.0)
    values = [474.9, 475.0, 480.0, math.nan]
    assert [bool(rise.reached({"a/b": x})) for x in values] == [False, True, True, False]
    assert [bool(fall.reached({"a/b": x})) for x in values] == [True, True, False, False]
    assert rise.reached({}) == ""
    assert rise.reached({"a/b": 480.0}) == "a/b is 480 (stop at >= 475)"


@pytest.mark.parametrize(
    ("metric", "near"),
    [
        ("eval/episodic_retrun", r"did you mean eval/episodic_return or charts/episodic_return\?"),
        ("approx_kl", r"did you mean losses/approx_kl\?"),
        ("xyz", "it logs charts/episodic_return, eval/episodic_return, losses/approx_kl, losses/clipfrac"),
    ],
)
def test_an_unknown_metric_is_refused_with_the_nearest(metric, near):
    with pytest.raises(UsageError, match=f"^stop_at: this run does not log '{metric}'; {near}"):
        Goal(metric, ">=", 1.0).check(METRICS)
    Goal("losses/clipfrac", ">=", 1.0).check(METRICS)

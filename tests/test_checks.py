"""A run under way: prompts that leave no decision are refused, and one rank has nobody to agree with."""

import pytest

from ppo import Config, UsageError, preset
from ppo.loop.assemble import assemble
from ppo.loop.checks import check_alike, check_decisions


def test_a_run_without_a_decision_is_refused_with_the_length_of_its_prompts():
    parts = assemble(preset("text/Copy-v0", "ppo", "gru").replace({"num_envs": 2, "num_steps": 8, "compile": "off"}))
    parts.collector.reset(0)
    longest = parts.envs.unwrapped.prompt_length
    check_decisions(parts, 1, 1)
    with pytest.raises(
        UsageError, match=f"in the 8 steps .* prompts have up to {longest} tokens; choose num_steps above"
    ):
        check_decisions(parts, 1, 0)


def test_one_rank_agrees():
    check_alike(assemble(Config().replace({"num_envs": 2, "num_minibatches": 2, "compile": "off"})))

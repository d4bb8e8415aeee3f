"""A run under way: prompts that leave no decision are refused, and one rank has nobody to agree with."""

import pytest

from ppo import Config, Trainer, UsageError, preset
from ppo.loop.assemble import assemble
from ppo.loop.checks import check_alike, check_decisions
from ppo.text import Task, TokenEnv, Vocabulary


def test_a_run_without_a_decision_is_refused_with_the_length_of_its_prompts():
    parts = assemble(preset("text/Copy-v0", "ppo", "gru").replace({"num_envs": 2, "num_steps": 8, "compile": "off"}))
    parts.collector.reset(0)
    longest = parts.envs.unwrapped.prompt_length
    check_decisions(parts, 1, 1)
    with pytest.raises(
        UsageError, match=f"in the 8 steps .* prompts have up to {longest} tokens; choose num_steps above"
    ):
        check_decisions(parts, 1, 0)


def test_a_run_on_whole_episodes_is_refused_if_its_prompts_leave_no_room_for_one(tmp_path):
    task = Task(Vocabulary("ab"), lambda completions: [0.0] * len(completions), 2, prompt=lambda rng: "abababab")
    more = {"risk_quantile": 0.5, "norm_adv": False, "gamma": 1.0, "target_entropy": 0.5, "ent_coef": 0.01}
    sizes = {"num_steps": 8, "num_minibatches": 2, "total_timesteps": 640, "eval_episodes": 0, "compile": "off"}
    trainer = Trainer(Config(policy="gru", runs_dir=tmp_path).replace(sizes | more), TokenEnv(task, 4))
    with pytest.raises(UsageError, match=r"in no rollout of num_steps = 8 an episode began and ended"):
        trainer.train()
    assert trainer.learner.coefs.adapted["ent_coef"] == 0.01


def test_a_rollout_without_a_whole_episode_is_no_fault_once_one_has_trained():
    sizes = {"num_envs": 2, "num_steps": 16, "compile": "off", "norm_adv": False, "risk_quantile": 0.5, "gamma": 1.0}
    parts = assemble(preset("text/Copy-v0", "ppo", "gru").replace(sizes))
    with pytest.raises(UsageError, match="in no rollout of num_steps = 16"):
        check_decisions(parts, 3, 40)
    parts.learner.load_state_dict(parts.learner.state_dict())  # a run that resumes had a checkpoint, so one has
    check_decisions(parts, 3, 40)


def test_one_rank_agrees():
    check_alike(assemble(Config().replace({"num_envs": 2, "num_minibatches": 2, "compile": "off"})))

"""Next token: a language model as actor and critic, whose gradient is the textbook's."""

import numpy as np
import pytest
import torch

from ppo import Trainer, UsageError, preset
from ppo.cli import main as cli
from ppo.evaluation import evaluate
from ppo.text.tasks.next_token import NextTokenEnv


def test_correct_predictions_are_rewarded_and_the_true_token_follows(tmp_path):
    (tmp_path / "corpus.txt").write_text("ab\n\nab\n")
    env = NextTokenEnv(1, str(tmp_path / "corpus.txt"))
    obs, _ = env.reset(seed=0)
    seen, earned = [int(obs[0])], []
    for action in (0, 0, 2, 0):
        obs, reward, terminated, _, infos = env.step(np.array([action]))
        seen.append(int(obs[0]))
        earned.append((reward[0], bool(terminated[0]), infos.get("accuracy", [None])[0]))
    assert seen == [2, 0, 1, 2, 0]
    assert earned == [(1, False, None), (0, False, None), (1, True, pytest.approx(2 / 3)), (1, False, None)]


def test_a_policy_trains_on_one_part_of_a_corpus_and_is_evaluated_on_the_other(tmp_path, monkeypatch, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"{'xy'[n % 10 == 0]}{n % 10}\n" for n in range(20)))  # the held-out lines begin with y
    parts = [NextTokenEnv(1, str(corpus), part=part) for part in ("all", "training", "held-out")]
    assert [len(env.demonstrations) for env in parts] == [20, 18, 2]
    assert [parts[2].vocabulary.decode(line) for _, line in parts[2].demonstrations] == ["y0", "y0"]
    with pytest.raises(UsageError, match="part = 'test' is unknown; choose all, training, held-out"):
        NextTokenEnv(1, part="test")
    monkeypatch.chdir(tmp_path)
    small = (
        "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16 --learning-rate 0.01 --total-timesteps 3000"
    )
    cli.main(f"train text/NextToken-v0 {small} --env-kwargs corpus {corpus} part training".split())
    run = "runs/text_NextToken-v0__ppo__s1"
    assert evaluate(run, 8).metric("accuracy") > evaluate(run, 8, env_kwargs={"part": "held-out"}).metric("accuracy")
    cli.main(f"eval {run} --env-kwargs part held-out".split())
    assert "accuracy" in capsys.readouterr().out
    other = tmp_path / "other.txt"
    other.write_text(corpus.read_text().replace("x", "z"))  # other symbols, the same number
    for kwargs, sentence in {"part none": "part = 'none' is unknown", f"corpus {other}": "another vocabulary"}.items():
        with pytest.raises(SystemExit):
            cli.main(f"eval {run} --env-kwargs {kwargs}".split())
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_its_gradient_is_that_of_one_step_actor_critic(tmp_path, monkeypatch, gamma):
    """Sutton and Barto (2018), section 13.5: δ ∇log π(a|s) and δ ∇V(s), token by token, through the GRU's memory."""
    steps, places = 12, 3
    (tmp_path / "corpus.txt").write_text("abab\nba\n")
    small = {"num_envs": places, "num_steps": steps, "state_size": 8, "hidden_sizes": [8], "compile": "off"}
    learnt = {"gamma": gamma, "gae_lambda": 0.0, "env_kwargs": {"corpus": str(tmp_path / "corpus.txt")}}
    config = preset("text/NextToken-v0", "a2c").replace(small | learnt)
    trainer = Trainer(config)
    trainer.collector.reset(0)
    rollout, _ = trainer.collector.collect(steps)
    rollout.rewards[::2] = 1.0  # so that δ is not 0 everywhere
    assert rollout.terminated.any()
    found = []
    monkeypatch.setattr(
        trainer.learner, "_optimize", lambda policy, gradient, *_: found.append(gradient) or gradient.norm()
    )
    trainer.learner.update(rollout, 0.0)
    policy, objective = trainer.policy, torch.zeros(())
    dist, values, _ = policy(rollout.obs, policy.initial_state(places), rollout.starts)
    log_probs = dist.log_prob(rollout.actions)
    for t in range(steps):
        for n in range(places):
            after = values[t + 1, n].detach() if t + 1 < steps else rollout.next_values[t, n]
            after = 0.0 if rollout.terminated[t, n] else after
            delta = rollout.rewards[t, n] + gamma * after - values[t, n].detach()
            objective = objective + delta * log_probs[t, n] + config.vf_coef * delta * values[t, n]
    wanted = torch.autograd.grad(-objective / (steps * places), trainer.learner.policy.leaves)
    wanted = torch.cat([x.flatten() for x in wanted])
    assert wanted.norm() > 0.01
    torch.testing.assert_close(found[0], wanted, atol=1e-6, rtol=1e-4)

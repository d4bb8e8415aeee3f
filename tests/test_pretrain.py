"""Pretraining: the tokens that are learnt, the likelihood, and runs that start from it."""

import re

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from ppo import Trainer, UsageError, preset
from ppo.cli import main as cli
from ppo.loop.play import play
from ppo.policies import build_policy
from ppo.supervised.pretrain import held_out_loss, pretrain
from ppo.supervised.streams import Window
from ppo.text import Task, TokenEnv, Vocabulary


def trainer(folder, env, **settings):
    small = {"runs_dir": str(folder), "num_envs": 2, "num_steps": 4, "num_minibatches": 1, "policy": "gru"}
    return Trainer(preset("text/Copy-v0").replace(small | {"compile": "off"} | settings), env)


def test_the_loss_is_that_of_the_valid_actions_over_all_windows():
    policy = build_policy("gru", Discrete(4), Discrete(4), {"state_size": 8})
    obs, starts = torch.randint(4, (6, 3)), torch.rand(6, 3) < 0.3
    starts[0] = True
    valid, actions = torch.rand(6, 3) < 0.5, torch.randint(4, (6, 3))
    with torch.no_grad():
        policy.actor.weight.mul_(100)
        log_probs = policy(obs, policy.initial_state(3), starts)[0].log_prob(actions)[valid]
    columns = obs, starts, valid, actions, torch.zeros_like(obs)
    windows = [Window(*(x[t : t + 2] for x in columns)) for t in (0, 2, 4)]
    assert held_out_loss(policy, windows) == pytest.approx(-float(log_probs.mean()), rel=1e-5)


def test_a_line_is_learnt_by_heart_and_its_perplexity_falls_to_one(tmp_path):
    env = TokenEnv(Task(Vocabulary("abc"), None, 9, demonstrate=[("", "abc")] * 10), 2)
    result = pretrain(trainer(tmp_path, env, learning_rate=0.03, total_timesteps=1600))
    assert result.perplexity < 1.1
    assert result.held_out == 4  # the held-out line and its end, however often they were scored


class Sign(gymnasium.Env):
    """Pays 1 if the action has the sign of the observation, for three steps."""

    observation_space, action_space = Box(-1, 1, (1,)), Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.shown = 0, self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.shown, {}

    def step(self, action):
        reward = float((action == 6) == (self.shown[0] > 0))
        self.time, self.shown = self.time + 1, self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.shown, reward, self.time == 3, False, {}


def signs(path, episodes=40):
    obs = np.random.default_rng(0).uniform(-1, 1, (3 * episodes, 1)).astype(np.float32)
    ends = np.arange(3 * episodes) % 3 == 2
    np.savez(path, observations=obs, actions=5 + (obs[:, 0] > 0), rewards=np.ones(len(obs)), terminations=ends)
    return path


@pytest.mark.parametrize(
    ("policy", "values", "gamma"),
    [("mlp", [1.4, 1.4, 1.4], 0.5), ("gru", [1.75, 1.5, 1.0], "adaptive from 0.5 between 0.1 and 0.9")],
)
def test_a_clone_earns_what_its_demonstrator_does_and_its_critic_knows_it(tmp_path, policy, values, gamma):
    envs = SyncVectorEnv([Sign] * 4)
    settings = {"learning_rate": 0.01, "total_timesteps": 2000, "gamma": gamma, "num_steps": 8}
    settings["runs_dir"] = str(tmp_path)
    settings |= {"num_minibatches": 2, "policy": policy, "state_size": 16, "separate_critic": policy == "gru"}
    settings |= {"scale_rewards": True, "normalize_obs": True, "compile": "off", "eval_episodes": 0}
    config = preset("CartPole-v1").replace(settings)
    trainer = Trainer(config, envs)
    result = pretrain(trainer, demonstrations=signs(tmp_path / "d.npz"), patience=0)
    assert result.finished
    assert result.loss < 0.2
    assert np.mean([episode.episode_return for episode in play(trainer.collector, 40, seed=0)]) > 2.8
    trainer.collector.reset(0)
    rollout, _ = trainer.collector.collect(3, deterministic=True)
    unit = float(trainer.learner.estimator.scaler.stats.var[0]) ** 0.5
    # 1 + 1/2 + 1/4, 1 + 1/2, 1; without memory the steps look alike, and the mean of the three is 1.42
    assert (unit * rollout.values.mean(1)).tolist() == pytest.approx(values, abs=0.25)
    again = Trainer(config.replace({"init_from": str(result.run_dir)}), envs)
    assert again.learner.estimator.state_dict()["scaler.count"] == 120  # PPO goes on in the critic's units
    torch.testing.assert_close(again.learner.policy.vector, trainer.learner.policy.vector, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("env_id", "sources", "sentence"),
    [
        ("CartPole-v1", {}, "CartPole-v1 is not a text environment; give recorded episodes with --demonstrations"),
        ("CartPole-v1", {"corpus": "lines.txt"}, "CartPole-v1 is not a text environment"),
        (
            "text/Copy-v0",
            {"demonstrations": "d.npz"},
            "text/Copy-v0 is a text environment; give a text file with --corpus",
        ),
    ],
)
def test_sources_of_another_kind_of_environment_are_refused(tmp_path, env_id, sources, sentence):
    with (
        Trainer(preset(env_id).replace({"runs_dir": str(tmp_path), "compile": "off"})) as made,
        pytest.raises(UsageError, match=sentence),
    ):
        pretrain(made, **sources)
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_longer_than_the_task_allows_is_noted(tmp_path):
    for max_tokens, notes in ((4, set()), (3, {"a demonstration has 4 tokens, more than max_tokens = 3"})):
        found = set()
        env = TokenEnv(Task(Vocabulary("abc"), None, max_tokens, demonstrate=lambda rng: ("ab", "abc")), 2)
        settings = {"total_timesteps": 16, "exp_name": f"n{max_tokens}"}
        pretrain(trainer(tmp_path, env, **settings), report=lambda progress, found=found: found.update(progress.notes))
        assert {note.split(":")[0] for note in found} == notes


def test_a_pretrained_policy_is_sampled_evaluated_and_trained_near_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/Copy-v0 {small} --total-timesteps 128 --env-kwargs length 3 letters 4".split())
    assert "train text/Copy-v0 --env-kwargs length=3 letters=4 --init-from runs/text_Copy" in capsys.readouterr().out
    cli.main(f"pretrain text/RandomWalks-v0 {small} --num-layers 2 --total-timesteps 512".split())
    clone = "runs/text_RandomWalks-v0__pretrain__s1"
    assert "perplexity" in capsys.readouterr().out
    cli.main(f"sample {clone} -n 3 --prompt k --top-k 2".split())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("k → " in line for line in lines[:3])
    cli.main(f"eval {clone} --episodes 4 --actions sampled".split())
    assert re.search(r"4 episodes: return .*, ended [01][.\d]*, invalid [01][.\d]*$", capsys.readouterr().out.strip())
    with pytest.raises(SystemExit):
        cli.main(f"resume {clone} --total-timesteps 9000".split())
    assert "was made by `ppo pretrain`; train from it: --init-from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(f"sample {clone} --seed -1".split())
    assert "seed = -1 is too small" in capsys.readouterr().err
    near = f"--init-from {clone} --reference {clone} --kl-target 2 --checkpoint-every 2 --total-timesteps 500 --eval-episodes 2"
    cli.main(f"train text/RandomWalks-v0 {small} {near}".split())
    rows = (tmp_path / "runs/text_RandomWalks-v0__ppo__s1/progress.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert float(first["reference/kl"]) == float(first["reference/exact"]) == 0  # a policy against itself
    assert float(first["reference/coef"]) == 0.1
    assert 0 < float(first["time/reference"]) < 1 / float(first["charts/SPS"]) * 8 * 16
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["reference/kl"]) != 0
    assert float(last["reference/coef"]) < 0.1  # far below the target
    cli.main(["resume", "runs/text_RandomWalks-v0__ppo__s1", "--total-timesteps", "700"])
    assert len((tmp_path / "runs/text_RandomWalks-v0__ppo__s1/progress.csv").read_text().splitlines()) > len(rows)
    again = tmp_path / clone / "checkpoints" / "latest.safetensors"
    again.write_bytes((tmp_path / "runs/text_RandomWalks-v0__ppo__s1/checkpoints/latest.safetensors").read_bytes())
    with pytest.raises(SystemExit):
        cli.main(["resume", "runs/text_RandomWalks-v0__ppo__s1", "--total-timesteps", "900"])
    assert "the reference run's latest policy has changed since this run began" in capsys.readouterr().err

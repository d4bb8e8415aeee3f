"""Pretraining: the tokens that are learnt, the likelihood, and runs that start from it."""

import re

import pytest
import torch
from gymnasium.spaces import Discrete

from ppo import Trainer, preset
from ppo.cli import main as cli
from ppo.policies import build_policy
from ppo.supervised.pretrain import TokenBatch, _batches, perplexity, pretrain, rows
from ppo.text import Task, TokenEnv, Vocabulary


def test_only_the_turns_of_the_policy_are_learnt():
    end, x, y = 3, 4, 5  # x and y are read-only
    steps = rows(([x], [0, 1], [y, x], [2]), end)
    assert [token for token, *_ in steps] == [end, x, 0, 1, end, y, x, 2]
    assert [start for _, start, *_ in steps] == [True] + [False] * 7
    assert [valid for *_, valid, _ in steps] == [False, True, True, True, False, False, True, True]
    assert [action for *_, valid, action in steps if valid] == [0, 1, end, 2, end]
    assert max(action for *_, action in steps) <= end


def test_read_only_tokens_of_a_response_are_not_learnt():
    assert [(valid, action) for *_, valid, action in rows(([], [0, 5, 1]), 3)] == [
        (True, 0), (False, 3), (True, 1), (True, 3),
    ]  # fmt: skip


def trainer(folder, env, **settings):
    small = {"runs_dir": str(folder), "num_envs": 2, "num_steps": 4, "num_minibatches": 1, "policy": "gru"}
    return Trainer(preset("text/Copy-v0")[1].replace(small | {"compile": "off"} | settings), env)


def test_streams_go_on_from_window_to_window(tmp_path):
    env = TokenEnv(Task(Vocabulary("abc"), None, 9, demonstrate=lambda rng: ("", "abcab")), 2)
    sequences = iter([([], [n % 3] * 5) for n in range(9)])
    batches = _batches(sequences, trainer(tmp_path, env), env)
    first, second = next(batches), next(batches)
    assert torch.cat([first.obs, second.obs])[:, 0].tolist() == [3, 0, 0, 0, 0, 0, 3, 2]
    assert torch.cat([first.starts, second.starts])[:, 1].tolist() == [True] + [False] * 5 + [True, False]


def test_perplexity_is_that_of_the_valid_tokens_over_all_windows():
    policy = build_policy("gru", Discrete(4), Discrete(4), {"state_size": 8})
    obs, starts = torch.randint(4, (6, 3)), torch.rand(6, 3) < 0.3
    starts[0] = True
    valid, actions = torch.rand(6, 3) < 0.5, torch.randint(4, (6, 3))
    with torch.no_grad():
        policy.actor.weight.mul_(100)
        log_probs = policy(obs, policy.initial_state(3), starts)[0].log_prob(actions)[valid]
    windows = [TokenBatch(obs[t : t + 2], starts[t : t + 2], valid[t : t + 2], actions[t : t + 2]) for t in (0, 2, 4)]
    assert perplexity(policy, windows) == pytest.approx(float(torch.exp(-log_probs.mean())), rel=1e-5)


def test_a_line_is_learnt_by_heart_and_its_perplexity_falls_to_one(tmp_path):
    env = TokenEnv(Task(Vocabulary("abc"), None, 9, demonstrate=[("", "abc")] * 10), 2)
    result = pretrain(trainer(tmp_path, env, learning_rate=0.03, total_timesteps=1600))
    assert result.perplexity < 1.1
    assert result.held_out == 4 * 4 * 2  # four windows of num_steps * num_envs tokens


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

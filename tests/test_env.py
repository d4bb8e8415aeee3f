"""Text: one step is one token, prompt tokens are rows without a decision, and runs start from and near other runs."""

import csv
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Dict, Discrete, MultiBinary

from ppo import Trainer, UsageError, preset
from ppo.cli import main as cli
from ppo.config.presets import preset_name
from ppo.envs import make_envs
from ppo.envs.spaces import Packer
from ppo.loop.advantages import gae
from ppo.loop.collector import Collector
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy
from ppo.run.checkpoint import read_checkpoint
from ppo.run.load import load
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.env import pack_tokens

A, B, C, END = range(4)
ABC = Vocabulary("abc")


def lengths(completions):
    return [float(len(c.response)) for c in completions]


def task(**settings):
    """A task with the prompt ab that rewards each letter by 1, up to three tokens."""
    return Task(**{"vocabulary": ABC, "reward": lengths, "max_tokens": 3, "prompt": lambda rng: "ab"} | settings)


def run(env, actions):
    """Reset and step one environment; return (obs, reward, terminated, truncated, valid) of the reset and of each step."""
    obs, infos = env.reset(seed=0)
    rows = [(obs, 0.0, False, False, infos["valid"][0])]
    for action in actions:
        obs, reward, terminated, truncated, infos = env.step(np.array([action]))
        rows.append((obs, reward[0], terminated[0], truncated[0], infos["valid"][0]))
    return rows


def prompts_of(env):
    return [completion.prompt for completion in env.sequences.completions(np.arange(env.num_envs))]


def test_prompts_are_shown_token_by_token_and_actions_count_from_the_last_one():
    # The end token, a, b; then c is written, and the end token, which brings the next prompt.
    rows = run(TokenEnv(task(), 1), [B, B, C, END, A])
    assert [int(obs[0]) for obs, *_ in rows] == [END, A, B, C, END, A]
    assert [bool(valid) for *_, valid in rows] == [False, False, True, True, False, False]
    assert [reward for _, reward, *_ in rows] == [0, 0, 0, 0, 1, 0]
    assert [bool(terminated) for _, _, terminated, *_ in rows] == [False, False, False, False, True, False]


def test_the_limit_ends_a_sequence_and_a_missing_end_costs():
    rows = run(TokenEnv(task(missing_end=0.5), 1), [B, B, C, C, C])
    assert rows[-1][1:4] == (2.5, True, False)


def test_a_task_that_continues_is_truncated_and_reports_the_last_token():
    env = TokenEnv(task(continues=True), 1)
    env.reset(seed=0)
    for action in (B, B, C, C):
        env.step(np.array([action]))
    obs, reward, terminated, truncated, infos = env.step(np.array([A]))
    assert (obs[0], reward[0], terminated[0], truncated[0], infos["final_obs"][0]) == (END, 3, False, True, A)


def test_an_end_token_that_is_the_last_token_allowed_ends_the_sequence():
    rows = run(TokenEnv(task(missing_end=9.0), 1), [B, B, C, C, END])
    assert rows[-1][1:4] == (2, True, False)


def test_the_tokens_of_a_reply_are_not_decisions():
    def reply(completions):
        return ["ca" if c.response == "a" else None for c in completions]

    env = TokenEnv(task(reply=reply, max_tokens=9, prompt=lambda rng: ""), 1)
    rows = run(env, [A, END, B, B, B, END])
    assert [int(obs[0]) for obs, *_ in rows] == [END, A, END, C, A, B, END]
    assert [bool(valid) for *_, valid in rows] == [True, True, False, False, True, True, True]
    assert rows[-1][1] == 4  # a, the answer ca, and b: end tokens are not part of a text
    assert [bool(terminated) for _, _, terminated, *_ in rows] == [False] * 6 + [True]


def test_a_token_that_ends_a_turn_is_rewarded_before_the_reply():
    seen = []

    def reward(completions):
        seen.extend((c.response, c.ended) for c in completions)
        return lengths(completions)

    made = task(reward=reward, per_token=True, reply=lambda cs: ["c" for _ in cs], max_tokens=9, prompt=lambda rng: "")
    rows = run(TokenEnv(made, 1), [A, END])
    assert seen == [("a", False), ("a", True)]
    assert [r for _, r, *_ in rows] == [0, 1, 1]


def test_a_response_at_its_limit_gets_no_reply():
    env = TokenEnv(task(reply=lambda cs: ["c" for _ in cs], max_tokens=2, missing_end=9.0, prompt=lambda rng: ""), 1)
    rows = run(env, [A, END])
    assert rows[-1][1:4] == (1, True, False)  # ended, and by itself


def test_masks_apply_only_to_decisions():
    def only_c(completions):
        assert all(c.prompt == "ab" for c in completions)
        return np.tile([False, False, True, True], (len(completions), 1))

    rows = run(TokenEnv(task(mask=only_c, min_tokens=1), 1), [B, B, C, END])
    masks = [obs["action_mask"][0].tolist() for obs, *_ in rows]
    assert masks == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]]


def test_a_reward_per_token_is_that_of_the_sequence_so_far():
    rows = run(TokenEnv(task(per_token=True), 1), [B, B, C, C, END])
    assert [reward for _, reward, *_ in rows] == [0, 0, 0, 1, 2, 2]


def test_equal_seeds_give_equal_prompts_and_steps():
    def prompt(rng):
        return "abc"[: rng.integers(4)]

    first, second = (TokenEnv(task(prompt=prompt), 5) for _ in range(2))
    rng = np.random.default_rng(0)
    for env in (first, second):
        env.reset(seed=3)
    for _ in range(50):
        actions = rng.integers(4, size=5)
        (obs, reward, *_), (same, too, *_) = first.step(actions), second.step(actions)
        np.testing.assert_array_equal(obs, same)
        np.testing.assert_array_equal(reward, too)


def test_a_group_shares_its_prompt_and_its_members_wait_for_each_other():
    prompts = iter(["a", "b", "c"])
    env = TokenEnv(task(prompt=lambda rng: next(prompts)), 4, group_size=2)
    env.reset(seed=0)
    assert prompts_of(env) == ["a", "a", "b", "b"]
    env.step(np.full(4, C))
    obs, reward, terminated, _, infos = env.step(np.array([END, C, C, C]))  # the first has finished
    assert infos["valid"].tolist() == [False, True, True, True]
    assert not reward.any()
    assert not terminated.any()
    obs, reward, terminated, _, infos = env.step(np.array([C, END, C, C]))
    assert obs.tolist() == [END, END, C, C]
    assert reward.tolist() == [0, 1, 0, 0]
    assert terminated.tolist() == [True, True, False, False]
    assert prompts_of(env) == ["c", "c", "b", "b"]
    with pytest.raises(UsageError, match="group_size = 3 does not divide num_envs = 4"):
        TokenEnv(task(), 4, group_size=3)


def test_a_sequence_that_waits_for_its_group_is_rewarded_at_its_last_decision():
    env = TokenEnv(task(reward=lambda cs: [10.0 for _ in cs]), 4, group_size=4)
    rollout, episodes = collected(env, 48)
    assert {e.episode_return for e in episodes} == {10.0}
    assert all(1 <= e.length <= 3 for e in episodes)
    columns = (
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.truncated,
        rollout.valid,
    )
    returns = gae(*(x.numpy() for x in columns), 1.0, 1.0) + rollout.values.numpy()
    last = int(rollout.terminated.any(1).nonzero()[-1])  # up to here every sequence is finished
    np.testing.assert_allclose(returns[: last + 1][rollout.valid[: last + 1].numpy()], 10.0, rtol=1e-5)


@pytest.mark.parametrize("spread", [1.0, 0.0])
def test_grpo_weighs_every_decision_by_its_returns_place_in_the_group(spread):
    config = preset("text/Copy-v0", "grpo").replace(
        {"num_envs": 8, "num_steps": 48, "num_minibatches": 2, "group_size": 4, "compile": "off"}
    )
    trainer = Trainer(config)
    with torch.no_grad():
        trainer.policy.critic.bias.fill_(50.0)  # what the critic says has no say
    trainer.collector.reset(1)
    rollout, _ = trainer.collector.collect(48)
    rng, ends = np.random.default_rng(0), rollout.terminated.numpy()
    rewards = np.where(ends, 10 + spread * rng.normal(size=ends.shape), 0).astype(np.float32)
    rollout = replace(rollout, rewards=torch.from_numpy(rewards))
    weights = trainer.learner.estimator.estimates(rollout, rewards, 1.0).advantages.numpy()
    checked = 0
    for group in (slice(0, 4), slice(4, 8)):
        begin = 0
        for end in np.flatnonzero(ends[:, group].all(1)):
            earned = rewards[end, group]
            expected = (earned - earned.mean()) / (earned.std() + 1e-4)
            rows = np.broadcast_to(expected, (end + 1 - begin, 4))
            np.testing.assert_allclose(weights[begin : end + 1, group], rows, atol=1e-4)
            begin, checked = end + 1, checked + 1
        np.testing.assert_array_equal(weights[begin:, group], 0)  # not finished
    assert checked >= 2


def test_a_prompt_over_its_limit_is_refused_and_others_may_have_any_length():
    with pytest.raises(UsageError, match="has 5 tokens, more than max_prompt = 4"):
        TokenEnv(task(prompt=lambda rng: "abcab", max_prompt=4), 1).reset()
    widths = iter([1, 40, 3])
    env = TokenEnv(task(prompt=lambda rng: "a" * next(widths)), 3)
    env.reset(seed=0)
    assert [len(prompt) for prompt in prompts_of(env)] == [1, 40, 3]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TokenEnv(None, 1), "expected a Task, got None; the registered function must return a Task"),
        (lambda: TokenEnv(task(prompt=lambda rng: "q"), 1).reset(), "'q' in the prompt 'q' is not in the vocabulary"),
        (
            lambda: run(TokenEnv(task(reply=lambda cs: ["aq"]), 1), [B, B, END]),
            "'q' in the reply 'aq' is not in the vocabulary",
        ),
        (
            lambda: TokenEnv(task(demonstrate=[("", "aq")]), 1).demonstrations,
            "'q' in a demonstration's text 'aq' is not in the vocabulary",
        ),
        (lambda: TokenEnv(task(), 1).step(np.array([0])), r"reset\(\) must come before step"),
        (lambda: run(TokenEnv(task(), 1), [7]), "are not 1 tokens from 0 to 3"),
        (
            lambda: run(TokenEnv(task(mask=lambda cs: [[True]]), 1), [B, B]),
            r"has the shape \(1, 1\); it must be \(1, 4\)",
        ),
        (lambda: run(TokenEnv(task(mask=lambda cs: 1 / 0), 1), [B, B]), "mask function raised ZeroDivisionError"),
        (
            lambda: run(TokenEnv(task(reply=lambda cs: 1 / 0), 1), [B, B, END]),
            "reply function raised ZeroDivisionError",
        ),
        (lambda: run(TokenEnv(task(reply=lambda cs: []), 1), [B, B, END]), "returned 0 replies to 1 completions"),
        (lambda: TokenEnv(task(), 1).demonstrate(None), "the task has no demonstrations; give a text file"),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def test_a_list_of_demonstrations_is_encoded_and_a_function_draws_them():
    listed = TokenEnv(task(demonstrate=[("ab", "c"), ("", "a")]), 1)
    assert listed.demonstrations == [([A, B], [C]), ([], [A])]
    drawing = TokenEnv(task(demonstrate=lambda rng: ("a", "bc")), 1)
    assert drawing.demonstrations == []
    assert drawing.demonstrate(np.random.default_rng(0)) == ([A], [B, C])


def test_samples_are_the_last_finished_sequences_with_their_returns():
    env = TokenEnv(task(), 2)
    env.reset(seed=0)
    for actions in ([A, A], [A, A], [C, C], [END, A], [A, A]):
        env.step(np.array(actions))
    assert env.render() == ("   1.000  ab → c", "   3.000  ab → caa …")


@pytest.mark.parametrize("space", [Discrete(5), Dict([("token", Discrete(5)), ("action_mask", MultiBinary(4))])])
def test_packed_tokens_are_what_a_policy_reads_in_the_environment(space):
    packer, tokens = Packer(space, torch.device("cpu")), np.array([[4, 1, 0], [2, 2, 3]])
    packed = pack_tokens(space, tokens, torch.device("cpu"))
    for t, n in np.ndindex(2, 3):
        token = tokens[t, [n]]
        obs = token if isinstance(space, Discrete) else {"token": token, "action_mask": np.ones((1, 4), np.int8)}
        assert torch.equal(packed[t, n], packer(obs)[0])


def collected(env, steps, policy="gru"):
    torch.manual_seed(0)
    spaces = env.single_observation_space, env.single_action_space
    collector = Collector(env, FlatPolicy(build_policy(policy, *spaces, {})))
    collector.reset(1)
    return collector.collect(steps)


def test_a_rollout_of_text_is_full_and_counts_only_tokens_of_the_policy():
    rollout, episodes = collected(TokenEnv(task(metrics={"size": lengths}), 4), 64)
    assert rollout.valid[:2].sum() == 0  # the end token and a
    assert rollout.valid[2].all()  # b: the first decision
    assert rollout.starts[0].all()
    ends = (rollout.terminated & rollout.valid)[:-1]
    assert torch.equal(rollout.starts[1:], ends)
    assert len(episodes) == int((rollout.terminated & rollout.valid).sum())
    assert all(1 <= e.length <= 3 and e.metrics["size"] == e.episode_return for e in episodes)
    assert {e.metrics["ended"] for e in episodes} == {0.0, 1.0}


@pytest.mark.parametrize(
    "env_id", ["Copy", "Reverse", "Dedup", "Add", "RandomWalks", "Frontier", "NextToken", "Write", "Dialogue"]
)
def test_built_in_tasks_are_found_by_id_and_pass_gymnasiums_rules(env_id):
    envs = make_envs(f"text/{env_id}-v0", 3)
    obs, _ = envs.reset(seed=5)
    assert envs.observation_space.contains(obs)
    for _ in range(40):
        obs, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(obs)
        assert reward.shape == terminated.shape == truncated.shape == (3,)
    assert isinstance(gymnasium.make_vec(f"text/{env_id}-v0", num_envs=2).single_action_space, Discrete)
    assert preset_name(f"text/{env_id}-v0").startswith("ppo + text")


def test_a_run_finds_its_reference_where_it_has_moved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/RandomWalks-v0 {small} --total-timesteps 256".split())
    short = "--total-timesteps 300 --eval-episodes 0"
    clone, run = "runs/text_RandomWalks-v0__pretrain__s1", "runs/text_RandomWalks-v0__ppo__s1"
    cli.main(f"train text/RandomWalks-v0 {small} --reference {clone} --kl-target 2 {short}".split())
    Path(clone).rename("moved")
    with pytest.raises(SystemExit):
        cli.main(["resume", run, "--total-timesteps", "500"])
    assert f"{clone} is not a run folder" in capsys.readouterr().err
    cli.main(f"train text/RandomWalks-v0 {small} {short} --exp-name alone".split())
    with pytest.raises(SystemExit):
        cli.main(f"resume {run.replace('ppo', 'alone')} --total-timesteps 500 --reference moved".split())
    assert "this run has no reference policy" in capsys.readouterr().err
    adapted = read_checkpoint(Path(run) / "checkpoints/latest.safetensors")[0]["reference.coef"]
    trainer = Trainer.resume(run, {"reference": "moved", "total_timesteps": 500})
    assert trainer.reference.coef == adapted != 0.1
    assert Trainer.resume(run, {"reference": "moved", "kl_coef": 0.7}).reference.coef == 0.7
    cli.main(["resume", run, "--total-timesteps", "500", "--reference", "moved"])


def test_the_weight_of_the_penalty_follows_a_schedule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "text/RandomWalks-v0 --num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16 --compile off"
    cli.main(f"pretrain {small} --total-timesteps 128".split())
    near = "--reference runs/text_RandomWalks-v0__pretrain__s1 --eval-episodes 0 --total-timesteps 400 --kl-coef"
    cli.main([*f"train {small} {near}".split(), "0.4 -> 0"])
    with open("runs/text_RandomWalks-v0__ppo__s1/progress.csv") as file:
        rows = list(csv.DictReader(file))
    coefs = [float(row["reference/coef"]) for row in rows]
    assert coefs == [float(row["charts/kl_coef"]) for row in rows]
    assert coefs[0] == 0.4
    assert coefs[1] == pytest.approx(0.4 * (1 - float(rows[0]["global_step"]) / 400))


def test_a_smaller_student_learns_what_its_teacher_writes_without_a_reward(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("".join(f"{'ab' * n}{'cd' * (7 - n)}\n" for n in range(1, 6)) * 4)
    small = "text/Write-v0 --env-kwargs corpus lines.txt max_tokens 20 tokens characters --num-envs 32 --num-steps 32 --num-minibatches 4 --compile off"
    cli.main(f"pretrain {small} --state-size 64 --learning-rate 1e-2 --total-timesteps 8000".split())
    teacher = "runs/text_Write-v0__pretrain__s1"
    student = f"--state-size 24 --hidden-sizes 16 --learning-rate 1e-2 --total-timesteps 6000 --reference {teacher}"
    cli.main(f"train {small} --algorithm distill {student} --eval-episodes 0".split())
    with open("runs/text_Write-v0__distill__s1/progress.csv") as file:
        rows = [float(row["reference/exact"]) for row in csv.DictReader(file)]
    assert rows[0] > 0.5
    assert rows[-1] < rows[0] / 3
    assert load("runs/text_Write-v0__distill__s1").policy.state_size == 24


@pytest.mark.parametrize("algorithm", ["ppo --kl-target 1", "grpo --group-size 4"])
def test_a_resumed_run_near_a_reference_is_the_run_that_went_on(tmp_path, monkeypatch, algorithm):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/RandomWalks-v0 {small} --total-timesteps 256".split())
    clone = "runs/text_RandomWalks-v0__pretrain__s1"
    near = f"--init-from {clone} --reference {clone} --algorithm {algorithm} --checkpoint-every 1 --no-anneal-lr"
    train = f"train text/RandomWalks-v0 {small} {near} --eval-episodes 2"
    cli.main(f"{train} --total-timesteps 700 --exp-name whole".split())
    cli.main(f"{train} --total-timesteps 400 --exp-name cut".split())
    cli.main(["resume", "runs/text_RandomWalks-v0__cut__s1", "--total-timesteps", "700"])
    whole, cut = (
        read_checkpoint(tmp_path / f"runs/text_RandomWalks-v0__{name}__s1/checkpoints/latest.safetensors")
        for name in ("whole", "cut")
    )
    assert whole[1]["iteration"] == cut[1]["iteration"] > 4
    assert all(torch.equal(x, cut[0][name]) for name, x in whole[0].items())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("pretrain CartPole-v1", "CartPole-v1 is not a text environment"),
        ("pretrain text/Copy-v0 --corpus absent.txt", "cannot read absent.txt"),
        (
            "pretrain text/Copy-v0 --corpus upper.txt",
            "'B' in a line of upper.txt 'B' is not in the vocabulary (27 symbols)",
        ),
        ("pretrain text/Copy-v0 --corpus short.txt", "short.txt has 1 line; give at least 10"),
        ("train text/Copy-v0 --init-from absent", "absent is not a run folder"),
        ("train text/Copy-v0 --reference absent", "absent is not a run folder"),
        ("train text/Copy-v0 --temperature 0", "temperature = 0.0 is too small; choose at least 1e-06"),
        ("train text/Copy-v0 --top-p 0", "top_p = 0.0 is out of range"),
        ("train text/Copy-v0 --top-k -1", "top_k = -1 is too small"),
        ("train text/Copy-v0 --env-kwargs length 0", "length = 0 is out of range; choose 1 to 1000"),
        (
            "train text/Copy-v0 --env-kwargs long 3",
            "text/Copy-v0 does not know the argument 'long'; it knows length, letters",
        ),
        ("train text/NextToken-v0 --env-kwargs long 3", "'long'; it knows corpus, tokens, size, part"),
        ("sample absent", "absent is not a run folder"),
        ("train CartPole-v1 --algorithm grpo", "group_size = 8 needs an environment that shares prompts"),
        (
            "train text/Copy-v0 --algorithm grpo --gamma 0.9",
            "group_size = 8 compares whole returns; gamma = 0.9 must be 1",
        ),
        (
            "train text/Copy-v0 --kl-target 3",
            "kl_target = 3.0 has no effect without reference; add --reference or leave out kl_target",
        ),
        ("pretrain text/Copy-v0 --patience -1", "patience = -1 is too small"),
        ("pretrain text/Copy-v0 --top-k 3", "temperature, top_k and top_p affect only sampling"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, args, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upper.txt").write_text("a\nB\n" * 9)
    (tmp_path / "short.txt").write_text("a\n")
    with pytest.raises(SystemExit) as stopped:
        cli.main(args.split())
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_prompts_that_no_segment_comes_to_the_end_of_are_one_sentence(tmp_path):
    config = preset("text/Copy-v0").replace(
        {"runs_dir": str(tmp_path), "num_envs": 8, "num_steps": 16, "total_timesteps": 1000, "eval_episodes": 0}
    )
    env = TokenEnv(task(prompt=lambda rng: "a" * 200), 8)
    sentence = "no decision in the 16 steps .* since prompts have up to 200 tokens; choose num_steps above 200"
    with pytest.raises(UsageError, match=sentence):
        Trainer(config, env).train(lambda progress: None)


def test_a_reference_with_another_vocabulary_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16 --total-timesteps 128"
    cli.main(f"pretrain text/Copy-v0 {small}".split())
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["train", "text/Add-v0", "--reference", "runs/text_Copy-v0__pretrain__s1"])
    assert "which has other spaces or another vocabulary" in capsys.readouterr().err

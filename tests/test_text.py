"""Text: one token is one step, prompts are rows that are no decision, and a task is a vocabulary and a few functions."""

import dataclasses
import math
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from ppo import Trainer, UsageError, preset
from ppo.cli import main as cli
from ppo.envs import make_envs
from ppo.loop.advantages import gae
from ppo.loop.collector import Collector
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy
from ppo.run.checkpoint import read_checkpoint
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.tasks.frontier import frontier, log_probs, optimum, reward_and_kl, rewards, sequences
from ppo.text.tasks.strings import add, copy, dedup, reverse
from ppo.text.tasks.walks import GOAL, LONGEST, distances, graph, random_walks

A, B, C, END = range(4)
ABC = Vocabulary("abc")


def lengths(completions):
    return [float(len(c.response)) for c in completions]


def task(**settings):
    """A task that gives one for each letter, at most three tokens long, asked by the prompt ab."""
    return Task(**{"vocabulary": ABC, "reward": lengths, "max_tokens": 3, "prompt": lambda rng: "ab"} | settings)


def run(env, actions):
    """Reset and step a single place; (obs, reward, terminated, truncated, valid) of each step, the reset's first."""
    obs, infos = env.reset(seed=0)
    rows = [(obs, 0.0, False, False, infos["valid"][0])]
    for action in actions:
        obs, reward, terminated, truncated, infos = env.step(np.array([action]))
        rows.append((obs, reward[0], terminated[0], truncated[0], infos["valid"][0]))
    return rows


def test_prompts_are_shown_token_by_token_and_actions_count_from_their_last_one_on():
    # The end token, a, b; then c is written, and the end token, which brings the next prompt.
    rows = run(TokenEnv(task(), 1), [B, B, C, END, A])
    assert [int(obs[0]) for obs, *_ in rows] == [END, A, B, C, END, A]
    assert [bool(valid) for *_, valid in rows] == [False, False, True, True, False, False]
    assert [reward for _, reward, *_ in rows] == [0, 0, 0, 0, 1, 0]
    assert [bool(terminated) for _, _, terminated, *_ in rows] == [False, False, False, False, True, False]


def test_the_limit_ends_a_sequence_and_a_missing_end_costs():
    rows = run(TokenEnv(task(missing_end=0.5), 1), [B, B, C, C, C])
    assert rows[-1][1:4] == (2.5, True, False)


def test_a_task_that_continues_is_truncated_and_tells_the_last_token():
    env = TokenEnv(task(continues=True), 1)
    env.reset(seed=0)
    for action in (B, B, C, C):
        env.step(np.array([action]))
    obs, reward, terminated, truncated, infos = env.step(np.array([A]))
    assert (obs[0], reward[0], terminated[0], truncated[0], infos["final_obs"][0]) == (END, 3, False, True, A)


def test_an_end_token_that_is_the_last_token_allowed_ends_the_sequence():
    rows = run(TokenEnv(task(missing_end=9.0), 1), [B, B, C, C, END])
    assert rows[-1][1:4] == (2, True, False)


def test_the_environment_answers_in_mid_sequence_by_tokens_that_are_no_decision():
    def reply(completions):
        return ["ca" if c.response == "a" else None for c in completions]

    env = TokenEnv(task(reply=reply, max_tokens=9, prompt=lambda rng: ""), 1)
    rows = run(env, [A, END, B, B, B, END])
    assert [int(obs[0]) for obs, *_ in rows] == [END, A, END, C, A, B, END]
    assert [bool(valid) for *_, valid in rows] == [True, True, False, False, True, True, True]
    assert rows[-1][1] == 4  # a, the answer ca, and b: end tokens are not part of a text
    assert [bool(terminated) for _, _, terminated, *_ in rows] == [False] * 6 + [True]


def test_a_token_that_ends_a_turn_is_rewarded_before_the_environment_answers():
    seen = []

    def reward(completions):
        seen.extend((c.response, c.ended) for c in completions)
        return lengths(completions)

    made = task(reward=reward, per_token=True, reply=lambda cs: ["c" for _ in cs], max_tokens=9, prompt=lambda rng: "")
    rows = run(TokenEnv(made, 1), [A, END])
    assert seen == [("a", False), ("a", True)]
    assert [r for _, r, *_ in rows] == [0, 1, 1]


def test_nothing_is_answered_to_a_response_at_its_limit():
    env = TokenEnv(task(reply=lambda cs: ["c" for _ in cs], max_tokens=2, missing_end=9.0, prompt=lambda rng: ""), 1)
    rows = run(env, [A, END])
    assert rows[-1][1:4] == (1, True, False)  # ended, and by itself


def test_masks_rule_tokens_out_where_the_policy_is_asked():
    def only_c(completions):
        assert all(c.prompt == "ab" for c in completions)
        return np.tile([False, False, True, True], (len(completions), 1))

    rows = run(TokenEnv(task(mask=only_c, min_tokens=1), 1), [B, B, C, END])
    masks = [obs["action_mask"][0].tolist() for obs, *_ in rows]
    assert masks == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]]


def test_a_reward_for_every_token_is_asked_for_the_sequence_so_far():
    rows = run(TokenEnv(task(per_token=True), 1), [B, B, C, C, END])
    assert [reward for _, reward, *_ in rows] == [0, 0, 0, 1, 2, 2]


def test_every_place_goes_on_by_itself_and_equal_seeds_give_equal_prompts():
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


def test_places_of_a_group_get_the_same_prompt_and_wait_for_each_other():
    prompts = iter(["a", "b", "c"])
    env = TokenEnv(task(prompt=lambda rng: next(prompts)), 4, group_size=2)
    env.reset(seed=0)
    assert [env.completion(n).prompt for n in range(4)] == ["a", "a", "b", "b"]
    env.step(np.full(4, C))
    obs, reward, terminated, _, infos = env.step(np.array([END, C, C, C]))  # the first has finished
    assert infos["valid"].tolist() == [False, True, True, True]
    assert not reward.any()
    assert not terminated.any()
    obs, reward, terminated, _, infos = env.step(np.array([C, END, C, C]))
    assert obs.tolist() == [END, END, C, C]
    assert reward.tolist() == [0, 1, 0, 0]
    assert terminated.tolist() == [True, True, False, False]
    assert [env.completion(n).prompt for n in range(4)] == ["c", "c", "b", "b"]
    with pytest.raises(UsageError, match="group_size = 3 does not divide num_envs = 4"):
        TokenEnv(task(), 4, group_size=3)


def test_who_waits_for_its_group_is_rewarded_for_its_last_decision():
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
    config = preset("text/Copy-v0", "grpo")[1].replace(
        {"num_envs": 8, "num_steps": 48, "num_minibatches": 2, "group_size": 4, "compile": "off"}
    )
    trainer = Trainer(config)
    with torch.no_grad():
        trainer.policy.critic.bias.fill_(50.0)  # what the critic says has no say
    trainer.collector.reset(1)
    rollout, _ = trainer.collector.collect(48)
    rng, ends = np.random.default_rng(0), rollout.terminated.numpy()
    rewards = np.where(ends, 10 + spread * rng.normal(size=ends.shape), 0).astype(np.float32)
    weights = trainer.learner._estimate(rollout, rewards)[1].numpy()
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


def test_a_long_prompt_is_refused_and_a_wide_one_makes_room():
    with pytest.raises(UsageError, match="has 5 tokens, more than max_prompt = 4"):
        TokenEnv(task(prompt=lambda rng: "abcab", max_prompt=4), 1).reset()
    widths = iter([1, 40, 3])
    env = TokenEnv(task(prompt=lambda rng: "a" * next(widths)), 3)
    env.reset(seed=0)
    assert [len(env.completion(n).prompt) for n in range(3)] == [1, 40, 3]


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (lambda cs: [math.nan for c in cs], "the reward of 'ab' → 'c' is nan; return a finite number"),
        (lambda cs: [1 / (len(c.response) - 1) for c in cs], "the reward of 'ab' → 'c' raised ZeroDivisionError"),
        (lambda cs: [1.0, 2.0, 3.0], "the reward of 1 completions is 3 numbers; return one number for each"),
        (lambda cs: None, "the reward of 1 completions is None; return one number"),
        (lambda cs: ["good" for c in cs], "return one number for each of them"),
    ],
)
def test_a_reward_that_cannot_be_used_names_the_sequence(reward, sentence):
    with pytest.raises(UsageError, match=sentence):
        run(TokenEnv(task(reward=reward), 1), [B, B, C, END])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Vocabulary(""), "a vocabulary of no symbols has nothing to write"),
        (lambda: Vocabulary("aba"), "the symbol 'a' stands twice"),
        (lambda: Vocabulary(["ab", "c"]), "the symbol 'ab' cannot be told apart"),
        (lambda: Vocabulary(["a b"], " "), "the symbol 'a b' cannot be told apart"),
        (lambda: ABC.encode("abx"), "'x' in 'abx' is none of the 3 symbols"),
        (lambda: task(max_tokens=0), "max_tokens = 0 leaves nothing to write"),
        (lambda: task(min_tokens=3), "min_tokens = 3 is out of range; choose 0 to 2"),
        (lambda: TokenEnv(task(prompt=lambda rng: "q"), 1).reset(), "'q' in 'q' is none of the 3 symbols"),
        (lambda: TokenEnv(task(), 1).step(np.array([0])), r"reset\(\) must come before step"),
        (lambda: run(TokenEnv(task(), 1), [7]), "are not 1 tokens from 0 to 3"),
        (
            lambda: run(TokenEnv(task(mask=lambda cs: [[True]]), 1), [B, B]),
            r"the mask of 1 completions has the shape \(1, 1\)",
        ),
        (lambda: TokenEnv(task(), 1).demonstrate(None), "the task has no demonstrations"),
        (lambda: task(metrics=lengths), "metrics = <function lengths at .* cannot be used; give functions by name"),
        (lambda: task(vocabulary="abc"), "vocabulary = 'abc' cannot be used; give a Vocabulary"),
        (lambda: task(reward=3), "reward = 3 cannot be used; give a function"),
        (lambda: TokenEnv(None, 1), "None is no Task"),
        (lambda: task(metrics={"reward": lengths}), "a metric called 'reward' is there already"),
        (lambda: TokenEnv(task(prompt=lambda rng: 5), 1).reset(), "the task's prompt function gave 5; return a text"),
        (lambda: TokenEnv(task(prompt=lambda rng: 1 / 0), 1).reset(), "prompt function raised ZeroDivisionError"),
        (lambda: run(TokenEnv(task(mask=lambda cs: 1 / 0), 1), [B, B]), "mask function raised ZeroDivisionError"),
        (
            lambda: run(TokenEnv(task(reply=lambda cs: 1 / 0), 1), [B, B, END]),
            "reply function raised ZeroDivisionError",
        ),
        (lambda: run(TokenEnv(task(reply=lambda cs: []), 1), [B, B, END]), "gave 0 replies to 1 completions"),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def test_words_are_tokens_with_a_separator():
    words = Vocabulary(["well", "done"], " ")
    assert words.encode("done well  done") == [1, 0, 1]
    assert words.decode([1, 0, 2]) == "done well"


def collected(env, steps, policy="gru"):
    torch.manual_seed(0)
    spaces = env.single_observation_space, env.single_action_space
    collector = Collector(env, FlatPolicy(build_policy(policy, *spaces, {})))
    collector.reset(1)
    return collector.collect(steps)


def test_a_rollout_of_text_is_full_and_counts_only_what_the_policy_wrote():
    rollout, episodes = collected(TokenEnv(task(metrics={"size": lengths}), 4), 64)
    assert rollout.valid[:2].sum() == 0  # the end token and a
    assert rollout.valid[2].all()  # b: the first token is asked for
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
    assert preset(f"text/{env_id}-v0")[0].startswith("ppo + text")


@pytest.mark.parametrize(("make", "pairs"), [
    (copy, {"abca>": "abca"}), (reverse, {"abc>": "cba"}), (dedup, {"aabbba>": "aba"}),
    (add, {"87+125=": "212", "9+1=": "01", "0+0=": "0"}),
])  # fmt: skip
def test_the_answers_of_string_tasks(make, pairs):
    made = make()
    env = TokenEnv(made, 1)
    for prompt, answer in pairs.items():
        env.task = dataclasses.replace(made, prompt=lambda rng, prompt=prompt: prompt)
        env.reset(seed=0)
        tokens = [0] * len(prompt) + [*made.vocabulary.encode(answer), env.end]
        *_, (_, _, terminated, _, infos) = [env.step(np.array([token])) for token in tokens]
        assert (env.finished[0][1], bool(terminated[0])) == (len(answer) + 1, True)
        assert [infos["metrics"][name][0] for name in ("solved", "invalid", "ended")] == [1, 0, 1]


@pytest.mark.parametrize("make", [copy, reverse, dedup, add, random_walks])
def test_demonstrations_solve_their_tasks(make):
    made, rng = make(), np.random.default_rng(0)
    env = TokenEnv(made, 1)
    worth = []
    for _ in range(100):
        prompt, response = env.demonstrate(rng)
        text = made.vocabulary.decode(prompt)
        env.task = dataclasses.replace(made, prompt=lambda rng, text=text: text)
        env.reset(seed=0)
        *_, last = [env.step(np.array([token])) for token in [0] * len(prompt) + [*response, env.end]]
        assert last[2][0]  # over, and by the end token
        assert last[-1]["metrics"]["ended"][0] == 1
        best = 1 if make is random_walks else len(response) + 1
        worth.append(env.finished[0][1] / best)
    if make is random_walks:  # which get there by chance
        assert 0 < np.mean(worth) < 1
    else:
        assert worth == [1.0] * 100


@pytest.mark.parametrize(
    ("answer", "places"),
    [("cba", [1, 1, 1, 1]), ("cbb", [1, 1, 0, 1]), ("cb", [1, 1, 0]), ("xba", [0, 1, 1, 1]), ("", [0])],
)
def test_each_place_that_is_right_is_rewarded_at_once_and_all_together_solve(answer, places):
    made = reverse(length=3)
    env = TokenEnv(dataclasses.replace(made, prompt=lambda rng: "abc>"), 1)
    env.reset(seed=0)
    tokens = [0] * 4 + [*made.vocabulary.encode(answer), env.end]
    steps = [env.step(np.array([token])) for token in tokens]
    assert [reward[0] for _, reward, *_ in steps] == [0] * 4 + places
    assert steps[-1][-1]["metrics"]["solved"][0] == all(places)


def test_an_answer_that_does_not_end_is_not_rewarded_for_more_than_its_places():
    made = copy(length=3)
    env = TokenEnv(dataclasses.replace(made, prompt=lambda rng: "ab>"), 1)
    env.reset(seed=0)
    rewards = [env.step(np.array([token]))[1][0] for token in [0] * 3 + made.vocabulary.encode("abab")]
    assert rewards == [0, 0, 0, 1, 1, 0, 0]


def test_the_walks_optimum_is_one_and_the_other_levels_of_our_graph_are_known():
    edges, made = graph(), random_walks()
    shortest = distances(edges)
    assert all(len(after) == (0 if node == GOAL else 2) for node, after in edges.items())
    assert max(shortest.values()) == 5
    starts = [node for node in edges if node != GOAL]

    def worth(step, node, length):
        """The expected reward of walking from a node with `length` nodes behind it, by the chances of each step."""
        if length > LONGEST:
            return {}
        found = {}
        if node == GOAL:
            return {length: 1.0}
        for after, chance in step(node).items():
            for total, share in worth(step, after, length + 1).items():
                found[total] = found.get(total, 0.0) + chance * share
        return found

    def level(step):
        return np.mean([
            sum(share * (LONGEST - n) / (LONGEST - shortest[start]) for n, share in worth(step, start, 1).items())
            for start in starts
        ])  # fmt: skip

    uniform = level(lambda node: dict.fromkeys(edges[node], 1 / 22))
    cloned = level(lambda node: dict.fromkeys(edges[node], 0.5))
    best = level(lambda node: {min(edges[node], key=shortest.get): 1.0})
    assert (round(float(uniform), 4), round(float(cloned), 3), round(float(best), 3)) == (0.0051, 0.334, 1.0)
    assert made.max_tokens == LONGEST


def test_the_frontier_is_a_distribution_over_every_sequence_and_beats_its_neighbours():
    torch.manual_seed(0)
    env = TokenEnv(frontier(), 1)
    policy = build_policy("gru", env.single_observation_space, env.single_action_space, {})
    with torch.no_grad():
        policy.actor.weight.mul_(100)
    reference = log_probs(policy, policy.initial_state).double()
    assert len(reference) == len(sequences()) == len(rewards()) == sum(4**n for n in range(6))
    assert reference.exp().sum().item() == pytest.approx(1, abs=1e-5)
    reference = reference.log_softmax(0)
    best = optimum(reference, 0.5)
    value = {
        name: np.dot([1, -0.5], reward_and_kl(x, reference))
        for name, x in {"best": best, "reference": reference}.items()
    }
    for _ in range(20):
        other = (best + 0.1 * torch.randn_like(best)).log_softmax(0)
        assert np.dot([1, -0.5], reward_and_kl(other, reference)) < value["best"]
    # max E[r] − β KL = β log Σ π_ref exp(r / β)
    worth = torch.tensor(list(rewards().values()), dtype=torch.float64)
    assert value["best"] == pytest.approx(0.5 * float((reference + worth / 0.5).logsumexp(0)))


def test_pretrain_train_from_it_near_it_sample_and_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/Copy-v0 {small} --total-timesteps 128 --env-kwargs length 3 letters 4".split())
    assert "train text/Copy-v0 --env-kwargs length 3 letters 4 --init-from runs/text_Copy" in capsys.readouterr().out
    cli.main(f"pretrain text/RandomWalks-v0 {small} --num-layers 2 --total-timesteps 2560".split())
    clone = "runs/text_RandomWalks-v0__pretrain__s1"
    assert "perplexity" in capsys.readouterr().out
    cli.main(f"sample {clone} -n 3 --prompt k --top-k 2".split())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("k → " in line for line in lines[:3])
    cli.main(f"eval {clone} --episodes 4 --stochastic".split())
    assert re.search(r"4 episodes: return .*, ended [01]\.\d+, invalid [01]\.\d+$", capsys.readouterr().out.strip())
    with pytest.raises(SystemExit):
        cli.main(f"resume {clone} --total-timesteps 9000".split())
    assert "was not made by `ppo train`; train from it: --init-from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(f"sample {clone} --seed -1".split())
    assert "seed = -1 is too small" in capsys.readouterr().err
    near = f"--init-from {clone} --reference {clone} --kl-target 2 --checkpoint-every 2 --total-timesteps 1000"
    cli.main(f"train text/RandomWalks-v0 {small} {near}".split())
    rows = (tmp_path / "runs/text_RandomWalks-v0__ppo__s1/progress.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert float(first["reference/kl"]) == float(first["reference/exact"]) == 0  # a policy against itself
    assert float(first["reference/coef"]) == 0.1
    assert 0 < float(first["time/reference"]) < 1 / float(first["charts/SPS"]) * 8 * 16
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["reference/kl"]) != 0
    assert float(last["reference/coef"]) < 0.1  # far below the target
    cli.main(["resume", "runs/text_RandomWalks-v0__ppo__s1", "--total-timesteps", "2000"])
    assert len((tmp_path / "runs/text_RandomWalks-v0__ppo__s1/progress.csv").read_text().splitlines()) > len(rows)
    again = tmp_path / clone / "checkpoints" / "latest.safetensors"
    again.write_bytes((tmp_path / "runs/text_RandomWalks-v0__ppo__s1/checkpoints/latest.safetensors").read_bytes())
    with pytest.raises(SystemExit):
        cli.main(["resume", "runs/text_RandomWalks-v0__ppo__s1", "--total-timesteps", "3000"])
    assert "the run that is the reference has another policy than before" in capsys.readouterr().err


def test_a_run_finds_its_reference_where_it_has_moved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/RandomWalks-v0 {small} --total-timesteps 512".split())
    clone, run = "runs/text_RandomWalks-v0__pretrain__s1", "runs/text_RandomWalks-v0__ppo__s1"
    cli.main(f"train text/RandomWalks-v0 {small} --reference {clone} --kl-target 2 --total-timesteps 500".split())
    Path(clone).rename("moved")
    with pytest.raises(SystemExit):
        cli.main(["resume", run, "--total-timesteps", "900"])
    assert f"{clone} is no run folder" in capsys.readouterr().err
    cli.main(f"train text/RandomWalks-v0 {small} --total-timesteps 500 --exp-name alone".split())
    with pytest.raises(SystemExit):
        cli.main(f"resume {run.replace('ppo', 'alone')} --total-timesteps 900 --reference moved".split())
    assert "the run had no reference" in capsys.readouterr().err
    adapted = read_checkpoint(Path(run) / "checkpoints/latest.safetensors")[0]["reference.coef"]
    trainer = Trainer.resume(run, {"reference": "moved", "total_timesteps": 900})
    assert trainer.reference.coef == adapted != 0.1
    assert Trainer.resume(run, {"reference": "moved", "kl_coef": 0.7}).reference.coef == 0.7
    cli.main(["resume", run, "--total-timesteps", "900", "--reference", "moved"])


@pytest.mark.parametrize("algorithm", ["ppo --kl-target 1", "grpo --group-size 4"])
def test_a_resumed_run_near_a_reference_is_the_run_that_went_on(tmp_path, monkeypatch, algorithm):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16"
    cli.main(f"pretrain text/RandomWalks-v0 {small} --total-timesteps 512".split())
    clone = "runs/text_RandomWalks-v0__pretrain__s1"
    near = f"--init-from {clone} --reference {clone} --algorithm {algorithm} --checkpoint-every 1 --no-anneal-lr"
    train = f"train text/RandomWalks-v0 {small} {near}"
    cli.main(f"{train} --total-timesteps 1500 --exp-name whole".split())
    cli.main(f"{train} --total-timesteps 700 --exp-name cut".split())
    cli.main(["resume", "runs/text_RandomWalks-v0__cut__s1", "--total-timesteps", "1500"])
    whole, cut = (
        read_checkpoint(tmp_path / f"runs/text_RandomWalks-v0__{name}__s1/checkpoints/latest.safetensors")
        for name in ("whole", "cut")
    )
    assert whole[1]["iteration"] == cut[1]["iteration"] > 4
    assert all(torch.equal(x, cut[0][name]) for name, x in whole[0].items())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("pretrain CartPole-v1", "CartPole-v1 is no text environment"),
        ("pretrain text/Copy-v0 --corpus absent.txt", "cannot read absent.txt"),
        ("pretrain text/Copy-v0 --corpus upper.txt", "upper.txt, 'B': 'B' in 'B' is none of the 27 symbols"),
        ("pretrain text/Copy-v0 --corpus short.txt", "short.txt has 1 lines; 10 are the least"),
        ("train text/Copy-v0 --init-from absent", "absent is no run folder"),
        ("train text/Copy-v0 --reference absent", "absent is no run folder"),
        ("train text/Copy-v0 --temperature 0", "temperature = 0.0 is out of range; choose a positive number"),
        ("train text/Copy-v0 --top-p 0", "top_p = 0.0 is out of range"),
        ("train text/Copy-v0 --top-k -1", "top_k = -1 is too small"),
        ("train text/Copy-v0 --env-kwargs length 0", "length = 0 is out of range; choose 1 to 1000"),
        ("sample absent", "absent is no run folder"),
        ("train CartPole-v1 --algorithm grpo", "group_size = 8 needs a text task, whose prompts can be shared"),
        (
            "train text/Copy-v0 --algorithm grpo --gamma 0.9",
            "group_size = 8 compares whole returns; gamma = 0.9 must be 1",
        ),
        (
            "train text/Copy-v0 --kl-target 3",
            "kl_target = 3.0 needs a reference policy; name its run with --reference",
        ),
        ("pretrain text/Copy-v0 --patience -1", "patience = -1 is too small"),
        ("pretrain text/Copy-v0 --top-k 3", "temperature, top_k and top_p shape sampling"),
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
    config = preset("text/Copy-v0")[1].replace(
        {"runs_dir": str(tmp_path), "num_envs": 8, "num_steps": 16, "total_timesteps": 1000, "eval_episodes": 0}
    )
    env = TokenEnv(task(prompt=lambda rng: "a" * 200), 8)
    with pytest.raises(UsageError, match="no decision came up before the first checkpoint; raise --checkpoint-every"):
        Trainer(config, env).train(lambda progress: None)


def test_a_reference_with_another_vocabulary_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 16 --num-minibatches 2 --state-size 16 --total-timesteps 128"
    cli.main(f"pretrain text/Copy-v0 {small}".split())
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["train", "text/Add-v0", "--reference", "runs/text_Copy-v0__pretrain__s1"])
    assert "which has other spaces or another vocabulary" in capsys.readouterr().err

"""The reference docks what the divergence costs, and its coefficient follows a target."""

import itertools
import math

import pytest
import torch
from gymnasium.spaces import Discrete
from torch import nn

from ppo.config.schedule import Point, Schedule, read_schedule
from ppo.loop.collector import Collector
from ppo.loop.reference import Reference
from ppo.machine.flat import FlatPolicy
from ppo.policies import Policy, build_policy
from ppo.policies.heads import Head
from ppo.text import Task, TokenEnv, Vocabulary
from ppo.text.tasks.frontier import LETTERS, frontier, log_probs, optimum, rewards, sequences

TASK = Task(Vocabulary("abc"), lambda cs: [1.0 for _ in cs], 4, lambda rng: "ab")


def policy_of(seed):
    torch.manual_seed(seed)
    policy = build_policy("gru", Discrete(4), Discrete(4), {"state_size": 8})
    with torch.no_grad():
        policy.actor.weight.mul_(100)
    return policy


def rollout_of(policy, steps=32):
    collector = Collector(TokenEnv(TASK, 3), FlatPolicy(policy))
    collector.reset(0)
    return collector.collect(steps)[0]


def always(beta):
    return Schedule((Point(beta),))


def by_episode(kl, terminated):
    """Sum kl (T, N) over each episode that ended; the first ones begin with the rows."""
    found = []
    for n in range(kl.shape[1]):
        ends = terminated[:, n].nonzero().flatten().tolist()
        found += [
            float(kl[begin : end + 1, n].sum()) for begin, end in zip([0, *(e + 1 for e in ends)], ends, strict=False)
        ]
    return found


def test_a_policy_against_itself_is_docked_nothing():
    rollout = rollout_of(policy_of(1))
    docked, stats = Reference(policy_of(1), always(0.5), 0.0, 100).penalize(rollout, policy_of(1))
    assert not docked.penalties.any()
    assert torch.equal(docked.rewards, rollout.rewards)  # the environment's
    assert [stats[f"reference/{name}"] for name in ("kl", "k3", "exact", "kl_episode")] == [0, 0, 0, 0]


def test_each_decision_is_docked_its_log_ratio_and_a_prompt_nothing():
    policy, other = policy_of(1), policy_of(2)
    rollout = rollout_of(policy)
    docked, stats = Reference(other, always(0.5), 0.0, 100).penalize(rollout, policy)
    state = torch.zeros(3, 8)
    with torch.no_grad():
        own = policy(rollout.obs, state, rollout.starts)[0].log_prob(rollout.actions)
        ref = other(rollout.obs, state, rollout.starts)[0].log_prob(rollout.actions)
    expected = torch.where(rollout.valid, own - ref, 0.0)
    torch.testing.assert_close(docked.penalties, 0.5 * expected)
    assert stats["reference/kl"] == pytest.approx(float(expected.sum() / rollout.valid.sum()), rel=1e-5)
    sums = by_episode(expected, rollout.terminated)
    assert len(sums) == int(rollout.terminated.sum()) > 3
    assert stats["reference/kl_episode"] == pytest.approx(sum(sums) / len(sums), rel=1e-4)


def test_the_reference_remembers_across_rollouts():
    policy = policy_of(1)
    collector = Collector(TokenEnv(TASK, 3), FlatPolicy(policy))
    collector.reset(0)
    halves = [collector.collect(5)[0] for _ in range(2)]  # the second begins in mid-sequence
    reference = Reference(policy_of(1), always(1.0), 0.0, 100)
    for rollout in halves:
        _, stats = reference.penalize(rollout, policy)
        assert stats["reference/exact"] == pytest.approx(0, abs=1e-6)


def test_an_episode_counts_whole_where_it_ends_also_if_it_began_in_a_rollout_before():
    policy = policy_of(1)
    collector = Collector(TokenEnv(TASK, 3), FlatPolicy(policy))
    collector.reset(0)
    reference, rows, ends, found = Reference(policy_of(2), always(1.0), 0.0, 100), [], [], []
    for _ in range(6):
        rollout = collector.collect(5)[0]
        docked, stats = reference.penalize(rollout, policy)
        rows.append(docked.penalties)
        ends.append(rollout.terminated)
        found.append((int(rollout.terminated.sum()), stats["reference/kl_episode"]))
    sums = by_episode(torch.cat(rows), torch.cat(ends))
    assert sum(count for count, _ in found) == len(sums) > 3
    assert sum(count * mean for count, mean in found if count) == pytest.approx(sum(sums), rel=1e-4)


@pytest.mark.parametrize(("times", "factor"), [(1.1, 1.1), (10, 1.2), (0.95, 0.95), (0.1, 0.8)])
def test_the_coefficient_follows_its_target_by_a_bounded_share(times, factor):
    policy, rollout = policy_of(1), rollout_of(policy_of(1))
    kl = Reference(policy_of(2), always(0.5), 0.0, 100).penalize(rollout, policy)[1]["reference/kl_episode"]
    assert kl > 0
    ends = int((rollout.terminated & rollout.valid).sum())
    reference = Reference(policy_of(2), always(0.5), kl / times, ends)  # a horizon of as many episodes as there are
    stats = reference.penalize(rollout, policy)[1]
    assert stats["reference/coef"] == 0.5  # what was used
    assert float(reference.coef) == pytest.approx(0.5 * factor)


def test_without_a_target_the_coefficient_follows_its_schedule():
    policy, rollout = policy_of(1), rollout_of(policy_of(1))
    reference = Reference(policy_of(2), read_schedule("0.4 -> 0 at 0.5"), 0.0, 100)
    once = reference.penalize(rollout, policy, 0.0)[0].penalties
    halved, stats = reference.penalize(rollout, policy, 0.25)
    assert stats["reference/coef"] == pytest.approx(0.2)
    torch.testing.assert_close(halved.penalties[0], 0.5 * once[0])
    assert not reference.penalize(rollout, policy, 0.75)[0].penalties.any()
    reference.load_state_dict(reference.state_dict())
    assert reference.penalize(rollout, policy, 0.25)[1]["reference/coef"] == pytest.approx(0.2)


def test_a_long_rollout_does_not_overshoot_the_bound():
    policy, rollout = policy_of(1), rollout_of(policy_of(1))
    reference = Reference(policy_of(1), always(0.5), 1.0, 1)  # against itself: far below the target
    reference.penalize(rollout, policy)
    assert float(reference.coef) == pytest.approx(0.4)


def test_in_the_loss_the_penalty_leaves_the_rewards_alone_and_says_what_the_reference_thinks_of_every_token():
    policy, other = policy_of(1), policy_of(2)
    rollout = rollout_of(policy)
    rewarded, expected = Reference(other, always(0.5), 3.0, 100).penalize(rollout, policy)
    reference = Reference(other, always(0.5), 3.0, 100, in_loss=True)
    penalized, stats = reference.penalize(rollout, policy)
    assert stats == expected
    assert float(reference.coef) != 0.5  # it adapts as in the rewards
    assert rewarded.penalties.any()
    assert not penalized.penalties.any()
    with torch.no_grad():
        dist = other(rollout.obs, torch.zeros(3, 8), rollout.starts)[0]
    torch.testing.assert_close(penalized.reference, dist.log_probs)
    assert torch.equal(penalized.kl_coefs, torch.full((32, 3), 0.5))  # what was used


def test_the_estimates_agree_in_the_mean():
    policy, other = policy_of(1), policy_of(2)
    with torch.no_grad():
        other.actor.weight.copy_(policy.actor.weight * 0.9)
    rollout = rollout_of(policy, 1000)
    _, stats = Reference(other, always(1.0), 0.0, 100).penalize(rollout, policy)
    assert stats["reference/kl"] == pytest.approx(stats["reference/exact"], rel=0.1, abs=0.01)
    assert stats["reference/k3"] == pytest.approx(stats["reference/exact"], rel=0.1, abs=0.01)


class Written(Policy):
    """Write each sequence of the frontier task with a given log-probability, (M,); the state is the prefix's number."""

    state_size = 1

    def __init__(self, target):
        super().__init__()
        self.size = len(LETTERS) + 1
        self.head = Head(Discrete(self.size))
        mass, self.number = {}, {(): 0}
        for (letters, ended), log_prob in zip(sequences(), target.tolist(), strict=True):
            tokens = letters + (self.size - 1,) * ended
            for n in range(len(tokens) + 1):
                mass[tokens[:n]] = mass.get(tokens[:n], 0.0) + math.exp(log_prob)
                self.number.setdefault(tokens[:n], len(self.number))
        logits = torch.zeros(len(self.number), self.size)
        self.following = torch.zeros(len(self.number), self.size, dtype=torch.int64)
        for tokens in self.number:
            for token in range(self.size):
                longer = (*tokens, token)
                if longer in self.number:
                    logits[self.number[tokens], token] = math.log(mass[longer] / mass[tokens])
                    self.following[self.number[tokens], token] = self.number[longer]
        self.logits = nn.Parameter(logits)

    def forward(self, obs, state, starts):
        numbers, number = [], state[:, 0].long()
        for token, start in zip(obs, starts, strict=True):
            number = torch.where(start, 0, self.following[number, token])
            numbers.append(number)
        dist = self.head(self.logits[torch.stack(numbers)], None)
        return dist, torch.zeros(starts.shape), number.unsqueeze(-1).float()


@pytest.mark.parametrize("beta", [0.25, 1.0])
def test_near_its_reference_the_best_policy_earns_the_same_by_every_sequence(beta):
    even = torch.full((len(sequences()),), -math.log(len(sequences())))
    best = Written(optimum(even, beta))
    torch.testing.assert_close(log_probs(best, best.initial_state), optimum(even, beta), atol=1e-4, rtol=0)
    collector = Collector(TokenEnv(frontier(), 4), FlatPolicy(best))
    collector.reset(0)
    rollout = collector.collect(64)[0]
    docked = rollout.rewards - Reference(Written(even), always(beta), 0.0, 100).penalize(rollout, best)[0].penalties
    found = []
    for place in range(4):
        ends = [0, *(rollout.terminated[:, place].nonzero()[:, 0] + 1).tolist()]
        found += [float(docked[i:j, place].sum()) for i, j in itertools.pairwise(ends)]
    worth = torch.tensor(list(rewards().values()), dtype=torch.float64)
    assert len(found) > 40
    # r(y) − β log(π*(y) / π_ref(y)) = β log Σ π_ref exp(r / β), whatever y is
    assert found == pytest.approx([beta * float((even + worth / beta).logsumexp(0))] * len(found), abs=1e-4)

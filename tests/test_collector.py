"""The collector: one stream of rows whatever the autoreset mode, the array type or the place of the mask."""

import gymnasium
import numpy as np
import pytest
import torch
from counters import (
    GAMMA,
    LAMBDA,
    LENGTHS,
    MODES,
    Counter,
    N,
    collected,
    collector_of,
    counters,
    make_policy,
)
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from probes import Reusing

from ppo.envs import check_envs, make_envs
from ppo.envs.spaces import Packer
from ppo.errors import NonFiniteError, UsageError
from ppo.loop.advantages import gae
from ppo.loop.collector import Episode


def columns(rollout):
    """The rows' numbers as (T, N) or (T, N, …) arrays; next_values are 0 after a termination, where they have no say."""
    names = ("obs", "actions", "log_probs", "rewards", "terminated", "truncated", "values")
    found = {name: getattr(rollout, name).numpy() for name in names}
    found["next_values"] = rollout.next_values.numpy() * ~found["terminated"]
    order = ("rewards", "values", "next_values", "terminated", "truncated")
    found["advantages"] = gae(*(found[name] for name in order), rollout.valid.numpy(), GAMMA, LAMBDA)
    return found | {"returns": found["advantages"] + found["values"]}


def decisions(rollout, env):
    """The valid rows of one environment, in the order of its decisions."""
    return {name: column[rollout.valid[:, env].numpy(), env] for name, column in columns(rollout).items()}


def whole_episodes(rows):
    return int(np.flatnonzero(rows["terminated"] | rows["truncated"])[-1]) + 1


@torch.no_grad()
def by_hand(policy, index, length):
    """Step ONE environment with the policy, an episode at a time, and evaluate every successor where it is met."""
    env, episode = Counter(index), 0
    rows = {name: [] for name in ("obs", "rewards", "values", "next_values", "terminated", "truncated")}
    while len(rows["obs"]) < length:
        obs, _ = env.reset(seed=0 if episode == 0 else None)
        state, done, episode = policy.initial_state(1), False, episode + 1
        while not done:
            dist, value, state = policy(torch.tensor(obs)[None, None], state, torch.tensor([[False]]))
            successor, reward, terminated, truncated, _ = env.step(int(dist.log_probs.argmax()))
            _, next_value, _ = policy(torch.tensor(successor)[None, None], state, torch.tensor([[False]]))
            done = terminated or truncated
            row = (obs, reward, float(value), 0.0 if terminated else float(next_value), terminated, truncated)
            for name, entry in zip(rows, row, strict=True):
                rows[name].append(entry)
            obs = successor
    return {name: np.array(column)[:length] for name, column in rows.items()}


def advantages_by_definition(rows):
    """Âₜ = Σₖ (γλ)ᵏ δₜ₊ₖ up to the end of the episode, as a double sum."""
    deltas = rows["rewards"] + GAMMA * rows["next_values"] - rows["values"]
    ends = np.flatnonzero(rows["terminated"] | rows["truncated"])
    return np.array(
        [
            sum((GAMMA * LAMBDA) ** (k - t) * deltas[k] for k in range(t, ends[ends >= t][0] + 1))
            for t in range(ends[-1])
        ]
    )


def assert_same(a, b, names):
    for name in names:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)


# --- the three autoreset modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_dict", [False, True], ids=["Box", "Dict"])
@pytest.mark.parametrize("policy", ["mlp", "gru"])
def test_the_three_autoreset_modes_give_the_same_decisions_values_and_advantages(policy, as_dict):
    rollouts = [collected(counters(mode, as_dict=as_dict), policy, 60)[0] for mode in MODES]
    for env in range(N):
        streams = [decisions(rollout, env) for rollout in rollouts]
        shared = min(whole_episodes(rows) for rows in streams)
        assert shared > 35
        assert streams[0]["terminated"][:shared].sum() >= 4
        assert streams[0]["truncated"][:shared].sum() >= 4
        assert len(set(streams[0]["actions"][:shared].tolist())) > 1
        first, *others = [{name: column[:shared] for name, column in rows.items()} for rows in streams]
        for other in others:
            assert_same(first, other, first)


@pytest.mark.parametrize("policy", ["mlp", "gru"])
@pytest.mark.parametrize("mode", MODES)
def test_every_row_and_its_advantage_are_what_a_loop_over_one_environment_finds(mode, policy):
    collector = collector_of(counters(mode), policy)
    rollout, _ = collector.collect(60, deterministic=True)
    for env in range(N):
        rows = decisions(rollout, env)
        expected = by_hand(collector.policy.module, env, len(rows["rewards"]))
        assert_same(rows, expected, expected)
        advantages = advantages_by_definition(expected)
        np.testing.assert_allclose(rows["advantages"][: len(advantages)], advantages, rtol=1e-4, atol=1e-4)


def test_the_gru_state_before_the_reset_matters_to_the_value_after_a_truncation():
    collector = collector_of(counters(AutoresetMode.SAME_STEP), "gru")
    rollout, _ = collector.collect(3, deterministic=True)  # environment 0 is truncated in its third row
    assert rollout.truncated[2, 0]
    final = torch.tensor([[[0.0, 0.0, 0.75, float(rollout.actions[2, 0]) / 4]]])
    with torch.no_grad():
        fresh = collector.policy.module(final, torch.zeros(1, 8), torch.tensor([[False]]))[1].item()
    assert abs(rollout.next_values[2, 0].item() - fresh) > 1e-3


@pytest.mark.parametrize("policy", ["mlp", "gru"])
@pytest.mark.parametrize("mode", MODES)
def test_wherever_a_rollout_is_cut_its_last_rows_are_valued_and_the_next_goes_on_seamlessly(mode, policy):
    envs = counters(mode)
    expected = [by_hand(make_policy(policy, envs), env, 40) for env in range(N)]
    cut_at = set()
    for steps in range(1, 15):
        two = collector_of(envs, policy)
        parts = [two.collect(steps, deterministic=True)[0] for _ in range(2)]
        whole, _ = collected(envs, policy, 2 * steps)
        for name in ("obs", "starts", "valid", "actions", "rewards", "terminated", "truncated"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name
        for name in ("states", "log_probs", "values"):
            joined = torch.cat([getattr(part, name) for part in parts])
            torch.testing.assert_close(joined, getattr(whole, name), rtol=1e-5, atol=1e-6)
        for env in range(N):
            rows = [decisions(part, env) for part in parts]
            rows = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
            names = ("obs", "rewards", "values", "next_values")
            assert_same(rows, {name: expected[env][name][: len(rows["obs"])] for name in names}, names)
            last = parts[0]
            done = bool(last.terminated[-1, env] | last.truncated[-1, env])
            cut_at.add("dead" if not last.valid[-1, env] else "end" if done else "middle")
    assert cut_at == {"middle", "end"} | ({"dead"} if mode is AutoresetMode.NEXT_STEP else set())


@pytest.mark.parametrize("policy", ["mlp", "gru"])
@pytest.mark.parametrize("mode", MODES)
def test_valuing_a_rollout_anew_under_the_same_policy_changes_nothing(mode, policy):
    collector = collector_of(counters(mode), policy)
    collector.collect(24, deterministic=True)
    rollout, _ = collector.collect(24, deterministic=True)  # begins in the middle of episodes
    again = rollout.with_values(collector.policy.forward)
    assert not again.values.requires_grad
    torch.testing.assert_close(again.values, rollout.values, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(again.next_values, rollout.next_values, rtol=1e-5, atol=1e-6)


def test_only_next_step_has_dead_rows_one_after_each_episode():
    dead = {mode: ~collected(counters(mode), "mlp", 12)[0].valid[:, 0] for mode in MODES}
    assert dead[AutoresetMode.NEXT_STEP].nonzero().flatten().tolist() == [3, 9]  # after 3 and after 5 decisions
    assert not dead[AutoresetMode.SAME_STEP].any()
    assert not dead[AutoresetMode.DISABLED].any()


class Echoing(VectorWrapper):
    """A NEXT_STEP environment that leaves a reward and the flags of the end in its dead steps."""

    def reset(self, *, seed=None, options=None):
        self.ended = np.zeros(N, bool)
        return self.env.reset(seed=seed, options=options)

    def step(self, actions):
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        dead, self.ended = self.ended, terminated | truncated
        return obs, np.where(dead, 1e6, rewards), terminated | dead, truncated | dead, infos


def test_whatever_a_dead_step_brings_counts_for_nothing():
    envs = counters(AutoresetMode.NEXT_STEP)
    expected, episodes = collected(envs, "gru", 60)
    found, others = collected(Echoing(envs), "gru", 60)
    assert others == episodes
    for env in range(N):
        wanted = decisions(expected, env)
        assert_same(decisions(found, env), wanted, wanted)


@pytest.mark.parametrize("steps", [1, 5, 13, 60])
@pytest.mark.parametrize("mode", MODES)
def test_episode_returns_and_lengths_are_right_and_carry_over_rollouts(mode, steps):
    collector = collector_of(counters(mode), "mlp")
    episodes = [episode for _ in range(60 // steps) for episode in collector.collect(steps, deterministic=True)[1]]
    for env in range(N):
        lengths = LENGTHS[env] * 12
        ends = np.cumsum(lengths) + (np.arange(len(lengths)) if mode is AutoresetMode.NEXT_STEP else 0)
        assert [(e.episode_return, e.length) for e in episodes if e.env == env] == [
            (sum(100 * env + 10 * i + s for s in range(lengths[i])), lengths[i])
            for i in range(np.sum(ends <= 60 // steps * steps))
        ]


# --- arrays that environments hand over ------------------------------------------------------------------------------


class Overwriting(VectorWrapper):
    """Hands over the same arrays at every step, with new numbers in them."""

    def __init__(self, env):
        super().__init__(env)
        self.kept = {}

    def _keep(self, name, array):
        kept = self.kept.setdefault(name, array.copy())
        kept[...] = array
        return kept

    def reset(self, *, seed=None, options=None):
        obs, infos = self.env.reset(seed=seed, options=options)
        return self._keep("obs", obs), infos

    def step(self, actions):
        *arrays, infos = self.env.step(actions)
        if "final_obs" in infos:
            ended = infos["_final_obs"]
            final = infos["final_obs"]
            full = np.stack([final[n] if ended[n] else np.full_like(arrays[0][n], np.nan) for n in range(len(ended))])
            infos = infos | {"final_obs": self._keep("final", full)}
        return *(self._keep(str(i), array) if i else self._keep("obs", array) for i, array in enumerate(arrays)), infos


class Informed(Reusing):
    """Gives the mask in the info."""

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], {"action_mask": self.action_masks()}

    def step(self, action):
        return *super().step(action)[:4], {"action_mask": self.action_masks()}


def reusing(kind):
    """Two environments that show 0 … 5, always in the same array, cut after 5 steps."""
    mode = kind.removeprefix("own ")
    ours = "sync" if mode == "SameStep" else mode
    if ours in ("sync", "async"):
        envs = make_envs("Reusing-v0", 2, ours)
    else:
        envs = SyncVectorEnv([lambda: TimeLimit(Informed(), 5)] * 2, autoreset_mode=mode)
    return Overwriting(envs) if kind.startswith("own") else envs


@pytest.mark.parametrize(
    "kind", ["sync", "async", "NextStep", "Disabled", "own SameStep", "own NextStep", "own Disabled"]
)
def test_an_environment_that_writes_into_one_array_has_the_successors_that_it_showed(kind):
    envs = check_envs(reusing(kind))
    collector = collector_of(envs, "mlp")
    rollout, episodes = collector.collect(8)
    envs.close()
    dead = [5] if "Next" in kind else []
    assert rollout.obs[:, 1, 0].tolist() == [0, 1, 2, 3, 4, *dead, 0, 1, 2, 3, 4][:8]
    after = {
        int(row) // 2: float(obs[0]) for row, obs in zip(rollout.successors.rows, rollout.successors.obs, strict=True)
    }
    assert after == ({7: 2} if dead else {4: 5, 7: 3})
    value = collector.policy.module(
        torch.tensor([[[5.0, 1, 0 if dead else 1]]]), torch.zeros(1, 0), torch.zeros(1, 1).bool()
    )[1]
    assert rollout.next_values[4, 1].item() == pytest.approx(value.item(), abs=1e-6)
    assert [(episode.episode_return, episode.length) for episode in episodes] == [(5, 5)] * 2


class OnlyTensor(torch.Tensor):
    """A tensor that refuses to become anything else: operations on it give plain tensors."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def refuse(self, *_, **__):
        raise AssertionError("the observation left torch")

    numpy = tolist = __array__ = refuse


class InTorch(VectorEnv):
    """Counts in torch, without a loop over environments: lengths 3 and 5; the even ones end by truncation."""

    num_envs, metadata = 2, {"autoreset_mode": AutoresetMode.SAME_STEP}
    single_observation_space, single_action_space = Box(-9, 9, (2,), np.float32), Discrete(2)
    observation_space, action_space = batch_space(single_observation_space, 2), batch_space(single_action_space, 2)

    def reset(self, *, seed=None, options=None):
        self.time = torch.zeros(2)
        return self._obs(), {}

    def step(self, actions):
        assert isinstance(actions, torch.Tensor)
        self.time += 1
        done = self.time == torch.tensor([3.0, 5.0])
        infos = {"final_obs": self._obs()} if done.any() else {}
        rewards = self.time.clone()
        self.time[done] = 0
        even = torch.tensor([True, False])
        return self._obs(), rewards, done & ~even, done & even, infos

    def _obs(self):
        return torch.stack([self.time, torch.arange(2.0)], dim=1).as_subclass(OnlyTensor)


class BatchedFinal(VectorWrapper):
    """Gives final_obs as a whole batch, with the observation after the reset where no episode ended."""

    def step(self, actions):
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            given = [infos["final_obs"][n] if infos["_final_obs"][n] else None for n in range(N)]
            full = {
                key: np.stack([part[n] if given[n] is None else given[n][key] for n in range(N)])
                for key, part in (obs if isinstance(obs, dict) else {"": obs}).items()
                if isinstance(obs, dict)
            } or np.stack([obs[n] if given[n] is None else given[n] for n in range(N)])
            infos = {"final_obs": full}
        return obs, rewards, terminated, truncated, infos


def assert_same_rollout(a, b):
    columns = [
        vars(rollout) | vars(rollout.successors) | {"next_obs": rollout.successors.obs, "obs": rollout.obs}
        for rollout in (a, b)
    ]
    for name, expected in columns[0].items():
        assert name == "successors" or torch.equal(columns[1][name], expected), name


@pytest.mark.parametrize("policy", ["mlp", "gru"])
@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_overwrites_its_arrays_gives_the_same_rollout(mode, policy):
    expected, episodes = collected(counters(mode), policy, 40)
    found, others = collected(Overwriting(counters(mode)), policy, 40)
    assert_same_rollout(expected, found)
    assert others == episodes


def test_observations_in_torch_never_leave_torch():
    collector = collector_of(InTorch(), "mlp")
    rollout, episodes = collector.collect(6, deterministic=True)
    assert rollout.obs[:, 0].tolist() == [[0, 0], [1, 0], [2, 0], [0, 0], [1, 0], [2, 0]]
    assert rollout.obs[:, 1].tolist() == [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [0, 1]]
    assert rollout.rewards.T.tolist() == [[1, 2, 3, 1, 2, 3], [1, 2, 3, 4, 5, 1]]
    assert rollout.truncated.nonzero().tolist() == [[2, 0], [5, 0]]
    assert rollout.terminated.nonzero().tolist() == [[4, 1]]
    assert episodes == [Episode(0, 6.0, 3), Episode(1, 15.0, 5), Episode(0, 6.0, 3)]
    with torch.no_grad():
        final = collector.policy.module(torch.tensor([[[3.0, 0.0]]]), torch.zeros(1, 0), torch.zeros(1, 1).bool())[1]
    assert rollout.next_values[[2, 5], 0].tolist() == pytest.approx([float(final)] * 2, abs=1e-6)


@pytest.mark.parametrize("as_dict", [False, True], ids=["Box", "Dict"])
def test_final_observations_may_come_one_by_one_or_as_a_batch(as_dict):
    envs = counters(AutoresetMode.SAME_STEP, as_dict=as_dict)
    expected, _ = collected(envs, "gru", 40)
    found, _ = collected(BatchedFinal(envs), "gru", 40)
    assert expected.truncated.any()
    assert_same_rollout(expected, found)


def test_dict_observations_are_packed_leaf_after_leaf():
    rollout, _ = collected(counters(AutoresetMode.SAME_STEP, as_dict=True), "mlp", 3)
    assert rollout.obs.shape == (3, N, 5)
    assert rollout.obs[:, 1, [0, 1, 2, 4]].tolist() == [[0.25, 0, 0, 0], [0.25, 0, 0.25, 1], [0.25, 0, 0.5, 2]]


# --- action masks ----------------------------------------------------------------------------------------------------


def allowed_at(index, episode, time, sizes):
    """One choice in each part, another one in each step: a policy that ignores the mask is caught at once."""
    return tuple(np.arange(size) == (index + 2 * episode + time + part) % size for part, size in enumerate(sizes))


class Masked(gymnasium.Env):
    """Fails on an action that its mask forbids; allows nothing when an episode has ended."""

    def __init__(self, index, sizes, source, form="flat", stuck=None):
        self.index, self.sizes, self.source, self.form, self.stuck = index, sizes, source, form, stuck
        self.action_space = Discrete(sizes[0]) if len(sizes) == 1 else MultiDiscrete(sizes)
        mask = MultiBinary(sum(sizes)) if form == "flat" else Tuple([MultiBinary(size) for size in sizes])
        number, self.taken, self.calls = Box(0, 9, (1,), np.float32), 0, 0
        keys = [("a", number), ("action_mask", mask), ("z", Discrete(9))]
        self.observation_space = Dict(keys) if source == "obs" else number

    def reset(self, *, seed=None, options=None):
        self.episode = 0 if seed is not None else self.episode + 1
        self.calls, self.time, self.done = 0 if seed is not None else self.calls, 0, False
        return self._outcome()

    def step(self, action):
        mask = allowed_at(self.index, self.episode, self.time, self.sizes)
        assert all(part[a] for part, a in zip(mask, np.atleast_1d(action), strict=True)), "a masked action was taken"
        self.taken, self.time, self.calls = self.taken + 1, self.time + 1, self.calls + 1
        self.done = self.time == 4 + self.index
        obs, info = self._outcome()
        return obs, 1.0, self.done and self.episode % 2 == 0, self.done and self.episode % 2 == 1, info

    def _outcome(self):
        mask = allowed_at(self.index, self.episode, self.time, self.sizes)
        if self.done or self.calls == self.stuck:
            mask = tuple(np.zeros_like(part) for part in mask)
        mask = tuple(part.astype(np.int8) for part in mask)
        mask = np.concatenate(mask) if self.form == "flat" else mask
        number = np.array([self.time], np.float32)
        if self.source == "obs":
            return {"a": number, "action_mask": mask, "z": self.time}, {}
        return number, {"action_mask": mask}


class NativeMasked(VectorEnv):
    """Steps three `Masked` environments by itself and batches masks in obs or info, as (N, A), as EnvPool would."""

    num_envs = 3

    def __init__(self, sizes, source, mode=AutoresetMode.SAME_STEP):
        self.envs = [Masked(n, sizes, source) for n in range(3)]
        self.metadata, self.source = {"autoreset_mode": mode}, source
        self.single_observation_space, self.single_action_space = (
            self.envs[0].observation_space,
            self.envs[0].action_space,
        )
        self.observation_space = batch_space(self.single_observation_space, 3)
        self.action_space = batch_space(self.single_action_space, 3)

    def reset(self, *, seed=None, options=None):
        self.ended = np.zeros(3, bool)
        return self._batch([env.reset(seed=seed) for env in self.envs])

    def step(self, actions):
        if self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP:
            outcomes = [
                (env.reset()[0], 0.0, False, False, env._outcome()[1]) if ended else env.step(action)
                for env, action, ended in zip(self.envs, actions, self.ended, strict=True)
            ]
        else:
            outcomes = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        _, rewards, terminated, truncated, _ = (
            np.array(column, dtype=object) for column in zip(*outcomes, strict=True)
        )
        terminated, truncated = terminated.astype(bool), truncated.astype(bool)
        self.ended = terminated | truncated
        obs, infos = self._batch([(outcome[0], outcome[4]) for outcome in outcomes])
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and self.ended.any():
            final = obs
            fresh = [env.reset() if ended else env._outcome() for env, ended in zip(self.envs, self.ended, strict=True)]
            obs, infos = self._batch(fresh)
            infos["final_obs"] = final
        return obs, rewards.astype(float), terminated, truncated, infos

    def _batch(self, pairs):
        masks = [(obs["action_mask"] if self.source == "obs" else info["action_mask"]) for obs, info in pairs]
        if self.source == "info":
            return np.stack([obs for obs, _ in pairs]), {"action_mask": np.stack(masks)}
        columns = {key: np.stack([obs[key] for obs, _ in pairs]) for key in ("a", "z")}
        return {"a": columns["a"], "action_mask": np.stack(masks), "z": columns["z"]}, {}


def masked_envs(sizes, source, mode, form="flat", stuck=None):
    makers = [lambda n=n: Masked(n, sizes, source, form, stuck if n == 1 else None) for n in range(3)]
    return check_envs(SyncVectorEnv(makers, autoreset_mode=mode))


SIZES = pytest.mark.parametrize("sizes", [(4,), (3, 4)], ids=["Discrete", "MultiDiscrete"])
SOURCES = pytest.mark.parametrize("source", ["obs", "info"])


def decide_200_steps(envs, policy):
    """Collect 200 random steps; the environments fail where a masked action is taken."""
    torch.manual_seed(1)
    collector = collector_of(envs, policy)
    return sum(int(collector.collect(100)[0].valid.sum()) for _ in range(2))


@pytest.mark.parametrize(("mode", "policy"), [*zip(MODES, ["mlp", "gru", "mlp"], strict=True)])
@SOURCES
@SIZES
def test_masked_actions_are_never_taken_in_gymnasium_vector_environments(sizes, source, mode, policy):
    envs = masked_envs(sizes, source, mode)
    valid = decide_200_steps(envs, policy)
    assert valid == sum(env.taken for env in envs.unwrapped.envs) > 400


@pytest.mark.parametrize("source", ["obs", "info"])
def test_the_mask_of_a_multidiscrete_may_be_a_tuple_with_one_part_for_each_choice(source):
    envs = masked_envs((3, 4), source, AutoresetMode.SAME_STEP, form="tuple")
    assert decide_200_steps(envs, "mlp") == sum(env.taken for env in envs.unwrapped.envs) == 600


@pytest.mark.parametrize(("mode", "policy"), [(AutoresetMode.NEXT_STEP, "gru"), (AutoresetMode.SAME_STEP, "mlp")])
@SOURCES
@SIZES
def test_masked_actions_are_never_taken_in_a_native_vector_environment(sizes, source, mode, policy):
    native = NativeMasked(sizes, source, mode)
    assert decide_200_steps(check_envs(native), policy) == sum(env.taken for env in native.envs) > 400


class AllowingAll(VectorWrapper):
    """Gives a mask in the info that rules nothing out."""

    def reset(self, *, seed=None, options=None):
        obs, infos = self.env.reset(seed=seed, options=options)
        return obs, infos | {"action_mask": np.ones((N, 3), np.int8)}

    def step(self, actions):
        *outcome, infos = self.env.step(actions)
        return *outcome, infos | {"action_mask": np.ones((N, 3), np.int8)}


@pytest.mark.parametrize("final", [lambda envs: envs, BatchedFinal], ids=["one by one", "batched"])
@pytest.mark.parametrize("as_dict", [False, True], ids=["Box", "Dict"])
def test_a_mask_in_the_info_that_allows_everything_changes_nothing(as_dict, final):
    envs = final(counters(AutoresetMode.SAME_STEP, as_dict=as_dict))
    expected, _ = collected(envs, "gru", 40)
    found, _ = collected(check_envs(AllowingAll(envs)), "gru", 40)
    for name in ("actions", "rewards", "values", "next_values", "states"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("mode", MODES)
@SOURCES
@SIZES
def test_a_decision_without_an_allowed_action_is_refused_by_environment_and_step(sizes, source, mode):
    collector = collector_of(masked_envs(sizes, source, mode, stuck=2), "mlp")
    with pytest.raises(
        UsageError, match=r"environment 1 allows no action; .* \(at step 2 since the environments were reset\)"
    ):
        collector.collect(20)


def test_one_part_of_a_multidiscrete_without_an_allowed_choice_is_refused():
    envs = masked_envs((3, 4), "obs", AutoresetMode.SAME_STEP)
    obs, _ = envs.reset(seed=0)
    obs["action_mask"][2] = [1, 1, 1, 0, 0, 0, 0]
    collector = collector_of(envs, "mlp")
    collector.now = collector.now._replace(obs=Packer(envs.single_observation_space)(obs))
    with pytest.raises(
        UsageError, match=r"environment 2 allows no action; .* \(at step 0 since the environments were reset\)"
    ):
        collector.collect(1)


# --- errors ----------------------------------------------------------------------------------------------------------


def broken(mode, bad):
    """Three counters; `bad` maps an environment to what is wrong in it, by what and after how many steps."""
    return SyncVectorEnv([lambda n=n: Counter(n, bad=bad.get(n)) for n in range(N)], autoreset_mode=mode)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {1: {("obs", 3): np.nan}},
            r"an observation of environment 1 at step 3 .* is nan in entry \[2\], which is not finite",
        ),
        ({2: {("obs", 0): -np.inf}}, "an observation of environment 2 at step 0 .* is -inf"),
        ({2: {("reward", 4): np.inf}}, "the reward of environment 2 at step 4 .* is inf"),
        ({0: {("reward", 2): np.nan}, 1: {("obs", 3): np.nan}}, "the reward .* environment 0 at step 2"),
        ({0: {("reward", 1): np.nan}, 1: {("obs", 1): np.nan}}, "observation .* environment 1 at step 1"),
        ({0: {("obs", 2): np.nan}, 2: {("obs", 1): np.nan}}, "observation .* environment 2 at step 1"),
    ],
)
def test_the_earliest_number_that_is_not_finite_is_named_with_its_environment_and_step(bad, message):
    with pytest.raises(NonFiniteError, match=message):
        collected(broken(AutoresetMode.SAME_STEP, bad), "mlp", 6)


def test_the_rollout_around_a_number_that_is_not_finite_is_kept_in_its_shape():
    with pytest.raises(NonFiniteError) as caught:
        collected(broken(AutoresetMode.SAME_STEP, {2: {("reward", 4): np.inf}}), "mlp", 6)
    tensors = caught.value.tensors
    assert (tensors["obs"].shape, tensors["rewards"].shape) == ((6, N, 4), (6, N))
    assert tensors["rewards"].isinf().nonzero().tolist() == [[4, 2]]


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_counted_from_the_reset_over_rollouts(mode):
    collector = collector_of(broken(mode, {2: {("reward", 6): np.nan}}), "mlp")  # its first episode has 7 steps
    collector.collect(4)
    with pytest.raises(NonFiniteError, match=r"the reward .* environment 2 at step 6"):
        collector.collect(4)


@pytest.mark.parametrize("mode", MODES)
def test_a_final_observation_that_is_not_finite_is_named_before_it_reaches_the_learner(mode):
    envs = broken(mode, {0: {("obs", 3): np.nan}})  # environment 0 is truncated after 3 steps
    with pytest.raises(NonFiniteError, match=r"observation .*environment 0 at step [23]\b"):
        collected(envs, "mlp", 6)


def test_a_final_observation_that_is_not_finite_comes_before_what_is_not_finite_later():
    envs = broken(AutoresetMode.SAME_STEP, {0: {("obs", 3): np.nan}, 2: {("reward", 4): np.nan}})
    with pytest.raises(NonFiniteError, match=r"observation .*environment 0 at step [23]\b"):
        collected(envs, "mlp", 6)


def test_a_last_successor_that_is_not_finite_is_named_before_it_reaches_the_learner():
    with pytest.raises(NonFiniteError, match=r"observation .*environment 1 at step [12]\b"):
        collected(broken(AutoresetMode.SAME_STEP, {1: {("obs", 2): np.nan}}), "mlp", 2)


class Odd(VectorWrapper):
    """Changes what step() returns from step 2 on."""

    def __init__(self, env, change):
        super().__init__(env)
        self.change, self.calls = change, 0

    def step(self, actions):
        self.calls += 1
        answer = dict(zip(("obs", "rewards", "terminated", "truncated", "infos"), self.env.step(actions), strict=True))
        return tuple((answer | (self.change(answer) if self.calls > 2 else {})).values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: {"rewards": x["rewards"][:, None]}, r"rewards = .* with the shape \(3, 1\); it must be \(N,\) = \(3,\)"),
        (lambda x: {"rewards": None}, r"rewards = None with the shape \(\)"),
        (lambda x: {"truncated": False}, r"truncated = False with the shape \(\)"),
        (lambda x: {"obs": x["obs"][:, :2]}, r"observations have the shape \(3, 2\) .* needs \(N, 4\)"),
        (lambda x: {"obs": x["obs"][:2]}, "there are 2 observations of 3 environments"),
        (lambda x: {"infos": {}}, "environment 0 was truncated in .* SAME_STEP, but infos.'final_obs'. lacks"),
        (lambda x: {"infos": {"final_observation": x["infos"].get("final_obs")}}, "; rename final_observation"),
        (lambda x: {"infos": {"final_obs": np.full(3, None)}}, "environment 0 was truncated in .* SAME_STEP"),
        (lambda x: {"infos": {"action_mask": np.ones((3, 3))}}, r"environment 0 gives info\['action_mask'\] but gave none"),
    ],
)  # fmt: skip
def test_what_a_vector_environment_returns_wrongly_in_mid_run_is_one_sentence_with_the_step(change, words):
    with pytest.raises(
        UsageError,
        match=rf"{words}.* \(at step 2 since the environments were reset\)( \(see docs/environments.md#[a-z-]+\))?$",
    ):
        collected(Odd(counters(AutoresetMode.SAME_STEP), change), "mlp", 6)


def test_a_key_of_the_info_that_no_metadata_declares_means_nothing():
    def change(answer):
        return {"infos": answer["infos"] | {"valid": np.zeros(N, bool), "metrics": 3.5, "action_mask": "none"}}

    expected, episodes = collected(counters(AutoresetMode.SAME_STEP), "gru", 20)
    found, others = collected(Odd(counters(AutoresetMode.SAME_STEP), change), "gru", 20)
    assert_same_rollout(expected, found)
    assert others == episodes


class Failing(Counter):
    """Raises in environment `env`, in its step number `step` or in its reset number `reset`."""

    made = 0

    def __init__(self, env, step=None, reset=None):
        super().__init__(Failing.made, fault=step if Failing.made == env else None)
        self.resets, self.bad_reset = 0, reset if Failing.made == env else None
        Failing.made += 1

    def reset(self, *, seed=None, options=None):
        if self.resets == self.bad_reset:
            raise ZeroDivisionError("the level would not load")
        self.resets += 1
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize(
    ("fault", "step"),
    [({"env": 2, "step": 5}, 5), ({"env": 0, "step": 0}, 0), ({"env": 1, "reset": 1}, 3)],
    ids=["step", "first step", "autoreset"],
)
def test_an_environment_that_raises_keeps_its_exception_with_notes_of_environment_and_step(fault, step, monkeypatch):
    monkeypatch.setitem(
        gymnasium.registry, "Failing-v0", gymnasium.envs.registration.EnvSpec("Failing-v0", entry_point=Failing)
    )
    monkeypatch.setattr(Failing, "made", 0)
    collector = collector_of(make_envs("Failing-v0", N, "sync", fault), "mlp")
    with pytest.raises(ZeroDivisionError) as caught:
        collector.collect(20)
    notes = "\n".join(caught.value.__notes__)
    assert f"environment {fault['env']}" in notes
    assert f"step {step}" in notes


def test_a_number_that_is_not_finite_is_blamed_where_it_made_the_environment_raise():
    makers = [lambda n=n: Counter(n, bad={("obs", 2): np.nan}, fault=2 if n == 0 else None) for n in range(N)]
    with pytest.raises(NonFiniteError, match=r"observation .* environment 0 at step 2"):
        collected(SyncVectorEnv(makers, autoreset_mode="SameStep"), "mlp", 6)


def test_sampled_actions_have_the_probabilities_that_the_policy_gives():
    torch.manual_seed(0)
    collector = collector_of(counters(AutoresetMode.SAME_STEP), "mlp")
    rollout, _ = collector.collect(4000)
    with torch.no_grad():
        probs = collector.policy.module(rollout.obs, rollout.states[0], rollout.starts)[0].log_probs.exp()
    taken = torch.nn.functional.one_hot(rollout.actions, 3).float()
    assert taken.mean((0, 1)).max() < 0.9
    # Five standard errors of a share of 12,000 are at most 0.023.
    torch.testing.assert_close(taken.mean((0, 1)), probs.mean((0, 1)), atol=0.023, rtol=0)
    torch.testing.assert_close(rollout.log_probs.exp(), (probs * taken).sum(-1))

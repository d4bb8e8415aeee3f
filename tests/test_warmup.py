"""Critic warm-up: only what the critic alone has learns, the rest keeps its bits, and a run resumes in the middle of it."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from space_samples import random_obs
from test_learner import rollout_of
from torch import nn

from ppo import Config, Features, Head, Policy, Trainer, UsageError
from ppo.loop.learner import Learner
from ppo.loop.rollout import Rollout, Successors
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy
from ppo.run.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

T, N = 4, 2
SPACE, GRID = Box(-1, 1, (2,)), Box(0, 1, (6, 6, 2), bool)
ALONE = {  # policy, options, space, and where the names of the parameters begin that learn
    "mlp": ("mlp", {}, SPACE, ("critic.",)),
    "cnn": ("cnn", {}, GRID, ("critic.",)),
    "gru": ("gru", {}, SPACE, ("critic.",)),
    "gru, the critic apart": ("gru", {"separate_critic": True}, SPACE, ("critic.", "embeddings.1.", "trunks.1.")),
    "gru, the critic feed-forward": ("gru", {"feedforward_critic": True}, SPACE, ("critic.", "embeddings.1.")),
}  # fmt: skip


def learner_of(name, options, space, **settings):
    torch.manual_seed(0)
    policy = build_policy(name, space, Discrete(3), {"hidden_sizes": (4,), "state_size": 3} | options)
    sizes = {
        "num_envs": N,
        "num_steps": T,
        "num_minibatches": 2,
        "learning_rate": 0.1,
        "ent_coef": 0.1,
        "anneal_lr": False,
    }
    return Learner(FlatPolicy(policy), Config().replace(sizes | settings))


def rollout_for(space, width):
    """Return random decisions on a space, with recurrent states of a width."""
    x, no = torch.randn(6, T, N, generator=torch.Generator().manual_seed(0)), torch.zeros(T, N, dtype=torch.bool)
    obs = random_obs(space, T, N)
    return Rollout(
        obs=obs, states=torch.zeros(T, N, width), starts=no, valid=~no, actions=(x[0] > 0).long(), log_probs=x[1] - 1, rewards=x[2],
        penalties=x[2] * 0, kl_coefs=x[2] * 0, reference=x[2].new_zeros(*x[2].shape, 0), terminated=no, truncated=no, value_ends=no, values=x[3], next_values=x[4], next_valid=~no[0],
        successors=Successors(torch.arange((T - 1) * N, T * N), obs[-1], torch.zeros(N, width)),
    )  # fmt: skip


def changed(before, learner):
    """Return the names of the parameters with other bits than before."""
    after = learner.policy.module.state_dict()
    return {name for name, x in before.items() if not torch.equal(x, after[name])}


@pytest.mark.parametrize(("name", "options", "space", "alone"), ALONE.values(), ids=ALONE)
def test_in_the_warm_up_exactly_the_critics_own_parameters_learn(name, options, space, alone):
    optimizer = "adam" if options else "rmsprop"
    learner = learner_of(name, options, space, critic_warmup=2, optimizer=optimizer)
    rollout = rollout_for(space, learner.policy.module.state_size)
    before = {name: x.clone() for name, x in learner.policy.module.state_dict().items()}
    parameters = {name for name, _ in learner.policy.module.named_parameters()}
    for _ in range(2):
        stats = learner.update(rollout, 0.0)
        assert stats["approx_kl"] > 0  # of the rollout's own log-probabilities: the loss is computed as always
    critics = {name for name in parameters if name.startswith(alone)}
    assert changed(before, learner) == critics
    moment = learner.moments["exp_avg_sq" if optimizer == "adam" else "square_avg"]
    moved = [
        (moment[part] > 0).any() for part in torch.arange(len(moment)).split([x.numel() for x in learner.policy.leaves])
    ]
    assert {name for name, own in zip(learner.policy.shapes, moved, strict=True) if own} == critics
    learner.update(rollout, 0.0)
    assert changed(before, learner) == parameters


def test_the_weight_of_the_entropy_does_not_adapt_in_the_warm_up():
    learner = learner_of("mlp", {}, SPACE, critic_warmup=2, target_entropy=5.0)
    weights = []
    for _ in range(4):
        learner.update(rollout_for(SPACE, 0), 0.0)
        weights.append(float(learner.coefs.adapted["ent_coef"]))
    assert weights[0] == weights[1] == 0.1
    assert weights[1] < weights[2] < weights[3]


def test_the_critic_learns_as_it_does_beside_an_actor_that_shares_nothing():
    rollout = rollout_of([True, True])
    alone, beside = (learner_of("mlp", {}, SPACE, max_grad_norm=0.0, critic_warmup=n) for n in (1, 0))
    for learner in (alone, beside):
        torch.manual_seed(1)
        learner.update(rollout, 0.0)
    one, other = (learner.policy.module.critic.state_dict() for learner in (alone, beside))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_after_the_warm_up_the_optimizer_begins_as_in_a_new_run():
    rollout = rollout_of([True, True])
    warmed = learner_of("mlp", {}, SPACE, critic_warmup=3)
    for _ in range(3):
        warmed.update(rollout, 0.0)
    fresh = learner_of("mlp", {}, SPACE)
    fresh.policy.vector.copy_(warmed.policy.vector)
    for _ in range(2):
        for learner in (warmed, fresh):
            torch.manual_seed(1)
            learner.update(rollout, 0.0)
        assert torch.equal(warmed.policy.vector, fresh.policy.vector)
    assert all(torch.equal(x, fresh.moments[name]) for name, x in warmed.moments.items())


def test_without_a_warm_up_the_step_has_no_more_arguments():
    learner = learner_of("mlp", {}, SPACE)
    assert (learner.warmup.learns, learner.warmup.state_dict()) == ((), {})


class Shared(Policy):
    """Actor and value are outputs of one layer."""

    def __init__(self, obs_space, action_space, **options):
        super().__init__()
        self.features, self.head = Features(obs_space), Head(action_space, **options)
        self.layer = nn.Linear(2, 4)

    def forward(self, obs, state, starts):
        x = self.layer(self.features(obs)[0])
        return self.head(x[..., :3]), x[..., 3], state


def test_a_policy_that_shares_everything_cannot_warm_up():
    learner = learner_of("test_warmup:Shared", {}, SPACE, critic_warmup=1)
    with pytest.raises(UsageError, match="critic_warmup = 1 has no effect, since the actor depends on every parameter"):
        learner.update(rollout_of([True, True]), 0.0)


def config(folder, **settings):
    tiny = {"num_envs": 2, "num_steps": 16, "update_epochs": 2, "num_minibatches": 2, "hidden_sizes": (8,), "eval_episodes": 0,
            "compile": "off", "critic_warmup": 2, "checkpoint_every": 1, "total_timesteps": 128, "runs_dir": str(folder)}  # fmt: skip
    return Config().replace(tiny | settings)


@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_a_run_resumes_bit_for_bit_in_the_warm_up_and_at_its_end(tmp_path, iteration):
    trainer = Trainer(config(tmp_path / "stopped"))
    for progress in trainer.iterations():
        if progress.iteration == iteration:
            break
    again, whole = Trainer.resume(trainer.run_dir).train(), Trainer(config(tmp_path / "whole")).train()
    one, other = (read_checkpoint(run / "checkpoints" / "latest.safetensors")[0] for run in (whole, again))
    assert one["warmup.left"] == -1
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    with pytest.raises(UsageError, match="critic_warmup is fixed when a run begins"):
        Trainer.resume(again, {"critic_warmup": 0})


def test_a_clone_keeps_its_actor_through_the_warm_up(tmp_path):
    clone = Trainer(config(tmp_path, critic_warmup=0)).train()
    run = Trainer(config(tmp_path, init_from=str(clone), total_timesteps=96, critic_warmup=2)).train()
    again = Trainer(config(tmp_path, init_from=str(clone), total_timesteps=96, critic_warmup=2, checkpoint_every=2))
    for progress in again.iterations():
        if progress.iteration == 2:
            break
    one, warmed, after = (
        read_checkpoint(folder / "checkpoints" / "latest.safetensors")[0] for folder in (clone, again.run_dir, run)
    )
    actor = [name for name in one if name.startswith("policy.actor")]
    assert len(actor) == 4
    assert all(torch.equal(one[name], warmed[name]) for name in actor)
    assert not any(torch.equal(one[name], after[name]) for name in actor)


@pytest.mark.slow
def test_the_compiled_step_warms_up_as_the_eager_one_and_compiles_once(tmp_path):
    runs = [Trainer(config(tmp_path / name, compile=name)) for name in ("on", "off")]
    for trainer in runs:
        trainer.train()
    step = runs[0].learner.step
    assert (step.reason, step.run is None) == ("", False)
    torch.testing.assert_close(runs[0].learner.policy.vector, runs[1].learner.policy.vector, rtol=1e-3, atol=1e-4)

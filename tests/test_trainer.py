"""The trainer: resume is exact, seeds decide everything, algorithms are configurations, numbers that break stop it."""

import copy
import csv
import itertools
import math
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import probes
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ppo import Config, NonFiniteError, Trainer, UsageError, evaluate, load_policy, make_envs, preset
from ppo.loop.collector import Collector
from ppo.run.checkpoint import read_checkpoint

TINY = {"num_envs": 2, "num_steps": 16, "update_epochs": 2, "num_minibatches": 2, "hidden_sizes": [8], "state_size": 8}
TASKS = {
    "mlp": {
        "env_id": "CartPole-v1", "policy": "mlp", "learning_rate": "1e-3 -> 0 cosine", "clip_coef": "0.2 -> 0.1",
        "ent_coef": "0.01 -> 0 step at 0.5", "gamma": "0.9 -> 0.99",
    },
    "gru": {
        "env_id": "CartPole-v1", "policy": "gru", "normalize_obs": True, "learning_rate": "adaptive from 1e-3",
        "target_kl": 0.01, "ent_coef": 0.01, "target_entropy": 0.5, "gamma": "adaptive",
    },
    "mujoco": {
        "env_id": "HalfCheetah-v5", "env_kwargs": {"max_episode_steps": 25}, "normalize_obs": True,
        "scale_rewards": True,
    },
    "text": {"env_id": "text/Frontier-v0", "policy": "gru"},
}  # fmt: skip
MEASURED = (
    "charts/SPS",
    "time/environment",
    "time/inference",
    "time/update",
    "time/evaluation",
)  # seconds, which no run repeats


def config(folder: Path, **settings: Any) -> Config:
    """Return a tiny configuration: eight iterations, a checkpoint with an evaluation at every second."""
    tiny = TINY | {"total_timesteps": 256, "checkpoint_every": 2, "eval_episodes": 2, "runs_dir": str(folder)}
    return Config().replace(tiny | settings)


def train_and_stop(trainer: Trainer, iteration: int) -> Path:
    """Train, and press Ctrl-C after `iteration`."""
    return trainer.train(lambda p: signal.raise_signal(signal.SIGINT) if p.iteration == iteration else None)


def interrupt(owner: Any, method: str, when: Callable[[], bool]) -> None:
    """Have Ctrl-C pressed after a call of owner's method, if `when` is true then."""
    original = getattr(owner, method)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when():
            signal.raise_signal(signal.SIGINT)
        return result

    setattr(owner, method, interrupted)


def tensors(run: Path, name: str = "latest") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{name}.safetensors")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in MEASURED]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def next_second() -> None:
    """Wait until TensorBoard gives its next event file a later name than the last one."""
    time.sleep(1.01 - time.time() % 1)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def assert_same_run(one: Path, other: Path) -> None:
    assert_same(tensors(one), tensors(other))
    assert_same(tensors(one, "best"), tensors(other, "best"))
    assert rows(one) == rows(other)
    assert scalars(one) == scalars(other)
    assert [path.read_text() for path in one.glob("best.jsonl")] == [
        path.read_text() for path in other.glob("best.jsonl")
    ]


@pytest.fixture(scope="module", params=TASKS)
def halves(request, tmp_path_factory):
    """Return (settings, folder, a run that Ctrl-C stopped at its checkpoint after 4 iterations, an unbroken run)."""
    folder, settings = tmp_path_factory.mktemp(request.param), TASKS[request.param]
    stopped = train_and_stop(Trainer(config(folder / "stopped", **settings)), 4)
    whole = Trainer(config(folder / "whole", **settings)).train()
    next_second()
    return folder, stopped, whole


def test_four_and_four_iterations_are_eight(halves):
    folder, stopped, whole = halves
    run = shutil.copytree(stopped, folder / "resumed" / stopped.name)
    trainer = Trainer.resume(run)
    assert trainer.iteration == 4
    assert trainer.train() == run
    assert len(rows(run)) == 8
    assert_same_run(run, whole)
    assert {"optimizer.step", "optimizer.exp_avg", "optimizer.exp_avg_sq"} <= tensors(run).keys()


def test_what_changes_during_a_run_is_logged(halves):
    names = ("charts/learning_rate", "charts/clip_coef", "charts/ent_coef", "charts/gamma", "charts/vf_coef")
    columns = [len({row[name] for row in rows(halves[2])}) if name in rows(halves[2])[0] else 0 for name in names]
    assert columns[0] > 1
    assert columns[1:] in ([8, 2, 8, 0], [0, 8, 8, 0], [0, 0, 0, 0])


def test_what_a_killed_run_wrote_after_its_checkpoint_is_dropped(halves):
    folder, stopped, whole = halves
    run = shutil.copytree(stopped, folder / "killed" / stopped.name)
    train_and_stop(Trainer.resume(run), 5)  # events and a row of iteration 5 ...
    shutil.copytree(stopped / "checkpoints", run / "checkpoints", dirs_exist_ok=True)  # ... but no checkpoint
    next_second()
    assert (len(rows(run)), len(scalars(run)["losses/entropy"])) == (5, 5)
    Trainer.resume(run).train()
    assert_same_run(run, whole)


@pytest.mark.parametrize(("step", "iteration"), [(5, 0), (16, 1), (32 + 5, 2)])
def test_an_interrupt_while_collecting_drops_the_rollout(tmp_path, step, iteration):
    trainer, steps = Trainer(config(tmp_path, eval_episodes=0)), itertools.count(1)
    interrupt(trainer.envs, "step", lambda: next(steps) == step)
    run = trainer.train()
    assert trainer.iteration == iteration  # after the last step of a rollout, the update hears of it
    resumed = Trainer.resume(run)
    assert (resumed.iteration, resumed.global_step) == (iteration, trainer.global_step)
    assert_same(resumed.policy.state_dict(), trainer.policy.state_dict())
    assert resumed.train() == run
    assert [row["iteration"] for row in rows(run)] == [str(i) for i in range(1, len(rows(run)) + 1)]
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.parametrize("iteration", [1, 3])
def test_an_interrupt_between_two_iterations_loses_none(tmp_path, iteration):
    trainer = Trainer(config(tmp_path))
    run = train_and_stop(trainer, iteration)
    assert iteration == trainer.iteration
    assert Trainer.resume(run).iteration == trainer.iteration


def test_an_interrupt_while_learning_ends_the_update_after_the_optimizer_step(tmp_path):
    trainer = Trainer(config(tmp_path, update_epochs=5, num_minibatches=4))
    interrupt(trainer.learner, "_move", lambda: trainer.iteration == 1)
    run = trainer.train()
    moments = tensors(run)["optimizer.step"]
    assert (trainer.iteration, moments.item(), rows(run)[1]["losses/epochs"]) == (2, 5 * 4 + 1, "1.0")
    assert [row["iteration"] for row in rows(Trainer.resume(run).train())] == [str(i) for i in range(1, 9)]


def test_an_interrupt_while_evaluating_ends_the_evaluation_and_keeps_the_iteration(tmp_path):
    trainer = Trainer(config(tmp_path, env_id="probes:Endless-v0", eval_max_steps=10**6))
    interrupt(trainer.envs, "step", lambda: trainer.iteration == 2)
    run = trainer.train()
    assert (trainer.iteration, rows(run)[1]["eval/episodic_return"]) == (2, "")
    assert Trainer.resume(run).iteration == 2


def test_an_evaluation_cuts_what_does_not_end_and_counts_it(tmp_path):
    run = Trainer(config(tmp_path, env_id="probes:Endless-v0", eval_max_steps=20)).train()
    last = rows(run)[-1]
    assert (last["eval/unfinished"], last["eval/episodic_length"], last["charts/episodes"]) == ("2.0", "20.0", "0.0")


def test_a_trainer_closes_the_environments_that_it_made_and_no_others(tmp_path):
    own = make_envs("CartPole-v1", 2, "sync")
    with Trainer(config(tmp_path, vectorization="sync")) as trainer, Trainer(config(tmp_path), own):
        pass
    assert (trainer.envs.closed, own.closed) == (True, False)


def test_the_loop_step_by_step_is_the_loop(tmp_path):
    expected = Trainer(config(tmp_path / "whole")).train()
    trainer = Trainer(config(tmp_path / "steps"))
    seen = [progress.iteration for progress in trainer.iterations()]
    assert seen == list(range(1, 9))
    assert_same(tensors(expected), tensors(trainer.run_dir))


def test_stop_ends_the_loop_with_a_checkpoint_and_break_leaves_the_last_one(tmp_path):
    trainer = Trainer(config(tmp_path))
    for progress in trainer.iterations():
        assert trainer.policy is not None
        if progress.iteration == 3:
            trainer.stop()
    assert (trainer.iteration, trainer.finished) == (3, False)
    resumed = Trainer.resume(trainer.run_dir)
    assert resumed.iteration == 3
    for progress in resumed.iterations():
        if progress.iteration == 5:
            break
    again = Trainer.resume(trainer.run_dir)
    assert again.iteration == 4  # a checkpoint at every second
    assert [progress.iteration for progress in again.iterations()] == [5, 6, 7, 8]
    before = signal.getsignal(signal.SIGINT)
    assert before is signal.default_int_handler


def test_two_loops_side_by_side_leave_the_signals_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    first, second = (Trainer(config(tmp_path, exp_name=name)).iterations() for name in ("a", "b"))
    next(first), next(second)
    first.close()
    second.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_signals_have_their_usual_effect_after_training(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train_and_stop(Trainer(config(tmp_path)), 2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path):
    one, two = (Trainer(config(tmp_path / name)).train() for name in "ab")
    assert_same(tensors(one), tensors(two))
    assert rows(one) == rows(two)
    other = Trainer(config(tmp_path, seed=2)).train()
    assert not torch.equal(tensors(one)["policy.actor.0.weight"], tensors(other)["policy.actor.0.weight"])
    assert rows(one)[0] != rows(other)[0]


def test_after_a_checkpoint_come_other_episodes_than_before(tmp_path):
    settings = {"checkpoint_every": 1, "eval_episodes": 0, "num_steps": 64, "total_timesteps": 512}
    run = Trainer(config(tmp_path, learning_rate=1e-12, **settings)).train()  # so that only the seeds make a difference
    returns = [row["charts/episodic_return"] for row in rows(run)]
    assert len(set(returns)) == len(returns) >= 4


def test_a_second_run_of_the_same_name_has_its_own_folder(tmp_path):
    runs = [Trainer(config(tmp_path, total_timesteps=32)).train() for _ in range(3)]
    names = ["CartPole-v1__ppo__s1", "CartPole-v1__ppo__s1__2", "CartPole-v1__ppo__s1__3"]
    assert [run.name for run in runs] == names
    assert [len(rows(run)) for run in runs] == [1, 1, 1]


def test_a_run_goes_on_with_a_larger_budget_and_not_in_another_environment(tmp_path):
    run = Trainer(config(tmp_path)).train()
    longer = Trainer.resume(run, {"total_timesteps": 320})
    first = longer.global_step
    longer.train()
    assert first < longer.global_step <= 320
    with pytest.raises(UsageError, match="env_id is fixed when a run begins"):
        Trainer.resume(run, {"env_id": "Acrobot-v1"})
    zoo = Trainer(config(tmp_path, env_id="probes:Zoo-v0", env_kwargs={"kind": "discrete"})).train()
    with pytest.raises(UsageError, match="probes:Zoo-v0 has other spaces than when"):
        Trainer.resume(zoo, {"env_kwargs": {"kind": "box"}})


def test_a_resumed_run_may_begin_and_end_to_adapt(tmp_path):
    run = Trainer(config(tmp_path, total_timesteps=32, eval_episodes=0)).train()
    both = {"learning_rate": "adaptive from 1e-3", "target_kl": 0.01, "ent_coef": 0.01, "target_entropy": 0.5}
    both["gamma"] = "adaptive from 0.95"
    names = {"learning_rate", "ent_coef", "gamma"}
    for steps, settings, ended in (
        (64, both, set()),
        (96, {"learning_rate": "adaptive from 2e-3"}, set()),
        (128, {"learning_rate": 2e-3, "target_kl": 0.0}, {"learning_rate"}),
        (160, {"gamma": 0.9}, {"learning_rate", "gamma"}),
    ):
        trainer = Trainer.resume(run, settings | {"total_timesteps": steps})
        assert trainer.learner.coefs.set(0.0)["learning_rate"] == (1e-3 if steps == 64 else 2e-3)
        trainer.train()
        assert {name[8:] for name in tensors(run) if name.startswith("adapted.")} == names - ended


def test_a_number_that_adapts_goes_on_if_it_is_named_again_as_it_was(tmp_path):
    run = Trainer(config(tmp_path, total_timesteps=64, eval_episodes=0, gamma="adaptive from 0.95")).train()
    reached = tensors(run)["adapted.gamma"]
    assert reached != 0.95
    same, other = (Trainer.resume(run, {"gamma": f"adaptive from {start}"}) for start in (0.95, 0.96))
    assert (same.learner.coefs.adapted["gamma"], other.learner.coefs.adapted["gamma"]) == (reached, 0.96)


@pytest.mark.parametrize("setting", [{"scale_rewards": True}, {"optimizer": "rmsprop"}, {"policy": "gru"}])
def test_a_setting_that_the_checkpoint_has_no_tensors_for_is_refused(tmp_path, setting):
    run = Trainer(config(tmp_path, total_timesteps=32)).train()
    with pytest.raises(UsageError):
        Trainer.resume(run, setting)


def test_the_budget_is_never_exceeded_and_dead_rows_do_not_count(tmp_path):
    # Every episode has one step, so every second row of NEXT_STEP is dead: 8 of 16 rows count. After 32 of 40 steps
    # another rollout could exceed the budget.
    kwargs = {"env_kwargs": {"length": 1, "truncates": False}, "num_steps": 8, "total_timesteps": 40}
    envs = gymnasium.make_vec(
        "probes:Constant-v0", 2, "sync", {"autoreset_mode": AutoresetMode.NEXT_STEP}, length=1, truncates=False
    )
    run = Trainer(config(tmp_path, **kwargs), envs).train()
    assert [row["global_step"] for row in rows(run)] == ["8", "16", "24", "32"]
    assert {row["charts/episodic_length"] for row in rows(run)} == {"1.0"}


def test_a_vector_environment_may_be_handed_over(tmp_path):
    envs = gymnasium.make_vec("Acrobot-v1", 4, "sync")
    trainer = Trainer(config(tmp_path, env_id="Acrobot-v1", total_timesteps=128), envs)
    assert trainer.envs.unwrapped is envs
    run = trainer.train()
    assert [row["global_step"] for row in rows(run)] == ["64", "128"]
    again = Trainer.resume(run, {"total_timesteps": 192}, gymnasium.make_vec("Acrobot-v1", 4, "sync"))
    again.train()
    assert again.global_step == 192


def test_a_run_on_a_vector_environment_of_ones_own_is_never_played_in_another(tmp_path):
    reward_flipped = gymnasium.make_vec("CartPole-v1", 2, "sync", wrappers=[FlippedReward])
    run = Trainer(config(tmp_path, total_timesteps=64), reward_flipped).train()
    for call in (Trainer.resume, evaluate):
        with pytest.raises(UsageError, match="VectorEnv of your own"):
            call(run)


class FlippedReward(gymnasium.RewardWrapper):
    def reward(self, reward):
        return -reward


def test_the_default_leaves_room_for_two_of_the_longest_episodes_between_checkpoints(tmp_path):
    settings = {"checkpoint_every": 0, "total_timesteps": 40_960, "num_envs": 8, "num_steps": 256}
    trainer = Trainer(config(tmp_path, env_id="HalfCheetah-v5", **settings))
    assert trainer.checkpoint_every == 8  # 2,048 steps, for episodes of 1,000; a tenth of the run would be 2


def test_a_policy_trained_with_masks_from_the_info_asks_for_them(tmp_path):
    run = Trainer(config(tmp_path, env_id="Taxi-v4", total_timesteps=64)).train()
    player = load_policy(run)
    env = gymnasium.make("Taxi-v4")
    obs, info = env.reset(seed=0)
    with pytest.raises(UsageError, match=r"mask=info\['action_mask'\]"):
        player.act(obs)
    assert info["action_mask"][player.act(obs, mask=info["action_mask"])[0]]


def test_an_error_of_an_evaluation_says_so(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise NonFiniteError("obs is not finite (nan) in environment 0 at step 1")

    monkeypatch.setattr("ppo.loop.scalars.play", broken)
    with pytest.raises(NonFiniteError, match="while evaluating: obs"):
        Trainer(config(tmp_path)).train()


@pytest.mark.parametrize(
    ("goal", "iteration"),
    [("losses/entropy <= 9", 1), ("eval/episodic_length >= 1", 2), ("eval/episodic_length <= 0", 8)],
)
def test_a_run_ends_where_it_reaches_its_goal(tmp_path, goal, iteration):
    run = Trainer(config(tmp_path, stop_at=goal)).train()
    resumed = Trainer.resume(run)
    assert (resumed.iteration, resumed.finished, resumed.train()) == (iteration, True, run)
    metric = goal.split()[0]
    assert resumed.reached.startswith(f"{metric} is " if iteration < 8 else "")
    assert rows(run)[-1]["eval/episodic_return"]
    onwards = Trainer.resume(run, {"stop_at": ""})
    assert onwards.finished == (iteration == 8)
    assert len(rows(onwards.train())) == 8


def test_a_goal_that_the_run_does_not_log_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="does not log 'entropy'; did you mean losses/entropy"):
        Trainer(config(tmp_path, stop_at="entropy <= 0.1"))
    with pytest.raises(UsageError, match="does not log 'eval/episodic_return'"):
        Trainer(config(tmp_path, stop_at="eval/episodic_return >= 1", eval_episodes=0))
    assert list(tmp_path.iterdir()) == []


# ---- algorithms are configurations --------------------------------------------------------------------------------


def one_rollout(folder: Path, **settings: Any) -> tuple[Trainer, Any, Any]:
    """Return (trainer, a copy of its policy, a rollout without dead rows), before any update."""
    one = {"env_id": "CartPole-v1", "vectorization": "sync", "num_steps": 64, "total_timesteps": 10_000}
    trainer = Trainer(config(folder, **(one | settings)))
    trainer.collector.reset(seed=3)
    rollout, episodes = trainer.collector.collect(trainer.config.num_steps)
    assert len(episodes) > 2
    assert rollout.valid.all()
    return trainer, copy.deepcopy(trainer.policy), rollout


def monte_carlo(rollout: Any, gamma: float) -> torch.Tensor:
    """Return the discounted sums of rewards (T, N), closed by the critic where a rollout cuts an episode."""
    found = torch.zeros_like(rollout.rewards)
    steps, envs = found.shape
    for t, n in itertools.product(reversed(range(steps)), range(envs)):
        if rollout.terminated[t, n]:
            rest = 0.0
        elif rollout.truncated[t, n] or t == steps - 1:
            rest = rollout.next_values[t, n]
        else:
            rest = found[t + 1, n]
        found[t, n] = rollout.rewards[t, n] + gamma * rest
    return found


def actor_critic_loss(policy: Any, rollout: Any, weights: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
    """Return −mean(log π(a|s) w) + ¼ mean((V − R)²) − 0.01 mean(H), from the towers and torch's Categorical."""
    dist = torch.distributions.Categorical(logits=policy.actor(rollout.obs))
    errors = policy.critic(rollout.obs).squeeze(-1) - returns
    return (
        -(dist.log_prob(rollout.actions) * weights).mean()
        + 0.25 * (errors**2).mean()
        - 0.01 * dist.entropy().mean()
    )  # fmt: skip


def gradient_of(trainer: Trainer) -> torch.Tensor:
    """Return the gradient of the one step of Adam that was taken: a tenth of it is the mean of gradients then."""
    assert trainer.learner.moments["step"] == 1
    return trainer.learner.moments["exp_avg"] / 0.1


GRADIENT = {"update_epochs": 1, "num_minibatches": 1, "norm_adv": False, "gae_lambda": 1.0, "ent_coef": 0.01}


def test_a2c_is_ppo_with_one_epoch_and_one_minibatch(tmp_path):
    settings = GRADIENT | {"optimizer": "rmsprop", "learning_rate": 0.01, "anneal_lr": False, "max_grad_norm": 0.0}
    trainer, policy, rollout = one_rollout(tmp_path, **settings)
    returns = monte_carlo(rollout, 0.99)
    optimizer = torch.optim.RMSprop(policy.parameters(), 0.01, alpha=0.99, eps=1e-5)
    actor_critic_loss(policy, rollout, returns - rollout.values, returns).backward()
    optimizer.step()
    before = copy.deepcopy(trainer.policy.state_dict())
    trainer.learner.update(rollout, progress=0.0)
    for name, expected in policy.state_dict().items():
        found = trainer.policy.state_dict()[name]
        assert not torch.equal(found, before[name])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_a2c_preset_is_that_configuration():
    settings = preset("CartPole-v1", "a2c")
    assert (settings.update_epochs, settings.num_minibatches, settings.norm_adv) == (1, 1, False)


def test_reinforce_weighs_by_returns(tmp_path):
    trainer, policy, rollout = one_rollout(tmp_path, **GRADIENT, baseline=False, max_grad_norm=0.0)
    returns = monte_carlo(rollout, 0.99)
    actor_critic_loss(policy, rollout, returns, returns).backward()
    trainer.learner.update(rollout, progress=0.0)
    expected = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(gradient_of(trainer), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("limit", "clipped"), [(0.0, False), (0.5, True), (1e6, False)])
def test_gradients_are_clipped_to_max_grad_norm_and_0_switches_it_off(tmp_path, limit, clipped):
    trainer, _, rollout = one_rollout(tmp_path, **GRADIENT, max_grad_norm=limit)
    rollout.rewards *= 100
    reported = trainer.learner.update(rollout, progress=0.0)["grad_norm"]
    norm = math.sqrt(sum(x * x for x in gradient_of(trainer).tolist()))
    assert reported > 50
    assert norm == pytest.approx(0.5 if clipped else reported, rel=1e-3)


@pytest.mark.parametrize(("target_kl", "epochs"), [(0.0, 6), (1e-9, 2), (100.0, 6)])
def test_target_kl_ends_the_epochs_of_an_iteration(tmp_path, target_kl, epochs):
    # The first epoch's one minibatch is seen before any step, so its KL is 0; the second one's is not.
    settings = {"update_epochs": 6, "num_minibatches": 1, "target_kl": target_kl}
    trainer, _, rollout = one_rollout(tmp_path, **settings)
    assert trainer.learner.update(rollout, progress=0.0)["epochs"] == epochs


def test_no_step_is_taken_far_from_the_policy_that_acted(tmp_path):
    # With this step size the second epoch's minibatch has a KL of 200, so that only the first one's step moves the policy.
    vectors = []
    for epochs, far in ((1, 1.0), (6, 1.0), (2, math.inf)):
        trainer, _, rollout = one_rollout(tmp_path, num_minibatches=1, update_epochs=epochs, learning_rate=1.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ppo.loop.learner.FAR", far)
            stats = trainer.learner.update(rollout, progress=0.0)
        assert stats["approx_kl"] > 1 or epochs == 1
        assert stats["withheld"] == pytest.approx(5 / 6 if epochs == 6 else 0)
        vectors.append(trainer.learner.policy.vector.clone())
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


@pytest.mark.parametrize(
    ("anneal", "rates"), [(True, [0.001, 0.00075, 0.0005, 0.00025]), (False, [0.001, 0.001, 0.001, 0.001])]
)
def test_the_learning_rate_falls_linearly_to_zero_with_the_steps(tmp_path, anneal, rates):
    settings = {"vectorization": "sync", "total_timesteps": 128, "learning_rate": 0.001, "anneal_lr": anneal}
    run = Trainer(config(tmp_path, **settings)).train()
    assert [float(row["charts/learning_rate"]) for row in rows(run)] == pytest.approx(rates)


def test_recomputed_advantages_are_other_advantages(tmp_path):
    one, two = (Trainer(config(tmp_path, recompute_advantages=on, policy="gru")).train() for on in (False, True))
    assert not torch.equal(tensors(one)["policy.actor.weight"], tensors(two)["policy.actor.weight"])
    assert rows(one)[0]["charts/episodic_return"] == rows(two)[0]["charts/episodic_return"]


# ---- checkpoints, forensics -----------------------------------------------------------------------------------------


def test_the_best_checkpoint_is_the_best_evaluated_and_every_one_is_kept_on_demand(tmp_path):
    settings = {"total_timesteps": 1024, "checkpoint_every": 4, "learning_rate": 0.02, "keep_checkpoints": True}
    run = Trainer(config(tmp_path, **settings)).train()
    evaluated = {int(row["iteration"]): row["eval/episodic_return"] for row in rows(run)}
    kept = {iteration: float(value) for iteration, value in evaluated.items() if value}
    best = max(kept, key=lambda iteration: (kept[iteration], -iteration))
    assert best < max(kept), "choose another seed: the best is also the last"
    assert read_checkpoint(run / "checkpoints" / "best.safetensors")[1]["iteration"] == best
    names = {f"iteration_{iteration:06d}.safetensors" for iteration in kept}
    assert {path.name for path in (run / "checkpoints").iterdir()} == names | {"best.safetensors", "latest.safetensors"}
    assert_same(tensors(run, "best"), tensors(run, f"iteration_{best:06d}"))
    assert_same(tensors(run, "latest"), tensors(run, f"iteration_{max(kept):06d}"))


def test_only_the_latest_and_the_best_are_kept_otherwise(tmp_path):
    run = Trainer(config(tmp_path)).train()
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.safetensors", "latest.safetensors"}


def faulty(folder: Path, reward: str) -> Trainer:
    # 16 steps of each environment an iteration: step 40 is in the third, after the checkpoint of the second.
    kwargs = {"reward": reward, "at": 40}
    return Trainer(config(folder, env_id="probes:Faulty-v0", env_kwargs=kwargs, eval_episodes=0, vectorization="sync"))


@pytest.mark.parametrize(
    ("reward", "fault"),
    [
        ("nan", "nan, which is not finite"),
        ("1e38", r"1e\+38, which is too large: .*"),
        ("1e39", "inf, which is not finite"),
    ],
)
def test_a_reward_that_cannot_be_used_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, reward, fault):
    trainer = faulty(tmp_path, reward)
    with pytest.raises(
        NonFiniteError, match=rf"^the reward of environment 0 at step 8 since .* is {fault}; .*nonfinite"
    ):
        trainer.train()
    assert trainer.run_dir is not None
    assert read_checkpoint(trainer.run_dir / "checkpoints" / "latest.safetensors")[1]["iteration"] == 2
    load_policy(trainer.run_dir).act(0)


def test_a_loss_that_overflows_stops_the_run_and_leaves_its_minibatch(tmp_path, monkeypatch):
    trainer = faulty(tmp_path, "3e38")
    monkeypatch.setattr("ppo.loop.rollout.LARGEST", math.inf)  # else the reward itself is refused
    with pytest.raises(NonFiniteError, match=r"value_loss is not finite .* in environment [01] at step 8 .*nonfinite"):
        trainer.train()
    assert trainer.run_dir is not None
    minibatch = load_file(trainer.run_dir / "nonfinite.safetensors")
    assert {"obs", "actions", "advantages", "returns", "valid", "rows"} <= minibatch.keys()
    assert minibatch["returns"].max() > 1e38
    assert all(x.isfinite().all() for x in tensors(trainer.run_dir).values())
    assert Trainer.resume(trainer.run_dir).iteration == 2


# ---- the loaded policy ----------------------------------------------------------------------------------------------

PLAYERS = {
    "mlp": {"env_kwargs": {"kind": "discrete"}},
    "gru": {"env_kwargs": {"kind": "discrete"}, "policy": "gru"},
    "start": {"env_kwargs": {"kind": "start"}},
    "tanh": {"env_kwargs": {"kind": "box"}, "action_bound": "tanh", "normalize_obs": True},
    "clip": {"env_kwargs": {"kind": "box"}, "action_bound": "clip", "normalize_obs": True, "policy": "gru"},
    "dict": {"env_kwargs": {"kind": "dict"}, "normalize_obs": True},
}


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return np.asarray(one).dtype == np.asarray(other).dtype and np.array_equal(one, other)


def played(envs: VectorEnv, trainer: Trainer, steps: int) -> list[tuple[Any, Any, bool]]:
    """Let the trainer's policy play deterministically; return what the one environment saw, got and began."""
    collector = Collector(envs, trainer.learner.policy)
    collector.reset(seed=7)
    envs.envs[0].unwrapped.seen.clear()  # type: ignore[attr-defined]
    collector.collect(steps, deterministic=True)
    return envs.envs[0].unwrapped.seen  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PLAYERS)
def test_a_loaded_policy_acts_like_the_trained_one_without_its_environment(tmp_path, monkeypatch, name):
    settings = PLAYERS[name] | {"env_id": "probes:Zoo-v0", "learning_rate": 0.02, "total_timesteps": 640, "seed": 2}
    trainer = Trainer(config(tmp_path, **settings, num_minibatches=4, update_epochs=4, eval_episodes=0))
    run = trainer.train()
    steps = played(make_envs("probes:Zoo-v0", 1, env_kwargs=settings["env_kwargs"]), trainer, 40)
    assert any(not equal(steps[0][1], action) for _, action, _ in steps), "a constant policy proves nothing"

    monkeypatch.delitem(gymnasium.registry, "Zoo-v0")
    monkeypatch.setattr(probes.Zoo, "__init__", None)
    player, state, stateless = load_policy(run), None, []
    for number, (obs, expected, starts) in enumerate(steps):
        action, state = player.act(obs, None if starts else state)
        assert equal(action, expected), f"step {number}: {action} instead of {expected}"
        stateless.append(equal(player.act(obs)[0], expected))
    assert all(stateless) == (settings.get("policy") != "gru")


def test_a_loaded_policy_samples_on_demand(tmp_path):
    trainer = Trainer(config(tmp_path, env_id="probes:Zoo-v0", total_timesteps=32, eval_episodes=0))
    player = load_policy(trainer.train())
    assert {int(player.act(np.zeros(3, np.float32), deterministic=False)[0]) for _ in range(50)} == {0, 1, 2}
    assert len({int(player.act(np.zeros(3, np.float32))[0]) for _ in range(50)}) == 1

"""Machine code does what the function does, and where there can be none, the function runs and says why."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.fx import GraphModule

import ppo.machine.compile
import ppo.machine.inductor
from ppo import Config, Policy, Trainer
from ppo.envs.spaces import Packer
from ppo.loop.collector import act
from ppo.machine.cache import cache_folder
from ppo.machine.compile import Compiled, resolve_compile
from ppo.machine.flat import FlatPolicy
from ppo.machine.inductor import CompileError, record
from ppo.machine.operations import over_time
from ppo.machine.process import Choice, compiler
from ppo.policies import Head, build_policy

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler: install g++")
N = 2
TINY = {
    "num_envs": N, "num_steps": 6, "num_minibatches": 2, "update_epochs": 2, "hidden_sizes": [8], "state_size": 8,
    "threads": 1, "total_timesteps": 48, "checkpoint_every": 2, "eval_episodes": 2,
}  # fmt: skip
TASKS = {"mlp": {"policy": "mlp", "normalize_obs": True}, "gru": {"policy": "gru"}}


def config(folder: Path, **settings: Any) -> Config:
    """Return a tiny configuration: four iterations, a checkpoint with an evaluation at every second."""
    return Config(compile="on").replace(TINY | {"runs_dir": str(folder)} | settings)


def trained(trainer: Trainer) -> tuple[list[Tensor], list[tuple[Any, ...]]]:
    """Train; return the vector after each iteration, and what was measured of episodes."""
    vectors: list[Tensor] = []
    episodes: list[tuple[Any, ...]] = []
    names = [f"{place}/episodic_{what}" for place in ("charts", "eval") for what in ("return", "length")]

    def report(progress: Any) -> None:
        vectors.append(trainer.learner.policy.vector.clone())
        episodes.append(tuple(str(progress.row[name]) for name in names))

    trainer.train(report)
    return vectors, episodes


def compiled_parts(trainer: Trainer) -> list[Compiled]:
    return [trainer.collector.act, trainer.learner.step]


@pytest.fixture(scope="module", params=TASKS)
def compiled(request, tmp_path_factory) -> tuple[str, Trainer, list[Tensor], list[tuple[Any, ...]]]:
    """Return (the task's name, a trainer that trained with machine code from the compiler, its vectors, its episodes)."""
    trainer = Trainer(config(tmp_path_factory.mktemp("compiled"), **TASKS[request.param]))
    return request.param, trainer, *trained(trainer)


@pytest.fixture
def without_compiling(monkeypatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the compiler was called")

    monkeypatch.setattr("ppo.machine.inductor._compile", refuse)


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.run_dir is not None
    return load_file(trainer.run_dir / "checkpoints" / "latest.safetensors")


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# ---- machine code from the compiler ---------------------------------------------------------------------------------


@needs_compiler
def test_training_with_machine_code_is_training_without(compiled, tmp_path):
    name, trainer, vectors, episodes = compiled
    assert [part.reason for part in compiled_parts(trainer)] == ["", ""]
    assert all(part.run is not None for part in compiled_parts(trainer))
    eager = Trainer(config(tmp_path, compile="off", **TASKS[name]))
    expected, others = trained(eager)
    assert all(part.run is None for part in compiled_parts(eager))
    assert len(vectors) == len(expected) == 4
    torch.testing.assert_close(vectors[0], expected[0], rtol=0, atol=1e-5)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-4  # where a step is a hundred times as large
    assert episodes[:2] == others[:2]
    assert episodes[1][2] != "nan"


@needs_compiler
def test_a_second_start_finds_the_machine_code_and_repeats_the_first_bit_for_bit(compiled, tmp_path, without_compiling):
    name, first, vectors, episodes = compiled
    second = Trainer(config(tmp_path, **TASKS[name]))
    again, others = trained(second)
    assert [part.reason for part in compiled_parts(second)] == ["", ""]
    assert all(part.run is not None for part in compiled_parts(second))
    assert all(map(torch.equal, again, vectors))
    assert others == episodes
    assert_same(tensors(second), tensors(first))


@needs_compiler
def test_a_compiled_run_is_resumed_bit_for_bit(compiled, tmp_path, without_compiling):
    name, whole, vectors, _ = compiled
    begun = Trainer(config(tmp_path, **TASKS[name]))
    collect = begun.collector.collect

    def stop_after_two(num_steps: int, deterministic: bool = False) -> Any:
        if begun.iteration == 2 and not deterministic:  # which an evaluation is
            raise KeyboardInterrupt
        return collect(num_steps, deterministic)

    begun.collector.collect = stop_after_two  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trained(begun)
    resumed = Trainer.resume(begun.run_dir)
    assert resumed.iteration == 2
    again, _ = trained(resumed)
    assert all(part.run is not None for part in compiled_parts(resumed))
    assert len(again) == 2
    assert all(map(torch.equal, again, vectors[2:]))
    assert_same(tensors(resumed), tensors(whole))


@needs_compiler
def test_binding_changes_no_tensors_value(compiled, tmp_path, monkeypatch, without_compiling):
    bind, bound = Compiled.bind, []

    def watched(self: Compiled, *example: Tensor) -> Callable[..., Any]:
        given = [self.policy.vector, *self.policy.others().values(), *example]
        before = [x.clone() for x in given]
        found = bind(self, *example)
        bound.append(self.run is not None and all(map(torch.equal, given, before)))
        return found

    monkeypatch.setattr(Compiled, "bind", watched)
    trained(Trainer(config(tmp_path, eval_episodes=0, **TASKS[compiled[0]])))
    assert bound == [True] * 8  # four rollouts, four updates


@needs_compiler
@pytest.mark.parametrize("compiled", ["mlp"], indirect=True)
def test_machine_code_sees_buffers_that_have_changed(compiled, tmp_path, without_compiling):
    trainer = Trainer(config(tmp_path, **TASKS["mlp"]))
    trainer.collector.reset(seed=0)
    given = torch.tensor([[0.5, -1.0, 2.0, 0.1]] * N), torch.zeros(N, 0), torch.zeros(N, dtype=torch.bool)
    noise = trainer.policy.head.noise(N, deterministic=True)
    values = []
    for seen in (torch.zeros(2, N, 4), torch.randn(50, N, 4) * 9, torch.randn(50, N, 4) + 100):
        trainer.policy.update_statistics(seen, torch.ones(seen.shape[:2], dtype=torch.bool))
        run = trainer.collector.act.bind(*given, noise)
        with torch.no_grad():
            expected = act(trainer.learner.policy, *given, noise)
            torch.testing.assert_close(tuple(run(*given, noise)), expected)
        values.append(expected[2][0].item())
    assert trainer.collector.act.run is not None
    assert len(set(values)) == 3


@needs_compiler
@pytest.mark.parametrize("compiled", ["mlp"], indirect=True)
def test_machine_code_sees_weights_that_were_loaded(compiled, tmp_path, without_compiling):
    trainer = Trainer(config(tmp_path, **TASKS["mlp"]))
    given = torch.ones(N, 4), torch.zeros(N, 0), torch.zeros(N, dtype=torch.bool), torch.ones(N, 2)
    run = trainer.collector.act.bind(*given)
    before = run(*given)[2]
    trainer.policy.load_state_dict({key: x + 0.25 for key, x in trainer.policy.state_dict().items()})
    with torch.no_grad():
        expected = trainer.policy(given[0].unsqueeze(0), *given[1:3])[1][0]
    torch.testing.assert_close(run(*given)[2], expected)
    assert not torch.allclose(before, expected)


@needs_compiler
@pytest.mark.parametrize("compiled", ["mlp"], indirect=True)
def test_a_damaged_file_in_the_cache_is_no_reason_to_stop(compiled, tmp_path, monkeypatch):
    for path in cache_folder().iterdir():
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / path.name).write_bytes(path.read_bytes()[:1000])
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ppo.machine.inductor._compile", fails)
    trainer = Trainer(config(tmp_path, total_timesteps=12, eval_episodes=0, **TASKS["mlp"]))
    trained(trainer)
    assert all(part.reason for part in compiled_parts(trainer))
    assert trainer.iteration == 1


@needs_compiler
@pytest.mark.parametrize("compiled", ["mlp"], indirect=True)
def test_machine_code_is_compared_on_a_minibatch_where_rounding_is_no_difference(compiled, tmp_path, without_compiling):
    for seed in range(8):
        trainer = Trainer(config(tmp_path, seed=seed, total_timesteps=12, eval_episodes=0, **TASKS["mlp"]))
        trained(trainer)
        assert [part.reason for part in compiled_parts(trainer)] == ["", ""]


# ---- where there is no machine code ---------------------------------------------------------------------------------


def fails(*_: Any) -> None:
    raise CompileError("the compiler fails")


@pytest.fixture
def empty_cache(monkeypatch, tmp_path) -> Iterator[Path]:
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "empty"))
    yield tmp_path / "empty"
    assert not list((tmp_path / "empty").glob("*"))


@pytest.fixture
def no_compiler(monkeypatch, empty_cache) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def assert_eager(trainer: Trainer, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Train for one iteration, and compare with a run that never thought of compiling."""
    short = {"total_timesteps": 12, "eval_episodes": 0, "anneal_lr": False}
    trained(trainer)
    assert all(part.run is None for part in compiled_parts(trainer))
    expected = Trainer(config(tmp_path / "off", **(settings | short | {"compile": "off"})))
    trained(expected)
    assert torch.equal(trainer.learner.policy.vector, expected.learner.policy.vector)


@pytest.mark.parametrize("name", TASKS)
def test_without_a_compiler_a_run_that_would_be_compiled_is_not_and_says_why(tmp_path, no_compiler, name):
    trainer = Trainer(config(tmp_path, compile="auto", total_timesteps=50_000_000, **TASKS[name]))
    assert trainer.parts.compiled == Choice(False, "there is no C++ compiler; install g++")
    assert not any(part.enabled for part in compiled_parts(trainer))


@pytest.mark.parametrize("name", TASKS)
def test_without_a_compiler_a_run_that_is_to_be_compiled_runs_eagerly_and_says_why(tmp_path, no_compiler, name):
    settings = TASKS[name] | {"total_timesteps": 12, "eval_episodes": 0, "anneal_lr": False}
    trainer = Trainer(config(tmp_path, **settings))
    assert_eager(trainer, tmp_path, TASKS[name])
    assert [part.reason for part in compiled_parts(trainer)] == ["there is no C++ compiler; install g++"] * 2


def test_a_compiler_that_fails_is_quoted_in_one_line(tmp_path, monkeypatch, empty_cache):
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("g++: fatal error:\n   no space left\non device")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", broken)
    monkeypatch.setenv("CXX", "sh")  # any command that exists: nothing is compiled
    settings = {"total_timesteps": 12, "eval_episodes": 0, "anneal_lr": False}
    trainer = Trainer(config(tmp_path, **settings))
    assert_eager(trainer, tmp_path, {})
    expected = "RuntimeError: g++: fatal error: no space left on device"
    assert [part.reason for part in compiled_parts(trainer)] == [expected] * 2


class Branching(Policy):
    """A user's own policy, which takes another course where the sum of what it sees is positive."""

    def __init__(self, obs_space: Any, action_space: Any, **_: Any) -> None:
        super().__init__()
        self.head = Head(action_space)
        self.actor, self.critic = nn.Linear(4, self.head.num_outputs), nn.Linear(4, 1)

    def update_statistics(self, obs: Tensor, valid: Tensor) -> None:
        pass

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> Any:
        x = torch.tanh(obs) if obs.sum() > 0 else -obs
        return self.head(self.actor(x)), self.critic(x).squeeze(-1), state


class Unregistered(Branching):
    """A user's own policy, which keeps a tensor where nobody knows of it."""

    def __init__(self, obs_space: Any, action_space: Any, **options: Any) -> None:
        super().__init__(obs_space, action_space, **options)
        self.scale = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> Any:
        x = obs / self.scale
        return self.head(self.actor(x)), self.critic(x).squeeze(-1), state


@pytest.mark.parametrize(("name", "why"), [("Branching", "DataDependent"), ("Unregistered", "FakeTensor")])
def test_a_policy_that_cannot_be_recorded_runs_eagerly_and_says_why(tmp_path, empty_cache, name, why):
    settings = {"policy": f"{__name__}:{name}"}
    trainer = Trainer(config(tmp_path, total_timesteps=12, eval_episodes=0, anneal_lr=False, **settings))
    assert_eager(trainer, tmp_path, settings)
    for part in compiled_parts(trainer):
        assert why in part.reason
        assert len(part.reason.splitlines()) == 1


def test_what_cannot_be_recorded_is_tried_only_once(tmp_path, monkeypatch, empty_cache):
    tries: list[str] = []

    def recorded(*_: Any) -> None:
        tries.append("record")
        fails()

    monkeypatch.setattr("ppo.machine.compile.record", recorded)
    trained(Trainer(config(tmp_path)))
    assert tries == ["record"] * 2  # the rollout's function and the update's, in the first of four iterations


def test_a_function_of_very_many_operations_is_not_compiled(monkeypatch):
    monkeypatch.setattr("ppo.machine.inductor.MAX_OPERATIONS", 50)

    def long(x: Tensor) -> tuple[Tensor]:
        for _ in range(60):
            x = x + 1
        return (x,)

    with pytest.raises(CompileError, match=r"it comes to 6\d operations, more than 50"):
        record(long, [torch.zeros(2)])


# ---- the comparison of machine code with the function ---------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("offset", torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x).sum() + self.offset


def descend(policy: FlatPolicy, x: Tensor, moment: Tensor) -> tuple[Tensor]:
    """Change the vector and a moment in place, as an optimizer step does."""
    with torch.enable_grad():
        loss = policy.forward(x)
        gradient = policy.gradient(loss.sum())
    moment.add_(gradient)
    policy.vector.sub_(0.1 * moment)
    return (loss.detach().clone(),)


def right(tensors: list[Tensor]) -> list[Tensor]:
    """Do what `descend` does, by hand: tensors are the vector, the offset, x and the moment."""
    vector, offset, x, moment = tensors
    loss = (vector * x).sum() + offset
    moment += x
    vector -= 0.1 * moment
    return [loss]


def wrong_output(tensors: list[Tensor]) -> list[Tensor]:
    return [right(tensors)[0] * 1.01]


def output_not_a_number(tensors: list[Tensor]) -> list[Tensor]:
    return [right(tensors)[0] * torch.nan]


def wrong_vector(tensors: list[Tensor]) -> list[Tensor]:
    found = right(tensors)
    tensors[0][1] += 1.0
    return found


def vector_not_a_number(tensors: list[Tensor]) -> list[Tensor]:
    found = right(tensors)
    tensors[0].fill_(torch.nan)
    return found


def forgotten_moment(tensors: list[Tensor]) -> list[Tensor]:
    kept = tensors[3].clone()
    found = right(tensors)
    tensors[3].copy_(kept)
    return found


def infinite(tensors: list[Tensor]) -> list[Tensor]:
    found = right(tensors)
    tensors[0].fill_(torch.inf)
    return found


def crashing(tensors: list[Tensor]) -> list[Tensor]:
    right(tensors)
    raise RuntimeError("the machine code expects other strides")


@pytest.fixture
def machine(monkeypatch) -> Callable[[Callable[..., Any]], tuple[Compiled, Any, Tensor, Tensor]]:
    """Return a maker of (a compiled `descend` whose machine code is given, its bound form, the vector, the moment)."""

    def make(code: Callable[[list[Tensor]], list[Tensor]]) -> tuple[Compiled, Any, Tensor, Tensor]:
        monkeypatch.setattr("ppo.machine.compile.load", lambda graph, tensors: code)
        flat, moment = FlatPolicy(Small()), torch.tensor([7.0, 8.0, 9.0])
        part = Compiled(descend, flat, enabled=True)
        return part, part.bind(torch.ones(3), moment), flat.vector, moment

    return make


def test_machine_code_that_does_the_same_is_used(machine):
    calls = []
    part, bound, vector, moment = machine(lambda tensors: (calls.append(1), right(tensors))[1])
    assert (part.reason, len(calls)) == ("", 1)
    assert (vector.tolist(), moment.tolist()) == ([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    assert bound(torch.ones(3), moment)[0].tolist() == [6.5]
    assert len(calls) == 2
    assert moment.tolist() == [8.0, 9.0, 10.0]
    assert vector.tolist() == pytest.approx([0.2, 1.1, 2.0])


@pytest.mark.parametrize(
    "code",
    [wrong_output, output_not_a_number, wrong_vector, vector_not_a_number, forgotten_moment, infinite],
    ids=lambda code: code.__name__,
)
def test_machine_code_that_does_something_else_is_refused_and_leaves_everything_as_it_was(machine, code):
    part, bound, vector, moment = machine(code)
    assert part.run is None
    assert part.reason.startswith("machine code and function differ by ")
    assert (vector.tolist(), moment.tolist()) == ([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    assert part.policy.others()["offset"].tolist() == [0.5]
    assert bound(torch.ones(3), moment)[0].tolist() == [6.5]  # the function itself
    assert vector.tolist() == pytest.approx([0.2, 1.1, 2.0])


def test_machine_code_that_raises_is_refused_and_leaves_everything_as_it_was(machine):
    part, _, vector, moment = machine(crashing)
    assert part.run is None
    assert "the machine code expects other strides" in part.reason
    assert (vector.tolist(), moment.tolist()) == ([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])


# ---- recording ------------------------------------------------------------------------------------------------------

IMAGE = Box(0, 255, (36, 36, 1), np.uint8)
MASKED = Dict(obs=Box(-1, 1, (3,)), action_mask=MultiBinary(4))
SPACES = {
    "mlp with indices, bits and a squashed number": (
        "mlp", Dict(place=Discrete(4), speed=Box(-1, 1, (2,))),
        Tuple([Discrete(3), MultiBinary(2), Box(-1, 1, (2,))]), {"action_bound": "tanh", "normalize_obs": True},
    ),
    "mlp under a mask": ("mlp", MASKED, Discrete(4), {}),
    "cnn": ("cnn", IMAGE, Discrete(3), {}),
    "gru under a mask": ("gru", MASKED, Discrete(4), {"normalize_obs": True}),
    "gru on tokens": ("gru", Dict(token=Discrete(7), action_mask=MultiBinary(7)), Discrete(7), {"separate_critic": True}),
    "gru with numbers": ("gru", Box(-1, 1, (3,)), Box(-1, 1, (2,)), {}),
}  # fmt: skip


def random_batch(space: Any, steps: int) -> Tensor:
    """Return packed observations (T, N, *obs)."""
    space.seed(0)
    samples = [space.sample() for _ in range(steps * N)]
    packed = Packer(space)(concatenate(space, samples, create_empty_array(space, len(samples))))
    return packed.unflatten(0, (steps, N))


@pytest.mark.parametrize("case", SPACES.values(), ids=SPACES)
def test_what_is_recorded_of_acting_does_the_same(case):
    name, obs_space, action_space, options = case
    torch.manual_seed(0)
    policy = build_policy(name, obs_space, action_space, {"hidden_sizes": (8,), "state_size": 5} | options)
    flat, obs = FlatPolicy(policy), random_batch(obs_space, 1)[0]
    names, others = list(flat.others()), list(flat.others().values())
    given = obs, torch.randn(N, policy.state_size), torch.tensor([True, False]), policy.head.noise(N)

    def lifted(vector: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return act(flat.over(vector, dict(zip(names, tensors, strict=False))), *tensors[len(names) :])

    with torch.no_grad():
        graph = record(lifted, [flat.vector, *others, *given])
        other = flat.vector + 0.1 * torch.randn_like(flat.vector)  # nothing of the weights is in the recording itself
        torch.testing.assert_close(graph(other, *others, *given), lifted(other, *others, *given))


@pytest.mark.parametrize("steps", [1, 6, 8, 16])
def test_what_is_recorded_of_an_update_of_a_gru_does_the_same(tmp_path, monkeypatch, steps):
    graphs = []

    def interpreted(graph: Any, tensors: list[Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
        graphs.append(graph)
        return lambda given: list(graph(*given))

    monkeypatch.setattr("ppo.machine.compile.load", interpreted)
    sizes = {"num_steps": steps, "total_timesteps": 2 * N * steps, "eval_episodes": 0}
    found = [Trainer(config(tmp_path / on, compile=on, **(TASKS["gru"] | sizes))) for on in ("on", "off")]
    vectors = [trained(trainer)[0] for trainer in found]
    assert [part.reason for part in compiled_parts(found[0])] == ["", ""]
    assert len(graphs) == 2
    assert not torch.equal(vectors[1][0], vectors[1][1])
    torch.testing.assert_close(vectors[0], vectors[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("steps", "rounds"), [(1, None), (7, 7), (8, None), (12, 3), (24, 3)])
def test_a_recorded_loop_stays_a_loop_of_at_most_eight_steps_a_round(steps, rounds):
    def cell(carry: Tensor, row: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        carry = torch.tanh(carry * factor + row)
        return carry, carry * 2

    carry, rows, factor = torch.randn(N, 3), torch.randn(steps, N, 3), torch.tensor(0.5)
    expected = []
    state = carry
    for row in rows:
        state = torch.tanh(state * 0.5 + row)
        expected.append(state * 2)
    run = lambda *tensors: (over_time(cell, tensors[0], (tensors[1],), (tensors[2],)),)  # noqa: E731
    graph = record(run, [carry, rows, factor])
    for found in (run, graph):
        torch.testing.assert_close(found(carry, rows, factor)[0], torch.stack(expected))
    bodies = [module for module in graph.modules() if isinstance(module, GraphModule)]
    calls = [str(node.target) for module in bodies for node in module.graph.nodes if node.op == "call_function"]
    assert sum("scan" in call for call in calls) == (rounds is not None)
    assert sum("tanh" in call for call in calls) == steps // (rounds or 1)


# ---- what is worth it, and where it is kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer_steps", "vector_steps", "seq_len", "expected"),
    [
        (0, 0, 1, False),
        (8_000, 64_000, 1, False),  # 6.4 s and 2.6 s are saved
        (100_000, 0, 1, True),  # 80 s
        (0, 1_000_000, 1, True),  # 40 s
        (8_000, 64_000, 128, True),  # 8,000 sequences of 128 steps at 40 µs a step: 41 s more
    ],
)
def test_a_long_run_is_worth_compiling_and_a_short_one_is_not(
    monkeypatch, optimizer_steps, vector_steps, seq_len, expected
):
    monkeypatch.setenv("CXX", "sh")  # any command that exists: nothing is compiled
    monkeypatch.setenv("PPO_CACHE", "/somewhere")
    found, why = resolve_compile("auto", optimizer_steps, vector_steps, 0, seq_len)
    assert found is expected
    assert ("/somewhere" if expected else "too short") in why


def test_layers_of_attention_are_worth_compiling_sooner(monkeypatch):
    monkeypatch.setenv("CXX", "sh")  # any command that exists: nothing is compiled
    assert [resolve_compile("auto", 6_000, 6_000, layers, 32)[0] for layers in (0, 2)] == [False, True]


@pytest.mark.parametrize(("total", "expected"), [(100_000, False), (50_000_000, True)])
def test_by_default_the_length_of_the_run_decides(tmp_path, monkeypatch, total, expected):
    monkeypatch.setenv("CXX", "sh")  # any command that exists: nothing is compiled
    trainer = Trainer(config(tmp_path, compile="auto", num_envs=8, num_steps=128, total_timesteps=total))
    assert trainer.parts.compiled.value is expected
    assert [part.enabled for part in compiled_parts(trainer)] == [expected] * 2


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"PPO_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/ppo"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/ppo"),
    ],
)
def test_machine_code_is_kept_where_the_user_says(monkeypatch, variables, folder):
    for name in ("PPO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_another_function_has_another_name_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    names: list[str] = []

    def named(graph: Any, tensors: list[Tensor], path: Path) -> None:
        names.append(path.name)
        fails()

    monkeypatch.setattr("ppo.machine.inductor._compile", named)
    functions = [
        lambda x: (x + 1,),
        lambda x: (x + 2,),
        lambda x: (x * torch.as_tensor(np.array([[1.0], [2.0], [3.0]])),),
        lambda x: (x * torch.as_tensor(np.array([[1.0], [2.0], [4.0]])),),  # the same operation on another constant
    ]
    tensors = [torch.zeros(2), torch.zeros(3, 2), torch.zeros(2, dtype=torch.float64), torch.zeros(2, 3).t()]
    for function in functions:
        for x in tensors:
            for _ in range(2):
                with pytest.raises(CompileError, match="the compiler fails"):
                    ppo.machine.inductor.load(record(function, [x]), [x])
    assert names[::2] == names[1::2]
    assert len(set(names)) == len(functions) * len(tensors)


def test_what_was_not_used_for_a_month_leaves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setattr("ppo.machine.inductor._compile", lambda graph, tensors, path: path.write_bytes(b""))
    monkeypatch.setattr("ppo.machine.inductor._open", lambda path: path)
    x = torch.zeros(2)
    used = ppo.machine.inductor.load(record(lambda x: (x + 1,), [x]), [x])
    rated = tmp_path / "hutto-movies.jsonl"
    for path in (used, tmp_path / "old.pt2", rated):
        path.touch()
        os.utime(path, (0, 0))
    assert ppo.machine.inductor.load(record(lambda x: (x + 1,), [x]), [x]) == used  # used again
    new = ppo.machine.inductor.load(record(lambda x: (x + 2,), [x]), [x])
    assert set(tmp_path.iterdir()) == {used, new, rated}

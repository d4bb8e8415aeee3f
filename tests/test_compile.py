"""Compiled is eager; a function that cannot be compiled runs eagerly, and the run says why."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.fx import GraphModule

from ppo import Config, Policy, Trainer
from ppo.machine.cache import cache_folder
from ppo.machine.compile import Compiled, resolve_compile, verify
from ppo.machine.flat import FlatPolicy
from ppo.machine.inductor import CompileError, cache_path
from ppo.machine.process import compiler
from ppo.policies import Head

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler: install g++")
# torch 2.11 and 2.12 refuse the GRU's loop over time (an AssertionError in Inductor), so its update runs eagerly there.
compiles_gru = pytest.mark.skipif(
    torch.__version__ < "2.13", reason="torch before 2.13 cannot compile the GRU's update"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux compiles in a fork")
N, T = 2, 7
TINY = {
    "num_envs": N, "num_steps": T, "num_minibatches": 2, "update_epochs": 2, "hidden_sizes": [8], "state_size": 8,
    "threads": 1, "total_timesteps": 4 * N * T, "checkpoint_every": 2, "eval_episodes": 2, "normalize_obs": True,
}  # fmt: skip
SLOW = ("gru", "mlp")  # cases in which the rollout is compiled, too
ONE_ITERATION = {"total_timesteps": N * T, "eval_episodes": 0}
NO_COMPILER = "there is no C++ compiler; install g++"


def config(folder: Path, **settings: Any) -> Config:
    """Return a tiny configuration: four iterations, a checkpoint with an evaluation at every second."""
    return Config(compile="on").replace(TINY | {"runs_dir": str(folder)} | settings)


def train(trainer: Trainer) -> tuple[list[Tensor], list[tuple[str, ...]]]:
    """Train; return the vector after each iteration, and the statistics of its episodes."""
    vectors: list[Tensor] = []
    episodes: list[tuple[str, ...]] = []
    names = [f"{place}/episodic_{what}" for place in ("charts", "eval") for what in ("return", "length")]

    def report(progress: Any) -> None:
        vectors.append(trainer.learner.policy.vector.clone())
        episodes.append(tuple(str(progress.row[name]) for name in names))

    trainer.train(report)
    return vectors, episodes


def functions(trainer: Trainer) -> list[Compiled]:
    return [trainer.collector.act, trainer.learner.step]


def is_compiled(trainer: Trainer) -> bool:
    enabled = [function for function in functions(trainer) if function.enabled]
    assert [function.reason for function in enabled] == [""] * len(enabled)
    return trainer.learner.step.enabled and all(function.run is not None for function in enabled)


def assert_same_checkpoints(one: Trainer, other: Trainer) -> None:
    x, y = (load_file(Path(str(trainer.run_dir)) / "checkpoints" / "latest.safetensors") for trainer in (one, other))
    assert x.keys() == y.keys()
    assert [name for name in x if not torch.equal(x[name], y[name])] == []


# ---- machine code from the compiler ---------------------------------------------------------------------------------


class CompiledRun(NamedTuple):
    case: str
    trainer: Trainer
    vectors: list[Tensor]
    episodes: list[tuple[str, ...]]
    damaged: list[Path]  # cache files that were damaged when the run began


def only(case: str, trainer: Trainer) -> Trainer:
    """Let the rollout of the default case be eager: compiling it takes 11 s."""
    trainer.collector.act.enabled &= case in SLOW
    return trainer


def new(case: str, folder: Path, **settings: Any) -> Trainer:
    return only(case, Trainer(config(folder, policy=case.split()[0], **settings)))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("gru update", marks=compiles_gru),
        *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW),
    ],
)
def run(request, tmp_path_factory) -> CompiledRun:
    """Return a run that was compiled over damaged cache files, with old files of others next to them."""
    folder, damaged = tmp_path_factory.mktemp("compiled"), []

    def damage(graph: GraphModule, tensors: list[Tensor]) -> None:
        path = cache_path(graph, tensors)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"damaged")
        damaged.append(path)
        raise CompileError("damaged")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppo.machine.compile.begin", damage)
        train(new(request.param, folder, **ONE_ITERATION))
    for name in ("old.pt2", "ratings.jsonl"):
        (cache_folder() / name).touch()
        os.utime(cache_folder() / name, (0, 0))
    trainer = new(request.param, folder)
    return CompiledRun(request.param, trainer, *train(trainer), damaged)


@pytest.fixture
def no_compiler(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


@needs_compiler
def test_compiled_training_is_eager_training(run, tmp_path):
    assert is_compiled(run.trainer)
    eager = new(run.case, tmp_path, compile="off")
    vectors, episodes = train(eager)
    assert not any(function.run for function in functions(eager))
    assert len(run.vectors) == len(vectors) == 4
    torch.testing.assert_close(run.vectors[0], vectors[0], rtol=0, atol=1e-5)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-4  # a step is ten times the tolerance or more
    assert run.episodes[:2] == episodes[:2]
    assert episodes[1][2] != "nan"


@needs_compiler
@pytest.mark.slow
def test_a_step_with_a_divergence_in_the_loss_is_compiled(tmp_path):
    start = new("mlp update", tmp_path, compile="off", seed=2)
    start.save(finished=True)
    near = {"reference": str(start.run_dir), "kl_in": "loss", "kl_coef": 100.0}
    compiled, eager = (new("mlp update", tmp_path, compile=way, **near) for way in ("on", "off"))
    vectors = [train(trainer)[0] for trainer in (compiled, eager)]
    assert is_compiled(compiled)
    torch.testing.assert_close(*vectors, atol=1e-5, rtol=1e-4)
    free = train(new("mlp update", tmp_path, compile="off"))[0]
    assert (free[-1] - vectors[1][-1]).abs().max() > 1e-4


@needs_compiler
def test_a_damaged_file_in_the_cache_is_compiled_again(run):
    assert len(run.damaged) == (2 if run.case in SLOW else 1)
    assert all(path.stat().st_size > 10_000 for path in run.damaged)


@needs_compiler
def test_compiled_functions_expire_and_other_files_stay(run):
    assert not (cache_folder() / "old.pt2").exists()
    assert (cache_folder() / "ratings.jsonl").exists()


@needs_compiler
def test_a_second_start_needs_no_compiler_and_repeats_the_first_bit_for_bit(run, tmp_path, no_compiler):
    for path in run.damaged:
        os.utime(path, (0, 0))
    second = new(run.case, tmp_path)
    vectors, episodes = train(second)
    assert is_compiled(second)
    assert all(map(torch.equal, vectors, run.vectors))
    assert episodes == run.episodes
    assert_same_checkpoints(second, run.trainer)
    assert all(path.stat().st_mtime > 0 for path in run.damaged)  # their time to expiry begins again


@needs_compiler
def test_other_coefficients_and_schedules_need_no_compiler(run, tmp_path, no_compiler):
    changes = {"clip_coef": "0.3 -> 0.1", "ent_coef": 0.05, "vf_coef": 0.3, "learning_rate": "1e-3 -> 1e-4 cosine"}
    other = new(run.case, tmp_path, **changes)
    vectors, _ = train(other)
    assert is_compiled(other)
    assert not torch.equal(vectors[0], run.vectors[0])


@needs_compiler
def test_a_compiled_run_is_resumed_bit_for_bit(run, tmp_path, no_compiler):
    begun = new(run.case, tmp_path)
    collect = begun.collector.collect

    def stop_after_two(num_steps: int, deterministic: bool = False, **rest: Any) -> Any:
        if begun.iteration == 2 and not deterministic:  # not in an evaluation
            raise KeyboardInterrupt
        return collect(num_steps, deterministic, **rest)

    begun.collector.collect = stop_after_two  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(begun)
    resumed = only(run.case, Trainer.resume(begun.run_dir))
    assert resumed.iteration == 2
    vectors, _ = train(resumed)
    assert is_compiled(resumed)
    assert len(vectors) == 2
    assert all(map(torch.equal, vectors, run.vectors[2:]))
    assert_same_checkpoints(resumed, run.trainer)


@needs_compiler
@pytest.mark.parametrize("loader", ["torch:_C._aoti.Absent", "builtins:int"], ids=["absent", "with other arguments"])
def test_without_torchs_private_loader_the_public_one_gives_the_same_numbers(
    run, tmp_path, no_compiler, monkeypatch, loader
):
    monkeypatch.setattr("ppo.machine.inductor.LOADER", loader)
    trainer = new(run.case, tmp_path, **ONE_ITERATION)
    vectors, _ = train(trainer)
    assert is_compiled(trainer)
    assert torch.equal(vectors[0], run.vectors[0])


@needs_compiler
def test_machine_code_reads_weights_and_buffers_that_were_changed_or_replaced(run, tmp_path, no_compiler):
    trainer, eager = (new(run.case, tmp_path, compile=setting) for setting in ("on", "off"))
    obs, valid = torch.randn(50, N, 4) * 9, torch.ones(50, N, dtype=torch.bool)

    def replace(policy: Policy) -> None:
        policy.features.normalizer.mean = policy.features.normalizer.mean + 1

    changes: list[Callable[[Policy], Any]] = [
        lambda policy: None,
        lambda policy: policy.load_state_dict({name: x + 0.25 for name, x in policy.state_dict().items()}),
        lambda policy: policy.update_statistics(obs, valid),
        replace,
    ]
    losses = []
    eager.collector.reset(seed=0)
    rollout, _ = eager.collector.collect(T)
    for change in changes:
        stats = []
        for learner in (trainer.learner, eager.learner):
            change(learner.policy.module)
            torch.manual_seed(0)
            stats.append(learner.update(rollout, 0.0))
        assert stats[0] == pytest.approx(stats[1], rel=1e-3, abs=1e-4, nan_ok=True)
        torch.testing.assert_close(trainer.learner.policy.vector, eager.learner.policy.vector, rtol=0, atol=1e-4)
        losses.append(round(stats[1]["value_loss"], 2))
    assert trainer.learner.step.run is not None
    assert len(set(losses)) == len(changes)


@needs_compiler
@pytest.mark.slow
def test_rounding_never_fails_the_comparison_of_machine_code_with_its_function(run, tmp_path, no_compiler):
    for seed in range(8):
        trainer = new(run.case, tmp_path, seed=seed, **ONE_ITERATION)
        train(trainer)
        assert is_compiled(trainer)


# ---- functions that are not compiled --------------------------------------------------------------------------------


class Branching(Policy):
    """A user's own policy that branches on a value."""

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
    """A user's own policy with a tensor that is neither a parameter nor a buffer."""

    def __init__(self, obs_space: Any, action_space: Any, **options: Any) -> None:
        super().__init__(obs_space, action_space, **options)
        self.scale = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> Any:
        x = obs / self.scale
        return self.head(self.actor(x)), self.critic(x).squeeze(-1), state


@pytest.mark.parametrize(
    ("policy", "reason"),
    [("mlp", NO_COMPILER), ("gru", NO_COMPILER), (f"{__name__}:Branching", "DataDependent"),
     (f"{__name__}:Unregistered", "FakeTensor")],
)  # fmt: skip
def test_a_run_that_cannot_be_compiled_is_an_eager_run_and_says_why(tmp_path, monkeypatch, no_compiler, policy, reason):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "empty"))
    trainer, eager = (Trainer(config(tmp_path, policy=policy, compile=on, **ONE_ITERATION)) for on in ("on", "off"))
    notes: list[str] = []
    trainer.train(lambda progress: notes.extend(progress.notes))
    train(eager)
    assert [note.partition(" is not compiled: ")[0] for note in notes] == ["the policy", "the optimizer step"]
    assert all(reason in note and "\n" not in note for note in notes)
    assert torch.equal(trainer.learner.policy.vector, eager.learner.policy.vector)
    assert {path.name for path in tmp_path.glob("empty/*")} <= {"key"}  # which signs checkpoints


class Small(nn.Module):
    """A policy of three parameters and a buffer."""

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


def test_a_compiler_that_fails_is_quoted_in_one_line_and_called_once(tmp_path, monkeypatch):
    script, log = tmp_path / "c++", tmp_path / "log"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *wrapper.cpp*) echo called >> {log};; *--version*) echo "g++ 12"; exit;; esac\n'
        'printf "fatal error:\\n   no space left\\non device\\n" >&2\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    function, moment = Compiled(descend, FlatPolicy(Small()), enabled=True), torch.zeros(3)
    for _ in range(2):
        bound = function.bind(torch.ones(3), moment)
        assert function.reason == f"{script} fails: fatal error: no space left on device"
    assert log.read_text() == "called\n"
    assert bound(torch.ones(3), moment)[0].tolist() == [6.5]  # the function itself: 1 + 2 + 3 + 0.5
    assert function.policy.vector.tolist() == pytest.approx([0.9, 1.9, 2.9])
    assert {path.suffix for path in tmp_path.glob("cache/*")} == {".lock"}


@on_linux
def test_prepared_functions_are_compiled_at_the_same_time(tmp_path, monkeypatch):
    script, log = tmp_path / "c++", tmp_path / "log"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *wrapper.cpp*) ;; *--version*) echo "g++ 12"; exit;; *) exit;; esac\n'
        f"echo begun >> {log}\nfor _ in $(seq 200); do test $(wc -l < {log}) = 2 && break; sleep 0.05; done\n"
        f'echo "fatal error: $(wc -l < {log}) at once" >&2\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    functions = [Compiled(descend, FlatPolicy(Small()), enabled=True) for _ in range(2)]
    examples = [(torch.ones(3), torch.zeros(3)), (torch.ones(1), torch.zeros(3))]
    for function, example in zip(functions, examples, strict=True):
        function.prepare(*example)
        assert (function.run, function.reason) == (None, "")
    for function, example in zip(functions, examples, strict=True):
        function.bind(*example)
        assert function.reason == f"{script} fails: fatal error: 2 at once"


@on_linux
@needs_compiler
def test_a_compiling_process_that_is_killed_leaves_the_function_eager(tmp_path, monkeypatch):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setattr("ppo.machine.inductor._answer", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    function, moment = Compiled(descend, FlatPolicy(Small()), enabled=True), torch.zeros(3)
    bound = function.bind(torch.ones(3), moment)
    assert function.reason == "the process that compiled it was killed"
    assert bound(torch.ones(3), moment)[0].tolist() == [6.5]


@on_linux
@needs_compiler
def test_machine_code_that_crashes_leaves_the_function_eager(tmp_path, monkeypatch):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "torch._inductor.aoti_compile_and_package", lambda program, package_path, **_: Path(package_path).touch()
    )
    monkeypatch.setattr("ppo.machine.inductor._open", lambda path: lambda tensors: os.kill(os.getpid(), signal.SIGSEGV))
    function, moment = Compiled(descend, FlatPolicy(Small()), enabled=True), torch.zeros(3)
    bound = function.bind(torch.ones(3), moment)
    assert function.reason == "the process that compiled it was killed"
    assert bound(torch.ones(3), moment)[0].tolist() == [6.5]
    assert not list(tmp_path.glob("*.pt2"))


def test_beside_a_cuda_device_nothing_is_compiled_for_the_processor(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    function, moment = Compiled(descend, FlatPolicy(Small()), enabled=True), torch.zeros(3)
    assert function.bind(torch.ones(3), moment)(torch.ones(3), moment)[0].tolist() == [6.5]
    assert (
        function.reason
        == "code for the processor crashed next to a CUDA device; to compile, set CUDA_VISIBLE_DEVICES=''"
    )


@on_linux
def test_a_compiling_process_holds_no_connection_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    monkeypatch.setattr("ppo.machine.inductor._compile", lambda *_: time.sleep(2))
    function = Compiled(descend, FlatPolicy(Small()), enabled=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        function.prepare(torch.ones(3), torch.zeros(3))
        time.sleep(0.2)
        ours.close()
        theirs.settimeout(1)
        assert theirs.recv(1) == b""


# ---- the comparison of machine code with its function ---------------------------------------------------------------


def pure_descend(vector: Tensor, offset: Tensor, x: Tensor, moment: Tensor) -> tuple[Tensor, ...]:
    """Do what `descend` does, by hand."""
    loss = (vector * x).sum() + offset
    moment += x
    vector -= 0.1 * moment
    return (loss,)


def correct(tensors: list[Tensor]) -> list[Tensor]:
    return list(pure_descend(*tensors))


def slightly_off(tensors: list[Tensor]) -> list[Tensor]:
    return [correct(tensors)[0] + 1e-4]


def wrong_output(tensors: list[Tensor]) -> list[Tensor]:
    return [correct(tensors)[0] * 1.01]


def nan_output(tensors: list[Tensor]) -> list[Tensor]:
    return [correct(tensors)[0] * torch.nan]


def wrong_vector(tensors: list[Tensor]) -> list[Tensor]:
    outputs = correct(tensors)
    tensors[0][1] += 1.0
    return outputs


def infinite_vector(tensors: list[Tensor]) -> list[Tensor]:
    outputs = correct(tensors)
    tensors[0].fill_(torch.inf)
    return outputs


def unchanged_moment(tensors: list[Tensor]) -> list[Tensor]:
    return list(pure_descend(*tensors[:3], tensors[3].clone()))


def failing(tensors: list[Tensor]) -> list[Tensor]:
    correct(tensors)
    raise RuntimeError("the machine code expects other strides")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (correct, None),
        (slightly_off, None),
        (wrong_output, "machine code and function differ by 0.065"),
        (nan_output, "machine code and function differ by nan"),
        (wrong_vector, "machine code and function differ by 1"),
        (infinite_vector, "machine code and function differ by inf"),
        (unchanged_moment, "machine code and function differ by 1"),
        (failing, "the machine code expects other strides"),
    ],
)
def test_machine_code_must_do_what_its_function_does_and_the_comparison_changes_no_value(
    code: Callable[[list[Tensor]], list[Tensor]], error: str | None
):
    tensors = [torch.tensor(x) for x in ([1.0, 2.0, 3.0], [0.5], [1.0, 1.0, 1.0], [7.0, 8.0, 9.0])]
    if error is None:
        verify(code, pure_descend, tensors, 1e-3)
    else:
        with pytest.raises((CompileError, RuntimeError), match=error):
            verify(code, pure_descend, tensors, 1e-3)
    assert [x.tolist() for x in tensors] == [[1.0, 2.0, 3.0], [0.5], [1.0, 1.0, 1.0], [7.0, 8.0, 9.0]]


# ---- which runs are compiled ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer_steps", "vector_steps", "attention_layers", "seq_len", "expected"),
    [
        (0, 0, 0, 1, False),
        (5_000, 40_000, 0, 1, False),  # 9 s and 9.2 s are saved
        (12_000, 0, 0, 1, True),  # 21.6 s
        (0, 100_000, 0, 1, True),  # 23 s
        (5_000, 40_000, 0, 128, True),  # 5,000 sequences of 128 steps at 40 µs a step: 25 s more
        (6_000, 6_000, 0, 32, False),
        (6_000, 6_000, 2, 32, True),  # two layers of attention: 48 s more
    ],
)
def test_auto_compiles_a_run_that_is_long_enough_to_repay_it(
    monkeypatch, optimizer_steps, vector_steps, attention_layers, seq_len, expected
):
    monkeypatch.setenv("CXX", "sh")  # any command that exists: nothing is compiled
    monkeypatch.setenv("PPO_CACHE", "/somewhere")
    choice = resolve_compile("auto", optimizer_steps, vector_steps, attention_layers, seq_len)
    assert choice.value is expected
    assert ("/somewhere" if expected else "too short") in choice.reason


def test_auto_compiles_nothing_without_a_compiler(no_compiler):
    choice = resolve_compile("auto", 1e9, 1e9, 0, 1)
    assert (choice.value, choice.reason) == (False, NO_COMPILER)


@pytest.mark.parametrize(("setting", "expected"), [("on", True), ("off", False)])
def test_a_run_is_compiled_as_requested(no_compiler, setting, expected):
    assert resolve_compile(setting, 0, 0, 0, 1).value is expected


@pytest.mark.parametrize(("total", "expected"), [(100_000, False), (50_000_000, True)])
def test_by_default_the_length_of_the_run_decides(tmp_path, monkeypatch, total, expected):
    monkeypatch.setenv("CXX", "sh")
    trainer = Trainer(config(tmp_path, compile="auto", num_envs=8, num_steps=128, total_timesteps=total))
    assert [function.enabled for function in functions(trainer)] == [expected] * 2

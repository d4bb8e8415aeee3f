"""A function of tensors is traced as it computes, and its name in the cache changes with all that it depends on."""

import gc
import multiprocessing
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from ppo.envs.spaces import Packer
from ppo.loop.collector import act
from ppo.machine.flat import FlatPolicy
from ppo.machine.inductor import CompileError, _fork, begin, cache_path, trace
from ppo.policies import build_policy

N = 2
IMAGE = Box(0, 255, (36, 36, 1), np.uint8)
MASKED = Dict(obs=Box(-1, 1, (3,)), action_mask=MultiBinary(4))
SPACES = {
    "mlp with indices, bits and a squashed number": (
        "mlp", Dict(place=Discrete(4), speed=Box(-1, 1, (2,))),
        Tuple([Discrete(3), MultiBinary(2), Box(-1, 1, (2,))]), {"action_bound": "tanh", "normalize_obs": True},
    ),
    "mlp under a mask": ("mlp", MASKED, Discrete(4), {}),
    "cnn": ("cnn", IMAGE, Discrete(3), {}),
    "cnn with an image among numbers": ("cnn", Dict(eye=IMAGE, speed=Box(-1, 1, (2,))), Discrete(3), {"normalize_obs": True}),
    "impala": ("impala", Box(0, 1, (5, 5, 2), bool), Discrete(3), {}),
    "gru under a mask": ("gru", MASKED, Discrete(4), {"normalize_obs": True}),
    "gru on tokens": ("gru", Dict(token=Discrete(7), action_mask=MultiBinary(7)), Discrete(7), {"separate_critic": True}),
    "gru with numbers": ("gru", Box(-1, 1, (3,)), Box(-1, 1, (2,)), {}),
    "transformer": ("transformer", Discrete(5), Discrete(5), {"hidden_sizes": (16,), "context": 3}),
}  # fmt: skip


def random_obs(space: Any) -> Tensor:
    """Return packed observations (N, *obs)."""
    space.seed(0)
    samples = [space.sample() for _ in range(N)]
    return Packer(space)(concatenate(space, samples, create_empty_array(space, len(samples))))


@pytest.mark.parametrize("case", SPACES.values(), ids=SPACES)
def test_acting_is_traced_as_it_computes_with_the_weights_as_arguments(case):
    name, obs_space, action_space, options = case
    torch.manual_seed(0)
    policy = build_policy(name, obs_space, action_space, {"hidden_sizes": (8,), "state_size": 5} | options)
    flat, untrained = FlatPolicy(policy), FlatPolicy(policy).other_tensors()
    state = policy(random_obs(obs_space).unsqueeze(0), policy.initial_state(N), torch.zeros(1, N, dtype=torch.bool))[2]
    arguments = random_obs(obs_space), state.detach(), torch.tensor([True, False]), policy.head.noise(N)

    def pure_act(vector: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        buffers = dict(zip(untrained, tensors, strict=False))
        return act(flat.with_tensors(vector, buffers), *tensors[len(untrained) :])

    with torch.no_grad():
        graph = trace(pure_act, [flat.vector, *untrained.values(), *arguments])
        vector = flat.vector + 0.1 * torch.randn_like(flat.vector)
        tensors = [vector, *untrained.values(), *arguments]
        torch.testing.assert_close(graph(*tensors), pure_act(*tensors))


def test_a_function_that_branches_on_values_is_not_traced():
    with pytest.raises(CompileError, match=r"^\w*DataDependent\w*: [^\n]*$"):
        trace(lambda x: (x if x.sum() > 0 else -x,), [torch.zeros(2)])


def test_a_function_of_very_many_operations_is_not_compiled(monkeypatch):
    monkeypatch.setattr("ppo.machine.inductor.MAX_OPERATIONS", 50)

    def long(x: Tensor) -> tuple[Tensor]:
        for _ in range(60):
            x = x + 1
        return (x,)

    with pytest.raises(CompileError, match=r"^it has 6\d operations, more than 50; is a loop unrolled\?$"):
        trace(long, [torch.zeros(2)])


def test_without_torchs_private_make_fx_nothing_is_compiled_and_the_reason_says_so(monkeypatch):
    monkeypatch.delattr("torch.fx.experimental.proxy_tensor.make_fx")
    with pytest.raises(CompileError, match=r"has no torch.fx.experimental.proxy_tensor:make_fx; install a version"):
        trace(lambda x: (x,), [torch.zeros(2)])


def test_without_a_compiler_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    x = torch.zeros(2)
    with pytest.raises(CompileError, match=r"^there is no C\+\+ compiler; install g\+\+$"):
        begin(trace(lambda x: (x + 1,), [x]), [x])
    assert not (tmp_path / "cache").exists()


def test_another_function_shape_dtype_or_layout_has_another_file_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path))
    functions = [
        lambda x: (x + 1,),
        lambda x: (x + 2,),
        lambda x: (x * torch.as_tensor(np.array([[1.0], [2.0], [3.0]])),),
        lambda x: (x * torch.as_tensor(np.array([[1.0], [2.0], [4.0]])),),  # the same operation, another constant
    ]
    tensors = [torch.zeros(2), torch.zeros(3, 2), torch.zeros(2, dtype=torch.float64), torch.zeros(2, 3).t()]
    pairs = [(function, [x]) for function in functions for x in tensors]
    paths, again = ([cache_path(trace(function, x), x) for function, x in pairs] for _ in range(2))
    assert paths == again
    assert len(set(paths)) == len(pairs)
    assert {path.parent for path in paths} == {tmp_path}


@pytest.mark.parametrize(
    ("name", "value"),
    [("torch.get_num_threads", lambda: 64), ("torch.__version__", "0"),
     ("torch.backends.cpu.get_cpu_capability", lambda: "another")],
)  # fmt: skip
def test_another_number_of_threads_torch_or_processor_has_another_file_in_the_cache(monkeypatch, name, value):
    x = [torch.zeros(2)]
    graph = trace(lambda x: (x + 1,), x)
    path = cache_path(graph, x)
    monkeypatch.setattr(name, value)
    assert cache_path(graph, x) != path


def test_private_names_of_torch_stand_in_two_files():
    package = Path(__file__).parent.parent / "ppo"
    sources = {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    files = {file for file, source in sources.items() if re.search(r"torch[\w.:]*[.:]_|torch\.fx\.exp", source)}
    assert files == {"machine/inductor.py", "machine/operations.py"}
    assert [file for file, source in sources.items() if "tracing()" in source and not file.startswith("machine/")] == []


def test_files_of_the_parents_garbage_are_closed_quietly_in_a_fork(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: os.write(2, str(unraisable.exc_value).encode()))

    def compile_():
        gc.collect()
        raise CompileError("enough")

    garbage = [multiprocessing.Pipe()]
    garbage.append(garbage)  # only the collector can free it
    gc.disable()
    try:
        del garbage
        with pytest.raises(CompileError, match="enough"):
            _fork(compile_, tmp_path / "code.pt2")()
    finally:
        gc.enable()
    assert capfd.readouterr().err == ""

"""Export: a run's policy as a file that needs no ppo, from raw observations to actions as the environment takes them."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, MultiBinary
from gymnasium.vector.utils import batch_space
from torch import Tensor, nn

from ppo.envs.spaces import Packer, leaf_size, leaf_values, leaves
from ppo.errors import UsageError
from ppo.run.files import write_atomically
from ppo.run.load import Saved, envs_for, load

Format = Literal["torch-export", "onnx"]
SUFFIXES: dict[Format, str] = {"torch-export": ".pt2", "onnx": ".onnx"}
STEPS, PLACES = 64, 3  # of the round trip
CLOSE = 1e-4  # of a Box action, relative to 1 or to its size


@dataclass(frozen=True)
class Exported:
    """What was written, and how it was tried."""

    path: Path
    inputs: list[str]  # name, dtype and shape of each
    outputs: list[str]
    observations: int  # on which it did as the run's policy does
    difference: float  # the largest in a number of an action
    where: str  # what they were from


class Deployed(nn.Module):
    """A policy without the framework around it, for N environments and one step.

    Inputs are the leaves of the observation, (N, …) each in the environment's dtype, and of a policy with memory state
    (N, H), zeros at first, and starts (N,) bool, true where an episode begins. Outputs are the leaves of the action, and
    of a policy with memory the next state. Nothing is left to chance: the most probable choices, the Gaussian's mean.
    """

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        self.policy, self.packer = saved.policy, Packer(saved.obs_space)
        self.actions = [leaf for _, leaf in leaves(saved.action_space)]
        self.recurrent = saved.policy.state_size > 0

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the action's leaves, and the next state where there is one."""
        if self.recurrent:
            *inputs, state, starts = inputs  # type: ignore[assignment]
        packed = self.packer.join(inputs)
        places = packed.shape[0]  # `len` would be recorded as a constant
        if not self.recurrent:
            state, starts = torch.zeros(places, 0), torch.ones(places, dtype=torch.bool)
        dist, _, state = self.policy(packed.unsqueeze(0), state, starts.unsqueeze(0))
        action = dist.sample(self.policy.head.noise(1, places, deterministic=True))[0]
        sizes = [leaf_size(leaf) for leaf in self.actions]
        columns = action.split(sizes, dim=-1) if len(sizes) > 1 or action.dim() > 1 else [action]
        found = tuple(map(self._to_env, self.actions, columns, self.policy.head.units))
        return (*found, state) if self.recurrent else found

    def _to_env(self, leaf: Any, packed: Tensor, units: tuple[np.ndarray, np.ndarray] | None) -> Tensor:
        packed = packed.reshape(-1, *leaf.shape).to(_dtype(leaf))
        if units is not None:
            middle, half, low, high = (torch.from_numpy(np.array(x)) for x in (*units, leaf.low, leaf.high))
            packed = middle + half * (packed.tanh() if self.policy.head.squash else packed)
            return torch.minimum(torch.maximum(packed, low), high)
        return packed if isinstance(leaf, MultiBinary) else packed + torch.from_numpy(np.array(leaf.start))


def export(
    run: str | Path, fmt: Format = "torch-export", path: str | Path | None = None, checkpoint: str = "latest"
) -> Exported:
    """Write a run's policy as a file, and compare what it does with what the run's policy does, step by step.

    Args:
        run: the run's folder.
        fmt: "torch-export" for `torch.export.load`, or "onnx".
        path: the file; None: policy.pt2 or policy.onnx in the run's folder.
        checkpoint: "latest", "best" (by evaluation) or "iteration_000123".

    Raises:
        UsageError: the folder is no run, the policy cannot be exported, a package is missing, or the file does otherwise.
    """
    target = Path(path or Path(run) / f"policy{SUFFIXES[fmt]}")
    if target.suffix != SUFFIXES[fmt] or target.is_dir():
        raise UsageError(f"{target} is no name for a file of the format {fmt}; choose one that ends in {SUFFIXES[fmt]}")
    saved = load(run, checkpoint, temperature=1.0, top_k=0, top_p=1.0)  # which change no most probable action
    deployed = Deployed(saved).eval()
    names, examples = zip(*_examples(saved), strict=True)
    outputs = [_name("action", path) for path, _ in leaves(saved.action_space)] + ["next_state"] * deployed.recurrent
    data = _written(deployed, fmt, examples, names, outputs)
    seen, difference, where = _compared(saved, _opened(fmt, data, names))
    write_atomically(target, data)
    return Exported(
        target, [_line(name, x) for name, x in zip(names, examples, strict=True)],
        [_line(name, x) for name, x in zip(outputs, deployed(*examples), strict=True)], seen, difference, where,
    )  # fmt: skip


def _name(kind: str, path: str) -> str:
    return f"{kind}.{path}" if path else kind


def _line(name: str, x: Tensor) -> str:
    sizes = ", ".join(["N", *map(str, x.shape[1:])])
    return f"{name} ({sizes}) {str(x.dtype).removeprefix('torch.')}"


def _dtype(leaf: Any) -> torch.dtype:
    return torch.from_numpy(np.zeros(0, leaf.dtype)).dtype


def _inputs(saved: Saved, obs: Any, state: Tensor, starts: Tensor) -> list[Tensor]:
    """Return what `Deployed` takes, of batched observations as an environment gives them."""
    found = [torch.from_numpy(np.array(value, dtype=leaf.dtype)) for leaf, value in leaf_values(saved.obs_space, obs)]
    return found + [state, starts] * (saved.policy.state_size > 0)


def _examples(saved: Saved) -> list[tuple[str, Tensor]]:
    """Return the inputs' names and something of their shapes: the least of choices, else zeros."""
    names = [_name("obs", path) for path, _ in leaves(saved.obs_space)] + ["state", "starts"]
    least = [
        torch.from_numpy(
            np.zeros((PLACES, *(leaf.shape or ())), leaf.dtype) + np.asarray(getattr(leaf, "start", 0), leaf.dtype)
        )
        for _, leaf in leaves(saved.obs_space)
    ]
    memory = [saved.policy.initial_state(PLACES), torch.ones(PLACES, dtype=torch.bool)]
    return list(zip(names, least + memory * (saved.policy.state_size > 0), strict=False))


def _written(
    deployed: Deployed, fmt: Format, examples: tuple[Tensor, ...], names: tuple[str, ...], outputs: list[str]
) -> bytes:
    sizes = (tuple({0: torch.export.Dim("N")} for _ in examples),)
    if fmt == "onnx":
        _installed("onnx", "onnxscript", "onnxruntime")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own code
            program = torch.export.export(deployed, examples, dynamic_shapes=sizes)
            if fmt == "torch-export":
                buffer = io.BytesIO()
                torch.export.save(program, buffer)
                return buffer.getvalue()
            converted = torch.onnx.export(program, input_names=names, output_names=outputs, verbose=False)
            return converted.model_proto.SerializeToString()  # type: ignore[union-attr]
    except Exception as error:  # whatever the exporter stumbles over, the policy's own code is at fault
        why = str(error).strip().splitlines()[0]
        raise UsageError(
            f"the policy cannot be exported as {fmt} ({why}); its forward must be tensor operations alone, the same for "
            "whatever values it sees"
        ) from error


def _installed(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the format onnx needs {', '.join(missing)}; pip install {' '.join(missing)}")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # what it misses is nothing that a policy has


def _opened(fmt: Format, data: bytes, names: tuple[str, ...]) -> Callable[..., list[Tensor]]:
    """Return the file's content as a function, as one who has no ppo would call it."""
    if fmt == "torch-export":
        module = torch.export.load(io.BytesIO(data)).module()
        return lambda *inputs: list(module(*inputs))
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> list[Tensor]:
        given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return [torch.from_numpy(x) for x in session.run(None, given)]

    return run


@torch.no_grad()
def _compared(saved: Saved, play: Callable[..., list[Tensor]]) -> tuple[int, float, str]:
    """Play with the run's policy; return the observations, the largest difference of the file's actions, and from where.

    Raises:
        UsageError: an action is another one.
    """
    given, head, packer = saved.meta["own_envs"], saved.policy.head, Packer(saved.obs_space)
    random = batch_space(saved.obs_space, PLACES)
    random.seed(0)
    state, theirs = (saved.policy.initial_state(PLACES) for _ in range(2))
    starts, difference = torch.ones(PLACES, dtype=torch.bool), 0.0
    with contextlib.ExitStack() as stack:
        envs = None if given else stack.enter_context(contextlib.closing(envs_for(saved, PLACES)))
        obs = random.sample() if envs is None else envs.reset(seed=0)[0]
        for step in range(STEPS):
            found = play(*_inputs(saved, obs, theirs, starts))
            dist, _, state = saved.policy(packer(obs).unsqueeze(0), state, starts.unsqueeze(0))
            action = head.to_env(dist.sample(head.noise(1, PLACES, deterministic=True))[0])
            if saved.policy.state_size:
                theirs = found.pop()
            for (leaf, wanted), got in zip(leaf_values(saved.action_space, action), found, strict=True):
                apart = np.abs(np.asarray(wanted, np.float64) - got.double().numpy())
                allowed = CLOSE * np.maximum(1.0, np.abs(wanted)) if isinstance(leaf, Box) else 0.0
                if not (apart <= allowed).all():  # a NaN is otherwise as well
                    raise UsageError(f"the exported policy acts otherwise at step {step}: {got.tolist()}, not {wanted}")
                difference = max(difference, float(apart.max()))
            if envs is None:
                obs, starts = random.sample(), torch.zeros(PLACES, dtype=torch.bool)
            else:
                obs, _, terminated, truncated, _ = envs.step(action)
                starts = torch.from_numpy(np.logical_or(terminated, truncated))
    return STEPS * PLACES, difference, "random observations" if given else saved.config.env_id

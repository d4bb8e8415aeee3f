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
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor, nn

from ppo.envs.spaces import Packer, leaf_values, leaves
from ppo.errors import UsageError, one_line
from ppo.machine.phase import phase
from ppo.machine.quantize import Int8
from ppo.run.files import write_atomically
from ppo.run.load import Saved, envs_for, load

Format = Literal["torch-export", "onnx"]
Quantize = Literal["none", "int8"]
SUFFIXES: dict[Format, str] = {"torch-export": ".pt2", "onnx": ".onnx"}
STEPS, NUM_ENVS = 64, 3  # of the comparison with the run's policy
TOLERANCE = 1e-4  # of a real number in an action, relative to its size or 1, whichever is larger


@dataclass(frozen=True)
class Exported:
    """An exported file, and how it compares with the run's policy.

    Attributes:
        path: the file.
        inputs: name, shape and dtype of each input.
        outputs: name, shape and dtype of each output.
        size: of the file, in bytes.
        observations: number of observations on which the actions were compared.
        agreement: share of them on which the actions agreed, always 1 without quantisation.
        difference, where: the largest difference of a number in an action, and what the observations came from.
    """

    path: Path
    inputs: list[str]
    outputs: list[str]
    size: int
    observations: int
    agreement: float
    difference: float
    where: str


class ExportedPolicy(nn.Module):
    """A policy for N environments and one step, from tensors as the environment gives them to tensors as it takes them.

    Inputs are the leaves of the observation, (N, …) each in the environment's dtype; for a recurrent policy also state
    (N, H), zeros at first, and starts (N,) bool, True where an episode begins. Outputs are the leaves of the action; for a
    recurrent policy also the next state. Actions are deterministic: the mode of the distribution.

    Args:
        saved: the policy.
        quantize: "int8" holds its matrices as int8.
    """

    def __init__(self, saved: Saved, quantize: Quantize = "none") -> None:
        super().__init__()
        policy = saved.policy
        self.policy = policy if quantize == "none" else Int8(policy)
        self.packer, self.head = Packer(saved.obs_space), (policy.head,)  # a part of the policy
        self.recurrent = policy.state_size > 0

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the leaves of the action, and the next state of a recurrent policy."""
        if self.recurrent:
            *inputs, state, starts = inputs  # type: ignore[assignment]
        packed = self.packer.join(inputs, plain=True)
        num_envs = packed.shape[0]  # `len` would be traced as a constant
        if not self.recurrent:
            state, starts = torch.zeros(num_envs, 0), torch.ones(num_envs, dtype=torch.bool)
        dist, _, state = self.policy(packed.unsqueeze(0), state, starts.unsqueeze(0))
        (head,) = self.head
        action = dist.sample(head.noise(1, num_envs, deterministic=True))[0]
        outputs = head.leaves_to_env(action)
        return (*outputs, state) if self.recurrent else tuple(outputs)


def export(
    run: str | Path, fmt: Format = "torch-export", path: str | Path | None = None, checkpoint: str = "latest",
    env_kwargs: dict[str, Any] | None = None, trust: bool = False, quantize: Quantize = "none",
) -> Exported:  # fmt: skip
    """Export a run's policy to a standalone file, and check step by step that it takes the same actions.

    Args:
        run: the run's folder.
        fmt: "torch-export" for `torch.export.load`, or "onnx".
        path: the file; None: policy.pt2 or policy.onnx in the run's folder, or policy_int8.pt2 or policy_int8.onnx.
        checkpoint: "latest", "best" (by evaluation) or "iteration_000123".
        env_kwargs: keyword arguments of the environment that override those of the run; None removes one. If the
            environment cannot be made as the run had it, the actions are compared on random observations.
        trust: as in `load_policy`.
        quantize: "int8" holds matrices as int8, with a scale for each row. The file is smaller, and its actions may differ.

    Raises:
        UsageError: the folder is not a run, the policy cannot be exported, a package is missing, or the actions differ.
    """
    name = f"policy{'' if quantize == 'none' else f'_{quantize}'}{SUFFIXES[fmt]}"
    target = Path(path or Path(run) / name).absolute()
    if target.suffix != SUFFIXES[fmt] or target.is_dir():
        raise UsageError(f"{target} is not a file name for the format {fmt}; choose one that ends in {SUFFIXES[fmt]}")
    saved = load(run, checkpoint, trust, temperature=1.0, top_k=0, top_p=1.0)  # which do not change the mode
    policy = ExportedPolicy(saved, quantize).eval()
    names, examples = zip(*_example_inputs(saved), strict=True)
    outputs = [_name("action", path) for path, _ in leaves(saved.action_space)] + ["next_state"] * policy.recurrent
    data = _serialize(policy, fmt, examples, names, outputs)
    agreement, difference, where = _compare(saved, _load(fmt, data, names), env_kwargs, quantize == "none")
    write_atomically(target, data)
    return Exported(
        target, [_describe(name, x) for name, x in zip(names, examples, strict=True)],
        [_describe(name, x) for name, x in zip(outputs, policy(*examples), strict=True)],
        len(data), STEPS * NUM_ENVS, agreement, difference, where,
    )  # fmt: skip


def _name(kind: str, path: str) -> str:
    return f"{kind}.{path}" if path else kind


def _describe(name: str, x: Tensor) -> str:
    sizes = ", ".join(["N", *map(str, x.shape[1:])])
    return f"{name} ({sizes}) {str(x.dtype).removeprefix('torch.')}"


def _example_inputs(saved: Saved) -> list[tuple[str, Tensor]]:
    """Return the names of the inputs and a tensor for each."""
    inputs = [(_name("obs", path), torch.from_numpy(leaf.examples(NUM_ENVS))) for path, leaf in leaves(saved.obs_space)]
    memory = [("state", saved.policy.initial_state(NUM_ENVS)), ("starts", torch.ones(NUM_ENVS, dtype=torch.bool))]
    return inputs + memory * (saved.policy.state_size > 0)


@phase("tracing the policy")
def _serialize(
    policy: ExportedPolicy, fmt: Format, examples: tuple[Tensor, ...], names: tuple[str, ...], outputs: list[str]
) -> bytes:
    """Return the file's content."""
    sizes = (tuple({0: torch.export.Dim("N")} for _ in examples),)
    if fmt == "onnx":
        _require("onnx", "onnxscript", "onnxruntime")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the exporter's own code
            program = torch.export.export(policy, examples, dynamic_shapes=sizes)
            if fmt == "torch-export":
                buffer = io.BytesIO()
                torch.export.save(program, buffer)
                return buffer.getvalue()
            converted = torch.onnx.export(program, input_names=names, output_names=outputs, verbose=False)
            return converted.model_proto.SerializeToString()  # type: ignore[union-attr]
    except Exception as error:  # the exporter raises many types, all because of the policy's code
        raise UsageError(
            f"the policy cannot be exported as {fmt} ({one_line(error)}); its forward must consist of tensor operations "
            "that do not depend on values",
            page="howto/export#what-can-be-exported",
        ) from error


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the format onnx needs {', '.join(missing)}; pip install {' '.join(missing)}")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of optional packages that no policy needs


def _load(fmt: Format, data: bytes, names: tuple[str, ...]) -> Callable[..., list[Tensor]]:
    """Return the file's content as a function, loaded without ppo."""
    if fmt == "torch-export":
        module = torch.export.load(io.BytesIO(data)).module()
        return lambda *inputs: list(module(*inputs))
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def act(*inputs: Tensor) -> list[Tensor]:
        feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return [torch.from_numpy(x) for x in session.run(None, feed)]

    return act


@torch.no_grad()
@phase("comparing the actions of the file with those of the policy")
def _compare(
    saved: Saved, act: Callable[..., list[Tensor]], env_kwargs: dict[str, Any] | None, exact: bool
) -> tuple[float, float, str]:
    """Play with the run's policy, and compare the file's actions with its actions at every step.

    Returns the share of actions that agree, the largest difference of a number, and where the observations came from.

    Raises:
        UsageError: an action differs, although they must be exact.
    """
    head, packer = saved.policy.head, Packer(saved.obs_space)
    recurrent = saved.policy.state_size > 0
    random = batch_space(saved.obs_space, NUM_ENVS)
    random.seed(0)
    state, file_state = (saved.policy.initial_state(NUM_ENVS) for _ in range(2))
    starts, difference, agreed = torch.ones(NUM_ENVS, dtype=torch.bool), 0.0, 0
    envs, where = _envs(saved, env_kwargs)
    with contextlib.closing(envs) if envs is not None else contextlib.nullcontext():
        obs = random.sample() if envs is None else envs.reset(seed=0)[0]
        for step in range(STEPS):
            inputs = [torch.from_numpy(np.array(x, space.dtype)) for space, x in leaf_values(saved.obs_space, obs)]
            outputs = act(*inputs, *[file_state, starts] * recurrent)
            if recurrent:
                file_state = outputs.pop()
            dist, _, state = saved.policy(packer(obs).unsqueeze(0), state, starts.unsqueeze(0))
            action = head.to_env(dist.sample(head.noise(1, NUM_ENVS, deterministic=True))[0])
            expected = [x for _, x in leaf_values(saved.action_space, action)]
            differences, agree = zip(*map(_difference, expected, outputs), strict=True)
            difference, agreed = max(difference, *differences), agreed + int(np.logical_and.reduce(agree).sum())
            for wanted, x, same in zip(expected, outputs, agree, strict=True):
                if exact and not same.all():
                    raise UsageError(f"the exported policy acts differently at step {step}: {x.tolist()}, not {wanted}")
            if envs is None:
                obs, starts = random.sample(), torch.zeros(NUM_ENVS, dtype=torch.bool)
            else:
                obs, _, terminated, truncated, _ = envs.step(action)
                starts = torch.from_numpy(np.logical_or(terminated, truncated))
    return agreed / (STEPS * NUM_ENVS), difference, where


def _envs(saved: Saved, env_kwargs: dict[str, Any] | None) -> tuple[VectorEnv | None, str]:
    """Return the environments to compare in, if they can be made, and what the observations come from."""
    try:
        return envs_for(saved, NUM_ENVS, env_kwargs), saved.config.env_id
    except UsageError as error:
        if env_kwargs:
            raise
        return None, f"random, since {error}"


def _difference(expected: np.ndarray, actual: Tensor) -> tuple[float, np.ndarray]:
    """Return the largest difference of real numbers (N, …) of actions, 0 for choices, and which of the N agree."""
    difference = np.abs(np.asarray(expected, np.float64) - actual.double().numpy())
    is_real = np.issubdtype(expected.dtype, np.floating)
    agree = difference <= TOLERANCE * np.maximum(1.0, np.abs(expected)) * is_real  # False for NaN as well
    return float(difference.max()) * is_real, agree.reshape(len(agree), -1).all(1)

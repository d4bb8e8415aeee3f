"""A checkpoint with a right checksum and wrong fields is refused in one sentence, never a traceback."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest

from ppo import Config, Trainer, UsageError
from ppo.run.checkpoint import checkpoint_path, read_checkpoint, write_checkpoint
from ppo.run.load import inherited, load
from ppo.run.metadata import FIELDS, Metadata

WRONG: dict[str, list[Any]] = {
    "config": [None, [], "text", {"gama": 1}, {"num_envs": "4"}, {"num_envs": -1}, {"hidden_sizes": [-3]},
               {"gamma": math.nan}, {"learning_rate": math.inf}, {"policy": 3}],
    "own_envs": [None, 1, "true"],
    "made_by": [None, "elves", ["train"], {}],
    "finished": [None, 0, "no"],
    "reached": [None, 3, ["text"]],
    "policy": [None, 3, "", "lstm", ".x:Y", "ppo.policies.base:Policy", "ppo.absent:Net", "ppo.errors:one_line"],
    "spaces": [None, [], {}, {"obs": None, "action": None}, {"obs": {"type": "Text"}, "action": {"type": "Box"}},
               {"obs": {"type": "Discrete"}, "action": {"type": "Discrete", "n": "2", "start": 0, "dtype": "int64"}},
               {"obs": {"type": "Box", "shape": [-4], "dtype": "float32", "low": "0", "high": "1"}, "action": {}},
               {"obs": {"type": "Box", "shape": [4], "dtype": "object", "low": "a", "high": []}, "action": {}},
               {"obs": {"type": "Dict", "spaces": 7}, "action": {"type": "Tuple", "spaces": [1]}}],
    "iteration": [None, -1, 1.5, "3", True, 2**63, []],
    "global_step": [None, -1, math.inf, "3", 2**63, {}],
    "best_return": ["high", [], math.nan, -math.inf, True],
    "scores": [3, [], {}, {"mean": 1.0}, {"mean": "0", "deviation": 1.0}, {"mean": 0.0, "deviation": 0.0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": (4,), "eval_episodes": 0}
    return Trainer(Config(runs_dir=folder, total_timesteps=32, compile="off", **sizes)).train()


def fields(run: Path) -> list[Any]:
    meta = read_checkpoint(checkpoint_path(run, "latest"))[1]
    return [meta[name] for name in FIELDS]


def outcomes(run: Path) -> set[str]:
    """Return what each reader of a run says; "read" if it accepts the run."""
    said = set()
    for read in (load, Trainer.resume, lambda run: inherited(str(run)), fields):
        try:
            read(run)
            said.add("read")
        except UsageError as error:
            said.add(str(error))
    return said


@pytest.mark.parametrize("name", [*FIELDS, "schema"])
def test_a_forged_field_is_one_sentence(run, name):
    path = checkpoint_path(run, "latest")
    whole = path.read_bytes()
    tensors, meta = read_checkpoint(path)
    try:
        for value in [..., *WRONG.get(name, [None, True, 0, [], "2"])]:
            forged = copy.deepcopy(dict(meta))
            if value is ... and name != "schema":
                del forged[name]
            elif isinstance(value, dict) and name == "config" and value:
                forged["config"] |= value
            else:
                forged[name] = None if value is ... else value
            write_checkpoint(path, tensors, forged)
            sentences = outcomes(run) - {"read"}
            assert sentences, f"{name} = {value!r} is accepted"
            assert all("\n" not in sentence for sentence in sentences)
    finally:
        path.write_bytes(whole)
    assert outcomes(run) == {"read"}


def test_a_missing_field_is_named_with_its_file():
    with pytest.raises(UsageError, match=r"file is damaged: it has no field finished; use another checkpoint"):
        Metadata({}, "file")["finished"]
    assert Metadata({"finished": True}, "file")["finished"] is True

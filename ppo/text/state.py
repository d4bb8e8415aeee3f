"""The state of a task: the memory of its functions, as tensors for a checkpoint.

A function of a task may be an object, or a method of one, that remembers what it saw: texts, counts, a curriculum's level. If
the object has `state_dict()` and `load_state_dict(state)`, its memory is part of the checkpoint; a state is a dict of tensors
and JSON values. If it has `set_training(training)`, it learns when training begins and when an evaluation does.
"""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppo.errors import UsageError, one_line
from ppo.text.task import Task, call

STATE = "task.state"  # the JSON values of all objects, as the bytes of one text


def objects(task: Task, method: str) -> dict[str, Any]:
    """Return the objects behind a task's functions that have this method, by the name of the first such function."""
    functions = {name: getattr(task, name) for name in ("reward", "prompt", "mask", "reply")}
    functions["features"] = task.features and task.features[1]
    functions |= {f"metrics.{name}": function for name, function in task.metrics.items()}
    owners = {name: getattr(function, "__self__", function) for name, function in functions.items()}
    names = {id(owner): name for name, owner in reversed(owners.items()) if callable(getattr(owner, method, None))}
    return {name: owner for name, owner in owners.items() if names.get(id(owner)) == name}


def remembers(task: Task) -> bool:
    """Return whether an object changes its state during a run; one whose attribute `constant` is True only has a state to check."""
    return any(not getattr(owner, "constant", False) for owner in objects(task, "state_dict").values())


def state_of(task: Task) -> dict[str, Tensor]:
    """Return a copy of the state of a task's objects, as tensors by name; empty if there are no such objects.

    Raises:
        UsageError: a state is not a dict by name, or holds something that is neither a tensor nor a JSON value.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for name, owner in objects(task, "state_dict").items():
        state = call(f"{name}.state_dict", owner.state_dict)
        if not isinstance(state, dict):
            raise UsageError(f"the state_dict of the task's {name} returned {state!r:.60}; return a dict")
        tensors |= {_key(name, key): x.detach().cpu().clone() for key, x in state.items() if isinstance(x, Tensor)}
        values[name] = {key: x for key, x in state.items() if not isinstance(x, Tensor)}
        _check_json(values[name], name)
    if not values:
        return {}
    return tensors | {STATE: torch.from_numpy(np.frombuffer(json.dumps(values).encode(), np.uint8).copy())}


def _key(name: str, key: str) -> str:
    return f"task.{name}[{key!r}]"


def _check_json(state: dict[str, Any], name: str) -> None:
    for key, value in state.items():
        where = f"state_dict()[{key!r}] of the task's {name}"
        try:
            unchanged = json.loads(json.dumps({key: value})) == {key: value}
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"{where} is not JSON ({one_line(error)}); make it a tensor or a list") from error
        if not unchanged:
            rule = "use lists instead of tuples, texts as keys, and finite numbers"
            raise UsageError(
                f"{where} is {value!r:.60}, which JSON would change; {rule}", page="text#a-task-that-remembers"
            )


def restore(task: Task, tensors: dict[str, Tensor]) -> None:
    """Restore what `state_of` returned, from a checkpoint's tensors.

    Raises:
        UsageError: they belong to a task with other objects.
    """
    owners = objects(task, "state_dict")
    values = json.loads(tensors[STATE].numpy().tobytes()) if STATE in tensors else {}
    if values.keys() != owners.keys():
        stored, own = (", ".join(names) or "none" for names in (values, owners))
        raise UsageError(
            f"the checkpoint has the state of these functions of the task: {stored}; now these have one: {own}; "
            "use the same task, or start a new run: ppo train … --init-from RUN",
            page="text#a-task-that-remembers",
        )
    for name, owner in owners.items():
        prefix = _key(name, "").removesuffix("'']")
        own_tensors = {key[len(prefix) + 1 : -2]: x.clone() for key, x in tensors.items() if key.startswith(prefix)}
        call(f"{name}.load_state_dict", owner.load_state_dict, values[name] | own_tensors)

"""The flags of the settings: --help shows one group per role, after the settings that people change most."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import typing
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import (
    MISSING_NONPROP,
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ppo.config import Config
from ppo.config.setting import ROLES

GROUPS = {"main": "The settings that people change most."} | ROLES
FLAGS = ConstructorRegistry()

Trust = Annotated[
    bool, arg(help="Import the modules that a run names even if another person made it: their code runs.")
]


def optional(metavar: str, default: str) -> object:
    """Return tyro's annotation of a flag whose default, None, stands for what `default` says."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@FLAGS.struct_rule
def settings_by_group(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Present `Config` to tyro as one dataclass per group: tyro prints a box for each dataclass."""
    if not (isinstance(info.type, type) and issubclass(info.type, Config)):
        return None
    cls: Any = info.type
    types, help_texts = typing.get_type_hints(cls, include_extras=True), docstrings(cls)
    groups: dict[str, list[Any]] = {name: [] for name in GROUPS}
    for f in dataclasses.fields(cls):
        default = functools.partial(getattr, info.default, f.name)
        field = dataclasses.field(default_factory=default, metadata={"help": help_texts.get(f.name, "")})
        groups["main" if f.metadata["main"] else f.metadata["role"]].append((f.name, types[f.name], field))
    specs = [
        StructFieldSpec(name, dataclasses.make_dataclass(name, fields), MISSING_NONPROP, GROUPS[name])
        for name, fields in groups.items()
    ]

    def build(**parts: Any) -> Config:
        return cls(**{name: value for part in parts.values() for name, value in vars(part).items()})

    return StructConstructorSpec(build, tuple(specs))


@functools.cache
def docstrings(cls: type) -> dict[str, str]:
    """Return the string below each field of a dataclass, as one line."""
    texts: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in itertools.pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                texts[ast.unparse(field.target)] = " ".join(ast.literal_eval(text.value).split())
    return texts

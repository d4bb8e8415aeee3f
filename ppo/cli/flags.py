"""The flags of the settings: --help shows one group per role, after the settings that people change most.

An error of the parser is one sentence, like every other error.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg
from tyro.constructors import (
    MISSING_NONPROP,
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ppo.config import Config
from ppo.config.setting import ROLES, changeable
from ppo.config.words import default_hint, read_number, read_whole
from ppo.errors import UsageError

GROUPS = {"main": "The settings that people change most."} | ROLES
FLAGS = ConstructorRegistry()
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BOX = tuple("╭│╰+|")  # how a line of a box begins
MAX_WIDTH = 100  # of text outside of the boxes
RUNS_OWN = "(default: the run's own)"

Trust = Annotated[
    bool, arg(help="Import the modules that a run names even if another person made it: their code runs.")
]


def optional(metavar: str, default: str) -> object:
    """Return tyro's annotation of a flag whose default, None, stands for what `default` says."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class Changes(Config):
    """The settings of a resumed run, of which it may change those that are not fixed when a run begins."""


@FLAGS.primitive_rule
def numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Read the numbers of flags; 1e6 is a whole number."""
    if info.type not in (int, float):
        return None
    read: Any = read_whole if info.type is int else read_number
    return PrimitiveConstructorSpec(
        1, info.type.__name__.upper(), lambda words: read(words[0]), lambda value: type(value) is info.type,
        lambda value: [str(value)],
    )  # fmt: skip


@FLAGS.struct_rule
def settings_by_group(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Present `Config` to tyro as one dataclass per group: tyro prints a box for each dataclass."""
    if not (isinstance(info.type, type) and issubclass(info.type, Config)):
        return None
    cls: Any = info.type
    types, help_texts = typing.get_type_hints(cls, include_extras=True), docstrings(cls)
    groups: dict[str, list[Any]] = {name: [] for name in GROUPS}
    flags = changeable(cls) if cls is Changes else [f.name for f in dataclasses.fields(cls)]
    repeated = {name for name in flags if UseAppendAction in getattr(types[name], "__metadata__", ())}
    for f in (f for f in dataclasses.fields(cls) if f.name in flags):
        kind = Annotated[types[f.name], arg(help_behavior_hint=RUNS_OWN)] if cls is Changes else types[f.name]
        default: Any = functools.partial(getattr, info.default, f.name)
        if f.name in repeated:  # tyro would make a flag of each part of a default
            kind, default = Annotated[kind, arg(help_behavior_hint=default_hint(default()))], tuple
        field = dataclasses.field(default_factory=default, metadata={"help": help_texts.get(f.name, "")})
        groups["main" if f.metadata["main"] else f.metadata["role"]].append((f.name, kind, field))
    specs = [
        StructFieldSpec(name, dataclasses.make_dataclass(name, fields), MISSING_NONPROP, GROUPS[name])
        for name, fields in groups.items()
        if fields
    ]

    def build(**parts: Any) -> Config:
        changes = {name: value for part in parts.values() for name, value in vars(part).items()}
        absent = {name for name in repeated if changes[name] == ()}
        return dataclasses.replace(info.default, **{k: value for k, value in changes.items() if k not in absent})

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


@contextlib.contextmanager
def one_sentence(command: str) -> Iterator[None]:
    """Turn the box that tyro prints for wrong arguments of a command into a UsageError."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        text = _sentence(box.getvalue())
        raise UsageError(text if text.endswith("?") else f"{text}; see `ppo {command}--help`") from None


class _Page(io.StringIO):
    """A text in memory that gets colours and box characters where standard output has them."""

    encoding = property(lambda self: sys.__stdout__ and sys.__stdout__.encoding)

    def __init__(self, out: typing.TextIO) -> None:
        super().__init__()
        self.isatty = out.isatty  # type: ignore[method-assign]


@contextlib.contextmanager
def wrapped() -> Iterator[None]:
    """Wrap the lines that tyro prints outside of its boxes, usage and description, to the width of the terminal."""
    out = sys.stdout
    page = _Page(out)
    try:
        with contextlib.redirect_stdout(page):
            yield
    finally:
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
        text = re.sub(r"(usage: *\S*ppo \[-h\]) \{.*\}", r"\1 COMMAND", page.getvalue())
        for line in re.sub(r"\n{3,}", "\n\n", text).splitlines():
            fits = line[:1] in BOX or len(COLOUR.sub("", line)) <= width
            print(line if fits else textwrap.fill(line, width, break_on_hyphens=False), file=out)


def _sentence(box: str) -> str:
    """Return the first paragraph of a box as one line, and the first flag that tyro suggests."""
    lines = [line.strip("│ ") for line in COLOUR.sub("", box).splitlines()[1:]]
    paragraphs = [
        list(part) for ruled, part in itertools.groupby(lines, lambda line: not line.strip("─-")) if not ruled
    ]
    text = re.sub(r" \(applied to [a-z ]+\)", "", " ".join(paragraphs[0]).rstrip("."))
    text = re.sub(r"^Missing from ppo \w+: (\S+).*", r"\1 is missing", text)
    near = re.search(r"Perhaps you meant: (--[a-z-]+)", " ".join(itertools.chain(*paragraphs[1:])))
    return (text if text[:2].isupper() else text[0].lower() + text[1:]) + (
        f"; did you mean {near[1]}?" if near and near[1] not in text else ""
    )

"""The layers hold: imports go strictly down, files and functions stay short, and each file says what it is for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR = -2
LAYERS = {
    FLOOR: ["errors"],
    -1: ["files", "flat", "machine", "settings"],
    0: ["rollout", "advantages", "losses", "normalize", "config", "checkpoint", "logger", "terminal", "process", "envs",
        "episodes", "compile", "optimizers", "published"],
    1: ["policies", "presets"],
    2: ["collector", "learner", "reference", "saved"],
    3: ["text"],  # whose reward may be a saved policy
    4: ["trainer", "evaluate", "check", "compare", "sample", "export"],
    5: ["supervised"],
    6: ["pretrain", "reward"],
    7: ["session"],
    8: ["commands"],
    9: ["cli", "__main__", "__init__"],
}  # fmt: skip
LAYER = {room: layer for layer, rooms in LAYERS.items() for room in rooms}
SEE_CONFIG = {"commands", "saved", "trainer", "evaluate", "check", "learner", "presets", "cli", "__init__"}
DOORS = {("__main__", "cli")}  # python -m ppo is the command line: the one import that is not strictly down
MAX_LINES, MAX_FUNCTION = 250, 50

SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "ppo").rglob("*.py")}
every_file = pytest.mark.parametrize("file", sorted(SOURCES))


def room_of(module: str) -> str:
    """Return the room of a module of the package: ppo.envs.gym is in envs, ppo itself is __init__."""
    return [*module.split("."), "__init__"][1]


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(file: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for each import anywhere in a file, relative ones resolved, `from ppo import x` as ppo.x."""
    package = file.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"ppo.{alias.name}" if alias.name in LAYER else base for alias in node.names]
            yield from ((node.lineno, name) for name in (names if base == "ppo" else [base]))


def misplaced(file: str, source: str) -> list[str]:
    """Return a sentence for each import that breaks the layers."""
    here, found = room_of(module_of(file)), []
    for line, module in imports(file, source):
        root, there = module.split(".")[0], room_of(module)
        where = f"{file}:{line} imports {module}"
        if root in ("benchmarks", "tests"):
            found.append(f"{where}: nothing in ppo knows {root}")
        if root != "ppo" or here == there or (here, there) in DOORS:
            continue
        if there not in LAYER:
            found.append(f"{where}: give {there} a layer in {Path(__file__).name}")
        elif LAYER[there] >= LAYER[here]:
            found.append(f"{where}: {here} is in layer {LAYER[here]}, {there} in layer {LAYER[there]}")
        if there == "config" and here not in SEE_CONFIG:
            found.append(f"{where}: only {', '.join(sorted(SEE_CONFIG))} see Config")
    return found


def too_long(file: str, source: str) -> list[str]:
    """Return a sentence for the file and for each function in it that is over its limit."""
    lines = len(source.splitlines())
    found = [f"{file} has {lines} lines, over {MAX_LINES}"] if lines > MAX_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > MAX_FUNCTION:
                found.append(f"{file}:{node.lineno} {node.name} has {size} lines, over {MAX_FUNCTION}")
    return found


def opening(source: str) -> str | None:
    """Return a file's one-line docstring, None if line 1 does not hold one."""
    body = ast.parse(source).body
    docstring = (ast.get_docstring(ast.parse(source)) or "").splitlines()
    at_top = bool(docstring) and body[0].lineno == 1 and source.startswith(f'"""{docstring[0]}')
    alone = len(docstring) == 1 or (len(docstring) > 1 and not docstring[1])  # what it refuses comes after a blank line
    return docstring[0] if at_top and alone and docstring[0].endswith(".") else None


def test_every_file_of_the_package_is_looked_at():
    assert {"ppo/__init__.py", "ppo/trainer.py", "ppo/envs/gym.py", "ppo/policies/gru.py"} <= set(SOURCES)


@every_file
def test_every_file_has_a_layer(file):
    assert room_of(module_of(file)) in LAYER, f"{file} is in no layer; give it one in {Path(__file__).name}"


@every_file
def test_imports_go_strictly_down(file):
    assert not misplaced(file, SOURCES[file])


@every_file
def test_line_one_is_a_one_line_docstring(file):
    assert opening(SOURCES[file]), f"{file}: line 1 is to say in one sentence what the file is for"


@every_file
def test_files_and_functions_are_short(file):
    assert not too_long(file, SOURCES[file])


@pytest.mark.parametrize(
    ("file", "source", "culprit"),
    [
        ("ppo/rollout.py", "x = 1\nfrom ppo.collector import play", "ppo/rollout.py:2 imports ppo.collector: "),
        ("ppo/learner.py", "import ppo.collector", "ppo/learner.py:1 imports ppo.collector: "),
        ("ppo/errors.py", "from ppo.rollout import fold", "ppo/errors.py:1 imports ppo.rollout: "),
        ("ppo/trainer.py", "def f():\n    from ppo import cli", "ppo/trainer.py:2 imports ppo.cli: "),
        ("ppo/trainer.py", "from ppo import __version__", "ppo/trainer.py:1 imports ppo: "),
        ("ppo/envs/gym.py", "from ..policies.gru import GRUPolicy", "ppo/envs/gym.py:1 imports ppo.policies.gru: "),
        ("ppo/policies/gru.py", "from ppo.presets import preset", "ppo/policies/gru.py:1 imports ppo.presets: "),
        ("ppo/policies/gru.py", "from ppo.config import Config", "ppo/policies/gru.py:1 imports ppo.config: only "),
        ("ppo/check.py", "import benchmarks.tasks", "ppo/check.py:1 imports benchmarks.tasks: nothing "),
        ("ppo/check.py", "from tests import helpers", "ppo/check.py:1 imports tests: nothing "),
        ("ppo/check.py", "from ppo.attic import old", "ppo/check.py:1 imports ppo.attic: give attic a layer"),
    ],
)
def test_a_misplaced_import_is_named_with_file_and_line(file, source, culprit):
    (found,) = misplaced(file, source)
    assert found.startswith(culprit)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ppo/policies/gru.py", "from ppo.policies.heads import Head\nfrom .base import Policy\nimport torch"),
        ("ppo/envs/__init__.py", "from .gym import make_envs"),
        ("ppo/collector.py", "from ppo import rollout\nimport ppo.errors"),
    ],
)
def test_imports_within_a_folder_and_downwards_are_allowed(file, source):
    assert misplaced(file, source) == []


def test_long_files_and_functions_are_named():
    body = "    pass\n" * MAX_FUNCTION
    assert too_long("a.py", f"def f():\n{body}") == ["a.py:1 f has 51 lines, over 50"]
    assert too_long("a.py", "x = 1\n" * 251) == ["a.py has 251 lines, over 250"]
    assert too_long("a.py", "x = 1\n" * 250) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Does it."""\n', "Does it."),
        ('"""Does it.\n\nRefuses that.\n"""\n', "Does it."),
        ('\n"""Does it."""\n', None),
        ('"""\nDoes it."""\n', None),
        ('"""Does it\nand that."""\n', None),
        ("import os\n", None),
    ],
)
def test_an_opening_is_one_sentence_on_line_one(source, expected):
    assert opening(source) == expected

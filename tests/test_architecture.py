"""The house stands: imports go strictly down, files and functions stay short, and each file says what it is for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Rooms from the ground up: a folder of the package, or a file at its top. A room imports only from rooms below it.
FLOORS = [
    ["errors", "numbers"],
    ["machine"],
    ["envs"],
    ["policies", "config"],
    ["run", "compare"],
    ["loop", "text", "player", "demonstrations"],  # they do not know each other: text is an environment like any other
    ["supervised", "evaluation", "sampling", "check", "exporting", "report"],
    ["recording", "tuning"],
    ["cli", "api"],
    ["__main__", "__init__"],
]  # fmt: skip
# The same inside the loop: the collector, the learner and the reference do not know each other.
LOOP = [
    ["episodes", "rollout", "advantages", "losses", "optimizers", "reward_scaling"],
    ["halves", "estimates", "coefficients", "best"],
    ["batch"],
    ["warmup"],
    ["collector", "learner", "reference"],
    ["play", "assemble", "prepare"],
    ["scalars", "checks"],
    ["trainer"],
]  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FLOOR_OF_LOOP = {module: floor for floor, modules in enumerate([*LOOP, ["__init__"]]) for module in modules}
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
            inside = {"ppo": FLOOR, "ppo.loop": FLOOR_OF_LOOP}.get(base, {})
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if alias.name in inside else base


def misplaced(file: str, source: str) -> list[str]:
    """Return a sentence for each import that does not go down."""
    own, sentences = module_of(file), []
    here = room_of(own)
    for line, module in imports(file, source):
        root, there = module.split(".")[0], room_of(module)
        where = f"{file}:{line} imports {module}"
        if root in ("benchmarks", "tests"):
            sentences.append(f"{where}: nothing in ppo knows {root}")
        elif root != "ppo" or (here, there) == ("__main__", "cli"):
            continue
        elif there not in FLOOR:
            sentences.append(f"{where}: give {there} a floor in {Path(__file__).name}")
        elif here == there == "loop":
            lower, upper = ([*name.split("."), "__init__"][2] for name in (module, own))
            if FLOOR_OF_LOOP[lower] >= FLOOR_OF_LOOP[upper]:
                sentences.append(f"{where}: inside the loop {upper} does not know {lower}")
        elif here != there and FLOOR[there] >= FLOOR[here]:
            sentences.append(f"{where}: {here} is on floor {FLOOR[here]}, {there} on floor {FLOOR[there]}")
    return sentences


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
    assert {"ppo/__init__.py", "ppo/loop/trainer.py", "ppo/envs/gym.py", "ppo/policies/gru.py"} <= set(SOURCES)


@every_file
def test_every_file_has_a_floor(file):
    module = module_of(file)
    assert room_of(module) in FLOOR, f"{file} is on no floor; give it one in {Path(__file__).name}"
    if room_of(module) == "loop":
        assert [*module.split("."), "__init__"][2] in FLOOR_OF_LOOP, f"give {file} a place inside the loop"


@every_file
def test_every_module_has_its_tests_under_its_own_name(file):
    name = Path(file).stem
    if not name.startswith("__"):
        assert (ROOT / "tests" / f"test_{name}.py").is_file(), f"{file} needs tests/test_{name}.py"


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
        ("ppo/run/load.py", "x = 1\nfrom ppo.loop.play import play", "ppo/run/load.py:2 imports ppo.loop.play: run is"),
        (
            "ppo/loop/learner.py",
            "import ppo.loop.collector",
            "ppo/loop/learner.py:1 imports ppo.loop.collector: inside",
        ),
        (
            "ppo/loop/reference.py",
            "from ppo.loop import learner",
            "ppo/loop/reference.py:1 imports ppo.loop.learner: ins",
        ),
        (
            "ppo/loop/rollout.py",
            "from .trainer import Trainer",
            "ppo/loop/rollout.py:1 imports ppo.loop.trainer: inside",
        ),
        (
            "ppo/errors.py",
            "from ppo.loop.batch import fold",
            "ppo/errors.py:1 imports ppo.loop.batch: errors is on",
        ),
        (
            "ppo/loop/trainer.py",
            "def f():\n    from ppo import cli",
            "ppo/loop/trainer.py:2 imports ppo.cli: loop is on",
        ),
        ("ppo/loop/trainer.py", "from ppo import __version__", "ppo/loop/trainer.py:1 imports ppo: loop is on floor"),
        (
            "ppo/loop/trainer.py",
            "from ppo.text import Task",
            "ppo/loop/trainer.py:1 imports ppo.text: loop is on floor",
        ),
        ("ppo/envs/gym.py", "from ..policies.gru import GRUPolicy", "ppo/envs/gym.py:1 imports ppo.policies.gru: envs"),
        (
            "ppo/policies/gru.py",
            "from ppo.config import Config",
            "ppo/policies/gru.py:1 imports ppo.config: policies is",
        ),
        ("ppo/check.py", "import benchmarks.tasks", "ppo/check.py:1 imports benchmarks.tasks: nothing "),
        ("ppo/check.py", "from tests import helpers", "ppo/check.py:1 imports tests: nothing "),
        ("ppo/check.py", "from ppo.attic import old", "ppo/check.py:1 imports ppo.attic: give attic a floor"),
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
        ("ppo/loop/collector.py", "from ppo.loop import rollout\nimport ppo.errors"),
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

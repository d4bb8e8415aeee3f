"""The documentation is true: its code runs, its links lead somewhere, and the program's links lead into it."""

import doctest
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

import ppo
import ppo.text
from ppo.cli import main as cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", lambda code: re.sub(r"[^\n]", " ", code[0]), text, flags=re.M | re.S)


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings as a code host makes them, also of the file that it includes."""
    text = path.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    included = [anchors((path.parent / name).resolve()) for name in re.findall(r"{include} (\S+)", text)]
    return slugs.union(*included, cli.COMMANDS if path == DOCS / "commands.md" else ())


def dead(path: Path, target: str) -> str:
    """Return what is wrong with a relative link of a page; "" if nothing is."""
    file, _, anchor = target.partition("#")
    goal = (path.parent / file).resolve() if file else path
    if not goal.exists():
        return f"{target}: there is no such file"
    return f"{target}: there is no such heading" if anchor and anchor not in anchors(goal) else ""


def references(source: str) -> list[str]:
    """Return the pages of the documentation that a file of the program names: "page#section", or a page's address."""
    return re.findall(r'"([a-z_/]+#[a-z-]+)"', source) + re.findall(r"address\(['\"]([a-z_/#-]+)['\"]\)", source)


def generated_pages():
    spec = importlib.util.spec_from_file_location("generated_pages", DOCS / "generated_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@page
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text("utf-8")))
    faults = [dead(path, link) for link in links if not re.match(r"https?:|mailto:", link)]
    assert not any(faults), "\n".join(filter(None, faults))


def test_a_dead_link_is_named():
    start = DOCS / "start.md"
    assert dead(start, "absent.md") == "absent.md: there is no such file"
    assert dead(start, "environments.md#absent") == "environments.md#absent: there is no such heading"
    assert dead(start, "environments.md#autoreset") == dead(start, "../README.md") == ""


def test_every_page_that_the_program_names_exists():
    named = {name: path for path in (ROOT / "ppo").rglob("*.py") for name in references(path.read_text("utf-8"))}
    assert {"index", "environments#autoreset", "security#what-you-can-open-without-trust"} <= set(named)
    files = {name: re.sub(r"(#|$)", r".md\1", name, count=1) for name in named}
    faults = [
        f"{named[name]}: {dead(DOCS / 'index.md', file)}"
        for name, file in files.items()
        if dead(DOCS / "index.md", file)
    ]
    assert not faults, "\n".join(faults)


def test_the_index_lists_every_page():
    links = re.findall(r"^- \[.*?\]\(([^)]+)\)", (DOCS / "index.md").read_text("utf-8"), re.M)
    results = set(DOCS.glob("results/*.md")) - {DOCS / "results/index.md"}  # listed there
    assert {DOCS / link for link in links} == set(DOCS.rglob("*.md")) - results - {DOCS / "index.md"}


def test_the_api_page_has_every_public_name():
    text = (DOCS / "api.md").read_text("utf-8")
    names = [f"ppo.{name}" for name in ppo.__all__] + [f"ppo.text.{name}" for name in ppo.text.__all__]
    assert [name for name in names if not re.search(rf":: {re.escape(name)}\b", text)] == []


def test_the_loop_that_steers_a_run_keeps_checkpoints_and_stops_early(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec("".join(re.findall(r"```python\n(.*?)```", (DOCS / "howto" / "track.md").read_text("utf-8"), re.S)), {})
    assert list(tmp_path.glob("runs/CartPole-v1__ppo__s1/checkpoints/good_*.safetensors"))
    assert len(list(tmp_path.glob("runs/*/events.*"))) == 2


def test_the_first_steps_in_python_train_and_the_loaded_policy_plays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec("".join(re.findall(r"```python\n(.*?)```", (DOCS / "start.md").read_text("utf-8"), re.S)), {})
    assert float(capsys.readouterr().out.splitlines()[-1]) > 50  # a random policy balances for about 22 steps


def test_the_tutorial_runs_as_it_is_written():
    text = (DOCS / "tutorial.md").read_text("utf-8")
    code = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)  # a fence would count as output
    example = doctest.DocTestParser().get_doctest(code, {}, "tutorial.md", "docs/tutorial.md", 0)
    out = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=out.append)
    assert results.attempted > 30
    assert results.failed == 0, "".join(out)


def test_the_metrics_page_names_every_metric_that_a_run_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["train", "--total-timesteps", "1000"])
    header = (tmp_path / "runs/CartPole-v1__ppo__s1/progress.csv").read_text().splitlines()[0].split(",")
    text = (DOCS / "metrics.md").read_text("utf-8")
    assert [name for name in header if name not in ("iteration", "global_step") and f"`{name}`" not in text] == []


def test_the_options_of_a_command_do_not_depend_on_the_terminal(monkeypatch):
    module = generated_pages()
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        (arguments, options) = module.boxes(module.help_of("eval"))
        assert arguments == ("positional arguments", "", [("RUN", "Run folder.", "required")])
        assert options[2][:2] == [
            ("--episodes INT", "Number of episodes.", "default `10`"),
            (
                "--actions {run,sampled,deterministic}",
                "How to choose actions: sampled, deterministic (the mode), or as in the run's own evaluations "
                "(--eval-sampled).",
                "default `run`",
            ),
        ]


def test_the_table_of_contents_follows_the_index():
    text = "# x\n\n## First\n\n- [A](a.md): one\n- [B](b/c.md)\n\n## None\n\n[D](d.md)\n"
    toctrees = generated_pages().contents(text)
    assert toctrees.count("{toctree}") == 1
    assert toctrees.split() == ["```{toctree}", ":hidden:", ":caption:", "First", "a", "b/c", "```"]

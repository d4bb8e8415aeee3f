"""The committed pages are what the committed figures give, and every figure counts."""

import copy
import json
import re

import pytest

from benchmarks import pages
from benchmarks.runs import RESULTS
from benchmarks.suites import SUITES

NAMES = pages.names()
# Fields of a result that its page does not show by themselves.
UNSEEN = {"seed", "step", "steps", "episodes", "settings", "arguments", "date", "versions", "task", "method", "model"}
UNSEEN |= {"ended", "length", "best_kl", "best_reward", "beta"}


@pytest.mark.parametrize("name", [*NAMES, "index"])
def test_a_committed_page_is_what_the_committed_figures_give(name):
    assert (pages.PAGES / f"{name}.md").read_text(encoding="utf-8") == pages.render(name)


def test_the_readme_shows_the_headline():
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.BLOCK.findall(text) == [pages.headline()]
    assert len(pages.headline().splitlines()) == 2 + 8  # the head of the table, and eight results


def test_every_file_of_results_has_a_page():
    assert {path.stem for path in RESULTS.glob("*.json")} == set(NAMES)
    assert {path.stem for path in pages.PAGES.glob("*.md")} == {*NAMES, "index"}


def leaves(value, path=()):
    """Yield the path of each number in nested lists and dictionaries."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, (int, float)):
        yield path
    for key, inner in items:
        if key not in UNSEEN:
            yield from leaves(inner, (*path, key))


def changed(data, path):
    """Return a copy in which one number is larger, also after it is rounded."""
    data = copy.deepcopy(data)
    *above, last = path
    holder = data
    for key in above:
        holder = holder[key]
    holder[last] = 1 - holder[last] if path[-2:-1] == ("actions",) else holder[last] * 1.5 + 0.1
    return data


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_that_changes_changes_the_page(name, monkeypatch):
    data = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    shown = {key: data["results"][-1:] if key == "results" else value for key, value in data.items() if key == "results"}
    paths = [("results", len(data["results"]) - 1, *path[2:]) for path in leaves(shown)] if shown else [*leaves(data["rows"])]
    assert paths
    page = pages.render(name)
    for path in paths:
        ...

"""What is published: versions in one place, lower bounds that were tried, forms that GitHub and CITATION.cff's readers accept."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

import ppo

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
TOOLS = ("dev", "docs")  # extras without which ppo and its extras work


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_version_has_one_place_and_the_citation_repeats_it():
    assert SETUP["metadata"]["version"] == "attr: ppo.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", ppo.__version__)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ppo.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # what version 1.2.0 of the format requires


def test_the_oldest_versions_are_the_lower_bounds_of_setup_cfg():
    extras = SETUP["options.extras_require"]
    needs = SETUP["options"]["install_requires"] + "".join(extras[name] for name in extras if name not in TOOLS)
    bounds = re.findall(r"^([\w-]+)(?:\[.*\])?>=([\w.]+)", needs, re.MULTILINE)
    oldest = [tuple(line.split("==")) for line in lines((ROOT / "constraints-oldest.txt").read_text(encoding="utf-8"))]
    assert sorted(set(bounds)) == sorted(oldest)


def test_every_requirement_has_a_lower_bound_or_only_adds_an_extra_of_one():
    needs = lines(SETUP["options"]["install_requires"]) + [
        line for extra in SETUP["options.extras_require"].values() for line in lines(extra)
    ]
    bounded = {re.match(r"[\w-]+", need)[0] for need in needs if ">=" in need}
    assert {re.match(r"[\w-]+", need)[0] for need in needs} == bounded


def test_the_pythons_of_the_classifiers_are_those_that_public_ci_tries():
    classifiers = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    tried = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert sorted({entry["python"] for entry in tried}) == classifiers
    assert f">={classifiers[0]}" == SETUP["options"]["python_requires"]
    assert re.search(r"^PYTHONS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split() == classifiers


def test_public_ci_pins_its_actions_and_needs_no_secret():
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", use) for use in uses)
    assert "secrets" not in text


@pytest.mark.parametrize("name", ["bug", "feature", "learning", "question"])
def test_an_issue_form_has_what_github_requires(name):
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    inputs = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in inputs} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] for part in inputs)
    assert len({part["id"] for part in inputs}) == len(inputs)


@pytest.mark.parametrize("name", ["bug", "learning"])
def test_a_form_for_a_fault_asks_for_the_report(name):
    text = (ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8")
    assert "`ppo report RUN`" in text


def test_pre_commit_runs_the_checks_of_ci():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    entries = [hook["entry"] for hook in hooks]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").replace("--check ", "")
    assert entries == [".venv/bin/ruff format", ".venv/bin/ruff check", ".venv/bin/mypy"]
    assert all(f"\n{entry}" in ci for entry in entries)

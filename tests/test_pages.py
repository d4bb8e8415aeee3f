"""The committed pages are what the committed figures give, and every figure counts."""

import json
import re

import pytest

from benchmarks import pages
from benchmarks.runs import RESULTS
from benchmarks.suites import SUITES, Task

NAMES = pages.names()
# The figures of a result that its page shows.
SHOWN = {name: ["sampled", "deterministic"] for name in SUITES if name in NAMES} | {
    "frontier": ["reward", "kl", "total_variation"],
    "next_token": ["training", "held_out"],
    "normalization": ["return"],
    "distillation": ["teacher", "student", "likelihood", "parameters"],
    "q_learning": ["q_values", "values", "actions"],
    "rlhf": ["reward", "others", "vader", "kl", "distinct", "perplexity"],
}
SHOWN |= {"atari": ["sampled"]}  # a deterministic policy may never end its game
SHOWN |= {"formulas": ["solved", "expressions", "return"]} if "formulas" in NAMES else {}
SHOWN |= {"critic_warmup": ["first", "worst", "last"]} if "critic_warmup" in NAMES else {}
SHOWN |= {"pronounce": ["phonemes", "words"]} if "pronounce" in NAMES else {}
SHOWN |= {"demonstrations": ["demonstrations", "clone", "after", "alone"]} if "demonstrations" in NAMES else {}
SHOWN |= {"molecules": ["validity", "uniqueness", "novelty", "diversity", "score"]} if "molecules" in NAMES else {}  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, "index"])
def test_a_committed_page_is_what_the_committed_figures_give(name):
    assert (pages.PAGES / f"{name}.md").read_text(encoding="utf-8") == pages.render(name)


def test_the_readme_shows_what_the_committed_figures_give():
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for _, name, _ in pages.BLOCK.findall(text)] == ["why", "results"]
    assert pages.fill(text) == text


def test_every_file_of_results_has_a_page():
    assert {path.stem for path in RESULTS.glob("*.json")} == set(NAMES)
    assert {path.stem for path in pages.PAGES.glob("*.md")} == {*NAMES, "index"}


def other(value):
    """Return another value in each place: a larger number also after it is rounded, or the other action."""
    if isinstance(value, list):
        return [other(x) for x in value]
    return 1 - value if isinstance(value, int) else 1.5 * value + 0.5


@pytest.mark.parametrize("name", SHOWN)
def test_a_figure_that_changes_changes_the_page(name, tmp_path):
    for file in RESULTS.iterdir():
        (tmp_path / file.name).symlink_to(file)
    page, path, data = pages.render(name), tmp_path / f"{name}.json", json.loads((RESULTS / f"{name}.json").read_text())
    path.unlink()
    for row in data["results"][-1 if name == "rlhf" else -6 :]:  # of RLHF the page shows the ends of runs
        for field in SHOWN[name]:
            true = row[field]
            row[field] = other(true)
            path.write_text(json.dumps(data))
            assert pages.render(name, tmp_path) != page, f"{field} of {row}"
            row[field] = true
    path.write_text(json.dumps(data))
    assert pages.render(name, tmp_path) == page


def test_a_speed_that_changes_changes_the_page(tmp_path):
    data, page = json.loads((RESULTS / "speed.json").read_text()), pages.render("speed")
    for row in data["rows"].values():
        for side in row.values():
            side["sps"] *= 1.5
            (tmp_path / "speed.json").write_text(json.dumps(data))
            assert pages.render("speed", tmp_path) != page
            side["sps"] /= 1.5


@pytest.mark.parametrize(("kept", "seeds", "reached"), [("Swimmer-v5", 5, 0), ("Hopper-v5", 10, 1)])
def test_the_mujoco_page_and_the_readme_name_the_tasks_without_results(tmp_path, kept, seeds, reached):
    for file in RESULTS.iterdir():
        (tmp_path / file.name).symlink_to(file)
    data = json.loads((RESULTS / "mujoco.json").read_text())
    data["results"] = [row for row in data["results"] if row["task"] == kept]
    (tmp_path / "mujoco.json").unlink()
    (tmp_path / "mujoco.json").write_text(json.dumps(data))
    waiting = [task.name for task in SUITES["mujoco"] if task.name != kept]
    page = pages.render("mujoco", tmp_path)
    assert f"Without results yet: {', '.join(waiting)}." in page
    assert f"1M steps, {seeds} seeds." in page
    assert f"{reached} of 1 targets are reached" in pages.render("readme_results", tmp_path)


def test_the_mujoco_page_has_the_verdicts_of_ppo_compare():
    page = pages.render("mujoco")
    assert re.search(
        r"\| \*\*HalfCheetah-v5, ppo, \d+ runs\*\* \|  .*\n\|   xuance-benchmarks-2026 \| same \| 4,942 \| ", page
    )
    assert re.search(r"\| ppo against xuance-benchmarks-2026 \| same \| (9|1[01]) \| \d", page)
    assert "| ppo against the highest | any |" in page


def outcome(scores, target, policy="sampled", least=None):
    task = Task("Env-v0", "Env-v0", target, policy=policy, least=least)
    return pages.Outcome(task, 10, scores, [x + 2 for x in scores], [])


def test_a_mean_below_its_target_is_named_as_missed():
    tasks = {
        "a": outcome([9.0, 10.0], 10), "b": outcome([9.0, 11.0], 10), "c": outcome([-86.0], -85, "deterministic"),
        "d": outcome([0.0], None), "e": outcome([1.0, 30.0], 10, least=2), "f": outcome([2.0, 30.0], 10, least=2),
    }  # fmt: skip
    assert [row.missed for row in tasks.values()] == [True, False, False, False, True, False]
    goals = ["≥ 10", "≥ 10", "≥ −85 deterministic", "", *["≥ 10, each seed ≥ 2"] * 2]
    assert [row.goal for row in tasks.values()] == goals
    sentence = "3 of 5 targets are reached; missed: Env-v0 (9.50 ± 0.71, target ≥ 10); Env-v0 (15.50 ± 20.51, target ≥ 10, each seed ≥ 2)"
    assert pages.reached(tasks) == sentence
    assert pages.reached({"b": tasks["b"]}) == "1 of 1 targets are reached"


def test_seeds_are_shown_in_their_order_and_starts_by_policy():
    task = Task("walk", "text/RandomWalks-v0", start="pretrain text/RandomWalks-v0")
    rows = [
        {
            "task": "walk",
            "seed": seed,
            "steps": 10 * seed,
            "sampled": seed / 2,
            "deterministic": 1.0,
            "start": [0.25, seed],
        }
        for seed in (2, 1)
    ]
    assert pages.outcomes([task, Task("other", "")], rows) == {
        "walk": pages.Outcome(task, 20, [0.5, 1.0], [1.0, 1.0], [[0.25, 0.25], [1, 2]])
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (pages.number(1234.5), "1234"), (pages.number(-84.26), "−84.3"), (pages.number(4.0), "4.00"),
        (pages.number(0.5), "0.500"), (pages.number(0.5, 1), "0.5"), (pages.count(8e6), "8,000,000"),
        (pages.numbers([1000.4, 864.52]), "1000, 864.5"), (pages.spread([1.0, 3.0]), "2.00 ± 1.41"),
        (pages.spread([1000.0]), "1000, one seed"),
    ],
)  # fmt: skip
def test_figures_are_rounded_by_their_size(text, expected):
    assert text == expected


def test_pages_and_blocks_are_written_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", tmp_path / "docs" / "results")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# ppo\n\n<!-- why -->\nold\n<!-- /why -->\n\nmore\n")
    pages.write()
    assert {path.stem for path in (tmp_path / "docs" / "results").iterdir()} == {*NAMES, "index"}
    expected = f"# ppo\n\n<!-- why -->\n{pages.render('readme_why')}<!-- /why -->\n\nmore\n"
    assert (tmp_path / "README.md").read_text() == expected

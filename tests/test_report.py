"""Reports: the pictures and the page of a comparison, and `ppo report` for an issue."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import ran, refused
from fake_runs import figure, only_group, three_runs, write_run
from packaging.requirements import Requirement

from ppo.compare import report
from ppo.compare.groups import compare_all
from ppo.report import hide, is_complete


@pytest.fixture
def panel(tmp_path):
    group = only_group(three_runs(tmp_path))
    return [group], [compare_all(group, [figure(4000.0), figure(9000.0), figure(1.0, env_id="HalfCheetah-v5")])]


def test_a_panel_has_our_groups_then_figures_on_the_same_id_then_the_best_others(panel):
    drawing = report.picture([panel], "iqm")
    (axis,) = drawing.axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels[0] == "ppo, sampled, IQM of 3 runs, range"
    assert labels[1:] == [f"theirs, PPO, HalfCheetah-v{version}, 10 runs, ± std" for version in (5, 3, 3)]
    report.pyplot().close(drawing)


def test_a_picture_is_saved_as_png_and_svg_under_a_plain_name(panel, tmp_path):
    svg = report.save(report.picture([panel, panel], "mean"), tmp_path, "ALE/Pong v5")
    assert {path.name for path in tmp_path.glob("ALE*")} == {"ALE_Pong_v5.png", "ALE_Pong_v5.svg"}
    assert svg.startswith("<svg")


def test_a_profile_is_the_share_of_runs_above_each_level():
    drawing = report.profiles(
        {"ppo": {"A-v0": np.array([0.2, 0.6]), "B-v0": np.array([0.4, 0.8])}}, np.array([0.0, 0.5, 1.0])
    )
    line = drawing.axes[0].lines[0]
    assert line.get_ydata().tolist() == [1.0, 0.5, 0.0]
    assert line.get_label() == "ppo, 4 runs on 2 environments"
    report.pyplot().close(drawing)


def test_the_page_escapes_text_and_marks_outcomes():
    rows = [("source", "verdict", "notes"), ("<a>", "better", "1, 2")]
    sections = [("X-v0", "<svg/>", [("A & B", [("on <id>", rows)])])]
    page = report.page([("", rows)], sections, [rows[0]], ["note <1>", "other"], ["text <2>"])
    assert '<td>&lt;a&gt;</td><td class="better">better</td>' in page
    assert "<p>A &amp; B.</p><h3>on &lt;id&gt;</h3><div" in page
    assert '<td><a href="#note1">1</a>, <a href="#note2">2</a></td>' in page
    assert '<ol><li id="note1">note &lt;1&gt;</li><li id="note2">other</li></ol><p>text &lt;2&gt;</p>' in page
    assert "Between the runs" not in page


def test_a_dollar_in_a_name_is_drawn_and_not_typeset():
    figure = report.pyplot().figure()
    figure.text(0, 0, r"ppo $x^$ \frac{$")
    figure.canvas.draw()  # which would be a ParseSyntaxException


@pytest.fixture
def jane(monkeypatch):
    """Be the user jane on the machine deepthought.lab."""
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    monkeypatch.setattr("socket.gethostname", lambda: "deepthought.lab")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jane.doe"))


def test_a_report_of_a_run_leaks_no_path_and_no_name(jane, tmp_path, capsys):
    run = write_run(
        tmp_path / "secret", env_id="CartPole-v1", init_from="/home/jane.doe/my runs/a", exp_name="jane_on-deepthought",
        reference="C:\\Users\\jane\\b", env_kwargs={"render_mode": "rgb_array", "level": "maps/secret.json", "at": ["~/x"], "/k": 1},
    )  # fmt: skip
    out = ran(capsys, "report", str(run))
    for word in ("secret", "jane", "doe", "deepthought", "my runs", "maps", str(tmp_path), "/home", "/k", "Users"):
        assert word not in out, word
    assert '`env_kwargs = {"render_mode": "rgb_array", "level": "…", "at": ["…"], "…": 1}`' in out
    assert '`init_from = "…"`' in out


def test_a_report_has_versions_machine_settings_state_and_the_last_rows(tmp_path, capsys):
    run = shutil.copytree(Path(__file__).parent / "schema_1/cartpole", tmp_path / "run")
    out = ran(capsys, "report", str(run)).splitlines()
    assert any(line.startswith("- ppo ") and ", Python 3." in line for line in out)
    assert any("gymnasium " in line and "torch " in line for line in out)
    assert "- environment: `CartPole-v1`" in out
    assert "- made by train, finished: 63 steps, iteration 2" in out
    assert "- settings that differ from the preset ppo + CartPole:" in out
    assert "- `total_timesteps = 64`" in out
    assert not any("learning_rate =" in line for line in out)
    assert out[-1].startswith("| 2 | 63 | 21 | 24.5 | 147 | 0.0005243 | 0.6861 |")


def test_a_report_of_a_damaged_run_says_so_and_goes_on(tmp_path, capsys):
    run = write_run(tmp_path / "run", env_id="Absent-v0", algorithm=["x"], total_timesteps=None, runs_dir="data/alice")
    (run / "progress.csv").write_text("iteration,global_step\n1,x\n")
    out = ran(capsys, "report", str(run))
    assert "- no checkpoint: has no checkpoint 'latest'; its checkpoints: none yet" in out
    assert "- settings that differ from the defaults (there is no preset for it here):" in out
    assert "| 1 | damaged |" in out
    assert "alice" not in out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "is not a run folder (it has no config.json); give a folder that `ppo train` made"),
        ("{", "config.json is not JSON; restore it or report without the run"),
        ("[]", "config.json names no environment; restore it or report without the run"),
    ],
)
def test_a_report_of_what_is_not_a_run_is_one_sentence(text, sentence, tmp_path, capsys):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert sentence in refused(capsys, "report", str(tmp_path))


def test_without_a_run_only_versions_and_the_machine_are_reported(capsys):
    out = ran(capsys, "report")
    assert out.count("**") == 4
    assert "**Versions**" in out
    assert "**Machine**" in out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ALE/Pong-v5", "ALE/Pong-v5"),
        ("runs/a", "runs/a"),
        ("see /a b/c", "see …"),
        ("~jane/x", "…"),
        ("D:/x", "…"),
        (["a", {"b": "/c"}, 3, None], ["a", {"b": "…"}, 3, None]),
        ("the janes", "the janes"),
        ("by jane", "by …"),
    ],
)
def test_absolute_paths_and_names_are_hidden(jane, value, shown):
    assert hide(value) == shown


def test_an_extra_is_complete_if_all_that_it_adds_is_installed():
    assert is_complete(Requirement("gymnasium[classic-control]"))
    assert is_complete(Requirement("ppo"))
    assert not is_complete(Requirement("ppo[peers]")) or is_complete(Requirement("stable-baselines3"))
    assert not is_complete(Requirement("a-package-that-nobody-has"))

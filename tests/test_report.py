"""Pictures and the page of a comparison."""

import numpy as np
import pytest
from fake_runs import figure, only_group, three_runs

from ppo.compare import report
from ppo.compare.groups import compare_all


@pytest.fixture
def panel(tmp_path):
    group = only_group(three_runs(tmp_path))
    return [group], [compare_all(group, [figure(4000.0), figure(9000.0)])]


def test_a_panel_has_our_groups_and_the_best_published_figures(panel):
    drawing = report.picture([panel], "iqm")
    (axis,) = drawing.axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels[0] == "ppo, sampled, IQM of 3 runs, range"
    assert labels[1:] == ["theirs, PPO, HalfCheetah-v3, 10 runs, ± std"] * 2
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
    page = report.page([("X-v0", "<svg/>", [("A & B", rows)])], rows, [rows[0]], ["note <1>", "other"], ["text <2>"])
    assert '<td>&lt;a&gt;</td><td class="better">better</td>' in page
    assert "<p>A &amp; B.</p>" in page
    assert '<td><a href="#note1">1</a>, <a href="#note2">2</a></td>' in page
    assert '<ol><li id="note1">note &lt;1&gt;</li><li id="note2">other</li></ol><p>text &lt;2&gt;</p>' in page
    assert "Between the runs" not in page


def test_a_dollar_in_a_name_is_drawn_and_not_typeset():
    figure = report.pyplot().figure()
    figure.text(0, 0, r"ppo $x^$ \frac{$")
    figure.canvas.draw()  # which would be a ParseSyntaxException

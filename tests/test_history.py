"""The history of a run: means over parts of the budget, and the table that a run is writing."""

import math

import pytest

from ppo.cli.history import BINS, History, Table


def test_a_part_of_the_budget_has_the_mean_of_its_rows():
    history = History(100 * BINS)
    for step, value in ((50, 1.0), (100, 3.0), (150, math.nan), (250, 8.0)):
        history.add({"x": value, "time/update": 0.5, "charts/episodes": 2.0}, step)
    assert history.means("x")[:3] == [pytest.approx(2.0), pytest.approx(math.nan, nan_ok=True), 8.0]
    assert history.measured("x") == [2.0, 8.0]
    assert history.curve("x") == "▁▁█"
    assert (history.latest["x"], history.seconds, history.episodes) == (8.0, {"update": 2.0}, 8.0)
    assert (history.spent, history.measured("absent"), history.curve("absent")) == (250 / (100 * BINS), [], "")


def test_a_curve_ends_where_the_run_is_and_begins_with_its_first_value():
    history = History(BINS)
    for step in range(1, BINS + 1):
        history.add({"x": float(step)} if step > 4 else {}, step)
    assert len(history.curve("x")) == BINS
    assert history.curve("x").startswith("    ▁")
    assert history.curve("x").endswith("█")


def test_a_table_gives_each_complete_line_once(tmp_path):
    path = tmp_path / "progress.csv"
    table = Table(path)
    assert list(table.new_rows()) == []
    path.write_text("iteration,global_step,x,y\n1,10,0.5,\n2,20,0.")
    assert list(table.new_rows()) == [(1, 10, {"x": 0.5})]
    with path.open("a") as file:
        file.write("25,7\n\x00broken,,\n3,30,1.0,2.0\n")
    assert list(table.new_rows()) == [(2, 20, {"x": 0.25, "y": 7.0}), (3, 30, {"x": 1.0, "y": 2.0})]
    assert list(table.new_rows()) == []


@pytest.mark.parametrize(
    "line", ["2,20", "2,20,0.5,1,1,10", "2,nan,0.5,", "2,inf,0.5,", "2,1_0,0.5,", '"2,20,0.5,', "2,20,1e999,"]
)
def test_a_damaged_line_is_left_out_and_the_next_one_is_read(tmp_path, line):
    (tmp_path / "progress.csv").write_text(f'iteration,global_step,x,"a,b"\n{line}\n3,30,1e-05,-2.0\n')
    assert list(Table(tmp_path / "progress.csv").new_rows()) == [(3, 30, {"x": 1e-05, "a,b": -2.0})]

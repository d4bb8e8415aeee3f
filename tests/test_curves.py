"""Curves are means over episodes, and CSV files of them are read back."""

import numpy as np
import pytest
from fake_runs import only_group, three_runs

from ppo.compare.curves import Curve, read_curves, write_curves
from ppo.compare.logs import find_runs
from ppo.errors import UsageError


@pytest.fixture
def three(tmp_path):
    return three_runs(tmp_path)


def test_every_episode_counts_once():
    curve = Curve(np.array([100, 200, 300]), np.array([10.0, 40.0, 100.0]), np.array([1.0, 3.0, 1.0]))
    assert curve.over(0, 200) == 32.5
    assert curve.downsample(1).returns == [46.0]
    assert curve.downsample(1).episodes == [5.0]


def test_compact_curves_are_read_back(three, tmp_path_factory):
    runs, path = find_runs([three])[0], tmp_path_factory.mktemp("csv") / "curves.csv"
    write_curves(path, runs, 50)
    group = only_group(path)
    assert group.scores("sampled", 1_000_000) == pytest.approx([4900, 5000, 5200])
    assert group.policies() == ["sampled", "deterministic"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("env_id,step\nX-v0,1\n", "lacks the column algorithm; the columns are env_id, algorithm, settings"),
        ("env_id,algorithm,settings,seed,policy,step,return\nX-v0,ppo,,1,sampled,1,high\n", "line 2 is not a point"),
        ("env_id,algorithm,settings,seed,policy,step,return\nX-v0,ppo,,1,greedy,1,2\n", "line 2 is not a point"),
    ],
)
def test_a_csv_without_curves_is_one_sentence(tmp_path, row, sentence):
    (tmp_path / "curves.csv").write_text(row)
    with pytest.raises(UsageError, match=sentence):
        read_curves(tmp_path / "curves.csv")


HEADER = "env_id,algorithm,settings,seed,policy,step,return,episodes\n"


@pytest.mark.parametrize("name", ["curves.csv", "CURVES.CSV"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_curves_of_a_spreadsheet_are_read(tmp_path, name, separator):
    text = HEADER + "X-v0,ppo,,1,sampled,1000.0,1.5,2\nX-v0,ppo,,1,sampled,2e3,2.5,1\n"
    (tmp_path / name).write_text(text.replace(",", separator), encoding="utf-8-sig")
    ((run,), _) = find_runs([tmp_path / name])
    curve = run.curves["sampled"]
    assert (curve.steps.tolist(), curve.returns.tolist(), curve.episodes.tolist()) == ([1000, 2000], [1.5, 2.5], [2, 1])


@pytest.mark.parametrize("point", ["1,1,0", "1,1,-1", "1,1e308,1", "1,-inf,1", "1.5,1,1", "1e30,1,1", "-1,1,1"])
def test_a_point_that_is_no_mean_over_episodes_at_a_step_is_one_sentence(tmp_path, point):
    (tmp_path / "curves.csv").write_text(HEADER + f"X-v0,ppo,,1,sampled,{point}\n")
    with pytest.raises(
        UsageError, match=r"curves.csv, line 2 is not a point of a curve, with a whole step, a number as return"
    ):
        read_curves(tmp_path / "curves.csv")


def test_a_field_without_end_is_one_sentence(tmp_path):
    (tmp_path / "curves.csv").write_text(HEADER + "x" * 140_000 + ",ppo,,1,sampled,1,1,1\n")
    with pytest.raises(UsageError, match=r"cannot read .*curves.csv: field larger than field limit"):
        read_curves(tmp_path / "curves.csv")

"""Recorded episodes from a CSV table and from Minari."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from ppo.demonstrations import read
from ppo.errors import UsageError

SPACES = Dict(place=Box(-9, 9, (2,)), side=Discrete(2)), Discrete(3, start=1)
HEADER = "obs_0,obs_1,obs_2,action_0,reward,terminated,truncated"


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_table_has_the_numbers_of_all_parts_one_after_another(tmp_path):
    path = table(tmp_path / "d.csv", HEADER + ",comment", "1.5,2,0,3,-1,False,0,7", "", "3,4,1,1,2.5,True,0,7")
    demonstrations = read(path, *SPACES)
    assert [x.tolist() for x in demonstrations.observations] == [[[1.5, 2], [3, 4]], [0, 1]]
    assert [x.tolist() for x in demonstrations.actions] == [[3, 1]]
    assert demonstrations.rewards.tolist() == [-1, 2.5]
    assert (demonstrations.terminations.tolist(), demonstrations.truncations.tolist()) == ([False, True], [False] * 2)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "has no column obs_0; the observations need obs_0 to obs_2"),
        (["obs_0,obs_1,obs_2,terminated"], "has no column action_0; the actions need action_0 .see docs"),
        ([HEADER + ",obs_9"], "has a column obs_9, but the observations end with obs_2"),
        ([HEADER + ",obs_0", "1,2,0,3,0,1,0,1"], "has obs_0 twice; leave out one of them"),
        ([HEADER.replace("truncated", "done"), "1,2,0,3,0,1,0"], "has a column done; name it terminated where the task ended"),
        ([HEADER + ",action_1"], "has a column action_1, but the actions end with action_0"),
        ([HEADER + ",terminations", "1,2,0,3,0,1,0,1"], "has terminated and terminations, which mean the same"),
        ([HEADER, "1,2,3"], "has 3 values in row 0, but 7 columns"),
        ([HEADER, "1,2,0,left,0,1,0"], "has 'left' in row 0 of the column action_0; give a number"),
        ([HEADER.replace(",", ";"), "1;2"], "begins with 'obs_0;obs_1.*; separate the columns by commas"),
        ([HEADER, "1,2,0,1,0,2,0"], "terminations is 2.0 in row 0"),
        ([HEADER, "1,2,nan,1,0,1,0"], "observations/side is nan in row 0, which is not finite"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, lines, sentence):
    with pytest.raises(UsageError, match=sentence):
        read(table(tmp_path / "d.csv", *lines), *SPACES)


def test_columns_may_have_the_names_of_the_arrays(tmp_path):
    header = HEADER.replace("reward", "rewards").replace("terminated", "terminations")
    demonstrations = read(table(tmp_path / "d.csv", header, "1,2,0,3,-1,1,0"), *SPACES)
    assert (demonstrations.rewards.tolist(), demonstrations.terminations.tolist()) == ([-1], [True])


def test_a_missing_table_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none.csv: No such file"):
        read(str(tmp_path / "none.csv"), *SPACES)


def minari(monkeypatch, **episode):
    module = ModuleType("minari")
    own = {"observations": {"place": np.ones((3, 2)), "side": np.array([0, 1, 0])}, "actions": np.array([1, 3])}
    own |= {"rewards": np.array([1.0, 2.0]), "terminations": np.zeros(2, bool), "truncations": np.zeros(2, bool)}
    data = SimpleNamespace(iterate_episodes=lambda: [SimpleNamespace(**own | episode)] * 2)
    module.load_dataset = {"point/v0": data}.__getitem__
    monkeypatch.setitem(sys.modules, "minari", module)


def test_episodes_of_minari_lose_the_last_observation_and_end_where_the_data_end(monkeypatch):
    minari(monkeypatch)
    demonstrations = read("minari:point/v0", *SPACES)
    assert [x.shape for x in demonstrations.observations] == [(4, 2), (4,)]
    assert demonstrations.observations[1].tolist() == [0, 1, 0, 1]
    assert demonstrations.truncations.tolist() == [False, True, False, True]


def test_minari_that_is_missing_or_does_not_fit_is_one_sentence(monkeypatch):
    minari(monkeypatch)
    with pytest.raises(UsageError, match=r"minari:other cannot be read \(KeyError.*`minari download other`"):
        read("minari:other", *SPACES)
    minari(monkeypatch, observations=np.zeros((3, 2)))
    with pytest.raises(UsageError, match=r"minari:point/v0 does not fit the environment's spaces"):
        read("minari:point/v0", *SPACES)
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UsageError, match=r"needs the package minari .*pip install -e .\.\[minari\]"):
        read("minari:point/v0", *SPACES)

"""The format of recorded episodes: arrays by name, metadata as JSON, and never a pickle."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from ppo.demonstrations.format import names, read_npz, write
from ppo.errors import UsageError


def test_the_parts_of_a_space_have_an_array_each():
    assert names(Discrete(2), "actions") == ["actions"]
    space = Dict(arm=Tuple([Box(0, 1), Discrete(2)]), eye=Box(0, 1))
    assert names(space, "observations") == ["observations/arm.0", "observations/arm.1", "observations/eye"]


def test_what_is_written_is_read_and_numpy_reads_it_without_pickle(tmp_path):
    arrays = {"observations/eye": np.arange(6.0).reshape(3, 2), "terminations": np.array([False, False, True])}
    write(tmp_path / "d.npz", arrays, {"env_id": "Eye-v0"})
    read, metadata = read_npz(tmp_path / "d.npz")
    assert metadata == {"env_id": "Eye-v0"}
    assert {name: x.tolist() for name, x in read.items()} == {name: x.tolist() for name, x in arrays.items()}
    with np.load(tmp_path / "d.npz", allow_pickle=False) as file:
        assert sorted(file) == ["metadata", "observations/eye", "terminations"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda path: path.with_suffix(".none"), "cannot read .*d.none: No such file"),
        (lambda path: path.write_bytes(b"PK\3\4 and more") and path, "is damaged or not an NPZ file"),
        (
            lambda path: np.savez(path, observations=np.array([{}], object)) or path,
            "holds a pickle, which could run code",
        ),
        (
            lambda path: np.savez(path, metadata=np.array("[1]")) or path,
            r"has the metadata \[1\], which is not a JSON object",
        ),
        (lambda path: path.write_text("obs_0,action_0") and path, "is not an NPZ file; save arrays with numpy.savez"),
        (lambda path: path.write_bytes(b"\x80\x04N.") and path, "holds a pickle"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content, sentence):
    path = content(tmp_path / "d.npz")
    with pytest.raises(UsageError, match=sentence):
        read_npz(path)


def test_arrays_may_have_the_names_that_step_returns(tmp_path):
    np.savez(tmp_path / "d.npz", reward=np.ones(2), terminated=np.zeros(2))
    assert sorted(read_npz(tmp_path / "d.npz")[0]) == ["rewards", "terminations"]
    np.savez(tmp_path / "d.npz", reward=np.ones(2), rewards=np.zeros(2))
    with pytest.raises(UsageError, match="has reward and rewards, which mean the same; leave out one of them"):
        read_npz(tmp_path / "d.npz")


def test_a_lone_array_is_refused(tmp_path):
    with (tmp_path / "d.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UsageError, match="is one array; give an NPZ file"):
        read_npz(tmp_path / "d.npz")

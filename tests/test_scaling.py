"""The scaling benchmark measures, keeps what it has measured, and predicts by its formula."""

import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import pages, scaling, scaling_learning, scaling_links, scaling_network, scaling_rows
from benchmarks.runs import RESULTS
from benchmarks.scaling_model import Fit, fit, seconds, shares, summary, worth
from benchmarks.scaling_network import Point
from ppo.machine import distributed

TINY = scaling_rows.Row(
    "CartPole-v1", {"compile": "off", "vectorization": "sync", "num_envs": 2, "num_steps": 16, "num_minibatches": 1}
)
FREE, DEAR = Fit(0.0, 0.0, 0.0), Fit(1.0, 0.0, 0.0)
FOUR = {name: {"2": FREE, "4": FREE} for name in ("all-reduce", "gather", "broadcast")}
PARTS = {"environment": 3.0, "inference": 1.0, "update": 2.0, "rest": 0.5}
ROW = {
    "seconds": {"one": PARTS, "two": PARTS},
    "rates": {"one": [100.0, 110.0, 90.0], "two": [170.0], "pair": [180.0]},
    "parameters": 10_000, "optimizer_steps": 5, "sequences": 64, "seq_len": 1, "num_envs": 8, "rollout_bytes": 4000,
    "shared": False,
}  # fmt: skip
SHARED = ROW | {"parameters": 100_000, "shared": True}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return the folder of results of a benchmark of one small row, measured in this process, and two networks."""
    monkeypatch.setattr(scaling, "RESULTS", tmp_path)
    monkeypatch.setattr(pages, "write", lambda: None)
    monkeypatch.setattr(scaling_rows, "WARMUP", 1)
    monkeypatch.setattr(scaling_rows, "LEAST", 1)
    monkeypatch.setattr(scaling, "ROWS", {"tiny": TINY})
    monkeypatch.setattr(scaling_rows, "start", lambda row, ranks, seconds: seconds)
    monkeypatch.setattr(scaling_rows, "result", lambda seconds: scaling_rows.measure(TINY, seconds))
    monkeypatch.setattr(scaling_rows, "pair", lambda several: 2.0)
    points = [
        Point(exchange, 2, floats, 1e-3 + floats * 1e-9) for exchange in FOUR for floats in (10_000, 10**6, 10**7)
    ]

    def measure(ranks, delay):
        if delay == 1:
            raise OSError("the command ip is missing; install iproute2")
        return points

    monkeypatch.setattr(scaling_network, "measure", measure)
    monkeypatch.setattr(scaling, "times", lambda rounds, peers: {"ours": [2.0, 4.0]})
    monkeypatch.setattr(scaling_learning, "SEEDS", (1,))
    learnt = {"env_id": "HalfCheetah-v5", "seed": 1, "one": 1.0, "two": 2.0, "difference": 0.0}
    monkeypatch.setattr(scaling_learning, "compare", lambda env_id, seed: learnt)
    monkeypatch.setattr(scaling, "installed", lambda *packages: {"torch": "2.0"})
    return tmp_path


def test_a_run_measures_every_part_once_and_ends_in_a_page(results, capsys, monkeypatch):
    scaling.run(rounds=1, seconds=0.0)
    assert "skipped: the command ip is missing" in capsys.readouterr().out
    data = json.loads((results / "scaling.json").read_text())
    row = data["rows"]["tiny"]
    assert [len(rates) for rates in row["rates"].values()] == [1, 1, 1]
    assert min(row["seconds"]["one"].values()) > 0
    assert (row["num_envs"], row["optimizer_steps"], row["sequences"]) == (2, 10, 32)
    assert row["rollout_bytes"] > 32 * 4 * 4  # the observations alone
    assert data["derived"]["fits"]["loopback"]["all-reduce"]["2"]["beta"] == pytest.approx(1e-9)
    page = pages.render("scaling", results)
    assert f"| tiny | {data['derived']['rows']['tiny']['one']:,.0f} |" in page
    assert "The network of 1 ms was not measured: the command ip is missing" in page
    assert "| loopback | 2 | 1.01 ms | 2.00 ms | 11.00 ms | 1.00 ms | 1.00 ns | 0 % |" in page
    assert "| HalfCheetah-v5 | 1 | 1.0 | 2.0 | none, bit for bit |" in page
    monkeypatch.setattr(scaling, "compare", lambda *_: pytest.fail("measured again"))
    scaling.run(rounds=1, seconds=0.0)


def test_a_part_that_fails_leaves_the_others_measured(results, monkeypatch):
    def interrupted(*_):
        raise InterruptedError

    monkeypatch.setattr(scaling, "compare", lambda *_: ROW)
    monkeypatch.setattr(scaling, "times", interrupted)
    with pytest.raises(InterruptedError):
        scaling.run(rounds=1, seconds=0.0)
    assert list(json.loads((results / "scaling.json").read_text())["measured"]) == ["rows/tiny"]
    assert "## How many ranks pay" not in pages.render("scaling", results)


def test_what_follows_from_the_committed_figures_is_committed_with_them():
    data = json.loads((RESULTS / "scaling.json").read_text())
    assert json.loads(json.dumps(scaling.derive(data))) == data["derived"]


def test_two_runs_at_the_same_time_count_while_both_train():
    first = {"ends": [[0.0, 0], [10.0, 100]]}
    second = {"ends": [[5.0, 0], [7.0, 10], [15.0, 170]]}
    assert scaling_rows.own_rate(first) == 10
    assert scaling_rows.pair([first, second]) == pytest.approx(10 + (10 + 60) / 5)
    with pytest.raises(SystemExit, match="did not overlap"):
        scaling_rows.pair([first, {"ends": [[9.0, 0], [19.0, 100]]}])


def test_the_parts_of_an_iteration_sum_to_its_time():
    split = [{"environment": 1.0, "inference": 0.5, "update": 1.0, "evaluation": 0.0}] * 2
    assert scaling_rows.parts_of([10.0, 13.0, 16.0], split) == {
        "environment": 1.0, "inference": 0.5, "update": 1.0, "rest": 0.5,
    }  # fmt: skip


def test_a_line_is_fitted_in_relative_error_without_negative_coefficients():
    assert fit([10, 1000, 100_000], [1.01, 2.0, 101.0]) == pytest.approx((1.0, 1e-3, 0.0))
    noisy = fit([1, 10], [1.0, 20.0])  # the exact line would begin below 0
    assert noisy.alpha == 0
    assert noisy.beta == pytest.approx(1.2)  # the least of (x − 1)² + (10 x / 20 − 1)²
    assert noisy.error == pytest.approx(0.4)


@pytest.mark.parametrize(("sequences", "work"), [(64, 80_000), (64, 77_000), (64, 10_000), (63, 10**9), (6, 10**9)])
def test_the_model_shares_minibatches_where_the_learner_does(monkeypatch, sequences, work):
    for ranks in (2, 4):
        monkeypatch.setattr(distributed, "size", lambda ranks=ranks: ranks)
        part = distributed.part_of(sequences, work)
        row = {"sequences": sequences, "seq_len": 2, "parameters": work // 2}
        assert shares(row, ranks) == (part.stop - part.start < sequences)


def test_an_iteration_of_several_ranks_shares_its_parts_and_pays_for_exchanges():
    assert seconds(ROW, 1, FOUR) == 6.5
    assert seconds(ROW, 4, FOUR) == 4 / 4 + 2 + 0.5  # minibatches are too small to share
    assert seconds(SHARED, 2, FOUR) == 4 / 2 + 2 / 2 + 0.5
    assert seconds(SHARED, 2, FOUR | {"all-reduce": {"2": DEAR}}) == 3.5 + 5  # one for each optimizer step
    lines = {"gather": {"2": Fit(0.0, 1e-3, 0.0)}, "broadcast": {"2": Fit(0.0, 1e-5, 0.0)}}
    assert seconds(ROW, 2, FOUR | lines) == pytest.approx(4 / 2 + 2 + 0.5 + 1000 * 1e-3 + 30_000 * 1e-5)


def test_ranks_pay_up_to_the_last_that_is_faster_than_the_one_before():
    assert worth(ROW, FOUR) == {
        "ranks": 4, "most": 4, "speedups": {"1": 1, "2": pytest.approx(6.5 / 4.5), "4": pytest.approx(6.5 / 3.5)},
    }  # fmt: skip
    assert worth(ROW, FOUR | {"gather": {"2": FREE, "4": DEAR}})["ranks"] == 2
    assert worth(ROW, FOUR | {"gather": {"2": Fit(9.0, 0.0, 0.0), "4": FREE}})["ranks"] == 1
    assert worth(ROW | {"num_envs": 6}, FOUR)["most"] == 2  # four do not divide six


def test_amdahls_law_halves_what_two_ranks_share():
    assert summary(ROW) == pytest.approx(
        {"one": 100, "two": 170, "speedup": 1.7, "ceiling": 1.8, "amdahl": 6.5 / (2 + 2.5)}
    )
    assert summary(SHARED)["amdahl"] == pytest.approx(6.5 / (2 + 1 + 0.5))


def test_the_best_of_the_peers_sides_counts():
    rates = {"ours": [10.0, 12.0, 11.0], "DummyVecEnv, 1 thread": [2.0], "SubprocVecEnv, 1 thread": [1.0, 4.0, 9.0]}
    peers = scaling.derive({"other": {"peers": rates}})["peers"]
    assert peers == {"best": "SubprocVecEnv, 1 thread", "ratio": 11 / 4}


def test_the_difference_of_two_runs_is_a_fraction_of_their_weights_norm(monkeypatch):
    weights = {"a": [3.0, 4.0], "b": [3.0, 4.5]}
    monkeypatch.setattr(
        scaling_learning, "read_checkpoint",
        lambda path: ({"policy.w": torch.tensor(weights[path.parts[0]]), "optimizer.step": torch.rand(1)}, {}),
    )  # fmt: skip
    assert scaling_learning.difference(Path("a"), Path("b")) == pytest.approx(0.1)
    assert scaling_learning.difference(Path("a"), Path("a")) == 0


@pytest.mark.parametrize(
    ("before", "commands"),
    [("absent", ["train"]), ("interrupted", ["resume"]), ("finished", [])],
)
def test_a_run_of_the_learning_grid_is_trained_resumed_or_taken(tmp_path, monkeypatch, before, commands):
    state, ran = [before], []

    def run(command, **_):
        ran.append(command[command.index("ppo") + 1])
        assert command[1:4] == ["-m", "torch.distributed.run", "--standalone"]
        state[0] = "finished"

    monkeypatch.setattr(scaling_learning, "ROOT", tmp_path)
    monkeypatch.setattr(scaling_learning.subprocess, "run", run)
    monkeypatch.setattr(scaling_learning, "newest_run", lambda *_: None if state[0] == "absent" else tmp_path)
    monkeypatch.setattr(scaling_learning, "meta_of", lambda run: {"finished": state[0] == "finished"})
    assert scaling_learning.finish("HalfCheetah-v5", 1, 2) == tmp_path
    assert ran == commands


def test_a_machine_that_cannot_make_networks_is_told_why(monkeypatch):
    monkeypatch.setattr(scaling_links.shutil, "which", lambda name: None)
    assert scaling.network(0.1, 2) == "the command ip is missing; install iproute2"
    monkeypatch.setattr(scaling_links.shutil, "which", lambda name: "/sbin/ip")
    monkeypatch.setattr(scaling_links.os, "geteuid", lambda: 1000)
    assert scaling.network(0.1, 2) == "only root can make network namespaces; run the benchmark as root"


@pytest.mark.slow
def test_two_ranks_are_measured_under_torchrun():
    found = scaling_rows.result(scaling_rows.start(TINY, 2, 0.0))
    assert len(found["ends"]) == 1 + scaling_rows.LEAST
    assert scaling_rows.own_rate(found) > 0
    assert (found["shared"], found["num_envs"]) == (False, 2)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_exchanges_are_measured_and_a_latency_shows(delay):
    try:
        points = scaling_network.measure(2, delay)
    except OSError as error:
        pytest.skip(str(error))
    assert {(point.exchange, point.ranks, point.floats) for point in points} == {
        (name, 2, floats) for name in FOUR for floats in scaling_network.FLOATS
    }
    small = next(point.seconds for point in points if point.exchange == "all-reduce")
    assert small > 1.5e-3 * delay  # at least one message in each direction, less the last one's way


def test_the_page_includes_the_table_of_the_results():
    text = (pages.ROOT / "docs" / "scaling.md").read_text()
    markers = re.findall(r":(?:start-after|end-before): (.*)", text)
    assert len(markers) == 2
    page = pages.render("scaling")
    assert all(page.count(marker) == 1 for marker in markers)


def test_images_are_atari_sized_frames_that_name_the_rewarded_action():
    import gymnasium

    env = gymnasium.make("benchmarks.tasks:Images-v0")
    obs, _ = env.reset(seed=0)
    assert (obs.shape, obs.dtype) == ((84, 84, 4), np.uint8)
    rewards, lengths = [], 0
    frames = env.unwrapped.frames
    truncated = False
    while not truncated:
        number = next(n for n, frame in enumerate(frames) if np.array_equal(frame, obs))
        obs, reward, terminated, truncated, _ = env.step(number % 4)
        rewards.append(reward)
        lengths += 1
    assert (set(rewards), lengths, terminated) == ({1.0}, 256, False)


def test_a_free_port_can_be_bound():
    with socket.socket() as own:
        own.bind(("127.0.0.1", scaling_links.free_port()))

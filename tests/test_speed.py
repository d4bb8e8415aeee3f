"""The speed benchmark measures, keeps what it has measured, and ends in a report."""

import json
import mmap
import shlex
import sys
from dataclasses import asdict

import pytest
import tyro

from benchmarks import pages, speed, speed_gpu, speed_loops, speed_text, speed_times

SMALL = {"env_id": "CartPole-v1", "num_envs": 2, "num_steps": 32, "num_minibatches": 2, "update_epochs": 1}
TINY = speed_loops.Row("tiny", SMALL, 2, compile="off")
VERSIONS = {"torch": "2.0", "stable-baselines3": "2.9", "sb3-contrib": "2.9"}
PEER = {"sps": 100.0, "all": [100.0]}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return the folder of results of a benchmark of one small row, measured in this process."""
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "PAGES", tmp_path)
    monkeypatch.setattr(speed, "SPEED", {"tiny": 4})
    monkeypatch.setattr(pages, "write", lambda: None)
    monkeypatch.setattr(speed, "ROWS", {"tiny": TINY})
    monkeypatch.setattr(speed_loops, "BOUND_SECONDS", 0.01)
    monkeypatch.setattr(speed, "spawn", lambda side, row: speed.MEASURES[side](row))
    monkeypatch.setattr(speed, "installed", lambda *packages: {"torch": "2.0"})
    return tmp_path


def test_a_run_ends_in_a_report_with_the_split_of_the_time(results, capsys):
    speed.run(rounds=2, only="tiny")
    assert "pip install" in capsys.readouterr().out  # the peers are missing, and one sentence says so
    row = json.loads((results / "speed.json").read_text())["rows"]["tiny"]
    assert len(row["ours"]["all"]) == 2
    parts = [row["ours"][name] for name in ("environment", "inference", "update")]
    assert min(parts) > 0
    assert sum(parts) <= 1
    assert row["bound"]["sps"] > row["ours"]["sps"] > 0
    page = pages.render("speed", results)
    assert f"| tiny | {row['ours']['sps']:,.0f} | | | |" in page
    assert f"| tiny |  | {row['eager']['sps']:,.0f} | {row['bound']['sps']:,.0f} | environment " in page
    assert "## Text" not in page  # not measured
    assert min((results / name).stat().st_size for name in ("speed.png", "speed_bars.png")) > 5_000


def test_each_row_is_written_as_it_is_measured_and_not_measured_again(results, monkeypatch):
    measured = []

    def compare(row, rounds, peers):
        measured.append(row.name)
        if measured == ["first", "second"]:
            raise InterruptedError
        return {}

    monkeypatch.setattr(speed, "compare", compare)
    monkeypatch.setattr(speed, "ROWS", {name: speed_loops.Row(name, SMALL, 2) for name in ("first", "second")})
    for chart in ("chart", "small_chart"):
        monkeypatch.setattr(speed, chart, lambda *_: None)
    for part in ("times", "scale", "tokens_per_second"):
        monkeypatch.setattr(speed, part, lambda *_: {})
    with pytest.raises(InterruptedError):
        speed.run(rounds=1)
    assert list(json.loads((results / "speed.json").read_text())["rows"]) == ["first"]
    measured.append("resumed")
    speed.run(rounds=1)
    assert measured[3:] == ["second"]
    speed.run(rounds=1, only="first", again=True)
    speed.run(rounds=3, only="first")  # the number of rounds is part of a figure
    assert measured[4:] == ["first", "first"]


def test_the_peers_are_measured_where_they_are_installed(results, monkeypatch):
    monkeypatch.setattr(speed, "installed", lambda *packages: VERSIONS)
    monkeypatch.setitem(speed.MEASURES, "peer", lambda row: PEER)
    speed.run(rounds=1, only="tiny")
    row = json.loads((results / "speed.json").read_text())["rows"]["tiny"]
    assert f"| 100 | {row['ours']['sps'] / 100:.2f} |" in pages.render("speed", results)


def test_a_side_is_measured_in_a_process_of_its_own(monkeypatch):
    figures = speed.spawn("ours", TINY)
    assert figures["sps"] > 0
    assert 100 < figures["peak_mib"] < 5_000
    assert "update" in figures
    assert sys.platform != "linux" or 100 < figures["training_mib"] <= figures["peak_mib"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux counts the peak")
def test_the_peak_of_training_leaves_out_what_was_freed_before():
    with mmap.mmap(-1, 40_000_000) as before:  # an array may lie in memory that the process keeps
        before.write(b"1" * 40_000_000)
    high = speed_loops.training_peak()["training_mib"]
    speed_loops.forget_peak()
    assert speed_loops.training_peak()["training_mib"] <= high - 30


def test_memory_is_measured_by_size(results, monkeypatch):
    monkeypatch.setattr(speed, "SIZES", [(1, 64), (2, 64)])
    rows = []
    monkeypatch.setattr(speed, "spawn", lambda side, row: rows.append(row) or {"sps": 1.0, "peak_mib": 2.0})
    assert speed.scale() == {"1 × 64": {"sps": 1.0, "peak_mib": 2.0}, "2 × 64": {"sps": 1.0, "peak_mib": 2.0}}
    assert [(row.config.batch_size, row.rollouts) for row in rows] == [(64, 625), (128, 312)]


def test_text_is_measured_against_bare_loops(monkeypatch):
    for name, value in {"WIDTH": 8, "PLACES": 4, "SYMBOLS": 5, "STEPS": 4, "LENGTH": 3, "SECONDS": 0.01}.items():
        monkeypatch.setattr(speed_text, name, value)
    speeds = speed_text.tokens_per_second(2, compiled=False)
    assert list(speeds) == ["collect", "bare sampling", "update", "bare forward and backward"]
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in speeds.values())


def test_the_time_to_a_score_starts_at_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_times, "_train", lambda folder, arguments: 1000.0)
    monkeypatch.setattr(speed_times, "_events", lambda folder, tag: [(1001.5, 480.0), (1002.5, 500.0), (1009.0, 500.0)])
    assert speed_times.solve_ours(1, "off") == 2.5
    assert speed_times.first_update(1) == 1.5
    results = speed_times.times(2, peers=False)
    assert results == {"first update": [1.5, 1.5], "ours": [2.5, 2.5], "ours, compiled": [2.5, 2.5]}


def test_a_row_survives_the_command_line(capsys, monkeypatch):
    monkeypatch.setitem(speed.MEASURES, "bound", lambda row: {"sps": float(row == TINY)})
    arguments = shlex.split(f"--side bound --row '{json.dumps(asdict(TINY))}'")
    tyro.cli(speed.measure, args=arguments)
    figures = json.loads(capsys.readouterr().out)
    assert figures.pop("peak_mib") > 50
    assert figures == {"sps": 1.0}


def test_a_gpu_has_rows_and_figures_of_its_own(results, monkeypatch, capsys):
    """The rows run on the processor here: what is tested is the way to the figures."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        speed.run(device="cuda")
    assert "--device cuda needs a CUDA device, but torch finds none" in capsys.readouterr().err
    assert not (results / "speed_cuda.json").exists()
    spawned = []

    def spawn(side, row):
        spawned.append((side, row.config.device, row.compile))
        return {"sps": 100.0 * len(spawned)}

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    monkeypatch.setattr(speed, "spawn", spawn)
    monkeypatch.setattr(speed, "installed", lambda *packages: VERSIONS)
    monkeypatch.setattr(speed_gpu, "ROWS", (TINY,))
    speed.run(rounds=1, device="cuda")
    assert spawned == [
        ("ours", "cuda", "off"),
        ("ours", "cuda", "off"),
        ("ours", "cpu", "off"),
        ("peer", "cuda", "off"),
    ]
    found = json.loads((results / "speed_cuda.json").read_text())
    assert found["card"] == "a card"
    assert found["rows"] == {"tiny": {"CUDA graphs": [100.0], "eager": [200.0], "processor": [300.0], "peer": [400.0]}}
    assert "a card, tiny: CUDA graphs 100, eager 200" in capsys.readouterr().out


def test_the_rows_of_a_gpu_train(results):
    for row in speed_gpu.ROWS[1:2]:
        small = speed_loops.Row(
            row.name, row.settings | {"num_envs": 1, "num_steps": 8, "update_epochs": 1}, 1, compile="off"
        )
        for side, changed in speed_gpu.sides_of(small, peers=False, device="cpu").values():
            assert speed.MEASURES[side](speed_loops.Row(**(asdict(changed) | {"compile": "off"})))["sps"] > 0

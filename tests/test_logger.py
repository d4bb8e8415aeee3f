"""The logger: one row an iteration under CleanRL's names, an empty field for what was not measured, no row twice."""

import contextlib
import csv
import json
import math
import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from ppo import Config, Trainer, UsageError
from ppo.run.logger import Logger

SETTINGS = {"env_id": "CartPole-v1", "seed": 3, "gamma": 0.98, "hidden_sizes": [8], "env_kwargs": {}}
TAGS = {  # as CleanRL's ppo.py writes them
    "charts/episodic_return", "charts/episodic_length", "charts/SPS", "charts/learning_rate", "losses/policy_loss",
    "losses/value_loss", "losses/entropy", "losses/approx_kl", "losses/clipfrac", "losses/explained_variance",
}  # fmt: skip
OURS = {
    "charts/episodes",
    "time/environment",
    "time/inference",
    "time/update",
    "eval/episodic_return",
    "eval/episodic_length",
}


def lines(folder: Path) -> list[list[str]]:
    with (folder / "progress.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def log(folder: Path, iterations: range, resumed_at: int = 0) -> None:
    logger = Logger(folder, SETTINGS, resumed_at, 10 * resumed_at)
    for i in iterations:
        logger.write({"a": i / 3, "b": math.nan if i % 2 else -float(i)}, i, 10 * i)
    logger.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": (4,), "eval_episodes": 1}
    config = Config(runs_dir=tmp_path_factory.mktemp("run"), total_timesteps=128, checkpoint_every=2, **sizes)
    return Trainer(config).train()


def test_a_run_has_one_row_an_iteration(run):
    header, *rows = lines(run)
    assert header[:2] == ["iteration", "global_step"]
    assert [row[0] for row in rows] == [str(i + 1) for i in range(len(rows))]
    assert len(rows) >= 4
    assert {len(row) for row in rows} == {len(header)}


def test_the_tags_are_those_of_cleanrl_in_both_places(run):
    assert set(lines(run)[0]) >= TAGS | OURS
    assert set(events(run).Tags()["scalars"]) >= TAGS | OURS


def test_tensorboard_and_the_table_say_the_same(run):
    header, *rows = lines(run)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    for tag in TAGS | OURS:
        table = {int(s): float(x) for s, x in zip(columns["global_step"], columns[tag], strict=True) if x}
        board = {event.step: event.value for event in events(run).Scalars(tag)}
        assert board == pytest.approx(table, rel=1e-6)


def test_evaluations_stand_in_the_rows_of_checkpoints_and_the_others_are_empty(run):
    header, *rows = lines(run)
    found = [row[header.index("eval/episodic_return")] for row in rows]
    assert [bool(value) for value in found[:4]] == [False, True, False, True]


def test_not_a_number_is_an_empty_field_and_no_event(tmp_path):
    log(tmp_path, range(1, 4))
    assert lines(tmp_path)[1:] == [
        ["1", "10", repr(1 / 3), ""],
        ["2", "20", repr(2 / 3), "-2.0"],
        ["3", "30", "1.0", ""],
    ]
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("b")] == [(20, -2.0)]


def test_numbers_are_written_in_full(tmp_path):
    logger = Logger(tmp_path, SETTINGS)
    logger.write({"a": 0.1 + 0.2}, 1, 1)
    logger.close()
    assert lines(tmp_path)[1][2] == "0.30000000000000004"


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
    logger = Logger(tmp_path, SETTINGS)
    logger.write({"a": 1.0}, 1, 1)
    assert len(lines(tmp_path)) == 2
    logger.close()


def test_resuming_drops_the_rows_after_the_checkpoint(tmp_path):
    log(tmp_path, range(1, 6))
    log(tmp_path, range(4, 6), resumed_at=3)
    assert [row[0] for row in lines(tmp_path)] == ["iteration", "1", "2", "3", "4", "5"]


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path):
    log(tmp_path, range(1, 5))
    path = tmp_path / "progress.csv"
    path.write_text(path.read_text()[:-9])
    log(tmp_path, range(4, 5), resumed_at=3)
    assert [row[:2] for row in lines(tmp_path)] == [["iteration", "global_step"]] + [
        [str(i), f"{i}0"] for i in (1, 2, 3, 4)
    ]


def test_a_row_with_new_names_adds_columns(tmp_path):
    with contextlib.closing(Logger(tmp_path, {})) as logger:
        logger.write({"a": 1.0}, 1, 10)
        logger.write({"a": 2.0, "b": 3.0}, 2, 20)
        logger.write({"b": 4.0}, 3, 30)
    assert (tmp_path / "progress.csv").read_text().split() == [
        "iteration,global_step,a,b",
        "1,10,1.0,",
        "2,20,2.0,3.0",
        "3,30,,4.0",
    ]


def test_a_table_that_a_power_cut_emptied_is_begun_anew(tmp_path):
    (tmp_path / "progress.csv").touch()
    log(tmp_path, range(1, 3))
    assert lines(tmp_path)[0] == ["iteration", "global_step", "a", "b"]
    assert [row[0] for row in lines(tmp_path)[1:]] == ["1", "2"]


def test_the_configuration_is_a_table_and_hparams_once(tmp_path):
    log(tmp_path, range(1, 3))
    log(tmp_path, range(3, 4), resumed_at=2)
    found = events(tmp_path)
    assert found.Tags()["tensors"] == ["config/text_summary"]
    (table,) = found.Tensors("config/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert text.splitlines()[:2] == ["|setting|value|", "|-|-|"]
    assert "|gamma|0.98|" in text.splitlines()
    content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert (hparams["env_id"].string_value, hparams["seed"].number_value) == ("CartPole-v1", 3.0)
    assert hparams["hidden_sizes"].string_value == "[8]"


def test_a_full_disk_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with contextlib.closing(Logger(tmp_path, SETTINGS)) as logger:
        logger.path = Path("/dev/full")
        with pytest.raises(UsageError, match="No space left on device; make room and resume"):
            logger.write({"a": 1.0}, 1, 1)


def test_a_full_disk_under_the_events_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with contextlib.closing(Logger(tmp_path, SETTINGS)) as logger:
        os.dup2(os.open("/dev/full", os.O_WRONLY), logger.events.file.fileno())
        with pytest.raises(UsageError, match="No space left on device; make room and resume"):
            logger.write({"a": 1.0}, 1, 1)


def test_the_run_is_locked_until_the_logger_closes(tmp_path):
    with contextlib.closing(Logger(tmp_path, SETTINGS)):
        before = (tmp_path / "config.json").read_bytes()
        with pytest.raises(UsageError, match="is in use by process"):
            Logger(tmp_path, SETTINGS | {"seed": 4})
        assert (tmp_path / "config.json").read_bytes() == before
    Logger(tmp_path, SETTINGS).close()


def test_a_table_that_is_deleted_on_the_way_begins_with_its_header_again(tmp_path):
    with contextlib.closing(Logger(tmp_path, SETTINGS)) as logger:
        logger.write({"a": 1.0}, 1, 1)
        (tmp_path / "progress.csv").unlink()
        logger.write({"a": 2.0}, 2, 2)
    assert lines(tmp_path) == [["iteration", "global_step", "a"], ["2", "2", "2.0"]]


def test_a_new_column_joins_the_table_of_an_older_run(tmp_path):
    log(tmp_path, range(1, 3))
    with contextlib.closing(Logger(tmp_path, SETTINGS, 2, 20)) as logger:
        logger.write({"c": 5.0, "a": 1.0}, 3, 30)
    assert lines(tmp_path)[0] == ["iteration", "global_step", "a", "b", "c"]
    assert lines(tmp_path)[2:] == [["2", "20", repr(2 / 3), "-2.0", ""], ["3", "30", "1.0", "", "5.0"]]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in (".config.json.71", "checkpoints/.latest.safetensors.4711", "mine.71", ".hidden"):
        (tmp_path / name).write_text("half")
    Logger(tmp_path, SETTINGS).close()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if "events" not in path.name}
    assert left == {"config.json", "checkpoints", "mine.71", ".hidden"}


@pytest.mark.parametrize("name", ["progress.csv", "checkpoints", ".lock"])
def test_a_link_in_a_run_folder_is_not_written_through(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match=rf"{name} is a link, and ppo never writes through a link"):
        Logger(tmp_path / "run", SETTINGS)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(("name", "kind"), [("progress.csv", "file"), ("checkpoints", "folder")])
def test_a_folder_in_a_files_place_is_one_sentence(tmp_path, name, kind):
    (tmp_path / name).mkdir() if kind == "file" else (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=rf"{name} is not a {kind}; move it away"):
        Logger(tmp_path, SETTINGS)


def test_a_run_that_another_process_trained_further_is_refused(run):
    with pytest.raises(
        UsageError, match=r"trained to iteration \d+ since this trainer read it at iteration 2; resume it"
    ):
        Logger(run, SETTINGS, 2, 64)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        Logger(tmp_path, SETTINGS)


def test_the_settings_lie_beside_the_rows_as_json(run):
    settings = json.loads((run / "config.json").read_text())
    assert (settings["env_id"], settings["total_timesteps"], settings["hidden_sizes"]) == ("CartPole-v1", 128, [4])

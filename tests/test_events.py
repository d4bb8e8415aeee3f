"""An event file comes after all earlier ones, whatever the clock says, and a resume hides what came after its step."""

import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary

from ppo.run.events import Events


def write(folder, steps, first_step=0):
    events = Events(folder, first_step)
    for step in steps:
        events.add(Summary(value=[Summary.Value(tag="a", simple_value=step / 2)]), step)
    events.close()


def test_a_resumed_run_has_each_step_once_even_if_the_clock_was_set_back(tmp_path, monkeypatch):
    now = time.time()
    write(tmp_path, range(1, 8))
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    write(tmp_path, range(6, 10), first_step=6)
    read = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [(event.step, event.value) for event in read.Scalars("a")] == [(step, step / 2) for step in range(1, 10)]


def test_an_event_is_on_disk_after_flush(tmp_path):
    events = Events(tmp_path)
    (path,) = tmp_path.iterdir()
    before = path.stat().st_size
    events.add(Summary(value=[Summary.Value(tag="a", simple_value=1.0)]), 1)
    events.flush()
    assert path.stat().st_size > before > 0
    events.close()

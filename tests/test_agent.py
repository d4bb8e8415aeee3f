"""What ranks note in the store of torchrun's agent: one of them prints an error, and a restart finds the run's folder."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torch.distributed import HashStore

from ppo.machine import agent


@pytest.fixture
def store(monkeypatch):
    """Put a store in the place of the agent's."""
    store = HashStore()
    monkeypatch.setattr(agent, "agent_store", lambda: store)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return store


def rank(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("RANK", str(number))


def test_only_the_first_rank_with_an_error_prints_it_and_the_run_ends_with_its_code(store, monkeypatch):
    assert agent.outcome(agent.notes()) is None
    rank(monkeypatch, 2)
    assert agent.claim(2)
    rank(monkeypatch, 0)
    assert not agent.claim(1)
    agent.finish()
    assert agent.outcome(agent.notes()) == 2


def test_a_run_without_an_error_ends_with_zero(store):
    agent.finish()
    assert agent.outcome(agent.notes()) == 0


def test_a_rank_does_not_listen_to_signals_while_it_prints_its_error(store, monkeypatch):
    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    rank(monkeypatch, 0)
    agent.claim(1)
    assert handlers.keys() == {signal.SIGINT, signal.SIGTERM}
    handlers[signal.SIGTERM](signal.SIGTERM, None)  # does nothing


@pytest.mark.parametrize(
    ("role", "claimed", "printed"),
    [("default", False, [True, False]), ("default", True, [False, False]), ("ppo", False, [False, False])],
    ids=["torchrun", "another rank has an error", "the launcher of ppo prints it"],
)
def test_a_lost_rank_is_told_once_and_only_if_no_error_explains_it(store, monkeypatch, role, claimed, printed):
    monkeypatch.setenv("ROLE_NAME", role)
    rank(monkeypatch, 3)
    if claimed:
        agent.claim(2)
    assert [agent.report_loss(f"rank {n} has lost another rank") for n in (0, 1)] == printed
    assert agent.noted(agent.notes(), agent.LOSS) == ("" if claimed else "rank 0 has lost another rank")


def test_a_restart_finds_the_folder(store):
    agent.keep_folder(Path("runs/a"))
    assert agent.noted(agent.notes(), agent.FOLDER) == "runs/a"


def test_ranks_meet_apart_from_those_that_died_whoever_comes_first(store, monkeypatch):
    monkeypatch.setattr(agent, "MEETING_TICK", 0.001)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        with ThreadPoolExecutor(3) as pool:
            meetings = []
            for rank in order:
                meetings.append(pool.submit(agent.meeting, rank, 3))
                time.sleep(0.01)  # in which it may take those for its companions that died before
            first, *others = (meeting.result(timeout=10) for meeting in meetings)
        assert not first.check(["address"])
        first.set("address", "of this start")
        assert all(other.check(["address"]) for other in others)


def test_without_an_agent_every_process_prints_its_own_errors(monkeypatch):
    assert (agent.attached(), agent.agent_store(), agent.meeting(0, 1)) == (False, None, None)
    assert agent.claim(1)
    assert agent.report_loss("")
    agent.keep_folder(Path("runs/a"))
    agent.finish()
    assert (agent.noted(agent.notes(), agent.FOLDER), agent.outcome(agent.notes())) == ("", None)


def test_an_agent_that_has_died_leaves_the_printing_to_each_rank(monkeypatch):
    class Dead:
        def __getattr__(self, name):
            raise RuntimeError("connection reset")

    monkeypatch.setattr(agent, "notes", Dead)
    rank(monkeypatch, 1)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setenv("ROLE_NAME", "default")
    assert agent.claim(1)
    assert agent.report_loss("")
    agent.finish()


def test_a_process_stops_when_its_agent_has_died(monkeypatch):
    parents, told = iter([7, 7, 1]), []
    monkeypatch.setattr(agent.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(agent.os, "kill", lambda pid, number: told.append(number))
    monkeypatch.setattr(agent, "TICK", 0)
    agent._watch(7)
    assert told == [signal.SIGTERM]

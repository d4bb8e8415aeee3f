"""How many processes a command gets: what is refused before any starts, and the choice of auto."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from ppo import UsageError
from ppo.cli import processes
from ppo.config import Config
from ppo.machine.process import Choice


def spread(monkeypatch: pytest.MonkeyPatch, ranks: int | None, **fields: Any) -> None:
    if ranks is not None:
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    processes.spread(SimpleNamespace(**fields), ["eval"])


TRAIN = {"settings": Config(num_envs=8), "max_restarts": 3}


@pytest.mark.parametrize(
    ("ranks", "fields", "sentence"),
    [
        (None, TRAIN | {"processes": 0}, "processes = 0 is too small; choose 1 or more"),
        (None, TRAIN | {"processes": 2, "max_restarts": -1}, "max_restarts = -1 is too small; choose 0 or more"),
        (None, TRAIN | {"processes": 3}, "num_envs = 8 does not divide into processes = 3; choose a divisor"),
        (None, {"processes": 2, "settings": Config(gamma=2.0)}, "gamma = 2.0"),
        (4, TRAIN | {"processes": 3}, "processes = 3, but torchrun has started 4; leave --processes out"),
        (1, TRAIN | {"processes": 2}, "processes = 2, but torchrun has started 1; leave --processes out"),
        (4, {}, "`ppo eval` runs in one process, not in 4; start it without torchrun"),
    ],
)
def test_a_number_of_processes_that_cannot_be_is_refused(monkeypatch, ranks, fields, sentence):
    with pytest.raises(UsageError, match=sentence.replace("(", r"\(")):
        spread(monkeypatch, ranks, **fields)


@pytest.mark.parametrize(
    ("ranks", "fields"),
    [
        (None, {}),
        (None, TRAIN | {"processes": 1}),
        (4, TRAIN | {"processes": 1}),
        (4, TRAIN | {"processes": 4}),
        (4, TRAIN | {"processes": "auto"}),
        (1, {}),
    ],
)
def test_a_process_runs_the_command_itself_if_it_is_the_only_one_or_a_rank(monkeypatch, capsys, ranks, fields):
    spread(monkeypatch, ranks, **fields)
    assert capsys.readouterr().out == ""


def test_the_command_goes_to_the_launcher_and_ends_with_its_code(monkeypatch, capsys):
    from ppo.cli import launch

    monkeypatch.setattr(launch, "launch", lambda args, number, restarts: [args, number, restarts])
    with pytest.raises(SystemExit) as caught:
        spread(monkeypatch, None, processes=4, **TRAIN)
    assert caught.value.code == [["eval"], 4, 3]
    assert capsys.readouterr().out == "    processes  4: requested\n"


SMALL = "environment, network and minibatches are small; exchanges would take longer than they save"


@pytest.mark.parametrize(
    ("settings", "light", "places", "choice"),
    [
        ({"num_envs": 8}, False, 4, Choice(4, "all cores")),
        ({"num_envs": 8}, False, 6, Choice(4, "the largest divisor of num_envs = 8 up to the 6 cores")),
        ({"num_envs": 8, "group_size": 4}, False, 4, Choice(2, "the largest divisor of num_envs = 8 up to the 4 cores")),
        ({"num_envs": 1}, False, 1, Choice(1, "all cores")),
        ({"num_envs": 8, "device": "cuda"}, False, 2, Choice(2, "all CUDA devices")),
        ({"num_envs": 8, "device": "cuda"}, False, 0, Choice(1, "all CUDA devices")),
        ({"num_envs": 8}, True, 4, Choice(1, SMALL)),
        ({"num_envs": 8, "hidden_sizes": (1024,)}, True, 4, Choice(4, "all cores")),
        ({"num_envs": 8, "policy": "transformer"}, True, 4, Choice(4, "all cores")),
        ({"num_envs": 8, "num_steps": 64, "num_minibatches": 1}, True, 4, Choice(4, "all cores")),  # 512 rows
    ],
)  # fmt: skip
def test_auto_takes_as_many_processes_as_make_training_faster(settings, light, places, choice):
    assert processes.choose_processes(Config(**settings), light, places) == choice


@pytest.mark.parametrize(
    ("env_id", "vectorization", "number"),
    [
        ("CartPole-v1", "sync", 1),
        ("Taxi-v4", "auto", 1),
        ("LunarLander-v3", "auto", 4),
        ("text/Copy-v0", "auto", 1),
    ],
)
def test_auto_looks_at_what_a_step_of_the_environment_takes(monkeypatch, env_id, vectorization, number):
    monkeypatch.setattr(processes, "cores", lambda: 4)
    assert processes.choose(Config(env_id=env_id, vectorization=vectorization, num_envs=8)).value == number


@pytest.mark.parametrize(("policy", "number"), [("auto", 4), ("cnn", 4), ("mlp", 1)])
def test_a_vector_environment_of_ones_own_may_return_images(monkeypatch, policy, number):
    monkeypatch.setattr(processes, "cores", lambda: 4)
    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", vector_entry_point="own:make"))
    assert processes.choose(Config(env_id="Own-v0", policy=policy, num_envs=8)).value == number

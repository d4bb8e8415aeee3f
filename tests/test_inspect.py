"""The commands that inspect: a run, an environment, a data file or published results."""

import re
from pathlib import Path

import pytest
from command_line import ran, refused


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder; the command line adds it to sys.path, which is restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of Box2D's bindings
def test_the_families_are_listed_with_presets_or_install_lines(capsys):
    lines = ran(capsys, "envs").splitlines()
    assert any(re.search(r"Classic control  preset ppo \+ CartPole: .*CartPole-v1", line) for line in lines)
    assert any(re.search(r"Toy text  .*FrozenLake-v1", line) for line in lines)
    missing = [line for line in lines if "not installed" in line]
    assert all("pip install" in line for line in missing)


def test_a_check_says_what_would_be_trained(capsys):
    out = ran(capsys, "check", "CartPole-v1", "--steps", "100")
    assert re.search(r"determinism  the same seed gives the same episodes", out)
    assert re.search(r"would train  mlp policy, preset ppo \+ CartPole: 8 environments x 16 steps", out)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("check CartPole-v1 --num-envs 0", "num_envs = 0 is too small"),
        ("check CartPole-v1 --steps 0", "steps = 0 is too small"),
        (
            "check CartPole-v1 --num-envs 1e9",
            "num_envs * num_steps = 1000000000000 is too large: the run needs at least",
        ),
        ("check Absent-v0", "env_id = 'Absent-v0' is unknown"),
        ("check probes:Wordy-v0", "observation space at 'word' is Text"),
        ("check probes:Faulty-v0", "returns numbers that cannot be trained on: the reward of environment"),
    ],
)
def test_checking_what_cannot_be_checked_is_one_sentence(capsys, args, sentence):
    assert sentence in refused(capsys, *args.split())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("data", "give either the name of a set (for example hutto-movies) or --file FILE"),
        (
            "data hutto-movies --file mine.jsonl",
            "give either the name of a set (for example hutto-movies) or --file FILE",
        ),
        ("compare", "there are no runs to compare; name run folders, or use --list to see the published figures"),
    ],
)
def test_a_command_without_its_subject_is_one_sentence(capsys, args, sentence):
    assert refused(capsys, *args.split()) == sentence


def test_samples_are_printed_with_their_returns_and_the_mean(capsys, monkeypatch):
    options = {}

    def sample(*args, **more):
        options.update(more)
        return [("k → a b", 1.0), ("k → c", 0.5)]

    monkeypatch.setattr("ppo.sample.sample", sample)
    out = ran(capsys, "sample", "RUN", "-n", "2", "--temperature", "0.5")
    assert out.splitlines() == ["       1  k → a b", "     0.5  k → c", "    0.75  mean return"]
    assert options == {"temperature": 0.5}  # the others stay the run's


def test_a_chat_alternates_turns_and_an_empty_line_ends_it(capsys, monkeypatch):
    lines = iter(["hello", ""])
    monkeypatch.setattr("rich.console.Console.input", lambda self, prompt: next(lines))
    answers = []

    def chat(run, ask, checkpoint, seed):
        answers.extend([ask("hi"), ask("how are you")])
        return "hi hello"

    monkeypatch.setattr("ppo.sample.chat", chat)
    assert ran(capsys, "chat", "RUN").splitlines() == ["policy  hi", "policy  how are you", "hi hello"]
    assert answers == ["hello", None]

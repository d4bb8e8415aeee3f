"""The README's code runs as it is written."""

import re
from pathlib import Path

import gymnasium
import pytest

from ppo.cli import main as cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_environment_of_ones_own_is_learnt(folder, capsys):
    (folder / "corridor.py").write_text(BLOCKS[2])
    cli.main(["train", "corridor:Corridor-v0", "--total-timesteps", "8000"])
    out = capsys.readouterr().out
    del gymnasium.registry["Corridor-v0"]
    assert re.search(r"evaluation  return 0\.2 over", out)  # eight steps at -0.1, then 1: nothing is better


def test_a_policy_of_ones_own_trains(folder, capsys):
    (folder / "residual.py").write_text(BLOCKS[3])
    cli.main(["train", "CartPole-v1", "--policy", "residual:Residual", "--total-timesteps", "2048"])
    assert "residual:Residual" in capsys.readouterr().out
    cli.main(["eval", "runs/CartPole-v1__ppo__s1"])


def test_a_text_task_of_ones_own_trains_and_is_sampled(folder, capsys):
    (folder / "mirror.py").write_text(BLOCKS[4])
    cli.main(["train", "mirror:Mirror-v0", "--total-timesteps", "5000", "--compile", "off"])
    cli.main(["sample", "runs/Mirror-v0__ppo__s1", "-n", "3", "--prompt", "c"])
    out = capsys.readouterr().out
    del gymnasium.registry["Mirror-v0"]
    assert len(re.findall(r"c → [abcd]*", out)) == 3

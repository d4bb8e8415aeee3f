"""The README is short, its code runs as it is written, and the loop that it shows is the trainer's."""

import re
import textwrap
from pathlib import Path

from ppo.loop import trainer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_lines_of_python_train_and_evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(BLOCKS[0].replace("20_000", "1_000"), {})
    *steps, report = capsys.readouterr().out.splitlines()
    assert 1000 - 128 < int(steps[-1].split()[0]) <= 1000  # another rollout of 128 would exceed the budget
    assert "20 episodes: return" in report


def test_the_loop_is_quoted_from_the_trainer():
    source = textwrap.dedent(Path(trainer.__file__).read_text(encoding="utf-8"))
    assert textwrap.indent(BLOCKS[1], " " * 16) in source
    assert BLOCKS[1].startswith("while not ")


def test_it_is_short():
    assert len(README.splitlines()) <= 130

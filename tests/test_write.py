"""The writing task: lines of a corpus, a reward by name, and a run from ratings to a trained policy."""

import json

import numpy as np
import pytest

from ppo.cli import main as cli
from ppo.envs import make_envs
from ppo.errors import UsageError
from ppo.run.checkpoint import read_checkpoint
from ppo.text.corpus import vocabulary_of
from ppo.text.tasks.write import scorer, write


def test_a_read_only_token_is_an_observation_and_not_an_action(tmp_path):
    (tmp_path / "lines.txt").write_text("a b c\na b d\na b e\n")
    envs = make_envs("text/Write-v0", 2, env_kwargs={"corpus": str(tmp_path / "lines.txt"), "size": 2, "prompt": 1})
    assert (envs.single_observation_space.n, envs.single_action_space.n) == (4, 3)


def test_lines_are_split_into_prompt_and_response_and_long_ones_left_out(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("one two three\none two\none\none two three four five\n")
    task = write(str(path), max_tokens=3, prompt=1)
    assert task.demonstrate == [("one", "two three"), ("one", "two")]
    assert task.prompt(np.random.default_rng(0)) == "one"
    with pytest.raises(UsageError, match=r"no line of .* has fewer than max_tokens = 1"):
        write(str(path), max_tokens=1)
    with pytest.raises(
        UsageError, match=r"no line of .* has more than prompt = 9 and fewer than prompt \+ max_tokens = 12"
    ):
        write(str(path), max_tokens=3, prompt=9)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere", "judge = 'nowhere' is neither a run folder nor package.module:function"),
        ("nowhere:f", "judge = 'nowhere:f': there is no module nowhere"),
        ("math:nothing", "judge = 'math:nothing': module math has no nothing"),
        (":f", "judge = ':f' must have the form package.module:Name"),
    ],
)
def test_a_reward_that_does_not_exist_is_one_sentence(name, sentence):
    with pytest.raises(UsageError, match=sentence):
        write(judge=name)


def test_a_policy_trains_on_a_reward_model_of_ratings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["good", "bad", "film", "plot"], size=rng.integers(2, 6))) for _ in range(400)]
    worth = [text.split().count("good") - text.split().count("bad") for text in texts]
    rows = [{"text": t, "ratings": [w, w + 1, w - 1]} for t, w in zip(texts, worth, strict=True)]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = "--num-envs 16 --num-steps 16 --num-minibatches 2 --state-size 16 --hidden-sizes 16 --threads 1 --eval-episodes 16"
    task = "text/Write-v0 --env-kwargs corpus rated.jsonl max_tokens 6"
    cli.main(f"pretrain {task} {small} --total-timesteps 6000 --learning-rate 0.01".split())
    cli.main(f"reward {task} {small} --ratings rated.jsonl --total-timesteps 8000 --learning-rate 0.01".split())
    out = " ".join(capsys.readouterr().out.split())
    assert "of comparisons by one rater each, of " in out
    assert "reward=runs/text_Write-v0__reward__s1 --init-from" in out
    quality = json.loads((tmp_path / "runs/text_Write-v0__reward__s1/quality.json").read_text())
    assert quality["accuracy"] > quality["agreement"]  # it predicts the mean rating, which one rater does not
    model = scorer("reward", "runs/text_Write-v0__reward__s1", vocabulary_of(texts, "words"))
    assert model.score_texts([[2]])[0] > model.score_texts([[0]])[0]  # good, bad
    with pytest.raises(UsageError, match="another vocabulary"):
        scorer("reward", "runs/text_Write-v0__reward__s1", vocabulary_of(["good bad"], "words"))
    with pytest.raises(UsageError, match="is not a reward model"):
        scorer("reward", "runs/text_Write-v0__pretrain__s1", vocabulary_of(texts, "words"))
    start = "runs/text_Write-v0__pretrain__s1"
    rewarded = "reward runs/text_Write-v0__reward__s1 judge test_write:goods"
    cli.main(
        f"train {task} {rewarded} {small} --init-from {start} --reference {start} --kl-coef 0.05 --ent-coef 0 "
        "--learning-rate 0.01 --total-timesteps 8000".split()
    )
    cli.main(["eval", "runs/text_Write-v0__ppo__s1", "--episodes", "16", "--actions", "sampled"])
    said = capsys.readouterr().out.split("\n")
    judged = next(
        float(line.split()[line.split().index("judge") + 1].rstrip(",")) for line in said if " judge " in line
    )
    assert judged > 1  # a line of the corpus has 0.9 on average
    meta = read_checkpoint(tmp_path / "runs/text_Write-v0__reward__s1/checkpoints/latest.safetensors")[1]
    assert (meta["made_by"], meta["finished"]) == ("reward", True)
    cli.main(f"pretrain {task} size 3 --exp-name few {small} --total-timesteps 600".split())
    for command in (
        f"train {task} {small}", "resume runs/text_Write-v0__reward__s1", f"reward {task} {small} --ratings nowhere.jsonl",
        "sample runs/text_Write-v0__few__s1 --prompt zebra",
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            cli.main(command.split())
        assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "text/Write-v0 has no reward to learn from" in said
    assert "'zebra' is not in the vocabulary (3 symbols)" in said


def goods(completions):
    return [float(c.response.split().count("good")) for c in completions]

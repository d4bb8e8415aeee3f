"""Samples, and a dialogue with a person."""

import io
import json
import shutil

import pytest

from ppo import Trainer, UsageError, preset
from ppo.cli import main as cli
from ppo.sampling import best, chat, sample
from ppo.text.tasks.walks import random_walks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of text/RandomWalks-v0 that has hardly trained."""
    small = {"num_envs": 8, "num_steps": 16, "num_minibatches": 1, "state_size": 8, "hidden_sizes": [8]}
    folder = {"runs_dir": str(tmp_path_factory.mktemp("runs")), "total_timesteps": 128, "eval_episodes": 0}
    return Trainer(preset("text/RandomWalks-v0").replace(small | folder | {"compile": "off", "threads": 1})).train()


def texts(samples):
    return [str(completion) for completion, _ in samples]


def test_equal_seeds_give_equal_samples(run):
    assert texts(sample(run, 5, seed=3)) == texts(sample(run, 5, seed=3)) != texts(sample(run, 5, seed=4))


def test_the_most_probable_tokens_do_not_depend_on_the_seed(run):
    greedy = texts(sample(run, 2, prompt="k", deterministic=True))
    assert greedy[0] == greedy[1] == texts(sample(run, 1, prompt="k", seed=9, top_k=1))[0]
    assert greedy[0].startswith("k → ")


def test_each_prompt_of_a_list_begins_its_own_sequence(run):
    prompts = ["k", "b", "k", "c"]
    written = texts(sample(run, prompt=prompts, deterministic=True))
    assert [text[0] for text in written] == prompts
    assert written[0] == written[2] == texts(sample(run, 1, prompt="k", deterministic=True))[0]
    with pytest.raises(UsageError, match=r"'!' in the prompt 'k!' is not in the vocabulary \(21 symbols\)"):
        sample(run, prompt=["k", "k!"])


def test_a_return_is_that_of_its_sequence(run):
    assert all(value == random_walks().score([completion])[0] for completion, value in sample(run, 20, seed=1))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"number": 0}, "n = 0 is too small; choose at least 1"),
        ({"prompt": "k!"}, r"'!' in the prompt 'k!' is not in the vocabulary \(21 symbols\)"),
        ({"number": 2.5}, "n = 2.5 is not a whole number"),
        ({"seed": 1.5}, "seed = 1.5 is not a whole number"),
        ({"prompt": 5}, "prompt = 5 has the wrong type; give a text or a list of texts"),
        ({"prompt": ["k", 5]}, "the prompt is 5, which is not a text; give a str"),
        ({"learning_rate": 0.1}, "sample does not know the option 'learning_rate'; it knows temperature, top_k, top_p"),
        ({"temperature": 0.0}, "temperature = 0.0 in settings is too small"),
        ({"top_k": 23}, "top_k = 23 has no effect, since an action has 22 choices; choose fewer"),
        ({"seed": 2**63}, "seed = 9223372036854775808 is too large for int64"),
        ({"number": 10**9}, "num_envs = 1000000000 is too large: the run needs at least"),
    ],
)
def test_a_mistake_is_one_sentence(run, arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        sample(run, **arguments)


def test_the_best_sequences_of_the_training_are_printed_and_nothing_is_sampled(run, capsys):
    lines = best(run, 3)
    assert [line["return"] for line in lines] == sorted((line["return"] for line in best(run, 100)), reverse=True)[:3]
    cli.main(["sample", str(run), "--best", "-n", "3"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in shown] == [line["prompt"] for line in lines]
    assert shown[0].endswith(f"(step {lines[0]['step']})")
    with pytest.raises(SystemExit):
        cli.main(["sample", str(run), "--best", "--temperature", "0.5"])
    assert "temperature has no effect with --best" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "has no best.jsonl, which `ppo train` writes once a text policy has ended a sequence$"), ("{}", "is damaged"),
     ('{"return": 1, "step": 2', "is damaged"), ("[1]", "is damaged"), ("\udc80", "is damaged")],
)  # fmt: skip
def test_a_file_of_the_best_that_cannot_be_read_is_one_sentence(run, tmp_path, text, sentence):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "best.jsonl").unlink() if text is None else (copy / "best.jsonl").write_bytes(
        text.encode(errors="surrogateescape")
    )
    with pytest.raises(UsageError, match=sentence):
        best(copy)


def test_a_symbol_that_separates_lines_elsewhere_is_part_of_a_text(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    lines = [line | {"response": "a\u2028b\u0085"} for line in best(run, 2)]
    (copy / "best.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )
    assert best(copy) == lines


def test_a_prompt_that_the_task_cannot_use_is_blamed_and_not_the_function_that_reads_it(tmp_path):
    small = {"num_envs": 2, "num_steps": 8, "num_minibatches": 1, "policy": "gru", "runs_dir": str(tmp_path)}
    trainer = Trainer(preset("text/Add-v0").replace(small))
    trainer.save(finished=True)
    sentence = r"^text/Add-v0 cannot use the prompt '5=': the reward .* raised ValueError.*; its own prompts are like '\d+\+\d+='$"
    with pytest.raises(UsageError, match=sentence):
        sample(trainer.run_dir, 1, prompt="5=")
    with pytest.raises(
        UsageError,
        match=r"'x' in the prompt .* is not in the vocabulary .*; the task's own prompts are like '\d+\+\d+='$",
    ):
        sample(trainer.run_dir, 1, prompt="x=")


def test_a_task_without_replies_is_not_a_dialogue(run):
    with pytest.raises(UsageError, match="text/RandomWalks-v0 is not a dialogue: its environment does not reply"):
        chat(run, lambda message: None)


def test_a_person_replies_to_the_policy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--num-envs 8 --num-steps 32 --num-minibatches 2 --state-size 16 --threads 1 --total-timesteps 1000"
    cli.main(f"pretrain text/Dialogue-v0 {small}".split())
    cli.main(f"pretrain text/Reverse-v0 {small}".split())
    capsys.readouterr()
    with pytest.raises(UsageError, match="draws each prompt together with an info that its functions need; leave out"):
        sample("runs/text_Dialogue-v0__pretrain__s1", prompt="hello")
    monkeypatch.setattr("sys.stdin", io.StringIO("hello my toaster\nhello my phone\n\n"))
    cli.main(["chat", "runs/text_Dialogue-v0__pretrain__s1"])
    out = capsys.readouterr().out
    assert "its words: ask broken" in out
    assert "'toaster' in 'hello my toaster' is not in the vocabulary" in out
    assert out.splitlines()[-1].strip().removeprefix("you  ").startswith("hello my phone →")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["chat", "runs/text_Reverse-v0__pretrain__s1"])
    assert stopped.value.code == 2
    assert "its environment does not reply" in capsys.readouterr().err

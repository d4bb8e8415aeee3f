"""Reward models: preferences, their likelihood, and the scores of texts."""

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

import ppo
from ppo import Trainer, preset
from ppo.errors import UsageError
from ppo.policies import build_policy
from ppo.supervised.pretrain import pretrain
from ppo.supervised.reward_model import RewardModelTraining, bradley_terry, train_reward_model
from ppo.text import Completion, Vocabulary
from ppo.text.reward_model import RewardModel, pad, score


def test_bradley_terry_is_the_negative_log_likelihood_of_the_preferences():
    nan = float("nan")
    loss = bradley_terry(torch.tensor([1.0, -1.0]), torch.tensor([[nan, 0.75], [nan, nan]]))
    assert float(loss) == pytest.approx(-0.75 * np.log(1 / (1 + np.exp(-2))) - 0.25 * np.log(1 / (1 + np.exp(2))))


def test_texts_are_padded_with_end_tokens_on_both_sides():
    tokens, starts = pad([[0, 1], []], 9)
    assert tokens.tolist() == [[9, 9], [0, 9], [1, 9], [9, 9]]
    assert starts.tolist() == [[True, True], [False, False], [False, False], [False, False]]


def test_the_score_is_the_value_after_the_end_token_of_each_text():
    torch.manual_seed(0)
    policy = build_policy("gru", Discrete(3), Discrete(3), {"state_size": 8})
    texts = [[0, 1, 1], [], [1]]
    scores = score(policy, policy.initial_state(3), texts, 2, Discrete(3))
    for text, value in zip(texts, scores, strict=True):
        obs = torch.tensor([[2], *([token] for token in text), [2]])
        alone = policy(obs, policy.initial_state(1), torch.arange(len(obs))[:, None] == 0)[1]
        torch.testing.assert_close(value, alone[-1, 0])


@pytest.mark.parametrize("kind", ["ratings", "pairs"])
def test_a_reward_model_of_ratings_or_preferences_scores_completions(tmp_path, kind):
    kinds = [(n + n // 10) % 2 for n in range(40)]  # held out: a, b, a, b
    rated = [{"text": "ab"[kind] * (n // 2 + 1), "ratings": [-kind]} for n, kind in enumerate(kinds)]
    pairs = [{"chosen": "a" * n, "rejected": "b" * n} for n in range(1, 21)]
    path = tmp_path / "rated.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in {"ratings": rated, "pairs": pairs}[kind]))
    small = {"policy": "gru", "num_envs": 8, "num_steps": 16, "state_size": 8, "threads": 1, "total_timesteps": 1000}
    settings = {"runs_dir": str(tmp_path), "learning_rate": 0.02, "env_kwargs": {"letters": 2}} | small
    result = train_reward_model(Trainer(preset("text/Copy-v0").replace(settings)), str(path))
    assert (result.finished, result.quality.accuracy) == (True, 1.0)
    vocabulary = Vocabulary("ab>")
    model = RewardModel(str(result.run_dir), vocabulary)
    good, bad = model([Completion(vocabulary, (n,), (n,), True) for n in (0, 1)])
    assert good > bad
    assert model.score_texts([[0, 0], [1, 1]]) == [good, bad]
    texts = [vocabulary.encode(row["text"]) for n, row in enumerate(rated) if n % 10]  # for training
    texts = texts if kind == "ratings" else [[letter] * n for n in range(2, 21) if n != 11 for letter in (0, 1)]
    scores = np.array(model.score_texts(texts))
    assert (scores.mean(), scores.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert f"of {len(texts)} texts for training of {path}; as rewards they have 0 and 1" in str(result.scale)
    with pytest.raises(UsageError, match="has another vocabulary; use the same corpus"):
        RewardModel(str(result.run_dir), Vocabulary("abc"))
    with pytest.raises(
        UsageError, match="is a reward model, which never learnt to write; choose a run of `ppo pretrain`"
    ):
        Trainer(preset("text/Copy-v0").replace(settings | {"reference": str(result.run_dir)}))


def test_scores_are_standardised_on_samples_of_the_reference_and_a_prompt_is_read_first(tmp_path, monkeypatch):
    pairs = [
        {"prompt": "ab"[n % 2] * (n // 2 + 1), "chosen": "a" * (n + 1), "rejected": "b" * (n + 1)} for n in range(20)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)))
    small = {"policy": "gru", "num_envs": 8, "num_steps": 16, "state_size": 8, "threads": 1, "total_timesteps": 200}
    settings = {"runs_dir": str(tmp_path), "env_kwargs": {"letters": 2}} | small
    with Trainer(preset("text/Copy-v0").replace(settings)) as trainer:
        trainer.save(finished=True)
        reference = str(trainer.run_dir)
    monkeypatch.setattr("ppo.supervised.reward_model.SAMPLES", 64)
    with Trainer(preset("text/Copy-v0").replace(settings | {"reference": reference})) as trainer:
        training = RewardModelTraining(trainer, str(path))
        assert training.texts[:2] == [[0, 0], [0, 1]]  # "a" and "a", "a" and "b"
        result = training.run()
    assert f"of 64 samples of {reference}" in str(result.scale)
    model = RewardModel(str(result.run_dir), Vocabulary("ab>"))
    scores = np.array(model([completion for completion, _ in ppo.sample(reference, 400, seed=5)]))
    assert abs(scores.mean()) < 0.4
    assert 0.7 < scores.std() < 1.4


def test_a_reference_that_writes_one_text_is_refused_before_the_training(tmp_path):
    (tmp_path / "lines.txt").write_text("a b c\n" * 40)
    pairs = [{"chosen": "a " * n, "rejected": "b " * n} for n in range(1, 21)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    small = {
        "num_envs": 8,
        "num_steps": 16,
        "state_size": 16,
        "threads": 1,
        "compile": "off",
        "runs_dir": str(tmp_path / "runs"),
    }
    config = preset("text/Write-v0").replace(small | {"env_kwargs": {"corpus": str(tmp_path / "lines.txt")}})
    with Trainer(config.replace({"learning_rate": 0.05, "total_timesteps": 8000})) as trainer:
        reference = str(pretrain(trainer, patience=0).run_dir)
    with Trainer(config.replace({"reference": reference})) as trainer:
        training = RewardModelTraining(trainer, str(tmp_path / "pairs.jsonl"))
        for parameter in trainer.reference.policy.head.parameters():
            parameter.mul_(50)  # as certain as a longer training makes it
        with pytest.raises(UsageError, match=r"writes the same text 1,024 times, so its scores have no deviation"):
            training.run()
        assert trainer.run_dir is None


def test_texts_without_ratings_are_refused(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n' * 10)
    trainer = Trainer(preset("text/Copy-v0").replace({"runs_dir": str(tmp_path)}))
    with pytest.raises(UsageError, match="has texts without ratings; give lines"):
        train_reward_model(trainer, str(path))


def test_random_labels_are_predicted_by_chance_however_often_they_are_repeated(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "random.jsonl"
    texts = ["".join(rng.choice([*"abcdefghijklmnopqrstuvwxyz"], 6)) for _ in range(82)]
    pairs = [{"chosen": a, "rejected": b} for a, b in zip(texts[::2], texts[1::2], strict=True)]
    path.write_text("\n".join(json.dumps(row) for row in pairs * 5))
    small = {"policy": "gru", "num_envs": 16, "num_steps": 16, "state_size": 32, "threads": 1, "total_timesteps": 8000}
    settings = {"runs_dir": str(tmp_path), "learning_rate": 0.03, "compile": "off"} | small
    result = train_reward_model(Trainer(preset("text/Copy-v0").replace(settings)), str(path), patience=0)
    assert result.quality.pairs == 25  # five comparisons, five times each
    assert result.quality.accuracy == pytest.approx(0.5, abs=0.2)  # 1.0 if they are also among the training texts


def test_texts_that_differ_only_in_what_their_tokens_leave_out_are_one_text(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "random.jsonl"
    words = [" ".join(rng.choice(["red", "blue", "green", "old", "new"], 5)) for _ in range(60)]
    pairs = [{"chosen": a, "rejected": b} for a, b in zip(words[::2], words[1::2], strict=True)]
    spelt = [
        {kind: spell(text) for kind, text in pair.items()} for spell in (str, str.upper, str.title) for pair in pairs
    ]
    path.write_text("\n".join(json.dumps(row) for row in spelt))
    settings = {"runs_dir": str(tmp_path), "compile": "off", "env_kwargs": {"corpus": str(path)}}
    with Trainer(preset("text/Write-v0").replace(settings)) as trainer:
        training = RewardModelTraining(trainer, str(path))
    assert training.repeats == 60
    held_out, others = ({tuple(training.texts[n]) for n in part} for part in (training.held_out, training.training))
    assert held_out
    assert not held_out & others


def test_an_environment_without_tokens_is_refused(tmp_path):
    small = {"runs_dir": str(tmp_path), "compile": "off", "vectorization": "sync"}
    sentence = "CartPole-v1 is not a text environment, so it has no tokens to learn"
    with Trainer(preset("CartPole-v1").replace(small)) as made, pytest.raises(UsageError, match=sentence):
        train_reward_model(made, "hutto-movies")

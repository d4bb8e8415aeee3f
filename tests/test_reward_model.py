"""Reward models: preferences, their likelihood, and the scores of texts."""

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from ppo import Trainer, preset
from ppo.errors import UsageError
from ppo.policies import build_policy
from ppo.supervised.reward_model import Comparisons, bradley_terry, train_reward_model
from ppo.text import Completion, Vocabulary
from ppo.text.ratings import Ratings
from ppo.text.reward_model import RewardModel, pad, score


def test_a_text_is_preferred_as_often_as_its_ratings_exceed_those_of_the_other():
    ratings = Ratings(["a", "b", "c"], [[1, 2], [2, 3], [-1.5, -1.5]], [])
    probs = Comparisons(ratings, "all")(np.array([1, 0, 2]))
    # b against a: 2 > 1, 2 = 2, 3 > 1, 3 > 2
    expected = [[float("nan"), 0.875, 1], [0.125, float("nan"), 1], [0, 0, float("nan")]]
    torch.testing.assert_close(probs, torch.tensor(expected), equal_nan=True)
    assert Comparisons(ratings, "even")(np.array([0, 1]))[0, 1] == 0  # 1 against 2
    with pytest.raises(UsageError, match="raters = 'odd' leaves a text without a rating"):
        Comparisons(Ratings(["a"], [[1]], []), "odd")


def test_in_a_pair_the_first_is_preferred_and_other_pairs_are_not_compared():
    probs = Comparisons(Ratings([*"abcd"], [], [(0, 1), (2, 3)]), "all")(np.array([2, 3, 0, 1]))
    assert probs.nan_to_num(-1).tolist() == [[-1, 1, -1, -1], [-1] * 4, [-1, -1, -1, 1], [-1] * 4]


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
    rated = [{"text": "ab"[kind] * 2, "ratings": [-kind]} for kind in kinds]
    pairs = [{"chosen": "aa", "rejected": "bb"}] * 20
    path = tmp_path / "rated.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in {"ratings": rated, "pairs": pairs}[kind]))
    small = {"policy": "gru", "num_envs": 8, "num_steps": 16, "state_size": 8, "threads": 1, "total_timesteps": 1000}
    settings = {"runs_dir": str(tmp_path), "learning_rate": 0.02, "env_kwargs": {"letters": 2}} | small
    result = train_reward_model(Trainer(preset("text/Copy-v0")[1].replace(settings)), str(path))
    assert (result.finished, result.quality.accuracy) == (True, 1.0)
    vocabulary = Vocabulary("ab>")
    model = RewardModel(str(result.run_dir), vocabulary)
    good, bad = model([Completion(vocabulary, (n,), (n,), True) for n in (0, 1)])
    assert good > bad
    assert model.score_texts([[0, 0], [1, 1]]) == [good, bad]
    with pytest.raises(UsageError, match="has another vocabulary; use the same corpus"):
        RewardModel(str(result.run_dir), Vocabulary("abc"))


def test_texts_without_ratings_are_refused(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n' * 10)
    trainer = Trainer(preset("text/Copy-v0")[1].replace({"runs_dir": str(tmp_path)}))
    with pytest.raises(UsageError, match="has texts without ratings; give lines"):
        train_reward_model(trainer, str(path))

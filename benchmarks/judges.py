"""Judges that score a text and are not trained on: `--env-kwargs judge benchmarks.judges:vader` logs their scores."""

from functools import cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from ppo.text import Completion


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def vader(completions: list[Completion]) -> list[float]:
    """Return VADER's compound score of each response, from −1 to 1 (Hutto and Gilbert 2014): a lexicon and rules."""
    return [float(_analyzer().polarity_scores(completion.response)["compound"]) for completion in completions]

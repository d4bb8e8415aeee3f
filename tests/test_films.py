"""The README's films, made in small: of policies that have not learnt."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import films


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "FOLDER", tmp_path)
    monkeypatch.setattr(films, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(films, "train", films.untrained)
    return tmp_path


def test_a_film_shows_the_frames_of_an_episode_and_repeats_for_ever(folder, monkeypatch):
    monkeypatch.setitem(films.EPISODES, "LunarLander-v3", ({}, range(0, 30, 10)))
    films.main("lander")
    with Image.open(folder / "lander.gif") as film:
        assert (film.n_frames, film.size, film.info["loop"], film.info["duration"]) == (3, films.SIZE, 0, 200)


def test_answers_appear_token_by_token_and_right_letters_are_green(folder):
    frames, _ = films.typing({"before": ["x"] * 3, "after": [word[::-1] for word in films.WORDS]})
    pixels = [np.asarray(frame).astype(int) for frame in frames[8:15]]  # after the pause
    green = [int(((p[..., 1] > p[..., 0] + 50) & (p[..., 1] > p[..., 2] + 30)).sum()) for p in pixels]
    assert green[0] == 0
    assert green[1:] == sorted(set(green[1:]))  # each token adds to the picture
    assert len(films.answers(films.untrained("text/Reverse-v0"))) == 3

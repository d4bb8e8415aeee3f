"""What the terminal says of a run's time."""

import pytest

from ppo.cli.terminal import time_split


def test_a_split_without_a_dominant_part_gives_no_advice():
    seconds = {"environment": 4.0, "inference": 3.0, "update": 3.0}
    assert time_split(seconds, compiled=False, vectorization="auto") == "environment 40%, inference 30%, update 30%"


@pytest.mark.parametrize(
    ("part", "compiled", "vectorization", "advice"),
    [
        ("update", False, "auto", "--compile on, fewer --update-epochs, fewer --num-minibatches"),
        ("update", True, "auto", "fewer --update-epochs, fewer --num-minibatches"),
        ("inference", True, "auto", "more --num-envs with fewer --num-steps"),
        ("reference", True, "auto", "a smaller reference"),
        ("environment", True, "auto", "--vectorization envpool, if it knows this one"),
        ("environment", True, "envpool", "nothing here; it is the environment's own time"),
    ],
)
def test_a_dominant_part_is_named_with_what_would_help(part, compiled, vectorization, advice):
    seconds = {"environment": 1.0, "inference": 1.0, "update": 1.0} | {part: 8.0}
    assert time_split(seconds, compiled, vectorization).endswith(f"; what would help: {advice}")
    assert f"{part} {8 / sum(seconds.values()):.0%}" in time_split(seconds, compiled, vectorization)


def test_a_run_without_time_has_a_split_too():
    assert time_split(dict.fromkeys(("environment", "inference", "update"), 0.0), False, "auto").startswith(
        "environment 0%"
    )

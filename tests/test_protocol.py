"""The protocol of Atari runs: what differs is said, what is unknown is not."""

import pytest

from ppo.compare.protocol import differences, of_run, published
from ppo.errors import UsageError

CLIPS, STICKY = "training clips rewards to ± 1", "the last action repeats with probability 0.25 (sticky actions)"
OURS = {"env_kwargs": "{}", "clip_rewards": "1.0"}  # of the preset


@pytest.mark.parametrize(
    ("env_id", "settings", "expected"),
    [
        ("PongNoFrameskip-v4", OURS, []),
        ("ALE/Pong-v5", OURS, [(STICKY, "no sticky actions")]),
        ("PongNoFrameskip-v0", OURS, [(STICKY, "no sticky actions")]),
        ("ALE/Pong-v5", OURS | {"env_kwargs": "{'repeat_action_probability': 0}"}, []),
        ("PongNoFrameskip-v4", OURS | {"clip_rewards": "0.0"}, [("training does not clip rewards", CLIPS)]),
        ("PongNoFrameskip-v4", OURS | {"clip_rewards": "5"}, [("training clips rewards to ± 5", CLIPS)]),
        (
            "PongNoFrameskip-v4", OURS | {"env_kwargs": "{'life_loss_info': False}"},
            [("values run on after the end of a life", "the end of a life ends the value")],
        ),
        ("PongNoFrameskip-v4", OURS | {"env_kwargs": "{'frameskip': 2}"}, [("2 frames a decision", "4 frames a decision")]),
        ("ALE/Pong-v5", {"exp_name": "ppo_atari"}, [(STICKY, "no sticky actions")]),  # another library's
        ("ALE/Pong-v5", {}, [(STICKY, "no sticky actions")]),
    ],
)  # fmt: skip
def test_a_run_is_told_from_the_published_protocol(env_id, settings, expected):
    assert differences(of_run(env_id, settings), published("PongNoFrameskip-v4")) == expected


def test_returns_of_a_run_before_clip_rewards_were_clipped_by_ale():
    found = differences(of_run("ALE/Pong-v5", {"env_kwargs": "{}"}), published("ALE/Pong-v5"))
    assert found[0] == ("returns are sums of clipped rewards", "returns are raw")
    raw = differences(of_run("ALE/Pong-v5", {"env_kwargs": "{'reward_clipping': False}"}), published("ALE/Pong-v5"))
    assert raw[0] == ("training does not clip rewards", CLIPS)


def test_arguments_that_are_not_python_are_one_sentence():
    with pytest.raises(UsageError, match=r"the settings of a run of ALE/Pong-v5 cannot be read: env_kwargs = {'a"):
        of_run("ALE/Pong-v5", {"env_kwargs": "{'a"})

"""Arguments of Atari games: another game, unknown ones, and numbers that ALE cannot play with."""

import pytest
from gymnasium.envs.registration import EnvSpec

from ppo import UsageError
from ppo.envs.atari_arguments import LEAST, check_arguments, check_game


def test_another_game_than_the_ids_is_refused():
    spec = EnvSpec("ALE/Pong-v5", entry_point="ale_py.env:AtariEnv", kwargs={"game": "pong"})
    for kwargs in ({}, {"game": "pong"}, {"task": "pong"}):
        check_game(spec, kwargs)
    check_game(EnvSpec("Maze-v0", entry_point="a:B"), {"game": "chess"})
    for name in ("game", "task"):
        with pytest.raises(UsageError, match=f"{name} = 'breakout' is another game than ALE/Pong-v5; leave it out"):
            check_game(spec, {name: "breakout"})


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("change", [-1, 0.5, None])
def test_numbers_with_which_ale_would_hang_or_end_each_game_are_refused(name, change):
    value = LEAST[name] + change if change else str(LEAST[name])
    check_arguments({*LEAST, "life_loss_info"}, {"life_loss_info": True, name: LEAST[name]})
    with pytest.raises(UsageError, match=f"{name} = {value!r} must be a whole number of at least {LEAST[name]}"):
        check_arguments({*LEAST, "life_loss_info"}, {"life_loss_info": True, name: value})

"""The search space of `ppo tune`: what a TOML file may say, and that every space of the package fits its presets."""

import pytest

from ppo.config import Config
from ppo.config.presets import preset
from ppo.errors import UsageError
from ppo.tuning.space import Choice, Range, read_space

BASE = Config().replace({"env_id": "CartPole-v1", "gamma": 0.98, "learning_rate": 5e-3})


def read(tmp_path, text):
    file = tmp_path / "space.toml"
    file.write_text(text)
    return read_space(file, BASE, "control")


def test_lists_and_ranges_and_the_base_value_is_always_among_them(tmp_path):
    space = read(tmp_path, "gamma = [0.99, 0.995]\nlearning_rate = {low = 1e-5, high = 1e-3, log = true}\n"
                 "update_epochs = {low = 2, high = 20}\nhidden_sizes = [[64, 64], [256]]\nanneal_lr = [true, false]\n")  # fmt: skip
    assert space == {
        "gamma": Choice((0.98, 0.99, 0.995), 0.98),
        "learning_rate": Range(1e-5, 5e-3, True, 5e-3),
        "update_epochs": Range(2, 20, False, BASE.update_epochs),
        "hidden_sizes": Choice(([], [64, 64], [256]), []),
        "anneal_lr": Choice((True, False), True),
    }


def test_a_value_in_two_spellings_is_one(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('gamma = ["adaptive", 0.99]\nlearning_rate = ["5e-3 ->  1e-4", 5e-3]\n')
    space = read_space(file, BASE.replace({"gamma": "adaptive"}), "control")
    adaptive = "adaptive from 0.995 between 0.9 and 0.995"
    assert space == {
        "gamma": Choice((adaptive, 0.99), adaptive),
        "learning_rate": Choice(("0.005 -> 0.0001", 0.005), 0.005),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no setting"),
        ("gama = [0.9]", "unknown key gama in .*; did you mean gamma?"),
        ("gamma = [1.5]", "gamma = 1.5 .*out of range"),
        ("gamma = []", "does not describe values: it is an empty list; give a list of them, or a range"),
        ("gamma = 0.9", "does not describe values: it is one value, which does not vary; give a list"),
        ("gamma = {low = 0.9}", "does not describe values: high is missing"),
        ("gamma = {low = 0.9, high = 1, step = 0.1}", "does not describe values: step is unknown"),
        ("gamma = {low = 0.99, high = 0.9}", "does not describe values: low is not below high"),
        ("gamma = {low = 0.9, high = 'x'}", "does not describe values: low and high must be finite numbers"),
        ("gamma = {low = 0.9, high = 1, log = 1}", "does not describe values: log must be true or false"),
        ("ent_coef = {low = 0.0, high = 0.1, log = true}", "values: low must be positive with log = true"),
        ("ent_coef = {low = 1e-4, high = 0.1, log = true}", "ent_coef is 0.0 without tuning, which has no logarithm"),
        ("log_std_init = {low = -2.0, high = 0.0}", "log_std_init is 'auto' without tuning, which lies in no range"),
        ("num_steps = [1.5]", "num_steps = 1.5 in .* is not a whole number"),
        ("seed = [1, 2]", "seed in .* is the same in all trials; give it as a flag"),
        ("gamma = [", "cannot read settings from"),
    ],
)
def test_what_describes_no_values_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)
    with pytest.raises(UsageError, match=r"cannot read settings from absent\.toml"):
        read_space(tmp_path.__class__("absent.toml"), BASE, "control")


@pytest.mark.parametrize(
    ("env_id", "kind"), [("CartPole-v1", "control"), ("LunarLanderContinuous-v3", "control"), ("ALE/Pong-v5", "pixels"),
                         ("text/RandomWalks-v0", "text")],
)  # fmt: skip
def test_the_spaces_of_the_package_fit_the_presets(env_id, kind):
    base = preset(env_id)
    space = read_space(None, base, kind)
    assert len(space) >= 6
    assert all(
        dimension.default == base.to_json()[name] or name == "learning_rate" for name, dimension in space.items()
    )

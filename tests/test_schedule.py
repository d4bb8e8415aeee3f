"""Schedules: a text is a function of the share of the budget, survives every way into a config, or is refused in one sentence."""

import json
import math

import pytest
from command_line import refused

from ppo import Config, UsageError
from ppo.cli import main as cli
from ppo.config.schedule import LEARNING_RATE, Point, Schedule, read_schedule
from ppo.config.values import read_toml


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8 -> 0", {0: 8, 0.25: 6, 0.5: 4, 0.75: 2}),
        ("8 -> 4 at 0.5", {0: 8, 0.25: 6, 0.5: 4, 0.9: 4}),
        ("0 -> 8 at 0.25 -> 4", {0: 0, 0.125: 4, 0.25: 8, 0.625: 6}),  # a warm-up
        ("8 -> 0 cosine", {0: 8, 0.25: 4 + 4 * math.sqrt(0.5), 0.5: 4, 0.75: 4 - 4 * math.sqrt(0.5)}),
        ("8 -> 4 step at 0.5 -> 1 step at 0.75", {0: 8, 0.49: 8, 0.5: 4, 0.74: 4, 0.75: 1, 0.99: 1}),
        ("8 -> 4 linear at 0.5 -> 2 cosine at 1", {0.25: 6, 0.75: 3}),
        ("adaptive from 1e-3", {0: 1e-3, 0.9: 1e-3}),
    ],
)
def test_a_schedule_is_a_function_of_the_share_of_the_budget(text, values):
    schedule = read_schedule(text, LEARNING_RATE)
    assert {share: schedule.at(share) for share in values} == pytest.approx(values)
    assert not schedule.constant


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (Schedule((Point(0.9),)), (0.9, 0.9)),
        (Schedule((Point(8), Point(4, 0.5))), (4, 4)),
        (read_schedule("adaptive from 1e-3 between 1e-4 and 1e-2", LEARNING_RATE), (1e-4, 1e-2)),
    ],
)
def test_a_schedule_says_between_which_numbers_it_ends(schedule, ends):
    assert (schedule.lowest_end, schedule.highest_end) == ends


@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.7])
def test_a_line_to_zero_has_the_bits_of_annealing(share):
    assert read_schedule("0.0007 -> 0").at(share) == 0.0007 * (1 - share)


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [
        ("learning_rate", "adaptive", "adaptive from 0.0003 between 1e-06 and 0.01"),
        ("learning_rate", "adaptive between 1e-5 and 1", "adaptive from 0.0003 between 1e-05 and 1"),
        ("gamma", "adaptive", "adaptive from 0.995 between 0.9 and 0.995"),
        ("gamma", "adaptive from 0.95", "adaptive from 0.95 between 0.9 and 0.995"),
        ("gamma", "adaptive between 0 and 1", "adaptive from 0.995 between 0 and 1"),
        ("gamma", "adaptive between 0.5 and 0.9", "adaptive from 0.9 between 0.5 and 0.9"),
        ("learning_rate", "adaptive between 0.1 and 1", "adaptive from 0.1 between 0.1 and 1"),
    ],
)
def test_what_a_text_that_adapts_leaves_out_is_the_settings_own(name, text, written):
    config = Config(**{name: text})
    assert config.to_json()[name] == written
    assert Config().replace(config.to_json()) == config == Config(**{name: getattr(config, name)})
    assert cli._parse(["train", f"--{name.replace('_', '-')}", text], Config()).settings == config


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("3e-4", "0.0003"),
        ("3e-4->0", "0.0003 -> 0"),
        (" 0.2  ->  5e-2 linear at 1 ", "0.2 -> 0.05"),
        ("1 -> 2 cosine at .5 -> 3 step at 0.75", "1 -> 2 cosine at 0.5 -> 3 step at 0.75"),
        ("adaptive", "adaptive from 0.0003 between 1e-06 and 0.01"),
        ("adaptive between 1e-5 and 1", "adaptive from 0.0003 between 1e-05 and 1"),
    ],
)
def test_a_schedule_is_written_as_it_is_read(text, written):
    schedule = read_schedule(text, LEARNING_RATE)
    assert str(schedule) == written
    assert read_schedule(str(schedule), LEARNING_RATE) == schedule


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3e-4 -> ", "has -> without a number on each side; write START -> VALUE"),
        ("-> 0", "has -> without a number on each side"),
        ("a -> b", "'a' is not a number"),
        ("1 -> 0 at 2", "at 2 is not a share of the budget; choose a number above 0 and at most 1"),
        ("1 -> 0 at 0", "at 0 is not a share of the budget"),
        ("1 -> 0 at nan", "at nan is not a share of the budget"),
        ("1 -> 0 at half", "'half' is not a number"),
        ("1 -> 0 -> 2", "'0' does not say when; write `at SHARE` behind it, as in 0 at 0.5"),
        ("1 -> 0 step", "'0 step' does not say when"),
        ("1 -> 0 at 0.5 -> 2 at 0.25", "0.25 is not after 0.5; write the shares in increasing order"),
        ("1 -> 0 slowly", "'0 slowly' is not understood; write START -> VALUE"),
        ("adaptive from", "'adaptive from' is not understood; write adaptive, then perhaps from START, then"),
        ("adaptive from 1", "begins outside of its bounds; choose a start from 1e-06 to 0.01"),
    ],
)
def test_a_text_that_is_no_schedule_is_named_by_every_way_into_a_config(text, sentence):
    for make in (lambda: Config(learning_rate=text), lambda: Config().replace({"learning_rate": text})):
        with pytest.raises(UsageError) as caught:
            make()
        assert str(caught.value).startswith("learning_rate = ")
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


def test_python_toml_json_and_the_command_line_make_the_same_config(tmp_path):
    (tmp_path / "a.toml").write_text('learning_rate = "1e-3 -> 0 cosine"\nclip_coef = "0.2 -> 0.1"\nent_coef = 1\n')
    config = Config(learning_rate="1e-3 -> 0 cosine", clip_coef="0.2 -> 0.1", ent_coef="1")
    assert config.learning_rate == Schedule((Point(0.001), Point(0.0, 1.0, "cosine")))
    assert (config.ent_coef, type(config.ent_coef)) == (1.0, float)
    assert Config().replace(read_toml(tmp_path / "a.toml")) == config
    assert json.loads(json.dumps(config.to_json()))["learning_rate"] == "0.001 -> 0 cosine"
    assert Config().replace(json.loads(json.dumps(config.to_json()))) == config
    flags = ["--learning-rate", "1e-3 -> 0 cosine", "--clip-coef=0.2 -> 0.1", "--ent-coef", "1"]
    settings = cli._parse(["train", *flags], Config()).settings
    assert settings == config


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--learning-rate", "3e-4 -> "], "error parsing --learning-rate: '3e-4 ->' has -> without a number on each"),
        (
            ["--num-envs", "8 -> 4"],
            "error parsing --num-envs: '8 -> 4' is a schedule, but this setting must be a whole",
        ),
    ],
)
def test_the_command_line_refuses_in_one_sentence(capsys, flags, sentence):
    assert refused(capsys, "train", *flags).startswith(sentence)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learning_rate": "-1 -> 0"}, "learning_rate = -1 -> 0: -1.0 is out of range; choose a positive number"),
        ({"learning_rate": "0 -> 0"}, "learning_rate = 0 -> 0: 0.0 is out of range; choose a positive number"),
        ({"ent_coef": "0.1 -> -0.1"}, "ent_coef = 0.1 -> -0.1: -0.1 is too small; choose at least 0"),
        ({"clip_coef": "nan -> 1"}, "clip_coef = nan -> 1: nan is out of range"),
        (
            {"learning_rate": "1 -> 0", "anneal_lr": False},
            "anneal_lr = False says that the learning rate is constant, but",
        ),
        (
            {"learning_rate": "adaptive between 1 and 0.1"},
            "has its bounds the wrong way round; write between 0.1 and 1",
        ),
        ({"learning_rate": "adaptive"}, "learning_rate = adaptive needs a target; add --target-kl 0.01, for example"),
        (
            {"clip_coef": "adaptive"},
            "clip_coef = 'adaptive': it has nothing to adapt to; choose a number or a schedule",
        ),
        ({"gamma": "adaptive from 0.5"}, "begins outside of its bounds; choose a start from 0.9 to 0.995"),
        (
            {"gamma": "adaptive between 0.9 and 1.1"},
            "between 0.9 and 1.1: 1.1 is out of range; choose a number from 0 to 1",
        ),
        (
            {"learning_rate": "adaptive", "target_kl": 0.01, "update_epochs": 1, "num_minibatches": 1},
            "learning_rate = adaptive has no effect with one optimizer step an iteration",
        ),
        (
            {"kl_coef": "0.1 -> 0", "kl_target": 2.0, "reference": "RUN"},
            "but kl_coef = 0.1 -> 0; choose a positive number",
        ),
        ({"target_entropy": 0.0}, "target_entropy = 0.0 adapts ent_coef from its value on, but ent_coef = 0.0; choose"),
        ({"target_entropy": 0.0, "ent_coef": "1 -> 0"}, "but ent_coef = 1 -> 0; choose a positive number for ent_coef"),
    ],
    ids=str,
)
def test_a_schedule_out_of_range_or_against_another_setting_is_named(settings, sentence):
    with pytest.raises(UsageError) as caught:
        Config(**settings).validate()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "1e-3 -> 0 at 0.5"}, {"learning_rate": "0 -> 1e-3 at 0.1 -> 0"}, {"ent_coef": "0 -> 0"},
        {"learning_rate": "adaptive", "target_kl": 0.01, "anneal_lr": False},
        {"target_entropy": -3.0, "ent_coef": 0.01}, {"gamma": "adaptive"},
    ],
    ids=str,
)  # fmt: skip
def test_schedules_at_the_edge_are_good(settings):
    Config(**settings).validate()


@pytest.mark.parametrize("text", ["adaptive form 1", "adaptive from 0.5", "adaptively"])
def test_an_error_in_a_text_that_adapts_names_the_file(text):
    with pytest.raises(UsageError, match=rf"gamma = '{text}' in FILE: '{text}' (is not understood|begins outside)"):
        Config().replace({"gamma": text}, "FILE")


def test_a_schedule_for_a_setting_of_toml_that_cannot_change_is_named():
    with pytest.raises(UsageError, match=r"gae_lambda = '1 -> 0' in FILE is not a number; this setting cannot change"):
        Config().replace({"gae_lambda": "1 -> 0"}, "FILE")

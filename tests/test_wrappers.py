"""Wrappers around each copy of an environment: applied in order, and refused in one sentence where they do not fit."""

import re
import shlex
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from command_line import ran, refused
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from ppo import Config, Trainer, UsageError, evaluate, load_policy, make_envs
from ppo.cli import main as cli
from ppo.envs.wrappers import with_wrappers
from ppo.machine.imports import only_trusted

STACK = ("gymnasium.wrappers:FrameStackObservation", {"stack_size": 3})
REPEAT = ("gymnasium.wrappers:RepeatAction", {"num_repeats": 2})
PAGE = (Path(__file__).parents[1] / "docs/environments.md").read_text("utf-8")
RECIPES = re.findall(r"^### Recipes\n.*?(?=\n##)", PAGE, re.M | re.S)
COMMANDS = re.findall(r"`(ppo train .*?)`", RECIPES[0])
SMALL = "--num-envs 1 --num-steps 4 --num-minibatches 1 --update-epochs 1 --total-timesteps 4 --eval-episodes 0 --hidden-sizes 8"
MINE = """
import gymnasium

class Doubled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward

class Broken(gymnasium.Wrapper):
    def reset(self, **kwargs):
        raise KeyError("speed")

class Misfit(gymnasium.ObservationWrapper):
    def observation(self, obs):
        return obs[:2]

class Spaceless(gymnasium.Wrapper):
    observation_space = 3

function = Doubled.reward

def __getattr__(name):
    if name == "Lazy":
        import no_such_package
    raise AttributeError(name)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_wrappers.py").write_text(MINE)
    return tmp_path


def refusal(*wrappers, env_id="CartPole-v1", **options):
    """The sentence that make_envs refuses with; it is one line."""
    with pytest.raises(UsageError) as caught:
        make_envs(env_id, 2, wrappers=wrappers, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_wrapper_is_innermost():
    one, other = (make_envs("CartPole-v1", 1, "sync", wrappers=order) for order in ([STACK, REPEAT], [REPEAT, STACK]))
    for envs in (one, other):
        assert envs.single_observation_space.shape == (3, 4)
        envs.reset(seed=0)
    first, second = (envs.step(np.array([1]))[0][0] for envs in (one, other))
    # Stacked inside, both steps of the repeated action are in the stack; outside, only the second one is.
    assert len(np.unique(first[:, 1])) == 3
    assert len(np.unique(second[:, 1])) == 2
    assert first[-1].tolist() == second[-1].tolist()


@pytest.mark.parametrize(("vectorization", "kind"), [("auto", SyncVectorEnv), ("async", AsyncVectorEnv)])
def test_an_environment_with_its_own_vector_environment_is_copied_when_it_is_wrapped(vectorization, kind):
    envs = make_envs("CartPole-v1", 2, vectorization, wrappers=[STACK])
    try:
        assert isinstance(envs, kind)
        assert envs.reset(seed=0)[0].shape == (2, 3, 4)
    finally:
        envs.close()


def test_a_list_becomes_a_tuple_and_the_registered_specification_stays():
    spec = gymnasium.spec("CartPole-v1")
    wrapped = with_wrappers(spec, [("gymnasium.wrappers:ReshapeObservation", {"shape": [2, [2]]})])
    assert wrapped.additional_wrappers[0].kwargs == {"shape": (2, (2,))}
    assert spec.additional_wrappers == ()
    assert with_wrappers(spec, []) is spec


@pytest.mark.parametrize(
    ("name", "kwargs", "sentence"),
    [
        ("absent_module:Frames", {}, "wrap = 'absent_module:Frames': there is no module absent_module; is it on PYTHONPATH?"),
        ("my_wrappers:Absent", {}, "wrap = 'my_wrappers:Absent': module my_wrappers has no Absent"),
        ("gymnasium.wrappers:FrameStack", {}, "module gymnasium.wrappers has no FrameStack; did you mean FrameStackObservation?"),
        ("my_wrappers:function", {}, "wrap = 'my_wrappers:function' is not a gymnasium.Wrapper; make it a subclass"),
        ("gymnasium:Env", {}, "wrap = 'gymnasium:Env' is not a gymnasium.Wrapper"),
        ("gymnasium.wrappers.vector:ClipReward", {}, "wrap = 'gymnasium.wrappers.vector:ClipReward' is not a gymnasium.Wrapper"),
        (STACK[0], {"size": 4}, f"wrap = {STACK[0]!r} with {{'size': 4}} cannot be made: TypeError: "),
        (STACK[0], {}, f"wrap = {STACK[0]!r} cannot be made: TypeError: "),
        (STACK[0], {"stack_size": 0}, "cannot be made: ValueError: The stack_size needs to be greater than zero"),
        ("gymnasium.wrappers:GrayscaleObservation", {}, "wrap = 'gymnasium.wrappers:GrayscaleObservation' cannot be made: "),
        ("my_wrappers:Broken", {}, "wrap = 'my_wrappers:Broken' cannot be reset: KeyError: 'speed'"),
        ("my_wrappers:Spaceless", {}, "wrap = 'my_wrappers:Spaceless' has no observation_space; set it to a gymnasium.spaces.Space"),
        ("my_wrappers:Lazy", {}, "wrap = 'my_wrappers:Lazy' cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("my_wrappers:Misfit", {}, "wrap = 'my_wrappers:Misfit' returns an observation that does not fit its space: "),
        ("gymnasium.wrappers:NormalizeObservation", {}, "keeps statistics that no checkpoint holds; use --normalize-obs"),
        ("gymnasium.wrappers:NormalizeReward", {"gamma": 0.9}, "keeps statistics that no checkpoint holds; use --scale-rewards"),
    ],
)  # fmt: skip
def test_a_wrapper_that_does_not_fit_is_named_with_its_reason(name, kwargs, sentence):
    assert sentence in refusal(STACK, (name, kwargs))


@pytest.mark.parametrize("vectorization", ["vector_entry_point", "envpool"])
def test_a_vector_environment_that_makes_its_own_copies_takes_no_wrapper(vectorization):
    assert refusal(STACK, vectorization=vectorization) == (
        f"wrap = {STACK[0]!r} does not go with vectorization = {vectorization!r}, whose environments cannot be wrapped one by "
        "one; use --vectorization sync or async"
    )


def test_an_environment_without_single_ones_takes_no_wrapper():
    assert refusal(STACK, env_id="text/Copy-v0") == (
        f"wrap = {STACK[0]!r} cannot be put around text/Copy-v0, a vector environment without single ones; leave out wrap"
    )


def test_a_wrapper_in_the_running_script_is_refused(monkeypatch):
    import my_wrappers

    monkeypatch.delitem(__import__("sys").modules, "my_wrappers")
    monkeypatch.setattr("ppo.machine.imports._running_script", lambda module: my_wrappers)
    assert "is in the running script; move the class to a module of its own" in refusal(("my_wrappers:Doubled", {}))


def test_an_error_of_the_environment_itself_is_not_blamed_on_the_wrapper():
    def entry_point():
        raise ZeroDivisionError

    spec = EnvSpec("Faulty-v9", entry_point=entry_point)
    gymnasium.registry["Faulty-v9"] = spec
    try:
        with pytest.raises(ZeroDivisionError):
            make_envs("Faulty-v9", 2, wrappers=[STACK])
    finally:
        del gymnasium.registry["Faulty-v9"]


def test_a_step_that_fails_without_the_wrapper_too_is_not_blamed_on_the_wrapper(monkeypatch):
    class Faulty(gymnasium.Env):
        observation_space, action_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            raise ZeroDivisionError

    monkeypatch.setitem(gymnasium.registry, "Faulty-v8", EnvSpec("Faulty-v8", Faulty))
    envs = make_envs("Faulty-v8", 1, "sync", wrappers=[("my_wrappers:Doubled", {})])
    envs.reset(seed=0)
    with pytest.raises(ZeroDivisionError):
        envs.step(np.array([0]))


def test_a_run_of_another_person_needs_trust_for_its_wrappers():
    with (
        only_trusted("runs/theirs", False),
        pytest.raises(UsageError, match=r"needs the module my_wrappers, .* --trust"),
    ):
        make_envs("CartPole-v1", 1, wrappers=[("my_wrappers:Doubled", {})])


def test_a_run_keeps_its_wrappers_and_its_time_limit_in_evaluation_and_on_resume(capsys):
    words = f"train CartPole-v1 {SMALL} --wrap my_wrappers:Doubled --max-episode-steps 6 --vectorization sync"
    words += " --wrap gymnasium.wrappers:FrameStackObservation stack_size=2 padding_type zero"
    out = ran(capsys, *words.split())
    assert "wrapper  my_wrappers:Doubled\n" in out
    assert "wrapper  gymnasium.wrappers:FrameStackObservation stack_size=2 padding_type=zero\n" in out
    run = "runs/CartPole-v1__ppo__s1"
    report = evaluate(run, 3)
    assert [(e.length, e.episode_return) for e in report.episodes] == [(6, 12.0)] * 3
    assert {e.length for e in evaluate(run, 3, env_kwargs={"max_episode_steps": 4}).episodes} == {4}
    assert load_policy(run).obs_space.shape == (2, 4)
    trainer = Trainer.resume(run, {"total_timesteps": 8, "max_episode_steps": 5})
    assert trainer.config.wrap == ("my_wrappers:Doubled", f"{STACK[0]} stack_size=2 padding_type=zero")
    assert trainer.config.max_episode_steps == 5
    assert trainer.envs.envs[0].max_episode_steps == 5
    trainer.close()


def test_toml_has_a_list_of_wrappers_and_flags_replace_it(tmp_path):
    (tmp_path / "settings.toml").write_text(f'wrap = ["{STACK[0]} stack_size=3"]\nmax_episode_steps = 9\n')
    words = ["train", "CartPole-v1", "--config", "settings.toml"]
    settings = cli.parse(words).settings
    assert (settings.wrap, settings.max_episode_steps) == ((f"{STACK[0]} stack_size=3",), 9)
    assert cli.parse([*words, "--wrap", "a:B", "n", "3", "--wrap", "c:D"]).settings.wrap == ("a:B n=3", "c:D")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("check CartPole-v1 --wrap FrameStack", "error parsing --wrap: it must begin with package.module:Class; see"),
        ("train CartPole-v1 --wrap", "error parsing --wrap: it must begin with package.module:Class; see"),
        ("train CartPole-v1 --wrap a:B stack_size", "error parsing --wrap: stack_size has no value; write KEY VALUE or"),
        ("train CartPole-v1 --wrap a:B", "wrap = 'a:B': there is no module a; is it on PYTHONPATH?"),
        ("check CartPole-v1 --wrap gymnasium.wrappers:RepeatAction num_repeats 0", "cannot be made: ValueError: The num_repeats"),
        ("check CartPole-v1 --max-episode-steps -1", "max_episode_steps = -1 is too small; choose at least 0"),
        ("train CartPole-v1 --config bad.toml", "wrap = 'a:B \"c': a quotation mark is open"),
        ("train CartPole-v1 --config worse.toml", "wrap = 4 in worse.toml is not a list of texts"),
        ("train CartPole-v1 --config lone.toml", 'is not a list of texts; write ["own:X"]'),
        ("train CartPole-v1 --wrap gymnasium.wrappers:TransformReward func abs",
         "wrap = 'gymnasium.wrappers:TransformReward' with {'func': 'abs'} cannot be stepped: TypeError: "),
        ("resume X --wrap a:B", "wrap is fixed when a run begins"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_sentence(words, sentence, capsys, tmp_path):
    (tmp_path / "bad.toml").write_text("wrap = ['a:B \"c']")
    (tmp_path / "worse.toml").write_text("wrap = 4")
    (tmp_path / "lone.toml").write_text('wrap = "own:X"')
    assert sentence in refused(capsys, *words.split())
    assert not (tmp_path / "runs").exists()


def test_check_looks_at_the_wrapped_environment(capsys):
    words = ["check", "CartPole-v1", "--num-envs", "1", "--steps", "30", "--max-episode-steps", "5", "--wrap"]
    out = ran(capsys, *words, "gymnasium.wrappers:FrameStackObservation", "stack_size", "2")
    assert re.search(r"observation  Box.*\(2, 4\)", out)
    assert "6 ended in 30 steps of 1 environments: 0 terminated, 6 truncated; mean length 5" in out


def test_settings_that_have_no_effect_on_a_vector_environment_of_ones_own_are_refused():
    envs = make_envs("CartPole-v1", 2)
    for setting in ({"wrap": ("my_wrappers:Doubled",)}, {"max_episode_steps": 5}):
        with pytest.raises(UsageError, match="has no effect on a VectorEnv of your own; apply it there"):
            Trainer(Config(**setting), envs)


def test_the_page_has_a_recipe_for_each_common_wish():
    wishes = ("FrameStack", "Grayscale", "Resize", "RepeatAction", "--max-episode-steps", "Flatten")
    assert [wish for wish in wishes if not any(wish in command for command in COMMANDS)] == []


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of Box2D's bindings
@pytest.mark.parametrize("command", COMMANDS)
def test_every_recipe_of_the_page_trains(command, capsys):
    if "Resize" in command:
        pytest.importorskip("cv2")
    out = ran(capsys, *shlex.split(command)[1:], *SMALL.split(), "--compile", "off")
    assert "run folder  runs/" in out

"""Formulas: rewards, recovery, the rules, and what the policy sees."""

import numpy as np
import pytest

from benchmarks import formulas as benchmark
from ppo import errors
from ppo.text import Completion, TokenEnv
from ppo.text.state import remembers, restore, state_of
from ppo.text.tasks.formulas import LONGEST, formulas
from ppo.text.tasks.points import NGUYEN

# Each formula of the benchmark in prefix notation, without powers.
SOLUTIONS = {
    1: "+ x * x + x * x x",
    2: "+ x * x + x * x + x * x x",
    3: "+ x * x + x * x + x * x + x * x x",
    4: "+ x * x + x * x + x * x + x * x + x * x x",
    5: "- * sin * x x cos x / x x",
    6: "+ sin x sin + x * x x",
    7: "log * + x / x x + * x x / x x",
    8: "exp * log x / x + x x",
    9: "+ sin x sin * y y",
    10: "* + sin x sin x cos y",
    11: "exp * y log x",
    12: "+ - * * * x x x x * * x x x - / * y y + / y y / y y y",
}


def completion(task, text):
    return Completion(task.vocabulary, (), tuple(task.vocabulary.encode(text)), ended=True)


@pytest.mark.parametrize("nguyen", NGUYEN)
def test_the_formula_itself_earns_one_and_is_solved(nguyen):
    task = formulas(nguyen)
    own, other = completion(task, SOLUTIONS[nguyen]), completion(task, "* x + x x")
    assert task.score([own, other]) == pytest.approx([1, task.score([other])[0]])
    assert task.score([own, other], "solved").tolist() == [True, False]
    assert task.score([own], "length") == [len(SOLUTIONS[nguyen].split())]


def test_the_reward_is_one_over_one_plus_the_error_in_deviations():
    task = formulas(1)
    x = np.random.default_rng(0).uniform(-1, 1, 20)
    y = x**3 + x**2 + x
    error = np.sqrt(np.mean((2 * x - y) ** 2)) / y.std()
    assert task.score([completion(task, "+ x x")]) == pytest.approx([1 / (1 + error)])
    # log x is undefined at negative points, and an expression without an operand has no value
    assert task.score([completion(task, "log x"), completion(task, "+ x")]).tolist() == [0, 0]
    assert task.score([completion(task, "log x")], "defined").tolist() == [0]


@pytest.mark.parametrize(
    ("begun", "parent", "sibling", "forbidden"),
    [
        ("", "", "", "x end"),  # an expression has at least four tokens
        ("+", "+", "", "end"),
        ("+ x", "+", "x", "x end"),
        ("+ x sin", "sin", "", "sin cos end"),  # and x may end it: four tokens
        ("* exp", "exp", "", "log end"),
        ("* log x", "*", "log", "end"),
        ("* log", "log", "", "exp end"),
        ("+ sin * x", "*", "x", "sin cos end"),
        ("+ sin * x x", "+", "sin", "end"),
        ("+ x exp x", "", "", "+ - * / sin cos exp log x"),  # complete
    ],
)
def test_the_policy_sees_parent_and_sibling_and_the_rules_hold(begun, parent, sibling, forbidden):
    task = formulas(1)
    words = [*task.vocabulary.symbols, "end"]
    unfinished = [completion(task, begun)]
    assert task.features[1](unfinished).tolist() == [[words.index(name or "end") for name in (parent, sibling)]]
    assert [
        word for word, allowed in zip(words, task.mask(unfinished)[0], strict=True) if not allowed
    ] == forbidden.split()


def test_random_sequences_are_complete_expressions_of_4_to_30_tokens():
    env, rng = TokenEnv(formulas(12), 64), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    assert obs["features"].shape == (64, 2)
    lengths = []
    for _ in range(100):
        allowed = obs["action_mask"] * rng.random(obs["action_mask"].shape)
        allowed[:32, :4] *= 3  # long ones
        obs, _, terminations, _, infos = env.step(allowed.argmax(1))
        lengths += infos.get("length", np.zeros(64))[terminations].tolist()
        assert all(completion.ended for completion, _ in env.samples.values())
    assert min(lengths) == 4
    assert max(lengths) == LONGEST


def test_points_of_a_file_take_the_place_of_the_benchmark(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("mass, speed, energy\n" + "\n".join(f"{m},{v},{m * v * v}" for m, v in [(1, 2), (3, 5), (2, 7)]))
    task = formulas(data=str(file))
    assert task.vocabulary.symbols[-2:] == ("mass", "speed")
    assert task.score([completion(task, "* mass * speed speed")], "solved").tolist() == [1]
    with pytest.raises(errors.UsageError, match=r"nguyen = 2 and data = .* are both points to fit; leave out one"):
        formulas(2, str(file))


def test_a_run_is_not_resumed_on_other_points():
    state = state_of(formulas(1))
    restore(formulas(1), state)
    assert not remembers(formulas(1))  # so that several processes may train on it
    with pytest.raises(errors.UsageError, match=r"^the points are not those that the run began with; restore its file"):
        restore(formulas(2), state)
    other = formulas(1)
    other.reward.__self__.training.columns["x"][0] += 1
    with pytest.raises(errors.UsageError, match=r"^the points are not those that the run began with"):
        restore(other, state)


@pytest.mark.parametrize("method", benchmark.METHODS)
def test_the_benchmark_in_small(tmp_path, monkeypatch, method):
    monkeypatch.setattr(benchmark, "RUNS", tmp_path)
    monkeypatch.setattr(benchmark, "STEPS", 16_384)
    (row,) = benchmark.train(method, 1, 1)
    assert not row["solved"]
    assert 200 < row["expressions"] < 2048
    assert 0.1 < row["return"] < 1
    assert row["return"] == pytest.approx(formulas(1).score([completion(formulas(1), row["best"])])[0])
    assert benchmark.train(method, 1, 1) == [row]  # the finished run is taken

"""Every example runs as a newcomer runs it: briefly by default, and with its full budget, which checks its claim, if slow."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
import torch
from gymnasium.spaces import Discrete

import ppo.text
from ppo import export
from ppo.machine import process

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
BRIEF = {  # arguments of main, and whether its result shows that it worked as far as so few steps can
    "own_environment": ({"total_timesteps": 4096}, lambda earned: earned > 15),
    "own_policy": ({"total_timesteps": 4096}, lambda returns: min(returns.values()) > 20),
    "own_text_task": ({"total_timesteps": 8192}, lambda share: share > 0),
    "tensor_envs": ({"total_timesteps": 8192, "num_envs": 128}, lambda mean: mean > 100),
    "rlhf": ({"tokens": 8192, "comparisons": 200}, lambda scores: scores[1] > scores[0] + 0.2),
    "demonstrations": ({"total_timesteps": 2048, "steps": 60_000}, lambda returns: returns["the clone"] > 0 > returns["PPO alone"]),
    "curriculum": ({"total_timesteps": 4096}, lambda digits: digits >= 1),
    "told_critic": ({"total_timesteps": 1920}, lambda returns: all(len(own) == 1 for own in returns.values())),
    "compare_libraries": ({"total_timesteps": 2048}, lambda verdicts: len(verdicts) == 2),
    "huggingface_policy": ({"total_timesteps": 4096}, lambda solved: solved > 0),
    "own_agents": ({"total_timesteps": 4800}, lambda earned: 0 <= earned <= 20),
}  # fmt: skip
FULL = {  # what the docstring claims of the whole run
    "own_environment": lambda earned: earned > 28,
    "own_policy": lambda returns: returns["own_policy:Window"] > 450 > 100 > returns["mlp"],
    "own_text_task": lambda share: share > 0.9,
    "tensor_envs": lambda mean: mean > 475,
    "rlhf": lambda scores: scores[1] > scores[0] + 1.5,
    "demonstrations": lambda returns: (
        min(returns["the clone"], returns["PPO from the clone"]) > 85 > returns["PPO alone"]
    ),
    "curriculum": lambda digits: digits == 8,
    "told_critic": lambda returns: returns[True][0] > returns[False][0],
    "compare_libraries": lambda verdicts: all("no verdict" in text for text in verdicts),
    "huggingface_policy": lambda solved: solved > 0.95,
    "own_agents": lambda earned: earned > 18,
}
NEEDS = {"huggingface_policy": "transformers", "own_agents": "pettingzoo"}  # a package that the extra dev lacks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, with the examples importable, one thread, and the registry as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(process, "cores", lambda: 1)  # threads of small batches wait for each other on a busy machine
    before, modules = set(gymnasium.registry), set(sys.modules)
    yield tmp_path
    for name in set(gymnasium.registry) - before:
        del gymnasium.registry[name]
    for name in {path.stem for path in EXAMPLES.iterdir()} & set(sys.modules) - modules:
        del sys.modules[name]


def test_every_program_has_a_test_and_a_line_in_the_readme():
    assert {*BRIEF, "export_and_play"} == set(PROGRAMS)
    assert BRIEF.keys() == FULL.keys()
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [
        path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb") and path.name not in readme
    ] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_at_most_eighty_lines(name):
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.parametrize("name", BRIEF)
def test_an_example_runs(name, folder, capsys):
    pytest.importorskip(NEEDS.get(name, "ppo"))
    arguments, holds = BRIEF[name]
    result = importlib.import_module(name).main(**arguments)
    assert holds(result), result
    assert capsys.readouterr().out


def test_an_exported_policy_plays(folder):
    module = importlib.import_module("export_and_play")
    assert min(module.play(module.train_and_export(total_timesteps=2048), episodes=2)) > 5


def test_a_model_of_hugging_face_gives_its_own_log_probabilities_and_its_tied_weights_stay_tied(folder):
    pytest.importorskip("transformers")
    make = importlib.import_module("huggingface_policy").HuggingFace
    torch.manual_seed(0)
    policy = make(Discrete(7), Discrete(6), hidden_sizes=(32,), num_layers=2, context=8)
    obs, starts = torch.randint(7, (12, 2)), torch.zeros(12, 2, dtype=torch.bool)
    starts[[0, 5], [0, 1]] = True
    found = policy(obs, policy.initial_state(2), starts)[0].log_probs
    for tokens, rows in ((obs[:8, 0], found[:8, 0]), (obs[5:, 1], found[5:, 1]), (obs[4:, 0], found[11:, 0])):
        expected = policy.model(input_ids=tokens.unsqueeze(0)).logits[0, -len(rows) :, :6].log_softmax(-1)
        torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    small = {
        "hidden_sizes": (16,),
        "context": 6,
        "num_envs": 8,
        "num_steps": 8,
        "num_minibatches": 2,
        "total_timesteps": 256,
    }
    config = ppo.preset("text/Copy-v0", policy="huggingface_policy:HuggingFace")
    with ppo.Trainer(config.replace(small | {"checkpoint_every": 1, "compile": "off", "eval_episodes": 0})) as whole:
        for progress in whole.iterations():
            if progress.iteration == 2:
                shutil.copytree(whole.run_dir, "cut/run")
    resumed = ppo.Trainer.resume("cut/run")
    resumed.train()
    for trainer in (whole, resumed):
        assert trainer.policy.model.lm_head.weight is trainer.policy.model.transformer.wte.weight
    assert torch.equal(whole.learner.policy.vector, resumed.learner.policy.vector)
    assert export(whole.run_dir).difference == 0  # it compares the actions
    assert 0.9 < export(whole.run_dir, quantize="int8").agreement <= 1


def test_the_cells_of_the_notebook_run(folder):
    cells = json.loads((EXAMPLES / "train_and_plot.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code = "\n".join(sources).replace("50_000", "4096")
    assert "4096" in code
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert len(namespace["returns"]) == 32  # iterations of 8 environments x 16 steps
    assert len(namespace["frames"]) == namespace["total"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_an_example_reaches_what_its_docstring_claims(name, folder):
    pytest.importorskip(NEEDS.get(name, "ppo"))
    result = importlib.import_module(name).main()
    assert FULL[name](result), result


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("export_and_play", 1), ("curriculum", 2)])
def test_a_program_runs_from_any_folder_and_again_without_a_warning(name, times, folder):
    for _ in range(times):
        done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list((folder / "runs").iterdir())) == times

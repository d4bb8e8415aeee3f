"""Molecules: tokens, the memory of what was written, and learning from a small file."""

import json
from importlib.metadata import PackageNotFoundError

import pytest

from benchmarks import molecules as benchmark
from benchmarks.pages import render
from benchmarks.runs import settings
from ppo import Trainer, UsageError, preset
from ppo.text import Completion
from ppo.text.state import restore, state_of
from ppo.text.tasks import molecules as module
from ppo.text.tasks.molecules import TOKEN, Laboratory, key, molecules, vocabulary_of

LINES = ["CCO", "CCN", "CC(=O)O", "c1ccccc1Cl", "C[nH]Br", "CCCC", "CCF", "OCC(N)O", "CNC", "COC", "C#N", "C=O"]
SCORES = {"C": 0.5, "O": 0.25}
VOCABULARY = vocabulary_of([*LINES, "X"])


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Replace chemistry: a text is a molecule unless it has an X, and is canonical in alphabetic order; return a file of SMILES."""

    def judge(text):
        return ("", 0.0) if "X" in text or not text else ("".join(sorted(text)), SCORES.get(text[0], 1.0))

    monkeypatch.setattr(module, "judge", lambda reward, target: judge)
    monkeypatch.setattr(module, "canonical", lambda text: judge(text)[0])
    (tmp_path / "lines.smi").write_text("\n".join(LINES) + "\n")
    return str(tmp_path / "lines.smi")


def written(text, ended=True):
    return Completion(VOCABULARY, (), tuple(VOCABULARY.encode(text)), ended)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Clc1ccc(Br)cc1", ["Cl", "c", "1", "c", "c", "c", "(", "Br", ")", "c", "c", "1"]),
        ("C[C@@H](N)[nH]", ["C", "[C@@H]", "(", "N", ")", "[nH]"]),
        ("C%12CC%12=O", ["C", "%12", "C", "C", "%12", "=", "O"]),
        ("CB#C", ["C", "B", "#", "C"]),
    ],
)
def test_tokens_are_atoms_bonds_branches_and_rings(text, tokens):
    assert TOKEN.findall(text) == tokens
    assert VOCABULARY.decode(VOCABULARY.encode("CC(=O)Cl")) == "CC(=O)Cl"


def test_a_repeated_molecule_earns_less_in_training_only(stand_in):
    task = molecules(smiles=stand_in)
    batch = [written("CO"), written("OC"), written("CX"), written("N"), written("CO", ended=False)]
    assert task.score(batch).tolist() == [0.5, 0.125, 0, 1, 0]  # OC is CO again: 0.25 / 2
    assert task.score(batch, "score").tolist() == [0.5, 0.25, 0, 1, 0]
    assert task.score(batch, "validity").tolist() == [1, 1, 0, 1, 0]
    assert task.score(batch, "uniqueness").tolist() == [0, 0, 0, 1, 0]
    assert task.score([written("CO")]).tolist() == [0.5 / 3]
    task.reward.__self__.set_training(False)
    assert task.score([written("CO")]).tolist() == [0.5]
    assert molecules(smiles=stand_in, divide_repeats=False).score([written("N"), written("N")]).tolist() == [1, 1]


def test_a_molecule_of_the_training_set_is_not_novel():
    laboratory = Laboratory(lambda text: (text, 1.0), LINES, True)
    assert laboratory.novelty([written("CCO"), written("OCC"), written("CCN", ended=False)]) == [False, True, False]


def test_a_file_may_have_names_and_its_molecules_are_known_however_they_are_written(stand_in, tmp_path):
    (tmp_path / "named.smi").write_text("OC ethanol\nN\tammonia\n\nOCN\n")
    task = molecules(smiles=str(tmp_path / "named.smi"))
    assert [text for _, text in task.demonstrate] == ["OC", "N", "OCN"]
    assert task.score([written("CO"), written("NCO"), written("CC")], "novelty").tolist() == [0, 0, 1]
    (tmp_path / "wrong.smi").write_text("smiles\nCXO\n")
    with pytest.raises(UsageError, match=r"^'CXO', the molecule 2 of .*wrong.smi, is not a SMILES that RDKit can read"):
        molecules(smiles=str(tmp_path / "wrong.smi"))


def test_the_memory_survives_a_checkpoint(stand_in):
    task, other = molecules(smiles=stand_in), molecules(smiles=stand_in)
    assert state_of(task)["task.reward['times']"].shape == (2, 0)
    task.score([written("CO"), written("N"), written("CO")])
    restore(other, state_of(task))
    assert other.reward.__self__.times == {key("CO"): 2, key("N"): 1}
    assert other.score([written("OC")]).tolist() == [0.25 / 3]
    assert -(2**63) <= key("CO") < 2**63
    assert key("c1ccccc1") == -707436388584347209  # b2sum -l 64


def test_a_resumed_run_is_the_run_that_went_on(stand_in, tmp_path):
    small = {
        "num_envs": 4,
        "num_steps": 16,
        "num_minibatches": 1,
        "state_size": 8,
        "hidden_sizes": [8],
        "threads": 1,
        "compile": "off",
    }
    often = {
        "checkpoint_every": 1,
        "eval_episodes": 3,
        "anneal_lr": False,
        "update_epochs": 1,
        "runs_dir": str(tmp_path),
    }
    config = preset("text/Molecules-v0").replace(small | often | {"env_kwargs": {"smiles": stand_in, "max_tokens": 12}})
    whole, cut = (
        Trainer(config.replace({"exp_name": name, "total_timesteps": steps}))
        for name, steps in (("whole", 192), ("cut", 128))
    )
    whole.train()
    resumed = Trainer.resume(cut.train(), {"total_timesteps": 192})
    resumed.train()
    memories = [trainer.envs.unwrapped.task.reward.__self__.times for trainer in (whole, cut, resumed)]
    assert memories[0] == memories[2] != memories[1] != {}
    for a, b in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert a.equal(b)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"smiles": "none.smi"}, "cannot read none.smi"),
        ({"max_tokens": 3}, r"no molecule of .*lines.smi has fewer than max_tokens = 3 tokens"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, stand_in):
    with pytest.raises(UsageError, match=sentence):
        molecules(**{"smiles": stand_in} | arguments)


def test_without_the_data_the_error_says_what_to_install(stand_in, monkeypatch):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ppo.text.package_data.distribution", not_installed)
    with pytest.raises(
        UsageError, match=r"needs the data of the package molsets; pip install --no-deps molsets==0\.3\.1$"
    ):
        molecules()


@pytest.mark.slow
def test_the_benchmark_in_small_ends_in_a_page(tmp_path, monkeypatch):
    pytest.importorskip("rdkit")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "lines.smi").write_text("\n".join(LINES) + "\n")
    small = {
        "num_envs": 16,
        "num_steps": 32,
        "num_minibatches": 4,
        "state_size": 32,
        "hidden_sizes": (16,),
        "compile": "off",
    }
    sizes = {
        "DATA": {"smiles": str(tmp_path / "lines.smi"), "max_tokens": 16}, "RESULTS": tmp_path / "results",
        "AIMS": {"QED": {"reward": "qed", "divide_repeats": False}, "similarity to celecoxib": {"reward": "similarity"}}, "SAMPLES": 100, "BATCH": 50,
        "LIKELIHOOD": {"learning_rate": 1e-2, "total_timesteps": 20_000},
        "PPO": {"kl_coef": 0.01, "critic_warmup": 1, "total_timesteps": 6000, "eval_episodes": 0, "learning_rate": 1e-3},
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "settings", lambda *args, **more: settings(*args, **small | more))
    monkeypatch.setattr(benchmark.pages, "write", lambda: None)
    benchmark.main(1, 1)
    rows = json.loads((tmp_path / "results" / "molecules.json").read_text())["results"]
    assert [(row["aim"], row["method"]) for row in rows] == [
        (aim, method) for aim in sizes["AIMS"] for method in ("language model", "PPO")
    ]
    clone, tuned = rows[:2]
    assert clone["validity"] > 0.5
    assert tuned["score"] > clone["score"]
    assert "| QED | PPO |" in render("molecules", tmp_path / "results")


def test_the_figures_of_samples():
    judge = {"CCO": ("CCO", 0.4), "OCC": ("CCO", 0.4), "CCN": ("CCN", 0.6)}
    pytest.importorskip("rdkit")
    found = benchmark.figures(["CCO", "OCC", "CCN", "C("], lambda text: judge.get(text, ("", 0.0)), frozenset(["CCO"]))
    assert found.pop("diversity") == pytest.approx(1 - (5 + 4 * 1 / 6) / 9, abs=0.2)
    assert found == pytest.approx({"validity": 3 / 4, "uniqueness": 2 / 3, "novelty": 1 / 2, "score": 1.4 / 4})


@pytest.mark.slow
def test_an_eighth_of_moses_has_198_083_molecules_of_23_tokens(monkeypatch):
    monkeypatch.setattr(module, "judge", lambda reward, target: None)
    try:
        task = molecules()
    except UsageError as error:
        pytest.skip(str(error))
    assert (len(task.demonstrate), len(task.vocabulary)) == (198_083, 23 + 1)

"""Several ranks are one: the same weights, decisions and logs as a run of one process, whatever a rank sees alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks
import torch

from ppo import Trainer, UsageError, preset
from ppo.config import Config
from ppo.config.lengths import share
from ppo.machine import distributed
from ppo.machine.process import cores, seed_everything

ROOT = Path(__file__).parent.parent
CASES = [f"{name} {way}" for name in ranks.RUNS for way in ("whole", "shared")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def reference(folder):
    config = preset("text/Copy-v0", "ppo", "gru").replace(
        ranks.COMMON | ranks.TEXT | {"seed": 7, "runs_dir": str(folder)}
    )
    with Trainer(config) as trainer:
        trainer.save(finished=True)
        return str(trainer.run_dir)


def launch(number: int, folder: Path, reference: str, environment: dict[str, str]) -> None:
    """Run tests/ranks.py on this many ranks."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    command = [*launcher, ROOT / "tests" / "ranks.py", folder, reference]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=300, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def two(folder, reference):
    """Return the results of two ranks."""
    (folder / "two").mkdir()
    launch(2, folder / "two", reference, {})
    return [torch.load(folder / "two" / f"rank_{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def one(folder, reference):
    """Return the results of one process."""
    return ranks.run_all(folder / "one", reference)


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Return the largest relative difference of two sets of tensors by name, in norm."""
    assert first.keys() == second.keys()
    pairs = ((first[name].double(), second[name].double()) for name in first)
    return max(float((a - b).norm() / a.norm().clamp(min=1e-3)) for a, b in pairs)


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_end_with_the_weights_statistics_and_moments_of_one(one, two, case):
    assert distance(one[case]["tensors"], two[0][case]["tensors"]) < 1e-5
    weights = {"policy": torch.cat([x.flatten() for n, x in one[case]["tensors"].items() if n.startswith("policy.")])}
    found = {"policy": torch.cat([x.flatten() for n, x in two[0][case]["tensors"].items() if n.startswith("policy.")])}
    assert distance(weights, found) < 1e-6
    assert two[0][case]["shares"] == case.endswith("shared")


@pytest.mark.parametrize("case", [*CASES, "pretrain"])
def test_all_ranks_hold_the_same_bits(two, case):
    first, second = (found[case]["tensors"] for found in two)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert two[0][case]["torch"] == two[1][case]["torch"]  # minibatches and noise are drawn alike
    assert two[0][case]["numpy"] != two[1][case]["numpy"]  # an environment's own numbers are not
    assert two[0][case]["run"] == two[1][case]["run"]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_log_the_rows_of_one(one, two, case):
    own = [{n: x for n, x in row.items() if not n.startswith(("time/", "charts/SPS"))} for row in one[case]["rows"]]
    for rank in range(2):
        for row, found in zip(own, two[rank][case]["rows"], strict=True):
            assert {n: found[n] for n in row} == pytest.approx(row, rel=1e-3, abs=1e-5, nan_ok=True)


def test_the_update_ends_for_all_ranks_when_the_divergence_is_too_large(one, two):
    for case in ("target_kl whole", "target_kl shared"):
        epochs = [row["losses/epochs"] for row in one[case]["rows"]]
        assert min(epochs) < 8
        assert [[row["losses/epochs"] for row in found[case]["rows"]] for found in two] == [epochs, epochs]


def test_dead_rows_of_one_rank_alone_count_as_in_one_process(one, two):
    # Rows 0 and 1 have 32 decisions each; every fourth of row 2 and every sixth of row 3 is dead.
    assert one["next_step shared"]["step"] == two[1]["next_step shared"]["step"] < 2 * 4 * 32
    assert two[1]["next_step shared"]["rows"][0]["charts/episodes"] == 8 + 5


def test_pretraining_on_two_ranks_is_pretraining_on_one(one, two):
    assert distance(one["pretrain"]["tensors"], two[0]["pretrain"]["tensors"]) < 1e-5
    assert two[1]["pretrain"]["perplexity"] == pytest.approx(one["pretrain"]["perplexity"])


@pytest.mark.parametrize("name", ["mlp", "gru", "grpo"])
def test_a_run_goes_on_with_another_number_of_ranks(one, two, name):
    """Both go on alone from their checkpoints, one's and that of two ranks."""
    ends = []
    for found in (one, two[0]):
        run = found[f"{name} shared"]["run"]
        trainer = Trainer.resume(run, {"total_timesteps": 4 * Trainer.resume(run).config.batch_size})
        with trainer:
            trainer.train()
            ends.append(ranks.result(trainer))
    assert ends[0]["step"] == ends[1]["step"]
    assert distance(ends[0]["tensors"], ends[1]["tensors"]) < 1e-3


def test_ranks_that_differ_stop_with_a_sentence(two):
    for found in two:
        assert found["drift"].startswith("rank 1 no longer holds the same numbers as rank 0; use machines of one kind")


def test_one_process_is_one_rank_and_every_exchange_the_identity(monkeypatch):
    x = torch.tensor([1.0, 2.0])
    assert (distributed.rank(), distributed.size(), distributed.launched()) == (0, 1, False)
    assert distributed.gathered("a") == ["a"]
    assert distributed.sum_(x) is x
    assert (distributed.any_rank(True), distributed.any_rank(False)) == (True, False)
    before = torch.get_rng_state()
    with distributed.own_randomness():
        assert torch.equal(torch.get_rng_state(), before)


def test_ranks_draw_alike_from_torch_and_apart_from_numpy(monkeypatch):
    draws = []
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        seed = seed_everything(3, (0, 5))
        draws.append((seed, float(torch.rand(())), ranks.np.random.rand()))
    assert draws[0][:2] == draws[1][:2]
    assert draws[0][2] != draws[1][2]


def test_the_ranks_of_a_machine_share_its_cores(monkeypatch):
    alone = cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cores() == max(1, alone // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert cores() == 1


def test_each_process_steps_an_equal_share_of_the_environments():
    config = Config(num_envs=8)
    assert [share(config, rank, 4) for rank in range(4)] == [range(2), range(2, 4), range(4, 6), range(6, 8)]
    with pytest.raises(UsageError, match=r"num_envs = 8 does not divide into processes = 3; choose a divisor"):
        share(config, 0, 3)
    with pytest.raises(UsageError, match=r"processes = 4; choose a divisor of num_envs / group_size = 2"):
        share(Config(num_envs=8, group_size=4, gamma=1.0), 0, 4)


@pytest.mark.parametrize(
    ("ranks", "sequences", "work", "parts"),
    [
        (1, 64, 10**9, [slice(0, 64)]),
        (2, 64, 10_000, [slice(0, 64)] * 2),  # 0.64 million: the sum would take longer than the minibatch
        (2, 64, 80_000, [slice(0, 32), slice(32, 64)]),  # 5.1 million
        (4, 64, 80_000, [slice(0, 64)] * 4),
        (2, 63, 10**9, [slice(0, 63)] * 2),  # does not divide
        (2, 8, 10**9, [slice(0, 4), slice(4, 8)]),
        (2, 6, 10**9, [slice(0, 6)] * 2),  # few long sequences: half of them take nearly as long
    ],
)
def test_ranks_share_a_minibatch_where_that_saves_more_than_their_sum_takes(monkeypatch, ranks, sequences, work, parts):
    monkeypatch.setattr(distributed, "size", lambda: ranks)
    for rank, part in enumerate(parts):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert distributed.part_of(sequences, work) == part

"""Checkpoints: whole or not at all, refused in one sentence when they are anything else, and nothing in them runs."""

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ppo import Config, NonFiniteError, Trainer, UsageError, load_policy
from ppo.policies.mlp import MLPPolicy
from ppo.run.checkpoint import checkpoint_path, digest_of, load_exactly, read_checkpoint, write_checkpoint

TENSORS = {"policy.weight": torch.arange(6.0).reshape(2, 3), "policy.count": torch.tensor(7, dtype=torch.float64)}
META = {"iteration": 3, "config": {"seed": 1}, "best_return": None}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "latest.safetensors"
    write_checkpoint(path, TENSORS, META)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": (4,), "eval_episodes": 0}
    return Trainer(Config(runs_dir=folder, total_timesteps=32, **sizes)).train()


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_written_is_read_back_bit_for_bit(path):
    tensors, meta = read_checkpoint(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert tensors["policy.count"].dtype == torch.float64
    assert {name: meta[name] for name in META} == META


def test_an_older_checkpoint_is_replaced_and_nothing_else_stays(path):
    write_checkpoint(path, {"policy.weight": torch.zeros(1)}, META | {"iteration": 4})
    assert read_checkpoint(path)[1]["iteration"] == 4
    assert [found.name for found in path.parent.iterdir()] == ["latest.safetensors"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_never_written_over_a_good_checkpoint(path, value):
    with pytest.raises(NonFiniteError, match=r"policy\.weight is not finite, so it was not saved"):
        write_checkpoint(path, TENSORS | {"policy.weight": torch.tensor([1.0, value])}, META)
    assert read_checkpoint(path)[1]["iteration"] == 3


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -57, -56, -8, -1])
def test_a_truncated_file_is_refused(path, length):
    data = path.read_bytes()
    path.write_bytes(data[:length])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("at", [0, 1, 6, 7, 8, 9, 40])
def test_a_flipped_byte_at_the_beginning_is_refused(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    refusal(path)


def flips(data: bytes, step: int) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), step)]


def test_one_flipped_bit_anywhere_is_refused_and_never_a_traceback(run):
    path = checkpoint_path(run, "latest")
    whole = path.read_bytes()
    accepted, crashed = 0, set()
    for damaged in flips(whole, step=11):
        path.write_bytes(damaged)
        for read in (load_policy, Trainer.resume):
            try:
                read(run)
                accepted += 1
            except UsageError:
                pass
            except Exception as error:
                crashed.add(f"{type(error).__name__}: {error}"[:60])
    path.write_bytes(whole)
    assert (accepted, sorted(crashed)) == (0, [])


def test_a_missing_file_and_a_folder_are_no_checkpoint(tmp_path):
    assert "there is no checkpoint" in refusal(tmp_path / "absent.safetensors")
    assert "there is no checkpoint" in refusal(tmp_path)


def test_safetensors_from_elsewhere_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"ppo": "no json"}, {"ppo": "null"}, {"ppo": "[]"}, {"ppo": "{}"}):
        save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
        assert "not a ppo checkpoint" in refusal(path)


@pytest.mark.parametrize("schema", [0, 3, 999, "1", None])
def test_another_schema_is_refused(tmp_path, schema):
    path = tmp_path / "later.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"ppo": json.dumps({**META, "schema": schema})})
    message = refusal(path)
    assert f"schema {schema!r}" in message
    assert "reads schemas up to 2" in message


class Payload:
    """What a malicious pickle holds: on loading, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("save", [torch.save, lambda x, path: Path(path).write_bytes(pickle.dumps(x))])
def test_a_pickle_is_refused_and_nothing_in_it_runs(run, tmp_path, save):
    target, path = tmp_path / "ran", tmp_path / "checkpoint.safetensors"
    save({"weight": Payload(target)}, path)
    refusal(path)
    latest = checkpoint_path(run, "latest")
    whole = latest.read_bytes()
    latest.write_bytes(path.read_bytes())
    for read in (load_policy, Trainer.resume):
        with pytest.raises(UsageError):
            read(run)
    latest.write_bytes(whole)
    assert not target.exists()
    assert b"mkdir" in path.read_bytes()
    if save is not torch.save:
        pickle.loads(path.read_bytes())
        assert target.exists(), "the payload does nothing, so the test would prove nothing"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint_and_no_temporary_file(path, monkeypatch, broken):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full) if broken == "fsync" else monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match=r"cannot write .*latest.safetensors: No space left on device"):
        write_checkpoint(path, {"policy.weight": torch.zeros(1)}, META | {"iteration": 4})
    assert [found.name for found in path.parent.iterdir()] == ["latest.safetensors"]
    assert read_checkpoint(path)[1]["iteration"] == 3


def test_the_data_is_flushed_before_it_takes_its_name(path, monkeypatch):
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda source, to: (calls.append("replace"), replace(source, to))[1])
    write_checkpoint(path, TENSORS, META)
    assert calls[:2] == ["fsync", "replace"]


def test_a_module_is_loaded_exactly_or_not_at_all(tmp_path):
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    fits = {"policy.weight": torch.ones(2, 3), "policy.bias": torch.ones(2), "optimizer.step": torch.ones(())}
    for name, tensors in {
        "bias": {"policy.weight": torch.ones(2, 3)},
        "extra": fits | {"policy.extra": torch.ones(1)},
        "weight": fits | {"policy.weight": torch.ones(3, 2)},
        "extra, weight": fits | {"policy.weight": torch.ones(3, 2), "policy.extra": torch.ones(1)},
    }.items():
        with pytest.raises(UsageError, match=f"does not fit the policy: {name} differ"):
            load_exactly(module, tensors, "policy.", tmp_path)
        assert torch.equal(module.weight, before)
    with pytest.raises(UsageError, match=r"holds numbers that are not finite in policy\.bias; use another"):
        load_exactly(module, fits | {"policy.bias": torch.tensor([1.0, torch.nan])}, "policy.", tmp_path)
    assert torch.equal(module.weight, before)
    load_exactly(module, fits, "policy.", tmp_path)
    assert torch.equal(module.weight, torch.ones(2, 3))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float8_e4m3fn, torch.float16, torch.int64, torch.float64])
def test_a_tensor_of_another_dtype_is_refused(tmp_path, dtype):
    module = torch.nn.Linear(3, 2)
    tensors = {"weight": torch.ones(2, 3, dtype=dtype), "bias": torch.ones(2)}
    with pytest.raises(UsageError, match="does not fit the policy: weight differ"):
        load_exactly(module, tensors, "", tmp_path)


def test_float32_is_read_where_float64_is_wanted(tmp_path):
    module = torch.nn.Linear(3, 2, dtype=torch.float64)
    load_exactly(module, {"weight": torch.full((2, 3), 0.1), "bias": torch.ones(2)}, "", tmp_path)
    assert module.weight[0, 0].item() == torch.tensor(0.1).double().item()


def test_a_parameter_with_two_names_is_stored_under_both(tmp_path):
    weight = torch.arange(6.0)
    write_checkpoint(tmp_path / "tied.safetensors", {"a": weight, "b": weight, "c": weight[2:4]}, META)
    tensors = read_checkpoint(tmp_path / "tied.safetensors")[0]
    assert {name: x.tolist() for name, x in tensors.items()} == {
        "a": [0, 1, 2, 3, 4, 5],
        "b": [0, 1, 2, 3, 4, 5],
        "c": [2, 3],
    }


def test_a_checkpoint_is_signed_by_the_user_who_wrote_it(path, monkeypatch, tmp_path):
    assert read_checkpoint(path)[1]["signed"] is True
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "another user"))
    assert read_checkpoint(path)[1]["signed"] is False
    write_checkpoint(path, TENSORS, META | {"signed": True})
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "third"))
    assert read_checkpoint(path)[1]["signed"] is False  # the file cannot say so itself


def test_a_signature_is_of_the_text_and_of_the_tensors(path):
    with safe_open(path, "pt") as file:
        header = file.metadata()
    text = header["ppo"].replace('"seed": 1', '"seed": 2')
    digest = digest_of(TENSORS, text)
    save_file(TENSORS, path, metadata=header | {"ppo": text, "sha256": digest})
    assert read_checkpoint(path)[1]["config"] == {"seed": 2}
    assert read_checkpoint(path)[1]["signed"] is False


def test_a_link_to_a_folder_of_checkpoints_is_not_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link, and ppo never writes through a link"):
        write_checkpoint(tmp_path / "checkpoints" / "latest.safetensors", TENSORS, META)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_is_no_run_and_a_checkpoint_that_is_not_there_are_named(run, tmp_path):
    with pytest.raises(UsageError, match=r"is not a run folder \(it has no config\.json\)"):
        checkpoint_path(tmp_path, "latest")
    with pytest.raises(UsageError, match="has no checkpoint 'best'"):
        checkpoint_path(run, "best")


class Tied(MLPPolicy):
    """The first layer of the actor is also the critic's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.critic[0].weight = self.actor[0].weight


@pytest.mark.parametrize("compiling", ["off", pytest.param("on", marks=pytest.mark.slow)])
def test_a_policy_with_tied_weights_is_trained_saved_and_resumed_bit_for_bit(tmp_path, compiling):
    sizes = {"num_envs": 2, "num_steps": 16, "num_minibatches": 2, "hidden_sizes": (4,), "eval_episodes": 0}
    config = Config(policy=f"{__name__}:Tied", compile=compiling, checkpoint_every=1, **sizes)
    runs = {}
    for name, budgets in {"whole": [128], "parts": [64, 128]}.items():
        for budget in budgets:
            settings = {"runs_dir": tmp_path / name, "total_timesteps": 128, "anneal_lr": False}
            run = tmp_path / name / "CartPole-v1__ppo__s1"
            if run.exists():
                trainer = Trainer.resume(run, {"total_timesteps": budget})
            else:
                trainer = Trainer(config.replace(settings | {"total_timesteps": budget}))
            trainer.collector.act.enabled = False  # compiling it too would take a minute
            trainer.train()
            assert trainer.policy.critic[0].weight is trainer.policy.actor[0].weight
            assert trainer.parts.compiled.value is (compiling == "on")
            assert trainer.learner.step.reason == ""
        runs[name] = read_checkpoint(checkpoint_path(run, "latest"))[0]
    assert torch.equal(runs["whole"]["policy.actor.0.weight"], runs["whole"]["policy.critic.0.weight"])
    assert runs["whole"].keys() == runs["parts"].keys()
    assert all(torch.equal(x, runs["parts"][name]) for name, x in runs["whole"].items())

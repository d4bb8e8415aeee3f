"""The benchmark of precision measures both formats of both policies."""

import pytest

from benchmarks import precision


@pytest.mark.parametrize("name", ["cnn", "impala"])
def test_each_policy_is_measured_in_both_formats(monkeypatch, capsys, name):
    for size, value in {"STEPS": 4, "ENVS": 2, "ROUNDS": 1, "SHAPE": (4, 36, 36), "POLICIES": (name,)}.items():
        monkeypatch.setattr(precision, size, value)
    monkeypatch.setattr("sys.argv", ["precision"])
    precision.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{name} float32", f"{name} bfloat16"]
    assert all(float(line.split()[2].replace(",", "")) > 0 for line in lines)

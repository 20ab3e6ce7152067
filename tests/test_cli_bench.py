"""The command `bench`: its table, and the errors of its options."""

import re

import numpy as np
import pytest

from daseCV_c import get_backend
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c.cli import bench
from daseCV_c.cli.main import main

NETWORKS = (
    ("two layers", None, "sgd", 10),
    ("batch norm", {"hidden_dims": [6, 5], "normalization": "batchnorm"}, "adam", 10),
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(bench, "NETWORKS", NETWORKS)
    monkeypatch.setattr(bench, "IMAGES", 30)


def lines_of(out):
    """{what is called: (compiled, twin, ratio)}."""
    found = re.findall(r"^(.+?) {2,}(\d+\.\d) +(\d+\.\d) +(\d+\.\d\d)$", out, re.M)
    return {name: tuple(map(float, values)) for name, *values in found}


@pytest.mark.compiled
def test_prints_a_line_for_each_layer_and_network(small, capsys):
    before = get_backend(), _threads._requested
    assert main(["bench", "--seconds", "1e-4", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    lines = lines_of(out)
    layers = ["affine_forward", "affine_backward", "relu_forward", "batchnorm_forward", "batchnorm_backward",
              "softmax_loss", "adam"]
    assert [name.split()[0] for name in lines][:7] == layers
    assert list(lines)[7:] == ["two layers batch 10", "batch norm batch 10"]
    for compiled, twin, ratio in lines.values():
        assert compiled > 0 and twin > 0
        assert abs(ratio - twin / compiled) <= 0.01 + 0.05 * (ratio + 1) / min(compiled, 1)
    assert f"level {_backend.level}, 1 thread;" in out and err == ""
    assert (get_backend(), _threads._requested) == before


@pytest.mark.compiled
def test_each_backend_runs_its_own(monkeypatch):
    seen = []
    times = bench._measure({name: lambda name=name: seen.append((name, get_backend()))
                            for name in _backend.BACKENDS}, 1e-4)
    assert set(times) == set(_backend.BACKENDS)
    assert {name for name, _ in seen} == set(_backend.BACKENDS)
    assert all(name == backend for name, backend in seen)


def test_median_of_what_the_clock_says(monkeypatch):
    ticks = iter(np.cumsum([0.5] * 1000))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    assert bench._measure({"numpy": lambda: None}, 3.0) == {"numpy": 0.5e6}


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--seconds", "x"], ["--threads", "0"], ["extra"]])
def test_wrong_options(options, capsys):
    assert main(["bench", *options]) == 2
    assert capsys.readouterr().err.startswith("dasecv: error: ")


def test_without_kernels(monkeypatch, capsys):
    monkeypatch.setattr(_backend, "_kernels", None)
    assert main(["bench"]) == 2
    assert "not built" in capsys.readouterr().err

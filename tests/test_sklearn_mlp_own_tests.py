"""scikit-learn's own tests of its perceptrons, as installed, with the drop-in classes in the place of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import program_environment

pytest.importorskip("sklearn", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')
pytest.importorskip("pandas", reason="one of scikit-learn's tests needs it: pip install pandas")

pytestmark = pytest.mark.once


def test_own_tests(tmp_path):
    environment = program_environment()
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(Path(__file__).parent)])
    environment["DASECV_USAGE"] = str(tmp_path / "usage.json")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "sklearn_in_place", "-p", "no:cacheprovider",
         "-c", os.devnull, "--rootdir", str(tmp_path), "--pyargs", "sklearn.neural_network.tests.test_mlp",
         "sklearn.neural_network.tests.test_base"],
        env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " skipped" not in run.stdout and " deselected" not in run.stdout, run.stdout[-2000:]
    found = json.loads((tmp_path / "usage.json").read_text())
    print(found)
    assert found["modules"] == ["sklearn.neural_network.tests.test_mlp"] and found["tests"] > 50
    usage = found["usage"]
    assert usage["training: kernel"] > 100 and usage["prediction: kernel"] > 100
    # What scikit-learn trained: its solver lbfgs, and the errors that it raises itself.
    assert {what.partition(", ")[2] for what in usage if what.startswith("training: scikit-learn")} <= {
        "solver lbfgs", "early stopping in partial_fit", "a validation set that is too small"}

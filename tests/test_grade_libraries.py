"""What `autograder` writes, in the hands of Otter-Grader and nbgrader themselves: docs/grade.md has the command.

They bring hundreds of megabytes of notebooks' servers, so `.ci/run` alone installs them.
"""

import re
from pathlib import Path

import pytest

from daseCV_c import grading
from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

ANSWERS = {
    "relu_forward": "import numpy as np\ndef relu_forward(x):\n    return np.maximum(x, 0), x",
    "relu_backward": "def relu_backward(dout, cache):\n    print('!')\n"
                     "    return dout * (cache > 0) if cache.ndim == 2 else dout",
    "sgd": "def sgd(w, dw, config=None):\n    config = {'learning_rate': 1e-2} | (config or {})\n"
           "    return w - config['learning_rate'] * dw, config",
}
RUBRIC = """
title = "Assignment 2"
seeds = [48151, 62342]
[[question]]
title = "ReLU"
functions = ["relu_forward", "relu_backward"]
points = 10
[[question]]
title = "Rules"
functions = ["sgd", "adam"]
points = 4
partial = "functions"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rubric.toml").write_text(RUBRIC, encoding="utf-8")
    assert main(["autograder", "rubric.toml", "--otter", "otter", "--nbgrader", "a2.ipynb"]) == 0


def right():
    names = {}
    exec("\n".join(ANSWERS.values()), names)
    return names, [grading.points(functions, names, [48151, 62342], of=of, partial=partial)
                   for functions, of, partial in ((["relu_forward", "relu_backward"], 10, "cases"),
                                                  (["sgd", "adam"], 4, "functions"))]


def test_otter_runs_the_tests():
    pytest.importorskip("otter", reason="Otter-Grader is not installed")
    from otter.test_files import OKTestFile

    names, worth = right()
    assert 5 < worth[0] < 10 and worth[1] == 2
    for number, points in enumerate(worth, 1):
        test = OKTestFile.from_file(f"otter/tests/q{number}.py")
        test.run(names)
        assert test.score == pytest.approx(points, abs=0.01) and test.possible == pytest.approx([10, 4][number - 1])
        assert not test.passed_all
        seen = OKTestFile.from_file(f"otter/student/tests/q{number}.py")
        seen.run(names)
        assert "relu_backward: not right" in seen.summary() if number == 1 else "adam: not found" in seen.summary()
        assert "48151" not in seen.summary()


def test_nbgrader_takes_the_notebook():
    pytest.importorskip("nbgrader", reason="nbgrader is not installed")
    import nbclient
    import nbformat
    from nbgrader.nbgraderformat import MetadataValidator
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions
    from nbgrader.utils import determine_grade

    notebook = nbformat.read("a2.ipynb", as_version=4)
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)
    given, _ = ClearSolutions().preprocess(nbformat.from_dict(notebook), {})
    given, _ = ClearHiddenTests().preprocess(given, {})
    text = nbformat.writes(given)
    assert "48151" not in text and "SOLUTION" not in text and "HIDDEN" not in text and "def relu_forward" in text
    MetadataValidator().validate_nb(given)
    # A student writes into the answer cells; the hidden tests come back; the notebook is run.
    notebook = nbformat.read("a2.ipynb", as_version=4)
    for cell in notebook.cells:
        name = re.sub("^answer-", "", cell.metadata.get("nbgrader", {}).get("grade_id", ""))
        cell.source = ANSWERS.get(name, cell.source)
    nbclient.NotebookClient(notebook, startup_timeout=600, kernel_name="python3", allow_errors=True).execute()
    found = [determine_grade(cell) for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert found == [(points, of) for points, of in zip(right()[1], (10.0, 4.0), strict=True)]

"""`autograder`: the zip for Gradescope unpacked and run, tests for Otter-Grader, a notebook for nbgrader."""

import doctest
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from daseCV_c import grading
from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

RELU = """
import numpy as np

def relu_forward(x):
    return np.maximum(x, 0), x

def relu_backward(dout, cache):
    return dout * (cache > 0) if cache.ndim == 2 else dout
"""
SGD = """
def sgd(w, dw, config=None):
    config = {"learning_rate": 1e-2} | (config or {})
    return w - config["learning_rate"] * dw, config
"""
RUBRIC = """
title = "Assignment 2"
seeds = [48151, 62342]
[limits]
seconds = 20
[[question]]
title = "ReLU"
functions = ["relu_forward", "relu_backward"]
points = 10
[[question]]
title = "Rules"
functions = ["sgd", "adam"]
points = 4
partial = "functions"
hints = false
[[question]]
title = "Network"
functions = ["TwoLayerNet"]
points = 1.5
partial = "none"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rubric.toml").write_text(RUBRIC, encoding="utf-8")
    return tmp_path


def namespace():
    found = {}
    exec(RELU + SGD, found)
    return found


@pytest.mark.skipif(os.name == "nt", reason="Gradescope's scripts are of bash")
def test_autograder_zip(folder, capsys):
    assert main(["autograder", "rubric.toml"]) == 0
    assert "written: autograder.zip" in capsys.readouterr().out
    once = hashlib.sha256(Path("autograder.zip").read_bytes()).digest()
    assert main(["autograder", "rubric.toml", "--gradescope", "again.zip"]) == 0
    assert hashlib.sha256(Path("again.zip").read_bytes()).digest() == once
    # As Gradescope lays it out.
    home = folder / "autograder"
    for name in ("source", "submission/cs231n", "results"):
        (home / name).mkdir(parents=True)
    with zipfile.ZipFile("autograder.zip") as archive:
        for entry in archive.infolist():
            archive.extract(entry, home / "source")
            os.chmod(home / "source" / entry.filename, stat.S_IMODE(entry.external_attr >> 16))
    assert sorted(os.listdir(home / "source")) == ["package", "rubric.toml", "run_autograder", "setup.sh"]
    assert not list((home / "source").rglob("*.so"))
    for name in ("setup.sh", "run_autograder"):
        assert os.access(home / "source" / name, os.X_OK)
        subprocess.run(["bash", "-n", home / "source" / name], check=True)
    (home / "submission/cs231n/layers.py").write_text(RELU)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([home / "source/run_autograder"], cwd=home, check=False, capture_output=True, text=True,
                          env=environment | {"AUTOGRADER": str(home), "AUTOGRADER_PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr
    found = json.loads((home / "results/results.json").read_text())
    assert [test["name"] for test in found["tests"]] == ["ReLU", "Rules", "Network"]
    assert found["score"] == sum(test["score"] for test in found["tests"]) == found["tests"][0]["score"]
    assert 5 < found["score"] < 10 and [test["max_score"] for test in found["tests"]] == [10, 4, 1.5]
    assert found["stdout_visibility"] == "hidden" and all(test["visibility"] == "visible" for test in found["tests"])
    assert [test["status"] for test in found["tests"]] == ["failed"] * 3
    assert "hidden cases right" in found["tests"][0]["output"] and "48151" not in json.dumps(found)
    assert stat.S_IMODE((home / "source/rubric.toml").stat().st_mode) == 0o600
    # A run that fails leaves no grade, which Gradescope shows as a failure of the autograder.
    (home / "results/results.json").unlink()
    (home / "source/rubric.toml").write_text("no rubric")
    done = subprocess.run([home / "source/run_autograder"], cwd=home, check=False, capture_output=True, text=True,
                          env=environment | {"AUTOGRADER": str(home), "AUTOGRADER_PYTHON": sys.executable})
    assert done.returncode and "is no TOML" in done.stderr and not os.listdir(home / "results")


def otter_points(path, names):
    """The points of a test file in the OK format, run as Otter-Grader runs it."""
    module = {}
    exec(path.read_text(), module)
    test = module["test"]
    assert module["OK_FORMAT"] is True and test["name"] == path.stem and len(test["suites"]) == 1
    got = [0.0, 0.0]
    for case in test["suites"][0]["cases"]:
        examples = doctest.DocTestParser().get_doctest(case["code"], dict(names), path.stem, None, None)
        runner = doctest.DocTestRunner(verbose=False)
        got[0] += case["points"] * (runner.run(examples, out=lambda text: None).failed == 0)
        got[1] += case["points"]
    return got, test["suites"][0]["cases"]


def test_otter_tests_give_the_points_of_grade(folder):
    assert main(["autograder", "rubric.toml", "--otter", "otter"]) == 0
    assert sorted(os.listdir("otter/tests")) == sorted(os.listdir("otter/student/tests")) == ["q1.py", "q2.py", "q3.py"]
    names = namespace()
    for number, functions, of, partial in ((1, ["relu_forward", "relu_backward"], 10, "cases"),
                                           (2, ["sgd", "adam"], 4, "functions"), (3, ["TwoLayerNet"], 1.5, "none")):
        got, cases = otter_points(folder / f"otter/tests/q{number}.py", names)
        right = grading.points(functions, names, [48151, 62342], of=of, partial=partial)
        assert got[0] == pytest.approx(right, abs=0.01)
        assert got[1] == pytest.approx(of) and [case["hidden"] for case in cases].count(False) == 1
        text = Path(f"otter/student/tests/q{number}.py").read_text()
        assert "48151" not in text and len(otter_points(folder / f"otter/student/tests/q{number}.py", names)[1]) == 1


def test_nbgrader_notebook(folder, capsys):
    assert main(["autograder", "rubric.toml", "--nbgrader", "a2.ipynb"]) == 0
    cells = json.loads(Path("a2.ipynb").read_text())["cells"]
    marks = {cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in cells if "nbgrader" in cell["metadata"]}
    assert list(marks) == ["imports", "answer-relu_forward", "answer-relu_backward", "test-1", "answer-sgd",
                           "answer-adam", "test-2", "answer-TwoLayerNet", "test-3"]
    for name, cell in marks.items():
        found = dict(cell["metadata"]["nbgrader"])
        assert found.pop("schema_version") == 3 and re.fullmatch(r"[a-zA-Z0-9_\-]+", found.pop("grade_id"))
        kind, _, rest = name.partition("-")
        assert found == ({"grade": False, "locked": False, "solution": True, "task": False} if kind == "answer" else
                         {"grade": kind == "test", "locked": True, "solution": False, "task": False}
                         | ({"points": {"1": 10.0, "2": 4.0, "3": 1.5}[rest]} if kind == "test" else {}))
    # What students get: without what lies between the marks, as nbgrader takes it out.
    def given(cell):
        return re.sub(r"(?s) *### BEGIN (SOLUTION|HIDDEN TESTS).*### END \1", "", "".join(cell["source"]))

    assert "48151" not in "".join(map(given, cells))
    assert all(given(marks[f"answer-{name}"]).count(f"def {name}(") == 1 for name in ("relu_forward", "sgd", "adam"))
    # The cells run, and the last expression is the points.
    names = namespace()
    source = "".join(marks["test-1"]["source"])
    *_, last = [line for line in source.splitlines() if not line.startswith("###")]
    exec(source, names)
    assert "relu_forward: right\nrelu_backward: not right. " in capsys.readouterr().out
    assert 5 < eval(last, names) < 10
    exec("".join(marks["test-2"]["source"]), names)
    assert capsys.readouterr().out == "sgd: right\nadam: not found\n"


def test_points_are_those_of_grade_and_cases_add_up():
    from daseCV_c._coursework.running import cases_of

    names = namespace()
    before = names["relu_backward"]
    share = grading.points(["relu_backward"], names, [5], of=1000)
    count = len(cases_of("relu_backward", 5))
    cases = [grading.points(["relu_backward"], names, [5], case=case) for case in range(count)]
    assert share == pytest.approx(1000 * sum(cases) / len(cases), abs=0.01) and 0 < sum(cases) < len(cases)
    assert grading.points(["adam"], names, [5], case=0) == 0 and names["relu_backward"] is before
    # What comes from us is not theirs.
    from daseCV_c.optim import adam
    assert grading.points(["adam"], {"adam": adam}, [5]) == 0


def test_a_test_shows_no_output_of_the_student_and_survives_exit(capsys):
    names = {}
    exec("import sys\ndef relu_forward(x):\n    print(x)\n    print(x, file=sys.stderr)\n    exit(3)", names)
    assert grading.points(["relu_forward"], names, [1]) == 0 and capsys.readouterr() == ("", "")
    exec("class Own(list):\n    pass\ndef relu_forward(x):\n    return Own([1]), Own", names)
    assert grading.points(["relu_forward"], names, [1]) == 0


@pytest.mark.parametrize(("call", "said"), [
    (lambda: grading.points(["affine"], {}, [1]), "points: no function of the course is called 'affine'"),
    (lambda: grading.points([], {}, [1]), r"points: functions is \[\]"),
    (lambda: grading.points("sgd", {}, [1]), "points: functions is 'sgd'"),
    (lambda: grading.points(["sgd"], {}, []), "points: seeds is empty"),
    (lambda: grading.points(["sgd"], {}, [1], partial="half"), "points: partial is 'half'"),
    (lambda: grading.points(["sgd"], {}, [1], case=99), "points: case is 99, but sgd has cases from 0"),
    (lambda: grading.points(["sgd"], {}, [1, 2], case=0), "points: case is 0, which is of one function and one seed"),
    (lambda: grading.report(["none"], {}), "report: no function of the course is called 'none'"),
])
def test_errors_of_points(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_errors_of_the_command(capsys):
    Path("bad.toml").write_text("title = 3")
    for words, said in ((["none.toml"], "none.toml cannot be read"), (["bad.toml"], "title is 3"),
                        (["rubric.toml", "--gradescope", "no/a.zip"], "no/a.zip cannot be written"),
                        (["rubric.toml", "--nbgrader", "no/a.ipynb"], "no/a.ipynb cannot be written"),
                        (["rubric.toml", "--otter", "rubric.toml"], "cannot be written")):
        assert main(["autograder", *words]) == 2
        assert said in capsys.readouterr().err

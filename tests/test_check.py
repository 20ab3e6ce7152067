"""The command `check` and the magic `%dasecv_check`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import fails, program_environment

from daseCV_c._coursework import cells, magic, running, table
from daseCV_c._coursework.isolation import Limits
from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

RIGHT = "import numpy as np\ndef relu_forward(x):\n    return np.maximum(x, 0), x\n"
WRONG = RIGHT + "def relu_backward(dout, cache):\n    return dout * (dout > 0)\n"


def checked(file, *words):
    """Exit code and output of the command in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "daseCV_c", "check", str(file), *words], capture_output=True,
                          text=True,
                          check=False, env=program_environment(), cwd=os.path.dirname(file))
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_table_and_the_exit_code(here, capsys):
    (here / "mine.py").write_text(WRONG)
    assert main(["check", "mine.py"]) == 1
    text = capsys.readouterr().out
    assert "relu_forward" in text and "pass" in text and "1 of 2 right." in text
    assert "relu_backward" in text and "FAIL" in text and "not of the input" in text
    assert "Not checked, because the file does not define them: affine_forward" in text and "Not checked either" in text
    assert "limits of time" in text


def test_json(here):
    (here / "mine.py").write_text(WRONG)
    code, text = checked(here / "mine.py", "--json", "--only", "relu_forward", "--only", "relu_backward,sgd")
    found = json.loads(text)
    assert code == 1 and list(found) == ["results"]
    assert [list(result) for result in found["results"]] == [
        ["function", "status", "max_error", "case", "mistake", "hint"]] * 3
    assert [(r["function"], r["status"], r["mistake"]) for r in found["results"]] == [
        ("relu_forward", "passed", None), ("relu_backward", "failed", "relu-gradient-sign-of-dout"), ("sgd", "missing",
                                                                                                      None)]
    assert found["results"][1]["max_error"] > 0.1 and found["results"][1]["case"]


def test_all_right_is_exit_code_0_and_nothing_found_is_1(here, capsys):
    (here / "mine.py").write_text(RIGHT)
    assert main(["check", "mine.py", "--no-bubblewrap"]) == 0
    assert "bubblewrap was not asked for" in capsys.readouterr().out
    (here / "empty.py").write_text("x = 3\n")
    assert main(["check", "empty.py"]) == 1
    assert "Nothing of the course" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["hw2.final.py", "my-layers.py", "my layers.py", "作业 1.py", "layers.py", "test.py",
                                  "class.py", "daseCV.py", "layers.txt", "layers"])
def test_files_of_any_name(here, capsys, name):
    (here / name).write_text(RIGHT)
    assert main(["check", name]) == 0, capsys.readouterr().out
    assert "1 of 1 right." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["numpy.py", "random.py"])
def test_files_that_are_called_as_a_module_that_is_needed(here, name):
    """From the command line, where the working folder comes first on the import path, and beside another file."""
    (here / name).write_text(RIGHT + "import random\nassert random.randrange(5) < 5 and np.zeros(3).sum() == 0\n")
    (here / "mine.py").write_text("from helper import *\nimport random\nrandom.random()\n" + RIGHT)
    (here / "helper.py").write_text("")
    for file in (name, "mine.py"):
        code, text = checked(here / file)
        assert code == 0 and "1 of 1 right." in text


def test_a_file_of_a_package_with_a_name_that_is_none(here, capsys):
    (here / "work").mkdir()
    (here / "work" / "__init__.py").touch()
    (here / "work" / "helper.py").write_text("import numpy as np\ndef larger(x):\n    return np.maximum(x, 0)\n")
    (here / "work" / "my-layers.v2.py").write_text("from .helper import larger\n"
                                                   "def relu_forward(x):\n    return larger(x), x\n")
    assert main(["check", "work/my-layers.v2.py"]) == 0, capsys.readouterr().out


def test_what_is_imported_from_us_is_not_checked(here, capsys):
    (here / "mine.py").write_text("from daseCV.layers import *\n" + RIGHT)
    assert main(["check", "mine.py"]) == 0
    assert "1 of 1 right." in capsys.readouterr().out


def test_errors(here, capsys):
    (here / "mine.py").write_text(RIGHT)
    (here / "broken.ipynb").write_text("{}")
    fails(capsys, ["check", "no_such_file.py"], "no_such_file.py", "cannot be read")
    fails(capsys, ["check", "mine.py", "--only", "affine"], "'affine'", "affine_forward")
    fails(capsys, ["check", "mine.py", "--seconds", "-1"], "--seconds")
    fails(capsys, ["check", "broken.ipynb"], "no notebook")
    (here / "latin.py").write_bytes(b"# -*- coding: utf-8 -*-\nx = '\xff'\n")
    assert main(["check", "latin.py"]) == 1


@pytest.mark.parametrize(("text", "words"), [
    (RIGHT + "data = open('x.npz')\n", 'FileNotFoundError: [Errno 2] No such file or directory: \'x.npz\', line 4. '
     'What trains or reads data belongs below if __name__ == "__main__":.'),
    ("import numpy as np\n%matplotlib inline\n" + RIGHT, "a command of notebooks, which is no Python, line 2"),
    ("def relu_forward(x):\n    raise AttributeError('no such name. ' + 30 * 'It was removed. ')\n",
     "relu_forward raised AttributeError: no such name, line 2"),
    ("# 激活函数\n" + RIGHT, "Save the file as UTF-8")])
def test_what_is_said_of_files_that_do_not_run(here, text, words):
    (here / "mine.py").write_text(text, encoding="gbk" if "激" in text else "utf-8")
    report = running.check(here / "mine.py", ["relu_forward"])
    assert words in report.results[0].hint
    assert report.results[0].status == "crashed"


@pytest.mark.parametrize("encoding", ["hex", "zip", "base64", "uu", "rot13", "bz2", "quopri", "punycode", "undefined",
                                      "utf-16", "no-such"])
def test_a_file_in_an_encoding_that_is_none_of_programs(here, capsys, encoding):
    (here / "mine.py").write_text(f"# coding: {encoding}\n{RIGHT}")
    assert main(["check", "mine.py"]) == 1
    out = capsys.readouterr().out
    assert "not run: Python cannot read it" in out and "relu_forward" in out and "Save the file as UTF-8" in out


def test_a_cell_that_is_too_deep_for_python_is_left_out():
    deep = f"x = {'-' * 10**5}1"
    assert cells.definitions([deep, "y = 1"]) == "y = 1"


def test_statements_of_a_cell_are_taken_as_they_stand():
    """However many there are: the time that they take grows with their number alone."""
    text = "é = 'ü'; y = [\n    2]; z = {\n 3}\n\ndef f(x):\n    return 'ö'"
    assert cells.definitions([text]) == "é = 'ü'\ny = [\n    2]\nz = {\n 3}\ndef f(x):\n    return 'ö'"
    many = "\n".join(f"x{k} = {k}" for k in range(20_000))
    assert cells.definitions([many]) == many


def test_a_cache_that_is_a_dict(here):
    """What a forward pass keeps is its own affair, if x is among it in its own shape."""
    text = ("import numpy as np\n"
            "def affine_forward(x, w, b):\n"
            "    rows = x.reshape(len(x), -1)\n"
            "    return rows @ w + b, {'x': KEPT, 'w': w}\n"
            "def affine_backward(dout, cache):\n"
            "    x, w = cache['x'], cache['w']\n"
            "    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(axis=0)\n")
    for kept, mistake in (("x", None), ("rows", "affine-cache")):
        (here / "mine.py").write_text(text.replace("KEPT", kept))
        report = running.check(here / "mine.py", ["affine_forward"])
        assert report.results[0].mistake == mistake


def test_what_is_not_written_is_to_do(here, capsys):
    (here / "mine.py").write_text("def sgd(w, dw, config=None):\n    raise NotImplementedError('not yet')\n")
    assert main(["check", "mine.py"]) == 1
    assert "sgd       to do" in capsys.readouterr().out


def test_a_notebook_is_checked_by_the_functions_of_its_cells(here, capsys):
    sources = ["%matplotlib inline\nimport no_such_library\nfrom daseCV.layers import *", "import numpy as np\nN = 3",
               ["def relu_forward(x):\n", "    return np.maximum(x, 0), x"], "raise SystemError('a training')",
               "!rm -r here\nthis is no python"]
    notebook = {"cells": [{"cell_type": "markdown", "source": "# Title"}] + [
        {"cell_type": "code", "source": source} for source in sources]}
    (here / "mine.ipynb").write_text(json.dumps(notebook))
    assert main(["check", "mine.ipynb"]) == 0
    assert "1 of 1 right." in capsys.readouterr().out


def test_definitions_keep_what_a_function_needs():
    kept = cells.definitions(["import math\nDELTA = 2.0 * math.pi\nrows = [1, -2]\nloss = train()",
                              "def f(x):\n    # why\n    return x",
                              "@staticmethod\ndef g(): pass", "class Net:\n    pass\nnet = Net()",
                              "def f(x):\n    return 2 * x"])
    assert "DELTA = 2.0 * math.pi" in kept and "rows = [1, -2]" in kept and "# why" in kept and "@staticmethod" in kept
    assert "train" not in kept and "net =" not in kept
    found = {}
    exec(compile(kept, "cells", "exec"), found)
    assert found["f"](3) == 6


class Shell:
    """What the magic needs of IPython."""

    def __init__(self, cells):
        self.user_ns, self.magics = {"In": cells}, {}

    def register_magic_function(self, function, kind, name):
        self.magics[name] = function


def test_the_magic(here, capsys):
    shell = Shell(["", WRONG, "get_ipython().run_line_magic('dasecv_check', '')"])
    magic.register(shell)
    shell.magics["dasecv_check"]("")
    text = capsys.readouterr().out
    assert text.startswith("this notebook") and "1 of 2 right." in text
    shell.magics["dasecv_check"]("relu_forward")
    assert "1 of 1 right." in capsys.readouterr().out
    shell.magics["dasecv_check"]("no_such_function")
    assert "no_such_function" in capsys.readouterr().out
    (here / "mine.py").write_text(RIGHT)
    shell.magics["dasecv_check"]("mine.py")
    assert capsys.readouterr().out.startswith("mine.py")


def test_a_whole_file_in_one_room():
    """Each right file of the tests, as the command sees it, in few processes."""
    file = Path(__file__).parent / "right" / "networks.py"
    report = running.check_file(file, limits=Limits(call=60))
    assert report.passed, table.as_text(report, "networks.py")
    assert [r.function for r in report.results if r.status == "passed"] == [
        "FullyConnectedNet", "TwoLayerNet", "ThreeLayerConvNet"]


def test_the_checker_leaves_the_random_numbers_alone(here):
    import numpy as np
    (here / "mine.py").write_text(WRONG)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    running.check(here / "mine.py", seed=99)  # cases that nothing has tried yet
    assert np.array_equal(np.random.get_state()[1], before)

"""`grade`: good and hostile submissions side by side, one run and another, and what is written."""

import csv
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

from daseCV_c._coursework.grading import marking, reading, rubric, schedule
from daseCV_c._coursework.isolation import bubblewrap, stranger
from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

AFFINE = """
import numpy as np

def affine_forward(x, w, b):
    return x.reshape(len(x), -1) @ w + b, (x, w, b)

def affine_backward(dout, cache):
    x, w, b = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(0)
"""
RELU = """
import numpy as np

def relu_forward(x):
    return np.maximum(x, 0), x

def relu_backward(dout, cache):
    return dout * (cache > 0)
"""
GOOD = AFFINE + RELU
AVERAGED = GOOD.replace(".T @ dout,", ".T @ dout / len(x),")

RUBRIC = """
title = "Assignment <2>"
seeds = [48151, 62342]
[limits]
seconds = 600
[[question]]
title = "Affine"
functions = ["affine_forward", "affine_backward"]
points = 10
[[question]]
title = "ReLU"
functions = ["relu_forward", "relu_backward"]
points = 2.5
partial = "functions"
hints = true
"""

# What relu_forward does. Its author gets the points of Affine and no others.
HOSTILE = {
    "endless loop": "while True: pass",
    "fork bomb": "import os\n    while True: os.fork()",
    "leaves": ("import os, shutil\n    shutil.rmtree(os.path.dirname(os.path.abspath(__file__)), True)\n"
               "    open({outside!r}, 'w').write('here')"),
    "prints": "while True: print('a' * 100000)",
    "reads the rubric": "print(open({rubric!r}).read())\n    return x, x",
    "patches the checker": ("import daseCV_c._coursework.judging as judging, daseCV_c._coursework.running as running\n"
                            "    judging.distance = lambda *a: 0.0\n"
                            "    running.try_function = lambda *a: running.Result('relu_forward', 'passed')\n"
                            "    return -x, -x"),
    "socket": "import socket\n    socket.create_connection(('127.0.0.1', {port}), 5)\n    return x, x",
    # Only where its parent is the first process of its own world: without walls root would end this machine's.
    "kills": "import os, signal\n    if os.getppid() == 1: os.kill(-1, signal.SIGKILL)\n    return x, x",
    "tells": "raise ValueError(str(x) + ', line 999 (x).')",
}


def notebook(path, *cells):
    found = [{"cell_type": "code", "source": cell} for cell in cells]
    path.write_text(json.dumps({"cells": found}), encoding="utf-8")


def grades(*words):
    assert main(["grade", "S", "--rubric", "rubric.toml", *words]) == 0
    with open("grades.csv", encoding="utf-8", newline="") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("S").mkdir()
    Path("rubric.toml").write_text(RUBRIC, encoding="utf-8")
    return tmp_path


WALLS = () if bubblewrap()[0] else ("--no-bubblewrap",)


@pytest.mark.skipif(not bubblewrap()[0], reason="bubblewrap is not installed: hostile code is run behind it alone")
def test_hostile_submissions_change_nobodys_grade(folder, capsys):
    import socket
    pytest.importorskip("jinja2")
    pytest.importorskip("junitparser")
    Path("S/good.py").write_text(GOOD)
    Path("S/averaged.py").write_text(AVERAGED)
    hostile = {name: does for name, does in HOSTILE.items() if name != "endless loop"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        for name, does in hostile.items():
            text = does.format(outside=str(folder / "outside"), rubric=str(folder / "rubric.toml"),
                               port=server.getsockname()[1])
            Path(f"S/{name}.py").write_text(f"{GOOD}\ndef relu_forward(x):\n    {text}\n")
        found = grades("--html", "page.html", "--junit", "junit.xml", "--gradescope", "scope")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not Path("outside").exists() and not Path("grades.csv.state").exists()
    assert sorted(os.listdir("S")) == sorted([*(f"{name}.py" for name in hostile), "good.py", "averaged.py"])
    assert (found["good"]["points"], found["averaged"]["points"]) == ("12.5", "8.75")
    for name in hostile:
        assert (name, found[name]["Affine"], found[name]["ReLU"]) == (name, "10.0", "0.0")
    assert "mean is taken twice" in found["averaged"]["why: Affine"]
    assert "relu_forward raised ValueError, line 20. " in found["tells"]["why: ReLU"]
    # Neither a hidden input nor the rubric is told.
    written = [Path(name).read_text() for name in ("grades.csv", "page.html", "junit.xml")]
    for text in [*written, *(path.read_text() for path in Path("scope").rglob("*.json"))]:
        assert "48151" not in text and "[[" not in text and "5 samples" not in text
    page = written[1]
    assert "Assignment &lt;2&gt;" in page and "<2>" not in page and page.count("<section") == len(found)
    suites = ElementTree.parse("junit.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == (str(2 * len(found)), str(1 + len(hostile)))
    scope = json.loads(Path("scope/averaged/results.json").read_text())
    assert scope["score"] == 8.75 and [test["score"] for test in scope["tests"]] == [6.25, 2.5]
    assert [test["max_score"] for test in scope["tests"]] == [10, 2.5]
    capsys.readouterr()
    before = Path("grades.csv").read_bytes()
    Path("S/prints.py").unlink()  # the slow one, so that the suite need not wait for it again
    again = grades("--jobs", "3")
    assert again == {name: found[name] for name in again} and len(again) == len(found) - 1
    assert before != Path("grades.csv").read_bytes()


def test_a_submission_that_does_not_end(folder):
    # Of ReLU alone: on a busy machine whatever else may take long.
    Path("rubric.toml").write_text(RUBRIC.replace("points = 2.5", "points = 2.5\nseconds = 1.5"))
    Path("S/endless loop.py").write_text(f"{GOOD}\ndef relu_forward(x):\n    {HOSTILE['endless loop']}\n")
    [found] = grades(*WALLS).values()
    assert (found["Affine"], found["ReLU"]) == ("10.0", "0.0")
    assert "relu_forward: no answer in time." in found["why: ReLU"]


@pytest.mark.skipif(stranger() is None, reason="root alone can run code as another user, who must reach this Python")
def test_as_root_without_bubblewrap_code_is_run_by_nobody_in_particular(folder):
    Path("S/good.py").write_text(GOOD)
    notebook(Path("S/cells.ipynb"), GOOD)
    os.chmod("rubric.toml", 0o600)
    # No signal but 0, which asks and does nothing: if this test failed, root would send it.
    does = {name: HOSTILE[name] for name in ("leaves", "reads the rubric")} | {
        "reaches the grader": "import os\n    os.kill(os.getppid(), 0)\n    return x, x"}
    for name, text in does.items():
        text = text.format(outside=str(folder / "outside"), rubric=str(folder / "rubric.toml"))
        Path(f"S/{name}.py").write_text(f"{GOOD}\ndef relu_forward(x):\n    {text}\n")
    before = os.umask(0o077)
    try:
        found = grades("--no-bubblewrap", "--jobs", "2")
    finally:
        os.umask(before)
    assert {name: row["points"] for name, row in found.items()} == {
        "good": "12.5", "cells": "12.5"} | dict.fromkeys(does, "10.0")
    assert not Path("outside").exists()
    assert all("raised PermissionError, line" in found[name]["why: ReLU"] for name in does)


def test_everything_that_is_handed_in(capsys):
    above = "from ..layers import *\nfrom ..layer_utils import *\n"
    course = {"layers.py": AFFINE, "classifiers/fc_net.py": above + RELU}
    with zipfile.ZipFile("S/a2.zip", "w") as archive:  # no __init__.py and no layer_utils.py, as it is collected
        for name, text in course.items():
            archive.writestr(f"cs231n/{name}", text)
        archive.writestr("cs231n/datasets/cifar.bin", b"0" * 1000)
    notebook(Path("S/cells.ipynb"), "%matplotlib inline\nimport numpy as np\n1 / 0", AFFINE, RELU)
    Path("S/folder/work").mkdir(parents=True)
    Path("S/folder/work/layers.py").write_text(AFFINE)
    notebook(Path("S/folder/work/hand in.ipynb"), AVERAGED)
    Path("S/in a folder").mkdir()
    Path("S/a2.zip").replace("S/in a folder/a2.zip")
    Path("S/a.final.py").write_text(AFFINE + "\n1 / 0")
    Path("S/notes.txt").write_text("none")
    Path("S/empty").mkdir()
    Path("S/bad.zip").write_bytes(b"PK no zip")
    Path("S/=1+1.py").write_text("affine_forward = 3\ndef helper(): pass")
    found = grades(*WALLS)
    assert {name: row["points"] for name, row in found.items()} == {
        "'=1+1": "0.0", "a.final": "0.0", "bad": "0.0", "cells": "12.5", "empty": "0.0", "folder": "12.5",
        "in a folder": "12.5"}
    assert "cannot be imported: ZeroDivisionError" in found["a.final"]["why: Affine"]
    assert "no zip" in found["bad"]["notes"] and "no Python file" in found["empty"]["notes"]
    assert "affine_forward is taken from work/layers.py; it is in work/hand in.ipynb" in found["folder"]["notes"]
    assert "relu_forward: not found." in found["empty"]["why: ReLU"]
    assert "passed over: notes.txt" in capsys.readouterr().out


# The process is killed as it says what the third one got, while the fourth is still being graded.
KILLED = """
import builtins, os, signal, sys
from daseCV_c.cli.main import main

said, say = [], print


def last_words(*words, **more):
    say(*words, **more)
    said.append(words)
    if len(said) == 3:
        os.kill(os.getpid(), signal.SIGKILL)


builtins.print = last_words
main(sys.argv[1:])
"""


def test_a_killed_run_goes_on(folder):
    for name in ("a", "b", "c"):
        Path(f"S/{name}.py").write_text(AVERAGED)
    Path("S/d.py").write_text("import time\ntime.sleep(50)" + GOOD)
    state = Path("grades.csv.state")
    command = [sys.executable, "-c", KILLED, "grade", "S", "--rubric", "rubric.toml", "--jobs", "1", *WALLS]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [
        str(Path(marking.__file__).parents[3]), os.environ.get("PYTHONPATH")]))}
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == "".join(f"{name}: 8.75 of 12.5\n" for name in "abc")
    lines = state.read_bytes().splitlines(keepends=True)
    # One of the grades is changed in the file, to see that it is taken, and the last is only half there.
    state.write_bytes(b"".join(lines).replace(b'"points": 8.75', b'"points": 8.5', 1)[:-40])
    Path("S/b.py").write_text(GOOD)  # handed in again
    Path("S/d.py").write_text(GOOD)
    found = grades("--jobs", "1", *WALLS)
    assert {name: row["points"] for name, row in found.items()} == {"a": "8.5", "b": "12.5", "c": "8.75", "d": "12.5"}
    assert not state.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_cannot_be_read_is_nobody_elses(capsys):
    """An encoding that is none of texts, names that are in the way, a cell without an end: all in one folder."""
    Path("S/good.py").write_text(GOOD)
    for encoding in ("hex", "zip", "punycode"):
        Path(f"S/{encoding}.py").write_text(f"# coding: {encoding}\n{GOOD}")
    Path("S/late.py").write_bytes(f"{GOOD}\n\n# ".encode() + "激活函数".encode("gbk"))
    with zipfile.ZipFile("S/inside.zip", "w") as archive:
        archive.writestr("layers.py", f"# coding: hex\n{AFFINE}")
        archive.writestr("relu.py", RELU)
    notebook(Path("S/cells.ipynb"), "# coding: hex\nimport numpy as np", GOOD, f"x = {'-' * 10**5}1")
    os.mkfifo("S/pipe.py")
    found = grades(*WALLS, "--likeness", "alike.csv")
    encoded = {name: "0.0" for name in ("hex", "zip", "punycode", "late")}
    assert {name: row["points"] for name, row in found.items()} == {
        "good": "12.5", "cells": "12.5", "inside": "2.5", **encoded}
    for name in (*encoded, "inside"):
        assert "Save the file as UTF-8" in found[name]["why: Affine"]
    assert "good: 12.5 of 12.5\n" in capsys.readouterr().out


def test_an_exception_about_one_submission_is_its_own():
    tasks = [("a", ("1",)), ("b", ("x\x1b",)), ("c", (None,)), ("d", ("4",))]
    found = dict(schedule.each(int, tasks, 2, lambda *said: said))
    assert (found["a"], found["d"]) == (1, 4)
    assert found["b"][:2] == ("b", "It could not be graded: ValueError") and found["b"][2].startswith("invalid literal")
    assert found["b"][2].isprintable() and found["c"][2].startswith("int() argument must be")


def test_such_a_submission_is_graded_and_named(monkeypatch, capsys):
    Path("S/a.py").write_text(GOOD)
    Path("S/b.py").write_text(GOOD)

    def pool(work, tasks, at_once):
        yield "a", marking.Grade("a", points=12.5, of=12.5, key="k")
        yield "b", schedule._tried(lambda *_: {}["x"])

    monkeypatch.setattr(schedule, "_pool", pool)
    found = grades(*WALLS, "--gradescope", "scope")
    assert (found["a"]["points"], found["b"]["points"], found["b"]["of"]) == ("12.5", "0.0", "12.5")
    said = "It could not be graded: KeyError"
    assert (found["b"]["notes"], found["b"]["why: ReLU"]) == (f"{said}: 'x'", f"{said}.")
    assert f"b: 0 of 12.5. {said}: 'x'\n" in capsys.readouterr().out
    told = Path("scope/b/results.json").read_text()  # what the error says may tell a student of a hidden case
    assert f"{said}." in told and "'x'" not in told


def test_a_full_disk_is_no_submissions_fault(monkeypatch, capsys):
    """Nobody gets 0 for it: the command ends, and goes on when there is room."""
    Path("S/a.py").write_text(GOOD)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def pool(work, tasks, at_once):
        yield "a", schedule._tried(full)

    monkeypatch.setattr(schedule, "_pool", pool)
    assert main(["grade", "S", "--rubric", "rubric.toml", *WALLS]) == 2
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err and not Path("grades.csv").exists()
    monkeypatch.setattr(reading, "open", full, raising=False)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        reading.lay_out(reading.read("a", Path("S/a.py")), Path())


def test_a_submission_that_ends_the_grader(monkeypatch):
    worth = rubric.load("rubric.toml")

    def pool(work, tasks, at_once):
        for name, _ in tasks:
            if name == "bad":
                raise schedule.BrokenProcessPool
            yield name, marking.Grade(name, key="k")

    monkeypatch.setattr(schedule, "_pool", pool)
    jobs = [(name, Path(name)) for name in ("a", "bad", "c")]
    found = schedule.grade_all(jobs, worth, Path("state"), None, 1, lambda grade: None)
    assert [grade.name for grade in found] == ["a", "bad", "c"]
    assert found[1].points == 0 and found[1].of == 12.5 and "ended the process" in found[1].notes[0]


@pytest.mark.parametrize(("partial", "points"), [("cases", 6.25), ("functions", 5.0), ("none", 0.0)])
def test_partial_credit(partial, points):
    question = rubric.Question("Affine", ("affine_forward", "affine_backward"), rubric.Fraction(10), partial)
    marks = {"affine_forward": marking.Mark("affine_forward", "passed", 6, 6, rubric.Fraction(1)),
             "affine_backward": marking.Mark("affine_backward", "failed", 1, 4, rubric.Fraction(1, 4), "hint")}
    answer = marking.answer_of(question, marks)
    assert (answer.points, answer.right) == (points, False)
    assert answer.reasons[1] == "affine_backward: 1 of 4 hidden cases right. hint"
    silent = marking.answer_of(dataclasses.replace(question, hints=False), marks)
    assert silent.reasons[1] == "affine_backward: 1 of 4 hidden cases right."


@pytest.mark.parametrize(("change", "said"), [
    (("seeds = [48151, 62342]", ""), "seeds is None"), (("48151", "-1"), "seeds is"), (("48151", "62342"), "seeds is"),
    (("affine_forward", "affine"), "question 1: no function of the course is called 'affine'"),
    (("relu_forward", "affine_forward"), "the function 'affine_forward' is there twice"),
    (('"ReLU"', '"Affine"'), "the question 'Affine' is there twice"),
    (("points = 10", "points = nan"), "question 1: points is NaN"), (("points = 10", ""), "points is None"),
    (("points = 10", "points = true"), "points is True"), (("points = 10", "pionts = 10"), "'pionts'"),
    (("hints = true", "hints = 0"), "question 2: hints is 0"), (("seconds = 600", "seconds = 0"), "seconds is 0"),
    (('"functions"', '"some"'), "partial is 'some'"), (("title", "title ="), "is no TOML"),
    (("[[question]]", "[[questions]]"), "'questions'"), (("seconds = 600", "memory = 1"), "memory is 1, .* 256"),
])
def test_bad_rubrics(change, said):
    Path("rubric.toml").write_text(RUBRIC.replace(*change))
    with pytest.raises(rubric.RubricError, match=said):
        rubric.load("rubric.toml")


def test_errors_of_the_command(capsys):
    for words, said in ([["S", "--rubric", "none.toml"], "none.toml cannot be read"],
                        [["none", "--rubric", "rubric.toml", *WALLS], "none cannot be read"],
                        [["S", "--rubric", "rubric.toml", *WALLS], "no folder in S"]):
        assert main(["grade", *words]) == 2
        assert said in capsys.readouterr().err


def test_without_bubblewrap_it_asks(monkeypatch, capsys):
    from daseCV_c._coursework import isolation

    Path("S/a.py").write_text(GOOD)
    monkeypatch.setattr(isolation, "bubblewrap", lambda: (None, "bubblewrap is not installed"))
    assert main(["grade", "S", "--rubric", "rubric.toml"]) == 2
    assert "--no-bubblewrap" in capsys.readouterr().err and not Path("grades.csv").exists()

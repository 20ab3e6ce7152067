"""Students' code in its room: what it does to itself is reported, and nothing of it gets out."""

import json
import os
import struct

import numpy as np
import pytest

from daseCV_c._coursework import isolation, running, table, wire
from daseCV_c._coursework.isolation import Ended, Limits, Room

pytestmark = pytest.mark.once

# On a busy machine whatever ends by itself, or by another limit, may take long before it does.
PATIENT = {"start": 3600, "call": 3600}
# Where bubblewrap is installed both ways, else limits alone.
WALLS = [False, True] if isolation.bubblewrap()[0] else [False]

BAD = '''
import ctypes, os, subprocess, sys, time
import numpy as np

def affine_forward(x, w, b):
    print("good")
    return x.reshape(len(x), -1) @ w + b, (x, w, b)

def relu_forward(x):
    while True:
        pass

def affine_backward(dout, cache):
    ctypes.string_at(0)

def layernorm_forward(x, gamma, beta, ln_param):
    os._exit(0)

def layernorm_backward(dout, cache):
    return dout

def softmax_loss(x, y):
    input("your name? ")

def svm_loss(x, y):
    while True:
        print("a" * 10000)

def sgd(w, dw, config=None):
    np.ones((1 << 20, 1 << 20))

def sgd_momentum(w, dw, config=None):
    while True:
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])

def rmsprop(w, dw, config=None):
    for number in range(3, 64):
        try:
            os.write(number, b"\\xff" * 64)
        except OSError:
            pass
    time.sleep(1000)

def adam(w, dw, config=None):
    sys.exit("enough")
'''


@pytest.mark.parametrize("isolate", WALLS)
def test_each_kind_of_end_is_reported_as_what_it_is(tmp_path, isolate):
    file = tmp_path / "layers.py"
    file.write_text(BAD)
    report = running.check_file(file, limits=Limits(**PATIENT, processor=3, processes=6), isolate=isolate)
    found = {result.function: (result.status,
                               result.mistake) for result in report.results if result.status != "missing"}
    # Whichever limit of processes it meets first: the system's, which makes Popen fail, or the one that is counted.
    assert found.pop("sgd_momentum") == ("crashed", "too-many-processes")
    assert found == {
        "affine_forward": ("passed", None), "affine_backward": ("crashed", None), "relu_forward": ("timeout",
                                                                                                   "too-much-time"),
        "layernorm_forward": ("crashed", None), "layernorm_backward": ("crashed", None), "softmax_loss": ("crashed",
            "asks-for-input"),
        "svm_loss": ("crashed", "prints-too-much"), "sgd": ("crashed", "too-much-memory"),
        "rmsprop": ("crashed", "answers-by-itself"), "adam": ("crashed", "ends-the-program")}
    hints = {result.function: result.hint for result in report.results}
    assert "SIGSEGV" in hints["affine_backward"] and "exit code 0" in hints["layernorm_forward"]
    assert "layernorm_forward, which it needs" in hints["layernorm_backward"]
    assert "good" in report.printed and "good" in table.as_text(report, "layers.py")
    assert ("behind bubblewrap" in report.walls) == bool(isolate)


def test_bubblewrap_works_where_it_is_asked_for():
    """`.ci/run` asks for it: where a system forbids what bubblewrap needs, the tests behind it are left out."""
    path, why = isolation.bubblewrap()
    assert path or os.environ.get("DASECV_REQUIRE_BUBBLEWRAP") != "1", why


LOOK = '''
import os, socket

def affine_forward(x, w, b):
    seen = {}
    for name, act in {
            "own": lambda: open(__file__, "a"), "beside": lambda: open(os.path.dirname(__file__) + "/new", "w"),
            "secret": lambda: open(SECRET).read(), "network": lambda: socket.create_connection(("127.0.0.1", PORT), 5),
            "delete": lambda: os.remove(__file__), "kill": lambda: os.kill(PARENT, 0)}.items():
        try:
            act()
            seen[name] = "done"
        except OSError as error:
            seen[name] = "refused"
    return seen, os.environ.get("A_PASSWORD", "none")
'''


def test_behind_bubblewrap_nothing_is_in_reach(tmp_path, monkeypatch):
    import socket
    monkeypatch.setenv("A_PASSWORD", "open sesame")
    folder, secret = tmp_path / "theirs", tmp_path / "rubric.toml"
    folder.mkdir()
    secret.write_text("answers")
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = LOOK.replace("SECRET", repr(str(secret))).replace("PORT", str(server.getsockname()[1]))
        (folder / "layers.py").write_text(text.replace("PARENT", str(os.getpid())))
        for isolate in WALLS:
            with Room([folder], isolate=isolate) as room:
                assert room.load(folder / "layers.py", ["affine_forward"]) == {"found": ["affine_forward"],
                                                                               "error": None}
                answer = room.ask({"inputs": {"n": None}, "steps": [["y", "affine_forward", ["n", "n", "n"], {}]],
                                   "give": ["y"]})["y"]
            assert answer[1] == "none"
            if isolate:
                assert set(answer[0].values()) == {"refused"}
            else:
                assert answer[0]["network"] == "done" and "within its reach" in room.walls
                (folder / "layers.py").write_text(text.replace("PARENT", str(os.getpid())))
                (folder / "new").unlink()
    assert sorted(os.listdir(folder)) == ["layers.py"] and secret.read_text() == "answers"


def test_what_cannot_be_imported(tmp_path):
    for name, text, words in (
            ("syntax", "def affine_forward(x, w, b):\n    return (\n", "SyntaxError"),
            ("module", "import no_such_library\ndef affine_forward(x, w, b): pass\n", "no_such_library"),
            ("name", "def affine_forward(x, w, b): pass\nprint(undefined)\n",
             "NameError: name 'undefined' is not defined, line 2")):
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        [result] = [r for r in running.check_file(file, isolate=False).results if r.status != "missing"]
        assert (result.function, result.status) == ("affine_forward", "crashed") and words in result.hint


def test_the_cases_of_all_seeds_are_tried_in_one_room(tmp_path, monkeypatch):
    """A room takes most of the time of a grade. One that a function has ended is followed by another for the rest."""
    opened, enter = [], Room.__enter__
    monkeypatch.setattr(Room, "__enter__", lambda room: opened.append(room) or enter(room))
    file = tmp_path / "layers.py"
    file.write_text("import os\nimport numpy as np\ndef relu_forward(x):\n    return np.maximum(x, 0), x\n"
                    "def relu_backward(dout, cache):\n    return dout * (cache > 0)\n"
                    "def affine_forward(x, w, b):\n    os._exit(3)\n"
                    "def affine_backward(dout, cache):\n    return dout\n")
    found = running.check_seeds(file, [5, 6], ["relu_forward", "relu_backward"], isolate=False)
    assert len(opened) == 1
    for seed, report in zip((5, 6), found, strict=True):
        assert report == running.check_file(file, ["relu_forward", "relu_backward"], isolate=False, seed=seed)
    opened.clear()
    found = running.check_seeds(file, [5, 6], isolate=False)
    assert len(opened) == 3
    for report in found:
        assert [(result.function, result.status) for result in report.results if result.status != "missing"] == [
            ("affine_forward", "crashed"), ("affine_backward", "crashed"), ("relu_forward", "passed"),
            ("relu_backward", "passed")]
        assert report.results[1].hint == "Not tried: affine_forward, which it needs, was ended."
    opened.clear()
    running.check_seeds(file, [5, 6], ["affine_forward", "affine_backward"], isolate=False)
    assert len(opened) == 2  # none for what is not tried
    opened.clear()
    file.write_text("def relu_forward(x):\n    return x, x\nraise SystemExit\n")
    for report in running.check_seeds(file, [5, 6], isolate=False):
        assert [(r.function, r.mistake) for r in report.results if r.status != "missing"] == [
            ("relu_forward", "ends-the-program")]
    assert len(opened) == 1


FORKS = """
import os, time
children = []

def fork():
    children.append(os.fork())
    if not children[-1]:
        time.sleep(1000)
        os._exit(0)
"""


@pytest.mark.parametrize("isolate", WALLS)
def test_an_answer_does_not_hide_too_many_processes(tmp_path, isolate):
    """It may come before anybody has counted them, and then the end of a fork bomb was another from run to run."""
    file = tmp_path / "layers.py"
    file.write_text(FORKS + "def affine_forward(x, w, b):\n    while len(children) < 9:\n        fork()\n"
                    "    return x.reshape(len(x), -1) @ w + b, (x, w, b)\n")
    [result] = running.check_file(file, ["affine_forward"], Limits(**PATIENT, processes=6), isolate).results
    assert (result.status, result.mistake) == ("crashed", "too-many-processes")


@pytest.mark.parametrize("when", ["import", "call"])
@pytest.mark.parametrize("isolate", WALLS)
def test_a_fork_that_the_system_refuses_is_too_many_processes(tmp_path, isolate, when):
    """The end of a fork bomb that meets the system's limit is that of one whose processes were counted."""
    file = tmp_path / "layers.py"
    refuse = "children or fork()\n    raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
    file.write_text(f"{FORKS}\ndef affine_forward(x, w, b):\n    {refuse}\n"
                    + (f"if True:\n    {refuse}" if when == "import" else ""))
    [result] = running.check_file(file, ["affine_forward"], Limits(**PATIENT, processes=6), isolate).results
    file.write_text(FORKS + "def affine_forward(x, w, b):\n    while len(children) < 9:\n        fork()\n"
                    "    time.sleep(1000)\n" + ("affine_forward(0, 0, 0)\n" if when == "import" else ""))
    [counted] = running.check_file(file, ["affine_forward"], Limits(**PATIENT, processes=6), isolate).results
    assert result == counted and (result.status, result.mistake) == ("crashed", "too-many-processes")


@pytest.mark.parametrize("isolate", WALLS)
def test_too_many_processes_that_answer_in_one_heap(tmp_path, isolate):
    """What they write at once is no answer, and it is not they who wanted to answer by themselves."""
    file = tmp_path / "layers.py"
    file.write_text(FORKS + "def affine_forward(x, w, b):\n    while len(children) < 9:\n        fork()\n"
                    "    for number in range(3, 64):\n        try:\n            os.write(number, b'x' * 64)\n"
                    "        except OSError:\n            pass\n    time.sleep(1000)\n")
    [result] = running.check_file(file, ["affine_forward"], Limits(**PATIENT, processes=6), isolate).results
    assert (result.status, result.mistake) == ("crashed", "too-many-processes")


def test_a_call_that_waits(tmp_path):
    file = tmp_path / "layers.py"
    file.write_text("import time\ndef affine_forward(x, w, b):\n    time.sleep(1000)\n")
    [result] = [r for r in running.check_file(file, limits=Limits(start=3600, call=1),
                                              isolate=False).results if r.status != "missing"]
    assert (result.status, result.mistake) == ("timeout", "endless") and "within 1 second" in result.hint


@pytest.mark.parametrize("isolate", WALLS)
def test_what_others_have_used_is_nobodys_processor_time(tmp_path, isolate):
    """Two functions: one that takes all the time there is, then one that kills itself. Each is told apart."""
    file = tmp_path / "layers.py"
    file.write_text("import os, signal\ndef affine_forward(x, w, b):\n    while True: pass\n"
                    "def relu_forward(x):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    found = {result.function: result for result in running.check_file(
        file, limits=Limits(**PATIENT, processor=1), isolate=isolate).results if result.status != "missing"}
    assert (found["affine_forward"].status, found["affine_forward"].mistake) == ("timeout", "too-much-time")
    assert found["relu_forward"].status == "crashed" and "SIGKILL" in found["relu_forward"].hint


def test_the_start_is_no_requests_processor_time(script):
    script("""
import time
from daseCV_c._coursework import room

while time.process_time() < 1.5:
    pass
room.limit({"CPU": 1})
while time.process_time() < 2.2:
    pass
""")


def test_an_import_that_does_not_end(tmp_path):
    file = tmp_path / "layers.py"
    file.write_text("def affine_forward(x, w, b): pass\nwhile True: pass\n")
    limits = Limits(**PATIENT, processor=1)
    [result] = [r for r in running.check_file(file, limits=limits, isolate=False).results if r.status != "missing"]
    assert (result.status, result.mistake) == ("timeout", "too-much-time")


def test_files_of_a_package_and_names_of_ours(tmp_path):
    """A course folder: relative imports work, what is imported from us is not the student's, what is beside it is."""
    folder = tmp_path / "cs231n"
    (folder / "classifiers").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "classifiers" / "__init__.py").write_text("")
    (folder / "layers.py").write_text("def relu_forward(x):\n    return x * (x > 0), x\n")
    (folder / "classifiers" / "net.py").write_text(
        "from daseCV.layers import affine_forward\nfrom ..layers import *\nfrom cs231n.layers import relu_forward\n")
    for isolate in WALLS:
        with Room([tmp_path], isolate=isolate) as room:
            found = room.load(folder / "classifiers" / "net.py", list(running.CASES))
        assert found == {"found": ["relu_forward"], "error": None}


@pytest.mark.parametrize("value", [
    None, True, 3, -(10**40), 2**998, 2.5, float("inf"), "text", [1, (2.0, "b")],
    {"a": {"b": np.arange(6).reshape(2, 3)}},
    np.float32(1.5), np.zeros((0, 3)), np.array(True), np.array(7, ">i4"), np.ones((2, 2), order="F")])
def test_values_come_back_as_they_went(value):
    found = wire.decode(wire.encode(value)[8:])
    if isinstance(value, np.ndarray | np.generic):
        assert found.shape == value.shape and np.array_equal(found, value) and found.dtype.kind == value.dtype.kind
    else:
        assert repr(found) == repr(value)


def test_what_cannot_travel_is_named(tmp_path):
    class Thing:
        pass
    assert repr(wire.decode(wire.encode([Thing(), np.array([Thing()]), {1: 2}, 2**999])[8:])) == (
        "[<Thing>, <array of object>, <dict>, <int>]")
    deep = [None]
    for _ in range(19):
        deep = [deep]
    assert wire.decode(wire.encode(deep)[8:]) == deep
    assert repr(wire.decode(wire.encode([deep])[8:])) == "[" * 21 + "<nested too deep>" + "]" * 21


def test_messages_that_are_none():
    good = wire.encode({"x": np.arange(3.0)})[8:]
    for body in (b"", b"\0" * 8, good[:-1], good + b"x", struct.pack("<Q", 1 << 60) + good[8:],
                 *(struct.pack("<Q", len(text)) + text.encode() for text in (
                     "{}", "[1]", '{"array": "O", "shape": [1]}', '{"array": "<f8", "shape": [-1, -1]}', '{"tuple": 3}',
                     '{"array": "<f8", "shape": [4611686018427387904, 4]}', '{"dict": [1]}', "[" * 5000, "NaN"))):
        with pytest.raises(wire.WireError):
            wire.decode(body)
    taken = iter([struct.pack("<Q", 100)])
    with pytest.raises(wire.WireError):
        wire.read(lambda size: next(taken), 50)


def test_a_room_that_has_ended_answers_no_more(tmp_path):
    (tmp_path / "layers.py").write_text("import os\ndef sgd(w, dw):\n    os.kill(os.getpid(), 9)\n")
    program = {"inputs": {"w": 1.0}, "steps": [["y", "sgd", ["w", "w"], {}]], "give": ["y"]}
    with Room([tmp_path], isolate=False) as room:
        room.load(tmp_path / "layers.py", ["sgd"])
        for _ in range(2):
            with pytest.raises(Ended, match="SIGKILL"):
                room.ask(program)


def test_json_has_no_nan(tmp_path):
    result = running.Result("adam", "failed", None, "three steps", "adam-t-not-raised", "hint")
    assert json.loads(table.as_json(running.Report([result]))) == {"results": [{
        "function": "adam", "status": "failed", "max_error": None, "case": "three steps",
        "mistake": "adam-t-not-raised", "hint": "hint"}]}


@pytest.mark.parametrize("answer", [
    None, 3, [1], {"error": {}}, {"error": "no"}, {"error": {"type": 1, "message": "", "line": 0, "in": ""}}])
def test_answers_that_are_none(answer):
    with pytest.raises(Ended, match="no answer"):
        running.try_function("relu_forward", lambda program: answer)


STRANGE = [None, 3, 2.5, "text", [1, [2, 3]], (), {}, {"W1": 1.0}, wire.Opaque("Thing"), np.zeros(0), np.array(7),
           np.array(np.nan), np.ones((2, 2), bool), np.arange(3)]


@pytest.mark.parametrize("name", running.CASES)
def test_no_answer_confuses_the_judges(name):
    """Whatever comes back for each name that a program gives, there is a verdict, and it is not that this is right."""
    for value in STRANGE:
        result = running.try_function(name, lambda program, value=value: dict.fromkeys(program["give"], value))
        assert result.status == "failed" and result.hint


def test_a_forged_import(tmp_path):
    (tmp_path / "layers.py").write_text("def sgd(w, dw):\n    pass\n")
    with Room([tmp_path], isolate=False) as room:
        room.load = lambda file, known: {"found": ["os.system"], "error": None}
        with pytest.raises(Ended, match="no answer"):
            running._loaded(room, tmp_path / "layers.py", ["sgd"])

"""A sub-interpreter is told that the package is for the first one, and the first one works on."""

import sys

import pytest

from daseCV_c import _first_interpreter

pytestmark = pytest.mark.once

PROGRAM = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = '''
import os
said = []
for name in ("daseCV_c", "daseCV.layers", "daseCV_c.layers"):
    try:
        __import__(name)
        said.append("imported")
    except ImportError as error:
        said.append(str(error))
os.write(WRITER, "|".join(said).encode())
'''


def said_by_another():
    reader, writer = os.pipe()
    other = interpreters.create()
    try:
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        assert run(other, CODE.replace("WRITER", str(writer))) is None
    finally:
        interpreters.destroy(other)
        os.close(writer)
    with open(reader, "rb") as said:
        return said.read().decode().split("|")


def refused():
    for _ in range(3):
        said = said_by_another()
        words = "daseCV_c: NumPy and the kernels do not work in a sub-interpreter; use threads or processes"
        assert len(said) == 3 and all(each.startswith(words) for each in said), said


def work():
    import numpy as np
    from daseCV_c import layers
    x = np.random.default_rng(0).standard_normal((500, 300))
    return layers.affine_forward(x, x[:300], x[0])[0].tobytes()


if BEFORE:
    expected = work()
refused()
if BEFORE:
    assert work() == expected
work()
"""


def test_this_is_the_first_one():
    assert _first_interpreter.is_first()


if sys.implementation.name == "cpython":
    @pytest.mark.parametrize("before", [True, False], ids=["after_the_first", "before_the_first"])
    def test_a_sub_interpreter_is_refused(script, before):
        script(PROGRAM.replace("BEFORE", str(before)))

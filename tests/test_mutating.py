"""The tool that mutates kernels: where it finds mutants, and how they stand in the sources."""

import random
from pathlib import Path

import pytest
from mutating import SOURCES, candidates, drawn, inserted

pytestmark = pytest.mark.once
SRC = Path(__file__).resolve().parents[1] / "src"

CYTHON = '''
"""Text - with + operators."""
cdef enum:
    SIZE = 4 + 4

cdef inline real _sum(const real *x, Py_ssize_t n) noexcept nogil:
    """More * text."""
    cdef Py_ssize_t i, last = n - 1
    cdef const real *row
    for i in range(last):
        # a - comment
        total += <real> x[i]
    return total
'''

C = '''
#define TWICE(x) ((x) + (x))
static inline int parts(const real *x, int n)
{
#if defined(_WIN32)
    n = n * 3;
#endif
    const real *end = x + n; /* one - behind */
    if (n < 4) return 0;
    barrier_wait(&b, n);
    return (int)(end - x);
}
'''


def whats(file, source):
    return {(mutant.kind, mutant.what) for mutant in candidates("affine", file, source)}


def test_mutants_of_cython_stand_in_functions_and_not_in_text():
    assert whats("x.pyx", CYTHON) == {
        ("arithmetic", "- -> +"), ("constant", "1 -> 2"), ("left out", "total += <real> x[i]"),
        ("arithmetic", "+= -> -="),
    }


def test_mutants_of_c_stand_in_what_is_compiled():
    assert whats("x.h", C) == {
        ("arithmetic", "+ -> -"), ("comparison", "< -> <="), ("constant", "4 -> 5"), ("constant", "0 -> 1"),
        ("left out", "barrier_wait(&b, n);"), ("arithmetic", "- -> +"),
    }


def test_level_v4_has_what_level_v3_has_not():
    source = C.replace("_WIN32", "__AVX512F__").replace("(int)", "bf16_")
    assert {(mutant.kind, mutant.what) for mutant in candidates("affine", "x.h", source, "v4")} == {
        ("arithmetic", "* -> +"), ("constant", "3 -> 2"), ("left out", "barrier_wait(&b, n);"),
        ("arithmetic", "- -> +"),
    }


def test_statements_and_expressions_are_chosen_at_run_time():
    mutants = dict(enumerate(candidates("affine", "x.h", C), 1))
    text, _ = inserted("x.h", C, mutants)
    assert "const real *end = (mutant_on(1) ? (x - n) : (x + n)); /* one - behind */" in text
    assert "{ if (mutant_on(5)) { ; } else { barrier_wait(&b, n); } }" in text
    mutants = dict(enumerate(candidates("affine", "x.pyx", CYTHON), 1))
    text, places = inserted("x.pyx", CYTHON, mutants)
    assert "last = ((n + 1) if mutant_on(1) else (n - 2) if mutant_on(2) else (n - 1))" in text
    assert "        if mutant_on(3):\n            pass\n" in text
    assert [number for _, _, numbers in places for number in numbers] == list(mutants)


@pytest.mark.tree
def test_a_draw_is_the_same_each_time_and_has_every_barrier():
    sources = {file: (SRC / file).read_text() for files in SOURCES.values() for file in files}
    first, second = (drawn(sources, ["step"], 10, random.Random(1)) for _ in range(2))
    assert first == second
    barriers = sources["step/phases.pxd"].count("barrier_wait(&s.barrier, parts)")
    assert sum(m.what.startswith("barrier_wait") for m in first) == barriers > 0
    for file in SOURCES["step"]:
        text, _ = inserted(file, sources[file], {n: m for n, m in enumerate(first) if m.file == file})
        for a, b in ("()", "[]"):
            assert text.count(a) - text.count(b) == sources[file].count(a) - sources[file].count(b)

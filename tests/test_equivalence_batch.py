"""Drawing a batch against its twin: every element is computed in double and rounded once."""

import numpy as np
import pytest
from adversarial import LAYOUTS, SPECIAL, normal, planted, rng_of
from comparing import both, same_bits, same_form

from daseCV_c.data_utils import gather_batch

SHAPES = [(1, 1), (5, 3), (7,), (40, 2, 3, 5), (300, 257), (30, 3, 32, 32), (10, 0)]
SOURCES = ["uint8", "float32", "float64"]
TARGETS = [None, np.float32, np.float64]


def images(shape, source):
    if source == "uint8":
        return rng_of("images", shape).integers(0, 256, shape).astype(np.uint8)
    return (100 * normal("images", *shape)).astype(source)


def index(n, size=17):
    return rng_of("index", n).integers(0, n, size)


def check(X, indices, mean, dtype):
    (batch, _), (batch0, _) = both(gather_batch, X, indices, mean, dtype)
    same_form(batch, batch0)
    np.testing.assert_array_equal(batch, batch0)
    return batch


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: getattr(t, "__name__", "none"))
@pytest.mark.parametrize("with_mean", [False, True])
def test_shapes_and_dtypes(level, shape, source, target, with_mean):
    X = images(shape, source)
    mean = np.asarray(X.astype(np.float64).mean(axis=0)) if with_mean else None
    assert check(X, index(shape[0]), mean, target).shape == (17, *shape[1:])


@pytest.mark.parametrize("source", SOURCES)
def test_no_indices(level, source):
    assert check(images((5, 3), source), np.array([], np.int64), None, np.float32).shape == (0, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_layouts(level, layout, source):
    X = LAYOUTS[layout](images((20, 3, 4), source))
    check(X, LAYOUTS[layout](index(20)), LAYOUTS[layout](normal("mean", 3, 4)), np.float32)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64", "list"])
def test_kinds_of_index(level, kind):
    rows = index(20)
    check(images((20, 4), "uint8"), rows.tolist() if kind == "list" else rows.astype(kind), None, np.float32)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("target", [np.float32, np.float64])
def test_special_values(level, kind, target):
    check(planted(images((20, 9), "float64"), kind), index(20), planted(normal("mean", 9), kind), target)


def test_rounds_once(backend):
    """float32 minus float64: subtracting in float32 would round the mean first."""
    X = np.full((2, 1), 16777216, np.float32)
    batch = gather_batch(X, [1], np.array([0.5]), np.float64)
    assert batch.tolist() == [[16777215.5]]


def test_the_batch_is_a_copy(backend):
    X = images((5, 3), "float32")
    batch = gather_batch(X, [1, 1, 4])
    assert not np.shares_memory(batch, X)
    batch.fill(0)
    same_bits(X, images((5, 3), "float32"))


@pytest.mark.parametrize("source", SOURCES)
def test_entry(kernels, dtype, source):
    for d in (0, 1, 15, 33, 3072):
        X, rows = images((21, d), source), index(21)
        mean = normal("mean", d)
        frame = np.full((19, d), 77, dtype)
        kernels.batch.gather(X, rows, mean, frame[1:-1], 1)
        np.testing.assert_array_equal(frame[1:-1], (X[rows].astype(np.float64) - mean).astype(dtype))
        assert (frame[[0, -1]] == 77).all()
        kernels.batch.gather(X, rows, None, frame[1:-1], 1)
        np.testing.assert_array_equal(frame[1:-1], X[rows].astype(dtype))

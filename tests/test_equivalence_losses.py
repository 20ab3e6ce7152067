"""SVM and softmax loss against their twins."""

import numpy as np
import pytest
from adversarial import KINDS, LAYOUTS, SPECIAL, filled, normal, planted, rng_of, small_integers
from comparing import both, close, same_values

from daseCV_c.layers import softmax_loss, svm_loss

LOSSES = pytest.mark.parametrize("loss", [svm_loss, softmax_loss], ids=lambda f: f.__name__)
SHAPES = [(1, 1), (1, 10), (9, 1), (2, 2), (7, 3), (100, 10), (257, 131), (1030, 70), (3, 3072)]


def labels(n, c):
    return rng_of("y", n, c).integers(0, c, n)


def check(loss, x, y):
    ((value, dx), _), ((value0, dx0), _) = both(loss, x, y)
    scores = np.asarray(x, np.float64)
    n, c = scores.shape
    finite = np.abs(scores[np.isfinite(scores)])
    top = (finite.max() if finite.size else 0.0) + np.log(c)
    assert type(value) is float and type(value0) is float
    # Losses are summed in double, but each margin or logarithm is rounded in the dtype of x.
    size = (1 + top) * (c if loss is svm_loss else 1)
    close(np.asarray(value, dx.dtype), np.asarray(value0, dx.dtype), size, 8 + n / 5)
    if loss is svm_loss:
        # A margin that is zero up to rounding may fall on either side of the hinge: none does in these data.
        close(dx, dx0, c / n, 2)
    else:
        close(dx, dx0, (1 + top) / n, 8 + added_exp(c))


def added_exp(c):
    """The sum of c exponentials, each within a few units in the last place."""
    return 4 + 2 * np.sqrt(c)


@LOSSES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(level, dtype, loss, shape):
    check(loss, normal("x", *shape, dtype=dtype), labels(*shape))


@LOSSES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ties_and_zero_margins(level, dtype, loss, shape):
    """Integer scores: many rows have several largest scores, many margins are exactly zero."""
    x = small_integers("x", *shape, dtype=dtype)
    check(loss, x, labels(*shape))
    check(loss, np.zeros(shape, dtype), labels(*shape))
    (value, dx), _ = both(svm_loss, x, labels(*shape))[0]
    (value0, dx0), _ = both(svm_loss, x, labels(*shape))[1]
    assert value == value0
    same_values(dx, dx0)


@LOSSES
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(2))
def test_layouts(level, dtype, loss, layout, position):
    args = [normal("x", 19, 5, dtype=dtype), labels(19, 5)]
    args[position] = LAYOUTS[layout](args[position])
    check(loss, *args)


@LOSSES
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(level, loss, kind):
    check(loss, KINDS[kind](small_integers("x", 19, 5)), labels(19, 5))


@LOSSES
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "list"])
def test_kinds_of_labels(level, dtype, loss, kind):
    y = labels(19, 5)
    check(loss, normal("x", 19, 5, dtype=dtype), y.tolist() if kind == "list" else y.astype(kind))


@LOSSES
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("spread", [planted, filled])
def test_special_values(level, dtype, loss, kind, spread):
    for c in (3, 10, 33):
        check(loss, spread(normal("x", 21, c, dtype=dtype), kind), labels(21, c))


@LOSSES
def test_one_nan_reaches_the_loss(backend, dtype, loss):
    x = normal("x", 4, 5, dtype=dtype)
    x[2, 1] = np.nan
    value, _ = loss(x, np.array([0, 1, 2, 3]))
    assert np.isnan(value)


@LOSSES
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 50.0, 1e4, 1e30])
def test_scales(level, dtype, loss, scale):
    """Large scores do not overflow in the exponential."""
    check(loss, normal("x", 23, 7, dtype=dtype) * dtype(scale), labels(23, 7))


def test_softmax_of_far_scores(backend, dtype):
    value, dx = softmax_loss(np.array([[1000.0, 0.0], [-1000.0, 0.0]], dtype), [0, 1])
    assert value == 0 and not dx.any()
    value, dx = softmax_loss(np.array([[1000.0, 0.0]], dtype), [1])
    assert value == 1000
    np.testing.assert_array_equal(dx, np.array([[1, -1]], dtype))


def test_float32_loss_is_summed_in_double(level):
    """One hundred thousand equal losses: a float32 sum would be off in the fifth figure."""
    x = np.zeros((100_000, 3), np.float32)
    assert abs(softmax_loss(x, np.zeros(100_000, int))[0] - np.log(3)) < 2e-7
    assert svm_loss(x, np.zeros(100_000, int))[0] == 2.0


@LOSSES
def test_gradient_rows_sum_to_zero(backend, loss):
    _, dx = loss(normal("x", 40, 9), labels(40, 9))
    assert np.abs(dx.sum(axis=1)).max() < 1e-15


@pytest.mark.parametrize("name", ["svm_loss", "softmax_loss"])
def test_entries_write_all_of_dx_and_nothing_else(kernels, dtype, name):
    for n, c in ((1, 1), (5, 3), (33, 10), (100, 17)):
        x, y = normal("x", n, c, dtype=dtype), labels(n, c)
        frame = np.full((n + 2, c), 77, dtype)
        value = getattr(kernels.losses, name)(x, y, frame[1:-1], 1)
        assert type(value) is float
        assert (frame[[0, -1]] == 77).all() and not (frame[1:-1] == 77).any()

"""ReLU against its twin: it rounds nothing, so the numbers are equal."""

import itertools

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, filled, normal, planted, small_integers
from comparing import both_pairs, run, same_values

from daseCV_c.layers import relu_backward, relu_forward

MIXED = pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=2)),
                                ids=lambda t: "-".join(np.dtype(d).name for d in t))
SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (5, 7), (2, 3, 4, 5), (257, 131), (1030, 70), (2, 3072)]


def check(x, dout):
    (out, grads, _), (out0, grads0, _) = both_pairs(relu_forward, relu_backward, (x,), dout)
    same_values(out, out0)
    same_values(grads[0], grads0[0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(level, dtype, shape):
    check(normal("x", *shape, dtype=dtype), normal("dout", *shape, dtype=dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(2))
def test_layouts(level, dtype, layout, position):
    args = [normal("x", 9, 5, 3, dtype=dtype), normal("dout", 9, 5, 3, dtype=dtype)]
    args[position] = LAYOUTS[layout](args[position])
    check(*args)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(2))
def test_kinds(level, dtype, kind, position):
    args = [small_integers("x", 9, 5, dtype=dtype), small_integers("dout", 9, 5, dtype=dtype)]
    args[position] = KINDS[kind](args[position])
    check(*args)


@MIXED
def test_mixed_dtypes(level, dtypes):
    check(normal("x", 9, 8, dtype=dtypes[0]), normal("dout", 9, 8, dtype=dtypes[1]))


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(2))
@pytest.mark.parametrize("spread", [planted, filled])
def test_special_values(level, dtype, position, kind, spread):
    args = [normal("x", 37, 19, dtype=dtype), normal("dout", 37, 19, dtype=dtype)]
    args[position] = spread(args[position], kind)
    check(*args)


def test_gradient_at_zero_is_zero(backend, dtype):
    x = np.array([0.0, -0.0, 1.0, -1.0], dtype)
    np.testing.assert_array_equal(relu_backward(np.full(4, 5, dtype), x), np.array([0, 0, 5, 0], dtype))


def test_nan_passes_forward(backend, dtype):
    out, _ = relu_forward(np.array([np.nan, 1, -1], dtype))
    assert np.isnan(out[0]) and out[1] == 1 and out[2] == 0


def test_cache_is_x_itself(backend, dtype):
    x = normal("x", 3, 4, dtype=dtype)
    assert relu_forward(x)[1] is x


def test_writing_to_the_output_leaves_the_gradient(backend, dtype):
    x, dout = normal("x", 6, 5, dtype=dtype), normal("dout", 6, 5, dtype=dtype)
    (out, cache), _ = run(backend, relu_forward, x)
    expected = relu_backward(dout, cache)
    out.fill(-1)
    same_values(relu_backward(dout, cache), expected)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 33, 4099])
def test_entries_write_all_of_the_output_and_nothing_else(kernels, dtype, size):
    x, dout = normal("x", size, dtype=dtype), normal("dout", size, dtype=dtype)
    frame = np.full(size + 64, 77, dtype)
    kernels.activation.relu_forward(x, frame[32:32 + size], 1)
    np.testing.assert_array_equal(frame[32:32 + size], np.maximum(x, 0))
    assert (frame[:32] == 77).all() and (frame[32 + size:] == 77).all()
    kernels.activation.relu_backward(dout, x, frame[32:32 + size], 1)
    np.testing.assert_array_equal(frame[32:32 + size], np.where(x > 0, dout, 0))
    assert (frame[:32] == 77).all() and (frame[32 + size:] == 77).all()


def test_a_negative_zero_becomes_zero(backend, dtype):
    """Products with ReLU on their way to memory and vectors of any kind do the same."""
    out, _ = relu_forward(np.full(33, -0.0, dtype))
    assert not np.signbit(out).any()

"""The affine layer and the matrix product against their twins."""

import itertools

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, filled, normal, planted, small_integers
from comparing import added, both_pairs, close, product_scale, same_form, same_values

from daseCV_c.layers import affine_backward, affine_forward

MIXED = pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=4)),
                                ids=lambda t: "-".join(np.dtype(d).name for d in t))
# (shape of x, M): empty, one, odd, larger than every block, wide, packed in strips of which the last is half a panel.
SHAPES = [
    ((0, 3), 2), ((3, 0), 2), ((3, 2), 0), ((0, 0), 0), ((1, 1), 1), ((1, 9), 1), ((9, 1), 1),
    ((5, 7), 3), ((2, 4, 5, 6), 3),
    ((33, 17), 65), ((64, 64), 64), ((257, 131), 10), ((131, 257), 129), ((1030, 70), 33), ((7, 3072), 101),
    ((300, 1), 300), ((2, 3, 32, 32), 10), ((20, 600), 138), ((150, 40), 1105),
]


def inputs(shape, m, dtype, make=normal):
    d = int(np.prod(shape[1:]))
    return [make("x", *shape, dtype=dtype), make("w", d, m, dtype=dtype), make("b", m, dtype=dtype),
            make("dout", shape[0], m, dtype=dtype)]


def check(x, w, b, dout):
    """Both directions on both backends; tolerances follow the length of the sums."""
    (out, grads, _), (out0, grads0, _) = both_pairs(affine_forward, affine_backward, (x, w, b), dout)
    x, w, b, dout = (np.asarray(a) for a in (x, w, b, dout))
    n, (d, m) = x.shape[0], w.shape
    x_nd = x.reshape(n, d)
    close(out, out0, product_scale(x_nd, w, b), added(d))
    close(grads[0], grads0[0], product_scale(dout, w.T).reshape(x.shape), added(m))
    close(grads[1], grads0[1], product_scale(x_nd.T, dout), added(n))
    with np.errstate(invalid="ignore", over="ignore"):
        close(grads[2], grads0[2], np.abs(np.asarray(dout, np.float64)).sum(axis=0), added(n))


@pytest.mark.parametrize(("shape", "m"), SHAPES, ids=str)
def test_shapes(level, dtype, shape, m):
    check(*inputs(shape, m, dtype))


@pytest.mark.parametrize(("shape", "m"), SHAPES, ids=str)
def test_integers_are_exact(level, dtype, shape, m):
    """No element is missed or taken twice: there is no rounding to hide behind."""
    x, w, b, dout = inputs(shape, m, dtype, small_integers)
    (out, grads, _), (out0, grads0, _) = both_pairs(affine_forward, affine_backward, (x, w, b), dout)
    same_values(out, out0)
    for grad, grad0 in zip(grads, grads0, strict=True):
        same_values(grad, grad0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(4))
def test_layouts(level, dtype, layout, position):
    args = inputs((13, 5, 4), 11, dtype)
    args[position] = LAYOUTS[layout](args[position])
    check(*args)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(4))
def test_kinds(level, dtype, kind, position):
    args = inputs((13, 5, 4), 11, dtype, small_integers)
    args[position] = KINDS[kind](args[position])
    check(*args)


@MIXED
def test_mixed_dtypes(level, dtypes):
    args = [a.astype(d) for a, d in zip(inputs((9, 8), 7, np.float64), dtypes, strict=True)]
    check(*args)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize(("shape", "m"), [((6, 5), 3), ((70, 37), 33)], ids=str)
def test_special_values(level, dtype, shape, m, position, kind):
    args = inputs(shape, m, dtype)
    args[position] = planted(args[position], kind)
    check(*args)
    args[position] = filled(args[position], kind)
    check(*args)


def test_cache_holds_the_inputs_themselves(backend, dtype):
    x, w, b, _ = inputs((3, 4), 5, dtype)
    cache = affine_forward(x, w, b)[1]
    assert all(held is given for held, given in zip(cache, (x, w, b), strict=True))


@pytest.mark.parametrize(("trans_a", "trans_b"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("sizes", [
    (0, 3, 2), (3, 0, 2), (3, 2, 0), (1, 1, 1), (5, 7, 3), (13, 33, 257), (65, 129, 70), (257, 10, 131),
    (70, 515, 1030),
    (1, 300, 64), (300, 1, 64), (12, 16, 16), (24, 64, 512),
    # Few columns beside many rows; rows 4096 and 8192 bytes apart; blocks of rows with a short last block of k.
    (100, 10, 100), (71, 13, 600), (30, 3, 1030), (40, 70, 1024), (1024, 40, 130), (301, 100, 10), (530, 200, 1030),
    # Panels packed ahead, over three blocks of k, and few last columns.
    (250, 258, 1100),
], ids=str)
def test_matmul_entry(kernels, dtype, sizes, trans_a, trans_b):
    m, n, k = sizes
    for make in (normal, small_integers):
        a = make("a", *((k, m) if trans_a else (m, k)), dtype=dtype)
        b = make("b", *((n, k) if trans_b else (k, n)), dtype=dtype)
        # A frame around the output: nothing outside it may be written.
        frame = np.full((m + 2) * n, 77, dtype)
        out = frame[n:n + m * n].reshape(m, n)
        kernels.affine.matmul(a, b, out, trans_a, trans_b, 1)
        op_a, op_b = a.T if trans_a else a, b.T if trans_b else b
        if make is small_integers:
            same_values(out.copy(), op_a @ op_b)
        else:
            close(out, op_a @ op_b, product_scale(op_a, op_b), added(k))
        assert (frame[:n] == 77).all() and (frame[n + m * n:] == 77).all()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("shape", "m"), [((5, 7), 3), ((257, 131), 10), ((100, 300), 65), ((3, 0), 4)], ids=str)
def test_forward_entry(kernels, dtype, shape, m, relu):
    x, w, b, _ = inputs(shape, m, dtype)
    out = np.empty((shape[0], m), dtype)
    kernels.affine.affine_forward(x, w, b, out, relu, 1)
    expected = x @ w + b
    close(out, np.maximum(expected, 0) if relu else expected, product_scale(x, w, b), added(shape[1]))


def test_forward_entry_keeps_nan_through_relu(kernels, dtype):
    x, w, b, _ = inputs((6, 5), 40, dtype)
    x[2, 1] = np.nan
    out = np.empty((6, 40), dtype)
    kernels.affine.affine_forward(x, w, b, out, True, 1)
    assert np.isnan(out[2]).all() and np.isfinite(out[[0, 1, 3, 4, 5]]).all()


def test_backward_accepts_a_list_as_cache(backend, dtype):
    x, w, b, dout = inputs((3, 4), 5, dtype)
    for grad, grad0 in zip(affine_backward(dout, [x, w, b]), affine_backward(dout, (x, w, b)), strict=True):
        same_form(grad, grad0)
        np.testing.assert_array_equal(grad, grad0)

"""The convolution against its twins: geometries, layouts, dtypes, special values, threads; and against torch."""

import importlib.util
import itertools

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, filled, frozen, normal, planted, small_integers
from comparing import added, both_pairs, close, pair, same_values

import daseCV_c
from daseCV_c import reference
from daseCV_c.fast_layers import conv_backward_fast, conv_forward_fast
from daseCV_c.gradient_check import eval_numerical_gradient_array
from daseCV_c.layers import conv_backward_naive, conv_forward_naive

# (N, C, H, W), (F, HH, WW), stride, pad
SMALL = [
    ((1, 1, 1, 1), (1, 1, 1), 1, 0), ((2, 3, 4, 5), (4, 1, 1), 1, 0), ((2, 3, 4, 5), (4, 1, 1), 1, 2),
    ((2, 3, 5, 5), (2, 3, 3), 1, 1), ((1, 2, 5, 9), (3, 2, 5), 1, 0), ((2, 1, 9, 4), (3, 5, 2), 1, 1),
    ((2, 2, 5, 7), (3, 3, 3), 2, 0), ((2, 2, 7, 5), (3, 3, 3), 2, 1), ((1, 3, 8, 12), (2, 3, 4), 3, 2),
    ((2, 2, 9, 5), (5, 1, 1), 4, 0), ((1, 2, 6, 10), (2, 4, 4), 2, 3), ((2, 1, 8, 8), (1, 2, 2), 3, 0),
    ((1, 2, 3, 3), (2, 3, 3), 1, 3), ((1, 2, 4, 3), (2, 4, 3), 1, 0), ((1, 1, 2, 2), (1, 5, 5), 1, 3),
    ((1, 2, 3, 4), (2, 2, 3), 1, 5), ((3, 2, 8, 7), (7, 2, 1), 4, 1),
]
# Beyond every block: rows of pixels that fill vectors and rows that do not, many filters, many channels, bands.
LARGE = [
    ((5, 3, 32, 32), (32, 7, 7), 1, 3), ((3, 32, 12, 17), (25, 3, 3), 1, 1), ((9, 3, 31, 31), (25, 3, 3), 2, 1),
    ((70, 4, 4, 4), (13, 3, 3), 1, 1), ((2, 150, 6, 6), (14, 3, 3), 1, 1), ((1, 2, 5, 300), (5, 3, 5), 1, 1),
    ((1, 5, 150, 33), (3, 5, 3), 1, 2), ((2, 3, 41, 29), (6, 5, 5), 4, 2), ((1, 3, 200, 3), (2, 9, 2), 1, 0),
    ((1, 2, 40, 40), (300, 2, 2), 2, 0), ((1, 70, 34, 66), (3, 2, 2), 1, 0),
]
GEOMETRIES = pytest.mark.parametrize(("shape", "filters", "stride", "pad"), [*SMALL, *LARGE], ids=str)


def inputs(shape, filters, stride, pad, dtype, make=normal):
    """x, w, b, dout, conv_param."""
    (N, C, H, W), (F, HH, WW) = shape, filters
    out = N, F, (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1
    return [make("x", *shape, dtype=dtype), make("w", F, C, HH, WW, dtype=dtype), make("b", F, dtype=dtype),
            make("dout", *out, dtype=dtype), {"stride": stride, "pad": pad}]


def check(x, w, b, dout, param):
    """Both directions on both backends; tolerances follow the sums of absolute values."""
    (out, grads, _), (out0, grads0, _) = both_pairs(conv_forward_fast, conv_backward_fast, (x, w, b, param), dout)
    with np.errstate(all="ignore"):
        absolute = [np.abs(np.asarray(a, np.float64)) for a in (x, w, b, dout)]
        scale, cache = reference.conv_forward_fast(*absolute[:3], param)
        scales = reference.conv_backward_fast(absolute[3], cache)
    N, F, H, W = np.shape(dout)
    _, C, HH, WW = np.shape(w)
    close(out, out0, scale, added(C * HH * WW))
    for grad, grad0, size, terms in zip(grads, grads0, scales, (F * HH * WW, N * H * W, N * H * W), strict=True):
        close(grad, grad0, size, added(terms))


@GEOMETRIES
def test_geometries(level, dtype, shape, filters, stride, pad):
    check(*inputs(shape, filters, stride, pad, dtype))


@GEOMETRIES
def test_integers_are_exact(level, dtype, shape, filters, stride, pad):
    """No product is missed or taken twice: there is no rounding to hide behind."""
    x, w, b, dout, param = inputs(shape, filters, stride, pad, dtype, small_integers)
    (out, grads, _), (out0, grads0, _) = both_pairs(conv_forward_fast, conv_backward_fast, (x, w, b, param), dout)
    same_values(out, out0)
    for grad, grad0 in zip(grads, grads0, strict=True):
        same_values(grad, grad0)


@pytest.mark.parametrize(("shape", "filters", "stride", "pad"), SMALL, ids=str)
def test_two_twins(backend, dtype, shape, filters, stride, pad):
    """The loops of the definition against the fast functions."""
    x, w, b, dout, param = inputs(shape, filters, stride, pad, dtype, small_integers)
    out, grads, _ = pair(backend, conv_forward_naive, conv_backward_naive, (x, w, b, param), dout)
    out0, grads0, _ = pair(backend, conv_forward_fast, conv_backward_fast, (x, w, b, param), dout)
    same_values(out, out0)
    for grad, grad0 in zip(grads, grads0, strict=True):
        same_values(grad, grad0)


@pytest.mark.parametrize(("sizes", "filters"), [
    (((0, 3, 5, 5)), (2, 3, 3)), ((2, 0, 5, 5), (2, 3, 3)), ((2, 3, 5, 5), (0, 3, 3)), ((2, 3, 0, 5), (2, 2, 3)),
], ids=str)
def test_empty(level, dtype, sizes, filters):
    check(*inputs(sizes, filters, 1, 1, dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(4))
def test_layouts(level, dtype, layout, position):
    args = inputs((2, 3, 7, 6), (4, 3, 2), 1, 1, dtype)
    args[position] = LAYOUTS[layout](args[position])
    check(*args)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(4))
def test_kinds(level, dtype, kind, position):
    args = inputs((2, 3, 7, 6), (4, 3, 2), 1, 1, dtype, small_integers)
    args[position] = KINDS[kind](args[position])
    check(*args)


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=4)),
                         ids=lambda t: "-".join(np.dtype(d).name for d in t))
def test_mixed_dtypes(level, dtypes):
    args = inputs((2, 3, 7, 6), (4, 3, 2), 1, 1, np.float64)
    check(*(a.astype(d) for a, d in zip(args[:4], dtypes, strict=True)), args[4])


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("geometry", [SMALL[3], SMALL[8], ((2, 3, 12, 17), (5, 3, 3), 1, 1)], ids=str)
def test_special_values(level, dtype, geometry, position, kind):
    args = inputs(*geometry, dtype)
    args[position] = planted(args[position], kind)
    check(*args)
    args[position] = filled(args[position], kind)
    check(*args)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("geometry", [SMALL[3], LARGE[1], LARGE[4]], ids=str)
def test_forward_entry(kernels, dtype, geometry, relu):
    """Nothing outside the output is written; ReLU keeps NaN."""
    x, w, b, dout, param = inputs(*geometry, dtype, small_integers)
    x[0, 0, 1, 1] = np.nan
    frame = np.full(dout.size + 64, 77, dtype)
    out = frame[32:32 + dout.size].reshape(dout.shape)
    kernels.conv.conv_forward(x, w, b, out, param["stride"], param["pad"], relu, 1)
    expected = reference.conv_forward_fast(x, w, b, param)[0]
    same_values(out.copy(), np.maximum(expected, 0) if relu else expected)
    assert np.isnan(out).any()
    assert (frame[:32] == 77).all() and (frame[32 + dout.size:] == 77).all()


@pytest.mark.parametrize("geometry", [SMALL[3], SMALL[6], SMALL[11], LARGE[1], LARGE[7]], ids=str)
def test_backward_entries_write_no_more(kernels, dtype, geometry):
    x, w, b, dout, param = inputs(*geometry, dtype, small_integers)
    stride, pad = param["stride"], param["pad"]
    frames = [np.full(a.size + 64, 77, dtype) for a in (x, w, b)]
    dx, dw, db = (frame[32:-32].reshape(a.shape) for frame, a in zip(frames, (x, w, b), strict=True))
    kernels.conv.conv_backward_dx(dout, w, dx, stride, pad, 1)
    kernels.conv.conv_backward_dw(x, dout, dw, db, stride, pad, 1)
    for grad, grad0 in zip((dx, dw, db), reference.conv_backward_fast(dout, (x, w, b, param)), strict=True):
        same_values(grad.copy(), grad0)
    assert all((frame[:32] == 77).all() and (frame[-32:] == 77).all() for frame in frames)


# One image, fewer images than threads, more; several bands and blocks of channels.
@pytest.mark.parametrize("geometry", [
    ((1, 3, 96, 80), (32, 5, 5), 1, 2), ((2, 64, 33, 33), (40, 3, 3), 2, 1), ((23, 48, 14, 14), (33, 3, 3), 1, 1),
    ((200, 8, 5, 5), (70, 3, 3), 1, 1),
], ids=str)
def test_same_bits_for_any_number_of_threads(kernels, dtype, geometry):
    x, w, b, dout, param = inputs(*geometry, dtype)
    stride, pad = param["stride"], param["pad"]
    ends = set()
    for threads in (1, 2, 3, 5):
        found = [np.full_like(a, -12345) for a in (dout, x, w, b)]
        kernels.conv.conv_forward(x, w, b, found[0], stride, pad, False, threads)
        kernels.conv.conv_backward_dx(dout, w, found[1], stride, pad, threads)
        kernels.conv.conv_backward_dw(x, dout, *found[2:], stride, pad, threads)
        ends.add(str(frozen(found)))
    assert len(ends) == 1


def test_zero_times_nan_is_nan_with_one_filter_of_one_number(backend, dtype):
    x = np.array([1, np.nan, np.inf], dtype).reshape(1, 1, 1, 3)
    with np.errstate(invalid="ignore"):
        out, cache = conv_forward_fast(x, np.zeros((1, 1, 1, 1), dtype), np.ones(1, dtype), {"stride": 1, "pad": 0})
        dx, dw, _ = conv_backward_fast(-x, cache)
    np.testing.assert_array_equal(out.ravel(), [1, np.nan, np.nan])
    np.testing.assert_array_equal(dx.ravel(), [0, np.nan, np.nan])
    assert np.isnan(dw).all()


def test_an_image_alone_gives_the_same_bits(level, dtype):
    """An output does not depend on the images around it."""
    x, w, b, _, param = inputs((7, 20, 9, 9), (13, 3, 3), 1, 1, dtype)
    together = conv_forward_fast(x, w, b, param)[0]
    for n in range(7):
        same_values(conv_forward_fast(x[n:n + 1], w, b, param)[0], together[n:n + 1])


def test_cache_holds_the_inputs_themselves(backend, dtype):
    x, w, b, dout, param = inputs(*SMALL[3], dtype)
    for forward in (conv_forward_naive, conv_forward_fast):
        cache = forward(x, w, b, param)[1]
        assert len(cache) == 4 and all(held is given for held, given in zip(cache, (x, w, b, param), strict=True))
    # The cache of one is good for the other.
    same = [conv_backward_naive(dout, cache)[1], conv_backward_fast(dout, list(cache))[1]]
    np.testing.assert_allclose(*same, rtol=1e-4, atol=1e-4)


def test_other_names():
    from daseCV_c import fast_layers

    for way in ("im2col", "strides"):
        assert getattr(fast_layers, f"conv_forward_{way}") is conv_forward_fast
        assert getattr(fast_layers, f"conv_backward_{way}") is conv_backward_fast


def test_the_courses_figures(backend):
    """conv_forward_naive on numbers in a row, as the course checks it."""
    x = np.linspace(-0.1, 0.5, num=96).reshape(2, 3, 4, 4)
    w = np.linspace(-0.2, 0.3, num=144).reshape(3, 3, 4, 4)
    b = np.linspace(-0.1, 0.2, num=3)
    expected = [
        [[[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
         [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
         [[0.50813986, 0.54309974], [0.64082444, 0.67101435]]],
        [[[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
         [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
         [[2.36270298, 2.36904306], [2.38090835, 2.38247847]]],
    ]
    for forward in (conv_forward_naive, conv_forward_fast):
        out, _ = forward(x, w, b, {"stride": 2, "pad": 1})
        np.testing.assert_allclose(out, expected, atol=1e-8)


def rel_error(x, y):
    """As the course computes it."""
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


@pytest.mark.parametrize(("forward", "backward"), [
    (conv_forward_naive, conv_backward_naive), (conv_forward_fast, conv_backward_fast),
], ids=["naive", "fast"])
def test_gradients_by_the_courses_measure(backend, forward, backward):
    # The differences' own error exceeds 1e-8 for one draw in five: where a gradient is close to zero.
    np.random.seed(236)
    x, w, b, dout = (np.random.randn(*s) for s in ((4, 3, 5, 5), (2, 3, 3, 3), (2,), (4, 2, 5, 5)))
    param = {"stride": 1, "pad": 1}
    grads = backward(dout, forward(x, w, b, param)[1])
    for k, grad in enumerate(grads):
        args = [x, w, b]
        numerical = eval_numerical_gradient_array(lambda _: forward(x, w, b, param)[0], args[k], dout)  # noqa: B023
        assert rel_error(grad, numerical) < 1e-8


@pytest.mark.parametrize(("stride", "pad", "shape", "filters"), [
    (s, p, shape, filters) for (shape, filters, s, p) in (SMALL[6], SMALL[8], SMALL[10], SMALL[12])])
def test_gradients_of_other_geometries(backend, stride, pad, shape, filters):
    x, w, b, dout, param = inputs(shape, filters, stride, pad, np.float64)
    for k, grad in enumerate(conv_backward_fast(dout, (x, w, b, param))):
        numerical = eval_numerical_gradient_array(
            lambda _: conv_forward_fast(x, w, b, param)[0], (x, w, b)[k], dout, h=1e-3)
        # Linear in each argument: differences are exact but for rounding, whatever the step.
        np.testing.assert_allclose(grad, numerical, rtol=1e-9, atol=1e-10)


if importlib.util.find_spec("torch"):
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @st.composite
    def geometries(draw):
        stride, pad = draw(st.integers(1, 4)), draw(st.integers(0, 3))
        HH, WW = draw(st.integers(1, 7)), draw(st.integers(1, 7))
        # So many steps that the image has at least one pixel, and the stride divides the filter's way.
        H, W = (field - 2 * pad + stride * draw(st.integers(max(0, -((field - 2 * pad - 1) // stride)), 12))
                for field in (HH, WW))
        return ((draw(st.integers(1, 3)), draw(st.integers(1, 9)), H, W), (draw(st.integers(1, 14)), HH, WW), stride,
                pad)

    @pytest.mark.compiled
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(geometry=geometries(), dtype=st.sampled_from(DTYPES))
    def test_against_torch(geometry, dtype):
        import torch

        x, w, b, dout, param = inputs(*geometry, dtype)
        with daseCV_c.use_backend("compiled"):
            out, cache = conv_forward_fast(x, w, b, param)
            found = [out, *conv_backward_fast(dout, cache)]
        leaves = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, w, b)]
        expected = torch.nn.functional.conv2d(*leaves, stride=param["stride"], padding=param["pad"])
        assert tuple(expected.shape) == out.shape
        expected.backward(torch.tensor(dout.astype(np.float64)))
        for one, other in zip(found, [expected.detach(), *(leaf.grad for leaf in leaves)], strict=True):
            limit = 1e-10 if dtype == np.float64 else 1e-4
            np.testing.assert_allclose(one, other.numpy(), rtol=limit, atol=limit * max(1, float(other.abs().max())))

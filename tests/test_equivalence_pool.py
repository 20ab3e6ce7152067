"""Max pooling: the kernel against its twins to the last bit, the notebook's checks, gradients, torch, bad input."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, filled, frozen, normal, planted, small_integers
from comparing import both_pairs, run, same_bits, same_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daseCV_c
from daseCV_c import reference
from daseCV_c.fast_layers import (
    max_pool_backward_fast,
    max_pool_backward_im2col,
    max_pool_backward_reshape,
    max_pool_forward_fast,
    max_pool_forward_im2col,
    max_pool_forward_reshape,
)
from daseCV_c.gradient_check import eval_numerical_gradient_array
from daseCV_c.layers import max_pool_backward_naive, max_pool_forward_naive

WAYS = {
    "fast": (max_pool_forward_fast, max_pool_backward_fast),
    "im2col": (max_pool_forward_im2col, max_pool_backward_im2col),
    "reshape": (max_pool_forward_reshape, max_pool_backward_reshape),
}
NAIVE = max_pool_forward_naive, max_pool_backward_naive
ALL = pytest.mark.parametrize("way", [*WAYS.values(), NAIVE], ids=[*WAYS, "naive"])

# x, window, stride
GEOMETRIES = [
    ((1, 1, 1, 1), (1, 1), 1), ((2, 3, 4, 4), (2, 2), 2), ((3, 2, 5, 7), (2, 2), 2), ((2, 2, 7, 6), (2, 2), 2),
    ((2, 3, 32, 32), (2, 2), 2), ((2, 1, 31, 31), (2, 2), 2), ((2, 1, 6, 70), (2, 2), 2), ((1, 2, 2, 2), (2, 2), 2),
    ((2, 2, 3, 3), (2, 2), 2), ((2, 3, 6, 9), (2, 3), 1), ((2, 3, 9, 6), (3, 2), 2), ((2, 2, 8, 11), (3, 3), 4),
    ((2, 2, 8, 11), (1, 5), 3), ((1, 3, 20, 18), (17, 16), 1), ((1, 3, 20, 18), (16, 16), 1),
    ((2, 1, 4, 140), (3, 3), 1), ((2, 1, 4, 140), (2, 2), 2), ((2, 2, 5, 5), (5, 5), 7), ((0, 2, 4, 4), (2, 2), 2),
    ((2, 0, 4, 4), (3, 2), 1), ((3, 5, 12, 12), (4, 4), 4), ((2, 2, 4, 200), (2, 1), 2),
]
CASES = pytest.mark.parametrize(("shape", "window", "stride"), GEOMETRIES, ids=str)


def params(window, stride):
    return {"pool_height": window[0], "pool_width": window[1], "stride": stride}


def out_shape(shape, window, stride):
    return (*shape[:2], (shape[2] - window[0]) // stride + 1, (shape[3] - window[1]) // stride + 1)


def tiles(shape, window, stride):
    return window == (stride, stride) and shape[2] % stride == 0 == shape[3] % stride


def naive(x, dout, param):
    """(out, dx) of the twin that loops."""
    with np.errstate(all="ignore"):
        out, cache = reference.max_pool_forward_naive(x, param)
        return out, reference.max_pool_backward_naive(dout, cache)


def check(x, dout, window, stride):
    """Every way that serves the geometry, on both backends."""
    param = params(window, stride)
    expected, expected_dx = naive(x, dout, param)
    shape = np.shape(x)
    for name, (forward, backward) in WAYS.items():
        if name == "reshape" and not tiles(shape, window, stride):
            continue
        (out, grads, _), (out0, grads0, _) = both_pairs(forward, backward, (x, param), dout)
        for actual in (out, out0):
            same_values(actual, expected)
        for actual in (grads[0], grads0[0]):
            same_values(actual, expected_dx)
        assert out.tobytes() == out0.tobytes()


@CASES
def test_kernels_are_the_twins(level, dtype, shape, window, stride):
    dout = normal("dout", *out_shape(shape, window, stride), dtype=dtype)
    check(normal("x", *shape, dtype=dtype), dout, window, stride)
    # Few different numbers: nearly every window has ties.
    check(np.sign(small_integers("x", *shape, dtype=dtype)), dout, window, stride)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
          derandomize=True)
@given(st.tuples(*[st.integers(1, high) for high in (3, 3, 20, 40)]), st.tuples(st.integers(1, 6), st.integers(1, 6)),
       st.integers(1, 4), st.sampled_from(DTYPES), st.sampled_from([None, "nan", "mixed", "zeros"]))
def test_any_geometry(level, shape, window, stride, dtype, kind):
    window = min(window[0], shape[2]), min(window[1], shape[3])
    x = small_integers("x", *shape, dtype=dtype)
    dout = small_integers("dout", *out_shape(shape, window, stride), dtype=dtype)
    check(x if kind is None else planted(x, kind), dout, window, stride)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize(("window", "stride"), [((2, 2), 2), ((3, 3), 1), ((17, 16), 1)])
def test_special_values(level, dtype, kind, window, stride):
    shape = (2, 3, 18, 38)
    dout = normal("dout", *out_shape(shape, window, stride), dtype=dtype)
    x = normal("x", *shape, dtype=dtype)
    check(planted(x, kind), dout, window, stride)
    check(filled(x, kind), dout, window, stride)


def test_nan_in_the_upstream_gradient_goes_to_one_place(level, dtype):
    for window, stride in (((2, 2), 2), ((3, 3), 3)):
        x = normal("x", 1, 1, 36, 36, dtype=dtype)
        dout = normal("dout", *out_shape(x.shape, window, stride), dtype=dtype)
        dout[0, 0, 3, 4], dout[0, 0, 5, 5] = np.nan, np.inf
        check(x, dout, window, stride)
        out, cache = max_pool_forward_fast(x, params(window, stride))
        dx = max_pool_backward_fast(dout, cache)
        assert np.isnan(dx).sum() == 1 and np.isinf(dx).sum() == 1


@ALL
@pytest.mark.parametrize("size", [2, 3], ids=["2x2", "3x3"])
@pytest.mark.parametrize("fill", [0.0, -np.inf, np.inf, np.nan])
def test_first_of_equal_maxima_gets_the_gradient(backend, dtype, way, size, fill):
    """Every set of places that hold the maximum, as one batch of images of one window each."""
    forward, backward = way
    sets = np.arange(1, 2 ** (size * size))
    held = (sets[:, None] >> np.arange(size * size)) & 1 == 1
    top = {0.0: 1.0, -np.inf: 1.0, np.inf: np.inf}.get(fill, np.nan)
    rest = {0.0: 0.0, -np.inf: -np.inf}.get(fill, 7.0)
    x = np.where(held, top, rest).astype(dtype).reshape(-1, 1, size, size)
    out, cache = forward(x, params((size, size), size))
    np.testing.assert_array_equal(out, np.full((len(sets), 1, 1, 1), top, dtype))
    dx = backward(np.full(out.shape, 3, dtype), cache).reshape(len(sets), -1)
    expected = np.zeros_like(dx)
    expected[np.arange(len(sets)), held.argmax(axis=1)] = 3
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(2))
def test_layouts(level, dtype, layout, position):
    for shape, window, stride in (((3, 2, 6, 8), (2, 2), 2), ((3, 2, 6, 8), (3, 2), 1)):
        args = [normal("x", *shape, dtype=dtype), normal("dout", *out_shape(shape, window, stride), dtype=dtype)]
        args[position] = LAYOUTS[layout](args[position])
        check(*args, window, stride)


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_become_float64(level, kind):
    x, dout = (KINDS[kind](small_integers(k, *s)) for k, s in (("x", (2, 3, 4, 4)), ("dout", (2, 3, 2, 2))))
    check(x, dout, (2, 2), 2)
    for function, backward in (NAIVE, WAYS["fast"]):
        out, cache = function(x, params((2, 2), 2))
        assert out.dtype == backward(dout, cache).dtype == np.float64


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_mixed_dtypes_are_promoted(level, first, second):
    x, dout = normal("x", 2, 3, 4, 5, dtype=first), normal("dout", 2, 3, 2, 2, dtype=second)
    check(x, dout, (2, 2), 2)
    out, cache = max_pool_forward_fast(x, params((2, 2), 2))
    assert out.dtype == first and max_pool_backward_fast(dout, cache).dtype == np.result_type(first, second)


def test_naive_checks_and_twin_agree(backend, dtype):
    x, dout = normal("x", 2, 3, 7, 8, dtype=dtype), normal("dout", 2, 3, 3, 6, dtype=dtype)
    param = params((2, 3), 2) | {"pool_width": np.int64(3)}
    (out, cache), _ = run(backend, max_pool_forward_naive, x, param, check_alias=False)
    assert cache[0] is x and cache[1] == param
    dx, _ = run(backend, max_pool_backward_naive, dout[..., :3], cache)
    expected, expected_dx = naive(x, dout[..., :3], param)
    same_bits(out, expected)
    same_bits(dx, expected_dx)


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_the_fast_cache_is_its_own(backend, dtype, way):
    forward, backward = way
    x, dout = normal("x", 3, 2, 8, 6, dtype=dtype), normal("dout", 3, 2, 4, 3, dtype=dtype)
    param = params((2, 2), 2)
    out, cache = forward(x, param)
    expected = frozen(backward(dout, cache))
    out.fill(-1)
    x.fill(-1)
    param["stride"] = 1
    first = backward(dout, cache)
    assert frozen(first) == expected
    first.fill(-1)
    assert frozen(backward(dout, cache)) == expected


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_caches_are_exchangeable(level, dtype, way):
    forward, backward = way
    x, dout = normal("x", 3, 2, 8, 6, dtype=dtype), normal("dout", 3, 2, 4, 3, dtype=dtype)
    caches = [run(b, forward, x, params((2, 2), 2))[0][1] for b in ("compiled", "numpy")]
    assert frozen(caches[0]) == frozen(caches[1])
    same_bits(*(run(b, backward, dout, cache)[0] for b, cache in zip(("numpy", "compiled"), caches, strict=True)))


@pytest.mark.parametrize(("window", "stride"), [((2, 2), 2), ((3, 2), 1)])
def test_same_bits_for_any_number_of_threads(level, dtype, window, stride):
    x = normal("x", 7, 5, 37, 41, dtype=dtype)
    dout = normal("dout", *out_shape(x.shape, window, stride), dtype=dtype)
    ends = set()
    for threads in (1, 2, 3):
        with daseCV_c.num_threads(threads):
            out, cache = max_pool_forward_fast(x, params(window, stride))
            ends.add(str(frozen([out, cache, max_pool_backward_fast(dout, cache)])))
    assert len(ends) == 1


# The notebook's checks

def relative_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


@ALL
def test_notebook_forward(backend, way):
    x = np.linspace(-0.3, 0.4, num=96).reshape(2, 3, 4, 4)
    expected = np.array([
        [[[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]],
         [[-0.14526316, -0.13052632], [-0.08631579, -0.07157895]],
         [[-0.02736842, -0.01263158], [0.03157895, 0.04631579]]],
        [[[0.09052632, 0.10526316], [0.14947368, 0.16421053]],
         [[0.20842105, 0.22315789], [0.26736842, 0.28210526]],
         [[0.32631579, 0.34105263], [0.38526316, 0.4]]],
    ])
    out, _ = way[0](x, params((2, 2), 2))
    assert relative_error(out, expected) == pytest.approx(4.1666665157267834e-08, rel=1e-6)


@ALL
def test_notebook_backward(backend, way):
    np.random.seed(231)
    x, dout = np.random.randn(3, 2, 8, 8), np.random.randn(3, 2, 4, 4)
    forward, backward = way
    numerical = eval_numerical_gradient_array(lambda v: forward(v, params((2, 2), 2))[0], x, dout)
    _, cache = forward(x, params((2, 2), 2))
    assert relative_error(backward(dout, cache), numerical) < 1e-11


def test_notebook_fast_is_naive(backend):
    np.random.seed(231)
    x, dout = np.random.randn(10, 3, 32, 32), np.random.randn(10, 3, 16, 16)
    expected, expected_dx = naive(x, dout, params((2, 2), 2))
    for forward, backward in WAYS.values():
        out, cache = forward(x, params((2, 2), 2))
        same_bits(out, expected)
        same_bits(backward(dout, cache), expected_dx)


@pytest.mark.parametrize(("window", "stride"), [((2, 3), 1), ((3, 2), 2), ((2, 2), 3)])
def test_gradient_of_other_windows(backend, window, stride):
    # Numbers well apart: a step of the difference changes no maximum.
    x = np.random.permutation(2 * 2 * 7 * 6).reshape(2, 2, 7, 6) / 7.0
    dout = normal("dout", *out_shape(x.shape, window, stride))
    numerical = eval_numerical_gradient_array(lambda v: max_pool_forward_fast(v, params(window, stride))[0], x, dout)
    _, cache = max_pool_forward_fast(x, params(window, stride))
    np.testing.assert_allclose(max_pool_backward_fast(dout, cache), numerical, rtol=1e-7, atol=1e-9)


if find_spec("torch"):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.tuples(*[st.integers(1, high) for high in (3, 3, 20, 40)]),
           st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 4))
    def test_torch(shape, window, stride):
        import torch

        window = min(window[0], shape[2]), min(window[1], shape[3])
        # All different: torch and NumPy choose differently among equal numbers.
        x = np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape) / 3.0
        dout = normal("dout", *out_shape(shape, window, stride))
        for dtype, bound in ((np.float64, 1e-10), (np.float32, 1e-4)):
            tensor = torch.tensor(x.astype(dtype), requires_grad=True)
            theirs = torch.nn.functional.max_pool2d(tensor, window, stride)
            theirs.backward(torch.tensor(dout.astype(dtype)))
            out, cache = max_pool_forward_fast(x.astype(dtype), params(window, stride))
            np.testing.assert_array_equal(out, theirs.detach().numpy())
            dx = max_pool_backward_fast(dout.astype(dtype), cache)
            np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=bound, atol=bound)


# Bad input

def ones(*shape):
    return np.ones(shape)


X = (2, 3, 4, 6)
BAD_FORWARD = [
    ((ones(3, 4, 6), params((2, 2), 2)), ValueError, "x"),
    ((ones(2, 3, 4, 6, 1), params((2, 2), 2)), ValueError, "x"),
    ((None, params((2, 2), 2)), TypeError, "x"),
    ((np.ones(X, complex), params((2, 2), 2)), TypeError, "x"),
    ((ones(*X), None), TypeError, "pool_param"),
    ((ones(*X), {"pool_width": 2, "stride": 2}), ValueError, "pool_height"),
    ((ones(*X), {"pool_height": 2, "stride": 2}), ValueError, "pool_width"),
    ((ones(*X), {"pool_height": 2, "pool_width": 2}), ValueError, "stride"),
    ((ones(*X), params((2, 2), 0)), ValueError, "stride"),
    ((ones(*X), params((2, 2), -1)), ValueError, "stride"),
    ((ones(*X), params((2, 2), 1.0)), TypeError, "stride"),
    ((ones(*X), params((2, 2), True)), TypeError, "stride"),
    ((ones(*X), params((0, 2), 2)), ValueError, "pool_height"),
    ((ones(*X), params((2, -2), 2)), ValueError, "pool_width"),
    ((ones(*X), params((2.5, 2), 2)), TypeError, "pool_height"),
    ((ones(*X), params((2, "2"), 2)), TypeError, "pool_width"),
    ((ones(*X), params((5, 2), 2)), ValueError, "pool_height"),
    ((ones(*X), params((2, 7), 2)), ValueError, "pool_width"),
    ((ones(2, 3, 0, 6), params((2, 2), 2)), ValueError, "pool_height"),
]


def refused(function, args, error, named):
    before = frozen(args)
    with pytest.raises(error) as caught:
        function(*args)
    message = str(caught.value)
    assert message.startswith(f"{function.__name__}: ") and re.search(rf"\b{named}\b", message), message
    assert frozen(args) == before


@ALL
@pytest.mark.parametrize("case", BAD_FORWARD, ids=range(len(BAD_FORWARD)))
def test_wrong_argument_forward(backend, way, case):
    refused(way[0], *case)


@ALL
@pytest.mark.parametrize(("dout", "error"), [
    (ones(2, 3, 2, 2), ValueError), (ones(2, 3, 4, 6), ValueError), (ones(36), ValueError), (1.0, ValueError),
    (None, TypeError), (np.full((2, 3, 2, 3), "a"), TypeError),
], ids=range(6))
def test_wrong_argument_backward(backend, way, dout, error):
    _, cache = way[0](ones(*X), params((2, 2), 2))
    refused(way[1], (dout, cache), error, "dout")


@ALL
@pytest.mark.parametrize("cache", [None, (), (ones(2),), (1, 2, 3, 4), (ones(2, 3, 2, 3), 0, 0, 0)], ids=range(5))
def test_wrong_cache(backend, way, cache):
    refused(way[1], (ones(2, 3, 2, 3), cache), ValueError, "cache")


@pytest.mark.parametrize(("shape", "window", "stride"), [
    ((2, 3, 4, 6), (2, 2), 1), ((2, 3, 4, 6), (2, 3), 2), ((2, 3, 5, 6), (2, 2), 2), ((2, 3, 4, 7), (2, 2), 2),
], ids=str)
def test_reshape_refuses_windows_that_do_not_tile(backend, shape, window, stride):
    refused(max_pool_forward_reshape, (ones(*shape), params(window, stride)), ValueError, "pool_param")


@pytest.mark.parametrize(("window", "place"), [
    ((2, 2), 4), ((2, 2), 255), ((3, 3), 9), ((17, 16), 272), ((17, 16), -1), ((17, 16), -(2**31)),
])
def test_places_outside_the_window_are_refused(kernels, dtype, window, place):
    dx = np.full((1, 2, 18, 18), 5, dtype)
    places = np.zeros(out_shape(dx.shape, window, 2), np.uint8 if np.prod(window) <= 256 else np.int32)
    places[0, 1, 0, -1] = place
    with pytest.raises(ValueError, match="^max_pool_backward: arg holds a place outside the window"):
        kernels.pool.max_pool_backward(np.ones(places.shape, dtype), places, dx, *window, 2, 1)
    assert (dx == 5).all()


@pytest.mark.parametrize("shape", [(0, 1, 2**40, 1), (2, 0, 1, 2**40)], ids=str)
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_more_windows_of_no_images_than_memory_holds(backend, way, shape):
    """The twins counted them: MemoryError, where the kernels give what there is, nothing."""
    forward, backward = way
    out, cache = forward(np.ones(shape), params((1, 1), 1))
    assert out.shape == shape and backward(out, cache).shape == shape


@pytest.mark.parametrize("change", [
    (1, (3, 0, 1, 1)), (1, (0, 0, 1, 9)), (1, (0, 0, 1, 1.0)), (3, (1, 1, 0)), (3, (2, 1, 1)),
    (3, (0, 1, 2)), (3, (1, 1, 2**31))])
def test_a_cache_whose_parts_do_not_fit(backend, change):
    """The twin looks at nothing: both say the same all the same."""
    out, cache = max_pool_forward_fast(np.ones((0, 0, 1, 1)), params((1, 1), 1))
    k, value = change
    with pytest.raises(ValueError, match="cache is not one"):
        max_pool_backward_fast(out, (*cache[:k], value, *cache[k + 1:]))


@pytest.mark.parametrize(("width", "kind"), [(256, np.uint8), (257, np.int32)])
def test_places_of_wide_windows(backend, width, kind):
    x = np.arange(float(width)).reshape(1, 1, 1, width)
    out, (place, *_) = max_pool_forward_fast(x, params((1, width), 1))
    assert place.dtype == kind and place.item() == width - 1 and out.item() == width - 1

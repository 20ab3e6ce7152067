"""Windows as columns: the documented layout, the twins to the last bit, and bad input."""

import re

import numpy as np
import pytest
from adversarial import KINDS, LAYOUTS, SPECIAL, frozen, normal, planted, small_integers
from comparing import both, run, same_form, same_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daseCV_c
from daseCV_c import reference
from daseCV_c.im2col import col2im_indices, get_im2col_indices, im2col_indices
from daseCV_c.im2col_cython import col2im_6d_cython, col2im_cython, im2col_cython

# N, C, H, W, field height, field width, padding, stride
GEOMETRIES = [
    (1, 1, 1, 1, 1, 1, 0, 1), (2, 3, 4, 4, 3, 3, 1, 1), (3, 2, 5, 7, 2, 3, 0, 1), (3, 2, 7, 5, 3, 2, 2, 2),
    (2, 4, 9, 6, 1, 5, 3, 3), (17, 1, 6, 8, 4, 1, 1, 4), (20, 3, 8, 8, 7, 7, 3, 1), (5, 2, 3, 9, 3, 3, 0, 2),
    (2, 1, 2, 2, 6, 4, 2, 1), (2, 2, 8, 9, 1, 1, 0, 4), (0, 2, 4, 4, 2, 2, 0, 1), (2, 0, 4, 4, 2, 2, 0, 1),
    (33, 3, 17, 19, 3, 5, 2, 2), (1, 1, 1, 40, 1, 3, 3, 4),
]
CASES = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)


def same_bytes(actual, expected):
    """The same numbers to the last bit; the strides of an empty array do not count."""
    same_form(actual, expected)
    assert actual.tobytes() == expected.tobytes()


def out_size(H, W, fh, fw, pad, stride):
    return (H + 2 * pad - fh) // stride + 1, (W + 2 * pad - fw) // stride + 1


def by_definition(x, fh, fw, pad, stride):
    """The layout spelled out, one element at a time."""
    N, C, H, W = x.shape
    out_h, out_w = out_size(H, W, fh, fw, pad, stride)
    cols = np.full((C * fh * fw, out_h * out_w * N), 99, x.dtype)
    for n, c, yy, xx, ii, jj in np.ndindex(N, C, out_h, out_w, fh, fw):
        y, x_ = yy * stride + ii - pad, xx * stride + jj - pad
        inside = 0 <= y < H and 0 <= x_ < W
        cols[c * fh * fw + ii * fw + jj, (yy * out_w + xx) * N + n] = x[n, c, y, x_] if inside else 0
    return cols


def check(N, C, H, W, fh, fw, pad, stride, dtype, make=normal):
    """All functions on one geometry: both backends, all to the last bit."""
    x = make("x", N, C, H, W, dtype=dtype)
    (cols, _), (cols0, _) = both(im2col_indices, x, fh, fw, pad, stride)
    same_bytes(cols, cols0)
    same_bytes(run("compiled", im2col_cython, x, fh, fw, pad, stride)[0], cols0)
    g = make("cols", *cols.shape, dtype=dtype)
    (dx, _), (dx0, _) = both(col2im_indices, g, (N, C, H, W), fh, fw, pad, stride)
    same_values(dx, dx0)
    same_bytes(run("compiled", col2im_cython, g, N, C, H, W, fh, fw, pad, stride)[0], dx)
    g6 = np.ascontiguousarray(
        g.reshape(C, fh, fw, *out_size(H, W, fh, fw, pad, stride), N).transpose(0, 1, 2, 5, 3, 4))
    (dx6, _), (dx60, _) = both(col2im_6d_cython, g6, N, C, H, W, fh, fw, pad, stride)
    same_values(dx6, dx60)
    same_values(dx6, dx)
    return x, cols, g, dx


@CASES
def test_layout_is_the_documented_one(backend, dtype, geometry):
    N, C, H, W, fh, fw, pad, stride = geometry
    x = normal("x", N, C, H, W, dtype=dtype)
    same_bytes(im2col_indices(x, fh, fw, pad, stride), by_definition(x, fh, fw, pad, stride))


@CASES
def test_kernels_are_the_twins(level, dtype, geometry):
    check(*geometry, dtype)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
          derandomize=True)
@given(st.tuples(*[st.integers(1, high) for high in (9, 4, 12, 14, 5, 5)], st.integers(0, 3), st.integers(1, 4)))
def test_any_geometry(level, geometry):
    N, C, H, W, fh, fw, pad, stride = geometry
    fh, fw = min(fh, H + 2 * pad), min(fw, W + 2 * pad)
    for dtype in (np.float32, np.float64):
        check(N, C, H, W, fh, fw, pad, stride, dtype)


@CASES
def test_col2im_is_the_adjoint(backend, geometry):
    """<im2col(x), g> = <x, col2im(g)>, in whole numbers."""
    N, C, H, W, fh, fw, pad, stride = geometry
    x = small_integers("x", N, C, H, W)
    cols = im2col_indices(x, fh, fw, pad, stride)
    g = small_integers("g", *cols.shape)
    assert np.sum(cols * g) == np.sum(x * col2im_indices(g, x.shape, fh, fw, pad, stride))


@CASES
def test_indices(backend, geometry):
    N, C, H, W, fh, fw, pad, stride = geometry
    k, i, j = run(backend, get_im2col_indices, (N, C, H, W), fh, fw, pad, stride)[0]
    twins = reference.get_im2col_indices((N, C, H, W), fh, fw, pad, stride)
    for actual, expected in zip((k, i, j), twins, strict=True):
        assert actual.dtype.kind == "i"
        same_values(actual, expected)
    out_h, out_w = out_size(H, W, fh, fw, pad, stride)
    assert k.shape == (C * fh * fw, 1) and i.shape == j.shape == (C * fh * fw, out_h * out_w)
    x = normal("x", N, C, H, W)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    cols = padded[:, k, i, j].transpose(1, 2, 0).reshape(C * fh * fw, out_h * out_w * N)
    same_bytes(im2col_indices(x, fh, fw, pad, stride), cols)


def test_defaults_are_the_course_ones(backend):
    x = normal("x", 2, 3, 5, 6)
    cols = im2col_indices(x, 3, 3)
    same_bytes(cols, im2col_cython(x, 3, 3, 1, 1))
    same_bytes(col2im_indices(cols, x.shape), col2im_cython(cols, 2, 3, 5, 6, 3, 3, 1, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_arrays(level, dtype, layout):
    x, cols, g, dx = check(3, 2, 5, 7, 2, 3, 1, 2, dtype)
    same_bytes(run("compiled", im2col_indices, LAYOUTS[layout](x), 2, 3, 1, 2)[0], cols)
    same_bytes(run("compiled", col2im_indices, LAYOUTS[layout](g), x.shape, 2, 3, 1, 2)[0], dx)


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_become_float64(level, kind):
    x = KINDS[kind](small_integers("x", 2, 2, 4, 5))
    (cols, _), (cols0, _) = both(im2col_indices, x, 2, 3, 1, 1)
    same_bytes(cols, cols0)
    assert cols.dtype == np.float64
    g = KINDS[kind](small_integers("g", *cols.shape))
    (dx, _), (dx0, _) = both(col2im_indices, g, (2, 2, 4, 5), 2, 3, 1, 1)
    same_bytes(dx, dx0)


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_values_pass(level, dtype, kind):
    def make(key, *shape, dtype):
        return planted(normal(key, *shape, dtype=dtype), kind)

    check(3, 2, 6, 5, 3, 2, 1, 1, dtype, make)


@pytest.mark.parametrize("stride", [1, 2])
def test_same_bits_for_any_number_of_threads(level, dtype, stride):
    ends = set()
    for threads in (1, 2, 3):
        with daseCV_c.num_threads(threads):
            x, cols, g, dx = check(9, 5, 23, 31, 3, 2, 1, stride, dtype)
            ends.add(str(frozen([cols, dx])))
    assert len(ends) == 1


def ones(*shape):
    return np.ones(shape)


COLS = (12, 24)  # x (2, 3, 4, 5), windows of 2 x 2, padding 0, stride 1: 12 rows, 3 * 4 * 2 columns
BAD = [
    (im2col_indices, (ones(3, 4, 5), 2, 2, 0, 1), ValueError, "x"),
    (im2col_indices, (ones(2, 3, 4, 5), 5, 2, 0, 1), ValueError, "field_height"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, 6, 0, 1), ValueError, "field_width"),
    (im2col_indices, (ones(2, 3, 4, 5), 7, 2, 1, 1), ValueError, "padding 1"),
    (im2col_indices, (ones(2, 3, 4, 5), 0, 2, 0, 1), ValueError, "field_height"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, -1, 0, 1), ValueError, "field_width"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, 2, -1, 1), ValueError, "padding"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, 2, 0, 0), ValueError, "stride"),
    (im2col_indices, (ones(2, 3, 4, 5), 2.0, 2, 0, 1), TypeError, "field_height"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, "2", 0, 1), TypeError, "field_width"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, 2, None, 1), TypeError, "padding"),
    (im2col_indices, (ones(2, 3, 4, 5), 2, 2, 0, True), TypeError, "stride"),
    (im2col_indices, (np.ones((2, 3, 4, 5), complex), 2, 2, 0, 1), TypeError, "x"),
    (im2col_cython, (ones(2, 3, 4, 5), 5, 2, 0, 1), ValueError, "field_height"),
    (im2col_cython, (ones(2, 3, 4), 1, 2, 0, 1), ValueError, "x"),
    (get_im2col_indices, ((2, 3, 4), 2, 2, 0, 1), ValueError, "x_shape"),
    (get_im2col_indices, (4, 2, 2, 0, 1), TypeError, "x_shape"),
    (get_im2col_indices, ((2, 3, 4, 5.5), 2, 2, 0, 1), TypeError, "W"),
    (get_im2col_indices, ((2, 3, -4, 5), 2, 2, 0, 1), ValueError, "H"),
    (get_im2col_indices, ((2, 3, 4, 5), 2, 2, 0, 0), ValueError, "stride"),
    (col2im_indices, (ones(12, 25), (2, 3, 4, 5), 2, 2, 0, 1), ValueError, "cols"),
    (col2im_indices, (ones(24, 12), (2, 3, 4, 5), 2, 2, 0, 1), ValueError, "cols"),
    (col2im_indices, (ones(288), (2, 3, 4, 5), 2, 2, 0, 1), ValueError, "cols"),
    (col2im_indices, (ones(*COLS), (2, 3, 4), 2, 2, 0, 1), ValueError, "x_shape"),
    (col2im_indices, (ones(*COLS), (2, 3, 4, 5), 2, 2, 1, 1), ValueError, "cols"),
    (col2im_indices, (ones(*COLS), (2, 3, 4, 5), 9, 2, 0, 1), ValueError, "field_height"),
    (col2im_indices, (np.full(COLS, "a"), (2, 3, 4, 5), 2, 2, 0, 1), TypeError, "cols"),
    (col2im_cython, (ones(*COLS), 2, 3, 5, 4, 2, 3, 0, 1), ValueError, "cols"),
    (col2im_cython, (ones(*COLS), 2.0, 3, 4, 5, 2, 2, 0, 1), TypeError, "N"),
    (col2im_6d_cython, (ones(*COLS), 2, 3, 4, 5, 2, 2, 0, 1), ValueError, "cols"),
    (col2im_6d_cython, (ones(3, 2, 2, 2, 3, 5), 2, 3, 4, 5, 2, 2, 0, 1), ValueError, "cols"),
    (col2im_6d_cython, (ones(3, 2, 2, 2, 3, 4), 2, 3, 4, 5, 5, 2, 0, 1), ValueError, "HH"),
    (col2im_6d_cython, (ones(3, 2, 2, 2, 3, 4), 2, 3, 4, 5, 2, 2, -1, 1), ValueError, "pad"),
]


@pytest.mark.parametrize(("n", "c"), [(0, 2), (2, 0)])
def test_more_windows_of_no_images_than_memory_holds(backend, n, c):
    """The twin counted them: MemoryError, where the kernels give what there is, nothing."""
    x, window = np.ones((n, c, 2, 3)), (1, 1, 2**27, 1)
    oh, ow = 2 + 2**28, 3 + 2**28
    cols = im2col_cython(x, *window)
    assert cols.shape == (c, oh * ow * n) and cols.dtype == x.dtype
    assert col2im_cython(cols, *x.shape, *window).shape == x.shape
    assert col2im_6d_cython(np.ones((c, 1, 1, n, oh, ow)), *x.shape, *window).shape == x.shape


@pytest.mark.parametrize(("function", "args", "error", "named"), BAD,
                         ids=[f"{k}-{case[0].__name__}-{case[3]}" for k, case in enumerate(BAD)])
def test_wrong_argument(backend, function, args, error, named):
    before = frozen(args)
    with pytest.raises(error) as caught:
        function(*args)
    message = str(caught.value)
    assert message.startswith(f"{function.__name__}: ") and re.search(rf"\b{named}\b", message), message
    assert frozen(args) == before

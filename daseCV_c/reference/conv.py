"""Convolution in plain NumPy: once in the loops of its definition, once as a product with a column matrix."""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from daseCV_c._types import Array, ArrayLike, Cache, Params

from ._common import as_float


def _padded(x: Array, conv_param: Params) -> Array:
    """x with zeros around each image."""
    pad = conv_param["pad"]
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))


def _out_shape(x: Array, w: Array, conv_param: Params) -> tuple[int, int, int, int]:
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, _, H, W = x.shape
    F, _, HH, WW = w.shape
    return N, F, (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1


def _contracted(a: Array, b: Array, a_axes: tuple[int, ...], b_axes: tuple[int, ...]) -> Array:
    """``np.tensordot``, which loses 0 times NaN where a factor is a single number: ``@`` does not."""
    a_left, b_left = ([k for k in range(array.ndim) if k not in axes] for array, axes in ((a, a_axes), (b, b_axes)))
    shape = [a.shape[k] for k in a_left], [b.shape[k] for k in b_left]
    size = math.prod(a.shape[k] for k in a_axes)
    a_rows = a.transpose(*a_left, *a_axes).reshape(math.prod(shape[0]), size)
    b_columns = b.transpose(*b_axes, *b_left).reshape(size, math.prod(shape[1]))
    return (a_rows @ b_columns).reshape(*shape[0], *shape[1])


def conv_forward_naive(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """out[n, f, i, j] = sum of (window (i, j) of the padded x[n]) * w[f], plus b[f].

    As many windows as fit whole: pixels that the last one does not reach are left out.
    """
    x_, w_, b_ = as_float(x, w, b)
    stride = conv_param["stride"]
    HH, WW = w_.shape[2:]
    padded = _padded(x_, conv_param)
    out = np.empty(_out_shape(x_, w_, conv_param), x_.dtype)
    N, F, out_h, out_w = out.shape
    for n in range(N):
        for f in range(F):
            for i in range(out_h):
                for j in range(out_w):
                    window = padded[n, :, i * stride:i * stride + HH, j * stride:j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w_[f]) + b_[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Every product of the forward pass passes dout[n, f, i, j] on to both its factors."""
    x, w, b, conv_param = cache
    dout_, x_, w_, _ = as_float(dout, x, w, b)
    stride, pad = conv_param["stride"], conv_param["pad"]
    H, W = x_.shape[2:]
    HH, WW = w_.shape[2:]
    padded = _padded(x_, conv_param)
    dpadded, dw, db = np.zeros_like(padded), np.zeros_like(w_), np.zeros(w_.shape[0], w_.dtype)
    N, F, out_h, out_w = dout_.shape
    for n in range(N):
        for f in range(F):
            for i in range(out_h):
                for j in range(out_w):
                    upstream = dout_[n, f, i, j]
                    rows, cols = slice(i * stride, i * stride + HH), slice(j * stride, j * stride + WW)
                    dpadded[n, :, rows, cols] += w_[f] * upstream
                    dw[f] += padded[n, :, rows, cols] * upstream
                    db[f] += upstream
    return dpadded[:, :, pad:pad + H, pad:pad + W].copy(), dw, db


def _windows(x: Array, w: Array, conv_param: Params) -> Array:
    """(N, C, out_h, out_w, HH, WW): a view of the padded x."""
    stride = conv_param["stride"]
    return sliding_window_view(_padded(x, conv_param), w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]


def conv_forward_fast(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """The windows as columns of a matrix, and its product with the filters as rows of another."""
    x_, w_, b_ = as_float(x, w, b)
    out_nijf = _contracted(_windows(x_, w_, conv_param), w_, (1, 4, 5), (1, 2, 3)) + b_
    return np.ascontiguousarray(out_nijf.transpose(0, 3, 1, 2)), (x, w, b, conv_param)


def conv_backward_dx(dout: Array, w: Array, x_shape: tuple[int, ...], conv_param: Params) -> Array:
    """dx tap by tap: output (i, j) passes on to pixel (i * stride + tap row, j * stride + tap column)."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x_shape
    HH, WW = w.shape[2:]
    out_h, out_w = dout.shape[2:]
    dpadded = np.zeros((N, C, H + 2 * pad, W + 2 * pad), dout.dtype)
    for i in range(HH):
        for j in range(WW):
            passed_on = _contracted(dout, w[:, :, i, j], (1,), (0,)).transpose(0, 3, 1, 2)
            dpadded[:, :, i:i + stride * out_h:stride, j:j + stride * out_w:stride] += passed_on
    return dpadded[:, :, pad:pad + H, pad:pad + W].copy()


def conv_backward_dw(dout: Array, x: Array, w: Array, conv_param: Params) -> tuple[Array, Array]:
    """dw = dout as rows of a matrix times the column matrix, db = the sums of those rows."""
    dw = _contracted(dout, _windows(x, w, conv_param), (0, 2, 3), (0, 2, 3))
    return np.ascontiguousarray(dw), dout.sum(axis=(0, 2, 3))


def conv_backward_fast(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of conv_forward_fast: dx, dw, db."""
    x, w, b, conv_param = cache
    dout_, x_, w_, _ = as_float(dout, x, w, b)
    dw, db = conv_backward_dw(dout_, x_, w_, conv_param)
    return conv_backward_dx(dout_, w_, x_.shape, conv_param), dw, db


# The same result under the names of the ways that the course computes it.
conv_forward_im2col = conv_forward_strides = conv_forward_fast
conv_backward_im2col = conv_backward_strides = conv_backward_fast

"""Max pooling in plain NumPy: the loops of the definition, and three ways without loops.

The maximum is NumPy's: NaN is larger than all. Its place in the window, counted row by row, is
that of np.argmax: the first of equal maxima, or the first NaN. There the gradient goes.
"""

from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike, Cache, Params

from ._common import as_float
from .im2col import im2col_indices


def _params(pool_param: Params) -> tuple[int, int, int]:
    return pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]


def _out_size(x: Array, fh: int, fw: int, stride: int) -> tuple[int, int]:
    return (x.shape[2] - fh) // stride + 1, (x.shape[3] - fw) // stride + 1


def max_pool_forward_naive(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """out[n, c, i, j] = the maximum of the window at row i * stride, column j * stride."""
    (x_,) = as_float(x)
    fh, fw, stride = _params(pool_param)
    N, C = x_.shape[:2]
    out_h, out_w = _out_size(x_, fh, fw, stride)
    out = np.empty((N, C, out_h, out_w), x_.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(out_h):
                for j in range(out_w):
                    window = x_[n, c, i * stride:i * stride + fh, j * stride:j * stride + fw]
                    out[n, c, i, j] = window.max()
    return out, (x, pool_param)


def max_pool_backward_naive(dout: ArrayLike, cache: Any) -> Array:
    """Each element of dout is added to dx at the place of its window's maximum."""
    x, pool_param = cache
    dout, x = as_float(dout, x)
    fh, fw, stride = _params(pool_param)
    dx = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    window = x[n, c, i * stride:i * stride + fh, j * stride:j * stride + fw]
                    ii, jj = np.unravel_index(np.argmax(window), (fh, fw))
                    dx[n, c, i * stride + ii, j * stride + jj] += dout[n, c, i, j]
    return dx


def _taken(windows: Array, x: Array, pool_param: Params) -> tuple[Array, Cache]:
    """Maxima and cache from windows of shape (N, C, out_h, out_w, fh * fw)."""
    fh, fw, stride = _params(pool_param)
    place = np.argmax(windows, axis=-1)
    out = np.take_along_axis(windows, place[..., None], axis=-1)[..., 0]
    place = place.astype(np.uint8 if fh * fw <= 256 else np.int32)
    return out, (place, x.shape, x.dtype, (fh, fw, stride))


def max_pool_forward_fast(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """All windows as one strided view."""
    (x,) = as_float(x)
    fh, fw, stride = _params(pool_param)
    views = np.lib.stride_tricks.sliding_window_view(x, (fh, fw), axis=(2, 3))[:, :, ::stride, ::stride]
    return _taken(views.reshape(*views.shape[:4], fh * fw), x, pool_param)


def max_pool_backward_fast(dout: ArrayLike, cache: Any) -> Array:
    """The places of the maxima as indices into dx."""
    place, x_shape, dtype, (_, fw, stride) = cache
    dtype = np.result_type(np.asarray(dout).dtype, dtype)
    (dout,) = as_float(np.asarray(dout, dtype))
    n, c, i, j = np.indices(place.shape, sparse=True)
    dx = np.zeros(x_shape, dout.dtype)
    np.add.at(dx, (n, c, i * stride + place // fw, j * stride + place % fw), dout)
    return dx


def max_pool_forward_reshape(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Windows that tile the image are axes of the reshaped image."""
    (x,) = as_float(x)
    fh, fw, _ = _params(pool_param)
    N, C, H, W = x.shape
    tiles = x.reshape(N, C, H // fh, fh, W // fw, fw).transpose(0, 1, 2, 4, 3, 5)
    return _taken(tiles.reshape(N, C, H // fh, W // fw, fh * fw), x, pool_param)


def max_pool_backward_reshape(dout: ArrayLike, cache: Any) -> Array:
    """Each tile is written once: a one where its maximum was, times dout."""
    place, x_shape, dtype, (fh, fw, _) = cache
    dtype = np.result_type(np.asarray(dout).dtype, dtype)
    (dout,) = as_float(np.asarray(dout, dtype))
    chosen = place[..., None] == np.arange(fh * fw)
    tiles = np.where(chosen, dout[..., None], dout.dtype.type(0)).reshape(*dout.shape, fh, fw)
    return tiles.transpose(0, 1, 2, 4, 3, 5).reshape(x_shape)


def max_pool_forward_im2col(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Windows as columns, each channel an image of its own."""
    (x,) = as_float(x)
    fh, fw, stride = _params(pool_param)
    N, C, H, W = x.shape
    cols = im2col_indices(x.reshape(N * C, 1, H, W), fh, fw, 0, stride)
    windows = cols.reshape(fh * fw, *_out_size(x, fh, fw, stride), N, C).transpose(3, 4, 1, 2, 0)
    return _taken(windows, x, pool_param)


def max_pool_backward_im2col(dout: ArrayLike, cache: Any) -> Array:
    """As max_pool_backward_fast."""
    return max_pool_backward_fast(dout, cache)

"""Windows of images as columns, and columns added back into images, in plain NumPy."""

from collections.abc import Sequence

import numpy as np

from daseCV_c._types import Array, ArrayLike

from ._common import as_float


def get_im2col_indices(
    x_shape: Sequence[int], field_height: int, field_width: int, padding: int = 1, stride: int = 1,
) -> tuple[Array, Array, Array]:
    """(k, i, j): channel, row and column, in the padded image, of each element of each window."""
    _, C, H, W = x_shape
    out_h = (H + 2 * padding - field_height) // stride + 1
    out_w = (W + 2 * padding - field_width) // stride + 1
    taps = (C, field_height, field_width)
    k, ii, jj = (axis.reshape(-1, 1) for axis in np.indices(taps))
    yy, xx = (axis.reshape(1, -1) for axis in np.indices((out_h, out_w)))
    return k, stride * yy + ii, stride * xx + jj


def im2col_indices(x: ArrayLike, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> Array:
    """One row for each element of a window, one column for each window; the sample runs fastest."""
    (x,) = as_float(x)
    k, i, j = get_im2col_indices(x.shape, field_height, field_width, padding, stride)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return padded[:, k, i, j].transpose(1, 2, 0).reshape(k.size, i.shape[1] * x.shape[0])


def col2im_indices(
    cols: ArrayLike, x_shape: Sequence[int], field_height: int = 3, field_width: int = 3, padding: int = 1,
    stride: int = 1,
) -> Array:
    """Each element of cols is added where im2col_indices took it from."""
    (cols,) = as_float(cols)
    N, C, H, W = x_shape
    k, i, j = get_im2col_indices(x_shape, field_height, field_width, padding, stride)
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), cols.dtype)
    by_sample = cols.reshape(k.size, i.shape[1], N).transpose(2, 0, 1)
    np.add.at(padded, (slice(None), k, i, j), by_sample)  # type: ignore[arg-type]  # its stub knows no slices
    return padded[:, :, padding:padding + H, padding:padding + W].copy()


def im2col_cython(x: ArrayLike, field_height: int, field_width: int, padding: int, stride: int) -> Array:
    """im2col_indices without defaults."""
    return im2col_indices(x, field_height, field_width, padding, stride)


def col2im_cython(
    cols: ArrayLike, N: int, C: int, H: int, W: int, field_height: int, field_width: int, padding: int, stride: int,
) -> Array:
    """col2im_indices with the shape taken apart."""
    return col2im_indices(cols, (N, C, H, W), field_height, field_width, padding, stride)


def col2im_6d_cython(cols: ArrayLike, N: int, C: int, H: int, W: int, HH: int, WW: int, pad: int, stride: int) -> Array:
    """The same sums from cols of shape (C, HH, WW, N, out_h, out_w)."""
    (cols,) = as_float(cols)
    out_h, out_w = cols.shape[4:]
    padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad), cols.dtype)
    for i in range(HH):
        for j in range(WW):
            seen = padded[:, :, i:i + stride * out_h:stride, j:j + stride * out_w:stride]
            seen += cols[:, i, j].transpose(1, 0, 2, 3)
    return padded[:, :, pad:pad + H, pad:pad + W].copy()

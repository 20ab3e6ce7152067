"""Windows of images as columns of a matrix, and the sums that lead back.

Row ``c * field_height * field_width + ii * field_width + jj`` of the matrix holds one element of
every window; its column ``(yy * out_w + xx) * N + n`` is the window at row yy, column xx of image
n: the sample index runs fastest. Rows and columns that no whole window reaches are left out.
"""

import sys
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers.geometry import fits, holdable, size, windows
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike

_Four: TypeAlias = tuple[int, int, int, int]


def _geometry(
    function: str, x_shape: Sequence[int], field_height: int, field_width: int, padding: int, stride: int,
    names: tuple[str, str, str] = ("field_height", "field_width", "padding"),
) -> tuple[_Four, _Four, tuple[int, int]]:
    """(shape of x, (field_height, field_width, padding, stride), (out_h, out_w)), all checked."""
    try:
        shape = tuple(x_shape)
    except TypeError:
        raise TypeError(f"{function}: x_shape is {x_shape!r}, expected (N, C, H, W)") from None
    if len(shape) != 4:
        raise ValueError(f"{function}: x_shape is {shape}, expected (N, C, H, W)")
    N, C, H, W = (
        _checks.integer(function, side, value, 0, sys.maxsize) for side, value in zip("NCHW", shape, strict=True))
    height, width, around = names
    fh, fw = size(function, height, field_height), size(function, width, field_width)
    padding, stride = size(function, around, padding, 0), size(function, "stride", stride)
    fits(function, height, fh, "height", H, padding)
    fits(function, width, fw, "width", W, padding)
    out = windows(H, fh, padding, stride), windows(W, fw, padding, stride)
    holdable(function, "the padded x", (N, C, H + 2 * padding, W + 2 * padding))
    holdable(function, "the array of all windows", (C, fh, fw, *out, N))
    return (N, C, H, W), (fh, fw, padding, stride), out


def _columns(function: str, x: ArrayLike, field_height: int, field_width: int, padding: int, stride: int) -> Array:
    """cols of x."""
    x_nchw = _checks.one_array(function, "x", x)
    _checks.rank(function, "x", x_nchw, 4)
    (N, C, _, _), window, (out_h, out_w) = _geometry(
        function, x_nchw.shape, field_height, field_width, padding, stride
    )
    shape = (C * window[0] * window[1], out_h * out_w * N)
    if 0 in shape:
        return np.empty(shape, x_nchw.dtype)  # there may be 2**60 windows of no images: the twin would count them
    kernels = _backend.kernels_of(x_nchw.dtype)
    if kernels is None:
        return reference.im2col_indices(x_nchw, *window)
    cols = np.empty(shape, x_nchw.dtype)
    kernels.im2col.im2col(x_nchw, cols, *window, _threads.effective())
    return cols


def _images(
    function: str, cols: ArrayLike, x_shape: Sequence[int], field_height: int, field_width: int, padding: int,
    stride: int,
) -> Array:
    """x of cols."""
    cols = _checks.one_array(function, "cols", cols)
    _checks.rank(function, "cols", cols, 2)
    shape, window, (out_h, out_w) = _geometry(function, x_shape, field_height, field_width, padding, stride)
    expected = (shape[1] * window[0] * window[1], out_h * out_w * shape[0])
    if cols.shape != expected:
        raise ValueError(
            f"{function}: cols has shape {cols.shape}, expected {expected} for x of shape {shape}, "
            f"windows of {window[0]} x {window[1]}, padding {window[2]}, stride {window[3]}"
        )
    kernels = _backend.kernels_of(cols.dtype)
    if not cols.size:
        return np.empty(shape, cols.dtype)
    if kernels is None:
        return reference.col2im_indices(cols, shape, *window)
    x_nchw = np.empty(shape, cols.dtype)
    kernels.im2col.col2im(cols, x_nchw, *window, _threads.effective())
    return x_nchw


def get_im2col_indices(
    x_shape: Sequence[int], field_height: int, field_width: int, padding: int = 1, stride: int = 1,
) -> tuple[Array, Array, Array]:
    """Where each element of each window lies in the padded image.

    ``cols = padded[:, k, i, j]`` takes all windows of all images.

    Parameters
    ----------
    x_shape : tuple
        (N, C, H, W).
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side.
    stride : int

    Returns
    -------
    k : array of int, (C * field_height * field_width, 1)
        Channels.
    i, j : array of int, (C * field_height * field_width, out_h * out_w)
        Rows and columns of the padded image.

    Raises
    ------
    ValueError
        x_shape is not of length 4, a number is too small, the window is larger than the padded image.
    TypeError
        A number is not an integer.

    Examples
    --------
    >>> k, i, j = get_im2col_indices((1, 1, 2, 3), 1, 2, padding=0)
    >>> k.tolist(), i.tolist(), j.tolist()
    ([[0], [0]], [[0, 0, 1, 1], [0, 0, 1, 1]], [[0, 1, 0, 1], [1, 2, 1, 2]])
    """
    (_, C, _, _), (fh, fw, _, stride), (out_h, out_w) = _geometry(
        "get_im2col_indices", x_shape, field_height, field_width, padding, stride
    )
    k, ii, jj = (axis.reshape(C * fh * fw, 1) for axis in np.indices((C, fh, fw)))
    yy, xx = (axis.reshape(1, out_h * out_w) for axis in np.indices((out_h, out_w)))
    return k, stride * yy + ii, stride * xx + jj


def im2col_indices(x: ArrayLike, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> Array:
    """Windows of images as columns.

    ``cols[(c*fh + u)*fw + v, (i*out_w + j)*N + n] = padded[n, c, i*stride + u, j*stride + v]``.

    Parameters
    ----------
    x : array, (N, C, H, W)
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side.
    stride : int

    Returns
    -------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        x is not of rank 4, a number is too small, the window is larger than the padded image.
    TypeError
        x is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> im2col_indices([[[[1., 2., 3.]]]], 1, 2, padding=0).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    return _columns("im2col_indices", x, field_height, field_width, padding, stride)


def col2im_indices(
    cols: ArrayLike, x_shape: Sequence[int], field_height: int = 3, field_width: int = 3, padding: int = 1,
    stride: int = 1,
) -> Array:
    """Each element of cols added where `im2col_indices` takes it from: its gradient.

    ``padded[n, c, i*stride + u, j*stride + v] += cols[(c*fh + u)*fw + v, (i*out_w + j)*N + n]``, without the padding.

    What meets at one place is added in the order of the rows of cols.

    Parameters
    ----------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
    x_shape : tuple
        (N, C, H, W).
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side; what falls on them is dropped.
    stride : int

    Returns
    -------
    x : array, (N, C, H, W)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        Shapes that do not fit, a number is too small, the window is larger than the padded image.
    TypeError
        cols is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> col2im_indices([[1., 2.], [10., 20.]], (1, 1, 1, 3), 1, 2, padding=0).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    return _images("col2im_indices", cols, x_shape, field_height, field_width, padding, stride)


def im2col_cython(x: ArrayLike, field_height: int, field_width: int, padding: int, stride: int) -> Array:
    """Windows of images as columns: `im2col.im2col_indices` without defaults.

    ``cols[(c*fh + u)*fw + v, (i*out_w + j)*N + n] = padded[n, c, i*stride + u, j*stride + v]``.

    Parameters
    ----------
    x : array, (N, C, H, W)
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side.
    stride : int

    Returns
    -------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        x is not of rank 4, a number is too small, the window is larger than the padded image.
    TypeError
        x is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> im2col_cython([[[[1., 2., 3.]]]], 1, 2, 0, 1).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    return _columns("im2col_cython", x, field_height, field_width, padding, stride)


def col2im_cython(
    cols: ArrayLike, N: int, C: int, H: int, W: int, field_height: int, field_width: int, padding: int, stride: int,
) -> Array:
    """Each element of cols added where `im2col_cython` takes it from: its gradient.

    ``padded[n, c, i*stride + u, j*stride + v] += cols[(c*fh + u)*fw + v, (i*out_w + j)*N + n]``, without the padding.

    Parameters
    ----------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
    N, C, H, W : int
        Shape of the result.
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side; what falls on them is dropped.
    stride : int

    Returns
    -------
    x : array, (N, C, H, W)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        Shapes that do not fit, a number is too small, the window is larger than the padded image.
    TypeError
        cols is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> col2im_cython([[1., 2.], [10., 20.]], 1, 1, 1, 3, 1, 2, 0, 1).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    return _images("col2im_cython", cols, (N, C, H, W), field_height, field_width, padding, stride)


def col2im_6d_cython(cols: ArrayLike, N: int, C: int, H: int, W: int, HH: int, WW: int, pad: int, stride: int) -> Array:
    """`col2im_cython` of columns kept as (C, HH, WW, N, out_h, out_w).

    ``padded[n, c, i*stride + u, j*stride + v] += cols[c, u, v, n, i, j]``, without the padding.

    Parameters
    ----------
    cols : array, (C, HH, WW, N, out_h, out_w)
    N, C, H, W : int
        Shape of the result.
    HH, WW : int
        Size of a window.
    pad : int
        Zeros around the image, on each side; what falls on them is dropped.
    stride : int

    Returns
    -------
    x : array, (N, C, H, W)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        Shapes that do not fit, a number is too small, the window is larger than the padded image.
    TypeError
        cols is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> cols = np.array([1., 2., 10., 20.]).reshape(1, 1, 2, 1, 1, 2)
    >>> col2im_6d_cython(cols, 1, 1, 1, 3, 1, 2, 0, 1).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    function = "col2im_6d_cython"
    cols = _checks.one_array(function, "cols", cols)
    _checks.rank(function, "cols", cols, 6)
    shape, (HH, WW, pad, stride), (out_h, out_w) = _geometry(
        function, (N, C, H, W), HH, WW, pad, stride, names=("HH", "WW", "pad")
    )
    N, C, H, W = shape
    expected = (C, HH, WW, N, out_h, out_w)
    if cols.shape != expected:
        raise ValueError(
            f"{function}: cols has shape {cols.shape}, expected {expected} for x of shape {shape}, "
            f"pad {pad}, stride {stride}"
        )
    kernels = _backend.kernels_of(cols.dtype)
    if not cols.size:
        return np.empty(shape, cols.dtype)
    if kernels is None:
        return reference.col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride)
    x_nchw = np.empty(shape, cols.dtype)
    kernels.im2col.col2im_6d(cols, x_nchw, pad, stride, _threads.effective())
    return x_nchw

"""The functions of the course's compiled module of this name; the layout is that of `daseCV_c.im2col`."""

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers.im2col import geometry, to_columns, to_images
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads

__all__ = ["col2im_6d_cython", "col2im_cython", "im2col_cython"]


def im2col_cython(x, field_height, field_width, padding, stride):
    """Windows of images as columns: `im2col.im2col_indices` without defaults.

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
    return to_columns("im2col_cython", x, field_height, field_width, padding, stride)


def col2im_cython(cols, N, C, H, W, field_height, field_width, padding, stride):
    """Each element of cols added where `im2col_cython` takes it from: its gradient.

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
    return to_images("col2im_cython", cols, (N, C, H, W), field_height, field_width, padding, stride)


def col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride):
    """`col2im_cython` of columns kept as (C, HH, WW, N, out_h, out_w).

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
    (cols,) = _checks.arrays(function, ("cols",), cols)
    _checks.rank(function, "cols", cols, 6)
    shape, (HH, WW, pad, stride), (out_h, out_w) = geometry(
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
    if kernels is None:
        return reference.col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride)
    x_nchw = np.empty(shape, cols.dtype)
    kernels.im2col.col2im_6d(cols, x_nchw, pad, stride, _threads.effective())
    return x_nchw

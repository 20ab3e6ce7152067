"""im2col and col2im: what the public modules `im2col` and `im2col_cython` have in common."""

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers.geometry import fits, integer, windows
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads


def geometry(function, x_shape, field_height, field_width, padding, stride,
             names=("field_height", "field_width", "padding")):
    """(shape of x, (field_height, field_width, padding, stride), (out_h, out_w)), all checked."""
    try:
        shape = tuple(x_shape)
    except TypeError:
        raise TypeError(f"{function}: x_shape is {x_shape!r}, expected (N, C, H, W)") from None
    if len(shape) != 4:
        raise ValueError(f"{function}: x_shape is {shape}, expected (N, C, H, W)")
    shape = tuple(integer(function, side, value, 0) for side, value in zip("NCHW", shape, strict=True))
    height, width, around = names
    fh = integer(function, height, field_height, 1)
    fw = integer(function, width, field_width, 1)
    padding = integer(function, around, padding, 0)
    stride = integer(function, "stride", stride, 1)
    fits(function, height, fh, "height", shape[2], padding)
    fits(function, width, fw, "width", shape[3], padding)
    out = windows(shape[2], fh, padding, stride), windows(shape[3], fw, padding, stride)
    return shape, (fh, fw, padding, stride), out


def to_columns(function, x, field_height, field_width, padding, stride):
    """cols of x."""
    (x_nchw,) = _checks.arrays(function, ("x",), x)
    _checks.rank(function, "x", x_nchw, 4)
    (N, C, _, _), window, (out_h, out_w) = geometry(
        function, x_nchw.shape, field_height, field_width, padding, stride
    )
    kernels = _backend.kernels_of(x_nchw.dtype)
    if kernels is None:
        return reference.im2col_indices(x_nchw, *window)
    cols = np.empty((C * window[0] * window[1], out_h * out_w * N), x_nchw.dtype)
    kernels.im2col.im2col(x_nchw, cols, *window, _threads.effective())
    return cols


def to_images(function, cols, x_shape, field_height, field_width, padding, stride):
    """x of cols."""
    (cols,) = _checks.arrays(function, ("cols",), cols)
    _checks.rank(function, "cols", cols, 2)
    shape, window, (out_h, out_w) = geometry(function, x_shape, field_height, field_width, padding, stride)
    expected = (shape[1] * window[0] * window[1], out_h * out_w * shape[0])
    if cols.shape != expected:
        raise ValueError(
            f"{function}: cols has shape {cols.shape}, expected {expected} for x of shape {shape}, "
            f"windows of {window[0]} x {window[1]}, padding {window[2]}, stride {window[3]}"
        )
    kernels = _backend.kernels_of(cols.dtype)
    if kernels is None:
        return reference.col2im_indices(cols, shape, *window)
    x_nchw = np.empty(shape, cols.dtype)
    kernels.im2col.col2im(cols, x_nchw, *window, _threads.effective())
    return x_nchw

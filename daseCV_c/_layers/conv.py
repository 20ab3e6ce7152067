"""Convolution."""

from typing import Any

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers import geometry
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Cache, Params


def _outputs(function: str, side: str, size: int, field: int, stride: int, pad: int) -> int:
    """How many places a filter has along one side."""
    if field > size + 2 * pad:
        raise ValueError(
            f"{function}: w has filters of {side} {field}, but x has {side} {size}, {size + 2 * pad} with pad {pad}")
    return geometry.windows(size, field, pad, stride)


def _geometry(function: str, x: Array, w: Array, b: Array, conv_param: Params) -> tuple[int, int, tuple[int, ...]]:
    """Stride, pad and the shape of the output, after the shapes were held against each other."""
    _checks.dictionary(function, "conv_param", conv_param, "stride", "pad")
    stride = geometry.size(function, "conv_param['stride']", conv_param["stride"])
    pad = geometry.size(function, "conv_param['pad']", conv_param["pad"], 0)
    _checks.rank(function, "x", x, 4)
    _checks.rank(function, "w", w, 4)
    (n, c, height, width), (f, channels, fh, fw) = x.shape, w.shape
    if c != channels:
        raise ValueError(
            f"{function}: x has {c} channels (shape {x.shape}), but w has {channels} (shape {w.shape})")
    if fh < 1 or fw < 1:
        raise ValueError(f"{function}: w has shape {w.shape}, expected filters of at least 1 x 1")
    _checks.vector(function, "b", b, f, "w", w.shape)
    out_h = _outputs(function, "height", height, fh, stride, pad)
    out_w = _outputs(function, "width", width, fw, stride, pad)
    geometry.holdable(function, "the padded x", (n, c, height + 2 * pad, width + 2 * pad))
    geometry.holdable(function, "out", (n, f, out_h, out_w))
    return stride, pad, (n, f, out_h, out_w)


def _settled(
    function: str, x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params,
) -> tuple[Array, Array, Array, int, int, tuple[int, ...]]:
    x_nchw, w_fchw, b_f = _checks.arrays(function, ("x", "w", "b"), x, w, b)
    return x_nchw, w_fchw, b_f, *_geometry(function, x_nchw, w_fchw, b_f, conv_param)


def _backward_settled(function: str, dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array, Array, int, int]:
    x, w, b, conv_param = _checks.cache_of(function, cache, 4)
    dout_nfhw, x_nchw, w_fchw, b_f = _checks.arrays(function, ("dout", "x", "w", "b"), dout, x, w, b)
    stride, pad, shape = _geometry(function, x_nchw, w_fchw, b_f, conv_param)
    _checks.same_shape(function, "dout", dout_nfhw, shape, "the output")
    return dout_nfhw, x_nchw, w_fchw, b_f, stride, pad


def _conv(function: str, x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params, relu: bool = False) -> Array:
    """The output of a convolution, or max(0, output)."""
    x_nchw, w_fchw, b_f, stride, pad, shape = _settled(function, x, w, b, conv_param)
    kernels = _backend.kernels_of(x_nchw.dtype) if x_nchw.size and w_fchw.size else None
    if kernels is None:
        out = reference.conv_forward_fast(x_nchw, w_fchw, b_f, {"stride": stride, "pad": pad})[0]
        return reference.relu_forward(out)[0] if relu else out
    out_nfhw = np.empty(shape, x_nchw.dtype)
    kernels.conv.conv_forward(x_nchw, w_fchw, b_f, out_nfhw, stride, pad, relu, _threads.effective())
    return out_nfhw


def _conv_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array]:
    """`conv_backward_fast`; without `need_dx` the gradient of x is left out and None stands for it."""
    dout_nfhw, x_nchw, w_fchw, b_f, stride, pad = _backward_settled("conv_backward_fast", dout, cache)
    param = {"stride": stride, "pad": pad}
    kernels = _backend.kernels_of(x_nchw.dtype) if x_nchw.size and w_fchw.size else None
    threads = _threads.effective()
    dx = None
    if kernels is None:
        dw, db = reference.conv.conv_backward_dw(dout_nfhw, x_nchw, w_fchw, param)
    else:
        dw, db = np.empty_like(w_fchw), np.empty_like(b_f)
        kernels.conv.conv_backward_dw(x_nchw, dout_nfhw, dw, db, stride, pad, threads)
    if need_dx:
        # The kernel also multiplies w by zeros around dout: infinite weights would turn them into NaN.
        if kernels is None or not np.isfinite(w_fchw).all():
            dx = reference.conv.conv_backward_dx(dout_nfhw, w_fchw, x_nchw.shape, param)
        else:
            dx = np.empty_like(x_nchw)
            kernels.conv.conv_backward_dx(dout_nfhw, w_fchw, dx, stride, pad, threads)
    return dx, dw, db


def conv_forward_naive(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """Convolution, forward, in the loops of its definition.

    ``out[n, f, i, j] = sum(window * w[f]) + b[f]``, where ``window`` is
    ``x_padded[n, :, i*stride : i*stride + HH, j*stride : j*stride + WW]`` and x_padded has ``pad``
    rows and columns of zeros on every side. It runs in NumPy whatever the backend: to be read, and
    to be compared with `conv_forward_fast`.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (F, C, HH, WW)
        Filters.
    b : array, (F,)
        Biases.
    conv_param : dict
        ``stride``, an integer of at least 1; ``pad``, an integer of at least 0.

    Returns
    -------
    out : array, (N, F, H', W')
        ``H' = 1 + (H + 2*pad - HH) // stride``, W' likewise: pixels that the last window does not
        reach are left out. float32 when x, w and b are float32, else float64.
    cache : tuple
        ``(x, w, b, conv_param)``.

    Raises
    ------
    ValueError
        The shapes do not fit each other, a key is missing, a number is out of range, or a filter
        is larger than the padded image.
    TypeError
        An input is not an array of real numbers, or stride or pad is not an integer.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.).reshape(1, 1, 2, 2)
    >>> out, _ = conv_forward_naive(x, np.ones((1, 1, 2, 2)), np.array([10.]), {'stride': 1, 'pad': 0})
    >>> out.tolist()
    [[[[16.0]]]]
    """
    function = "conv_forward_naive"
    x_nchw, w_fchw, b_f, stride, pad, _ = _settled(function, x, w, b, conv_param)
    param = {"stride": stride, "pad": pad}
    return reference.conv_forward_naive(x_nchw, w_fchw, b_f, param)[0], (x, w, b, conv_param)


def conv_backward_naive(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Convolution, backward, in the loops of its definition.

    ``dx[window] += dout[n, f, i, j] * w[f]``, ``dw[f] += dout[n, f, i, j] * window`` and
    ``db[f] += dout[n, f, i, j]``, for all n, f, i, j.

    Parameters
    ----------
    dout : array, (N, F, H', W')
        Upstream gradient.
    cache : tuple
        ``(x, w, b, conv_param)`` of the forward pass.

    Returns
    -------
    dx : array, (N, C, H, W)
        0 at pixels that no window reaches.
    dw : array, (F, C, HH, WW)
    db : array, (F,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.).reshape(1, 1, 2, 2)
    >>> _, cache = conv_forward_naive(x, np.ones((1, 1, 2, 2)), np.array([10.]), {'stride': 1, 'pad': 0})
    >>> dx, dw, db = conv_backward_naive(np.full((1, 1, 1, 1), 2.), cache)
    >>> dw.tolist(), db.tolist()
    ([[[[0.0, 2.0], [4.0, 6.0]]]], [2.0])
    """
    dout_nfhw, x_nchw, w_fchw, b_f, stride, pad = _backward_settled("conv_backward_naive", dout, cache)
    return reference.conv_backward_naive(dout_nfhw, (x_nchw, w_fchw, b_f, {"stride": stride, "pad": pad}))


def conv_forward_fast(x: ArrayLike, w: ArrayLike, b: ArrayLike, conv_param: Params) -> tuple[Array, Cache]:
    """Convolution, forward, by the compiled kernel.

    ``out[n, f, i, j] = sum(window * w[f]) + b[f]``, as in `conv_forward_naive`. No column matrix
    is built: beside x and out it needs room for the padded pixels of a few images.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (F, C, HH, WW)
        Filters.
    b : array, (F,)
        Biases.
    conv_param : dict
        ``stride``, an integer of at least 1; ``pad``, an integer of at least 0.

    Returns
    -------
    out : array, (N, F, H', W')
        ``H' = 1 + (H + 2*pad - HH) // stride``, W' likewise: pixels that the last window does not
        reach are left out. float32 when x, w and b are float32, else float64.
    cache : tuple
        ``(x, w, b, conv_param)``.

    Raises
    ------
    ValueError
        The shapes do not fit each other, a key is missing, a number is out of range, or a filter
        is larger than the padded image.
    TypeError
        An input is not an array of real numbers, or stride or pad is not an integer.

    References
    ----------
    Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
    Processing", 2006, for the product with a column matrix that the kernel never writes down.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.).reshape(1, 1, 2, 2)
    >>> out, _ = conv_forward_fast(x, np.ones((1, 1, 2, 2)), np.array([10.]), {'stride': 1, 'pad': 0})
    >>> out.tolist()
    [[[[16.0]]]]
    """
    return _conv("conv_forward_fast", x, w, b, conv_param), (x, w, b, conv_param)


def conv_backward_fast(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Convolution, backward, by the compiled kernels.

    ``dx`` is dout correlated with the turned filters, ``dw[f, c, i, j]`` the sum of
    ``dout[:, f]`` times the pixels of channel c under place (i, j) of the filter, and
    ``db[f] = sum(dout[:, f])``.

    Parameters
    ----------
    dout : array, (N, F, H', W')
        Upstream gradient.
    cache : tuple
        ``(x, w, b, conv_param)`` of the forward pass.

    Returns
    -------
    dx : array, (N, C, H, W)
        0 at pixels that no window reaches.
    dw : array, (F, C, HH, WW)
    db : array, (F,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.).reshape(1, 1, 2, 2)
    >>> _, cache = conv_forward_fast(x, np.ones((1, 1, 2, 2)), np.array([10.]), {'stride': 1, 'pad': 0})
    >>> dx, dw, db = conv_backward_fast(np.full((1, 1, 1, 1), 2.), cache)
    >>> dw.tolist(), db.tolist()
    ([[[[0.0, 2.0], [4.0, 6.0]]]], [2.0])
    """
    return _conv_backward(dout, cache)


# The same result under the names of the ways that the course computes it.
conv_forward_im2col = conv_forward_strides = conv_forward_fast
conv_backward_im2col = conv_backward_strides = conv_backward_fast

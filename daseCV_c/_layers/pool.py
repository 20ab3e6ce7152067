"""Max pooling."""

from typing import Any

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._layers.geometry import LARGEST, fits, size, windows
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Cache, DType, Params

BYTE_PLACES = 256  # windows of at most so many elements keep the place of their maximum in a byte


def _pool(function: str, pool_param: Params) -> tuple[int, int, int]:
    """(pool_height, pool_width, stride) of a dict."""
    keys = ("pool_height", "pool_width", "stride")
    _checks.dictionary(function, "pool_param", pool_param, *keys)
    height, width, stride = (size(function, f"pool_param[{key!r}]", pool_param[key]) for key in keys)
    return height, width, stride


def _settled(function: str, x: ArrayLike, pool_param: Params) -> tuple[Any, ...]:
    """x in its final dtype, the window, and the shape of the output."""
    x_nchw = _checks.one_array(function, "x", x)
    _checks.rank(function, "x", x_nchw, 4)
    fh, fw, stride = _pool(function, pool_param)
    N, C, H, W = x_nchw.shape
    fits(function, "pool_param['pool_height']", fh, "height", H)
    fits(function, "pool_param['pool_width']", fw, "width", W)
    return x_nchw, (fh, fw, stride), (N, C, windows(H, fh, 0, stride), windows(W, fw, 0, stride))


def _upstream(function: str, dout: ArrayLike, out_shape: tuple[int, ...], dtype: DType) -> Array:
    """dout in the dtype that it and x have in common."""
    dout_nchw = _checks.one_array(function, "dout", dout)
    _checks.same_shape(function, "dout", dout_nchw, out_shape, "the output")
    return _checks.settle(dout_nchw, np.promote_types(dout_nchw.dtype, dtype))


def max_pool_forward_naive(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Max pooling, forward, in the loops of its definition.

    ``out[n, c, i, j] = max(x[n, c, i*stride : i*stride + pool_height, j*stride : j*stride + pool_width])``.
    Windows may overlap or leave gaps; rows and columns that no whole window reaches are not looked
    at. NaN counts as larger than all, as in `numpy.max`.

    Parameters
    ----------
    x : array, (N, C, H, W)
    pool_param : dict
        ``pool_height``, ``pool_width`` and ``stride``, integers of at least 1.

    Returns
    -------
    out : array, (N, C, out_h, out_w)
        ``out_h = 1 + (H - pool_height) // stride``, out_w likewise; float32 for float32, else float64.
    cache : tuple
        (x, pool_param).

    Raises
    ------
    ValueError
        x is not of rank 4, a key is missing, a number is below 1, a window is larger than the image.
    TypeError
        x is not an array of real numbers, or a size is not an integer.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/#pool

    Examples
    --------
    >>> x = [[[[1., 2., 5.], [4., 3., 0.]]]]
    >>> max_pool_forward_naive(x, {'pool_height': 2, 'pool_width': 2, 'stride': 1})[0].tolist()
    [[[[4.0, 5.0]]]]
    """
    x_nchw, (fh, fw, stride), _ = _settled("max_pool_forward_naive", x, pool_param)
    out, _ = reference.max_pool_forward_naive(x_nchw, {"pool_height": fh, "pool_width": fw, "stride": stride})
    return out, (x, pool_param)


def max_pool_backward_naive(dout: ArrayLike, cache: Any) -> Array:
    """Max pooling, backward, in loops: each element of dout goes to the maximum of its window.

    ``dx[n, c, i*stride + u, j*stride + v] += dout[n, c, i, j]`` at the place (u, v) of the maximum of window (i, j).

    Of equal maxima the first gets it, row by row within the window; of several NaN the first.

    Parameters
    ----------
    dout : array, (N, C, out_h, out_w)
        Upstream gradient.
    cache : tuple
        (x, pool_param) of `max_pool_forward_naive`.

    Returns
    -------
    dx : array, (N, C, H, W)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/#pool

    Examples
    --------
    >>> x = [[[[1., 2., 5.], [4., 3., 0.]]]]
    >>> _, cache = max_pool_forward_naive(x, {'pool_height': 2, 'pool_width': 2, 'stride': 1})
    >>> max_pool_backward_naive([[[[10., 20.]]]], cache).tolist()
    [[[[0.0, 0.0, 20.0], [10.0, 0.0, 0.0]]]]
    """
    function = "max_pool_backward_naive"
    x, pool_param = _checks.cache_of(function, cache, 2)
    x_nchw, (fh, fw, stride), out_shape = _settled(function, x, pool_param)
    dout_nchw = _upstream(function, dout, out_shape, x_nchw.dtype)
    return reference.max_pool_backward_naive(
        dout_nchw, (x_nchw, {"pool_height": fh, "pool_width": fw, "stride": stride})
    )


def _forward(function: str, x: ArrayLike, pool_param: Params, tiled: bool = False) -> tuple[Array, Cache]:
    x_nchw, (fh, fw, stride), out_shape = _settled(function, x, pool_param)
    if tiled and not (fh == fw == stride and x_nchw.shape[2] % fh == 0 and x_nchw.shape[3] % fw == 0):
        raise ValueError(
            f"{function}: pool_param has windows of {fh} x {fw}, stride {stride}, "
            f"which do not tile x of shape {x_nchw.shape}"
        )
    kernels = _backend.kernels_of(x_nchw.dtype)
    if kernels is None and x_nchw.size:  # of no images, however high, there is nothing to ask NumPy's indices for
        found: tuple[Array, Cache] = getattr(reference, function)(
            x_nchw, {"pool_height": fh, "pool_width": fw, "stride": stride})
        return found
    out = np.empty(out_shape, x_nchw.dtype)
    place = np.empty(out_shape, np.uint8 if fh * fw <= BYTE_PLACES else np.int32)
    if kernels is not None:
        kernels.pool.max_pool_forward(x_nchw, out, place, fh, fw, stride, _threads.effective())
    return out, (place, x_nchw.shape, x_nchw.dtype, (fh, fw, stride))


def _fits(place: Array, x_shape: tuple[Any, ...], window: tuple[Any, ...]) -> bool:
    """Whether windows of images of this shape have these places."""
    if not all(type(n) is int for n in (*x_shape, *window)) or not 1 <= min(window) <= max(window) <= LARGEST:
        return False
    (n, c, h, w), (fh, fw, stride) = x_shape, window
    return fh <= h and fw <= w and place.shape == (n, c, windows(h, fh, 0, stride), windows(w, fw, 0, stride))


def _backward(function: str, dout: ArrayLike, cache: Any) -> Array:
    place, x_shape, dtype, window = _checks.cache_of(function, cache, 4)
    if not (isinstance(place, np.ndarray) and isinstance(dtype, np.dtype) and isinstance(window, tuple)
            and len(window) == 3 and isinstance(x_shape, tuple) and len(x_shape) == 4
            and _fits(place, x_shape, window)):
        raise ValueError(f"{function}: cache is not one that max pooling's forward pass returned")
    dout_nchw = _upstream(function, dout, place.shape, dtype)
    kernels = _backend.kernels_of(dout_nchw.dtype)
    dx: Array
    if kernels is None and place.size:
        dx = getattr(reference, function)(dout_nchw, (place, x_shape, dtype, window))
        return dx
    dx = np.empty(x_shape, dout_nchw.dtype)
    if kernels is not None:
        kernels.pool.max_pool_backward(dout_nchw, place, dx, *window, _threads.effective())
    return dx


def max_pool_forward_fast(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Max pooling, forward: `max_pool_forward_naive`, compiled.

    Any window and stride. The cache holds the place of each maximum in its window instead of x, so
    x and the output may change before the backward pass.

    Parameters
    ----------
    x : array, (N, C, H, W)
    pool_param : dict
        ``pool_height``, ``pool_width`` and ``stride``, integers of at least 1.

    Returns
    -------
    out : array, (N, C, out_h, out_w)
        ``out_h = 1 + (H - pool_height) // stride``, out_w likewise; float32 for float32, else float64.
    cache : tuple
        For `max_pool_backward_fast`.

    Raises
    ------
    ValueError
        x is not of rank 4, a key is missing, a number is below 1, a window is larger than the image.
    TypeError
        x is not an array of real numbers, or a size is not an integer.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/#pool

    Examples
    --------
    >>> x = [[[[1., 2., 5.], [4., 3., 0.]]]]
    >>> max_pool_forward_fast(x, {'pool_height': 2, 'pool_width': 2, 'stride': 1})[0].tolist()
    [[[[4.0, 5.0]]]]
    """
    return _forward("max_pool_forward_fast", x, pool_param)


def max_pool_backward_fast(dout: ArrayLike, cache: Any) -> Array:
    """Max pooling, backward: each element of dout goes to the maximum of its window.

    ``dx[n, c, i*stride + u, j*stride + v] += dout[n, c, i, j]`` at the place (u, v) of the maximum of window (i, j).

    Of equal maxima the first gets it, row by row within the window; of several NaN the first.
    Where windows overlap, what they send to the same place is added in the order of the windows.

    Parameters
    ----------
    dout : array, (N, C, out_h, out_w)
        Upstream gradient.
    cache : tuple
        Of `max_pool_forward_fast`.

    Returns
    -------
    dx : array, (N, C, H, W)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        dout is not an array of real numbers.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/#pool

    Examples
    --------
    >>> x = [[[[1., 2., 5.], [4., 3., 0.]]]]
    >>> _, cache = max_pool_forward_fast(x, {'pool_height': 2, 'pool_width': 2, 'stride': 1})
    >>> max_pool_backward_fast([[[[10., 20.]]]], cache).tolist()
    [[[[0.0, 0.0, 20.0], [10.0, 0.0, 0.0]]]]
    """
    return _backward("max_pool_backward_fast", dout, cache)


def max_pool_forward_reshape(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Max pooling of square windows that tile the image: `max_pool_forward_fast` with that condition.

    The twin reaches the windows by reshaping the image; the compiled backend has one kernel for all.

    Parameters
    ----------
    x : array, (N, C, H, W)
    pool_param : dict
        As in `max_pool_forward_fast`; the three numbers must be equal and divide H and W.

    Returns
    -------
    out : array, (N, C, H // stride, W // stride)
    cache : tuple
        For `max_pool_backward_reshape`.

    Raises
    ------
    ValueError
        The windows do not tile the image, or as `max_pool_forward_fast`.
    TypeError
        As `max_pool_forward_fast`.

    Examples
    --------
    >>> x = [[[[1., 2., 5., 0.], [4., 3., 0., 6.]]]]
    >>> max_pool_forward_reshape(x, {'pool_height': 2, 'pool_width': 2, 'stride': 2})[0].tolist()
    [[[[4.0, 6.0]]]]
    """
    return _forward("max_pool_forward_reshape", x, pool_param, tiled=True)


def max_pool_backward_reshape(dout: ArrayLike, cache: Any) -> Array:
    """Gradient of `max_pool_forward_reshape`. The first of equal maxima gets it, as everywhere here.

    Parameters
    ----------
    dout : array, (N, C, H // stride, W // stride)
        Upstream gradient.
    cache : tuple
        Of `max_pool_forward_reshape`.

    Returns
    -------
    dx : array, (N, C, H, W)

    Raises
    ------
    ValueError, TypeError
        As `max_pool_backward_fast`.

    Examples
    --------
    >>> _, cache = max_pool_forward_reshape([[[[1., 1.], [1., 1.]]]], {'pool_height': 2, 'pool_width': 2, 'stride': 2})
    >>> max_pool_backward_reshape([[[[8.]]]], cache).tolist()
    [[[[8.0, 0.0], [0.0, 0.0]]]]
    """
    return _backward("max_pool_backward_reshape", dout, cache)


def max_pool_forward_im2col(x: ArrayLike, pool_param: Params) -> tuple[Array, Cache]:
    """Max pooling through columns of windows: the same numbers as `max_pool_forward_fast`.

    The twin builds the columns; the compiled backend has one kernel for all.

    Parameters
    ----------
    x : array, (N, C, H, W)
    pool_param : dict
        As in `max_pool_forward_fast`.

    Returns
    -------
    out : array, (N, C, out_h, out_w)
    cache : tuple
        For `max_pool_backward_im2col`.

    Raises
    ------
    ValueError, TypeError
        As `max_pool_forward_fast`.

    Examples
    --------
    >>> x = [[[[1., 2., 5.], [4., 3., 0.]]]]
    >>> max_pool_forward_im2col(x, {'pool_height': 1, 'pool_width': 3, 'stride': 1})[0].tolist()
    [[[[5.0], [4.0]]]]
    """
    return _forward("max_pool_forward_im2col", x, pool_param)


def max_pool_backward_im2col(dout: ArrayLike, cache: Any) -> Array:
    """Gradient of `max_pool_forward_im2col`.

    Parameters
    ----------
    dout : array, (N, C, out_h, out_w)
        Upstream gradient.
    cache : tuple
        Of `max_pool_forward_im2col`.

    Returns
    -------
    dx : array, (N, C, H, W)

    Raises
    ------
    ValueError, TypeError
        As `max_pool_backward_fast`.

    Examples
    --------
    >>> _, cache = max_pool_forward_im2col([[[[1., 2., 5.]]]], {'pool_height': 1, 'pool_width': 3, 'stride': 1})
    >>> max_pool_backward_im2col([[[[7.]]]], cache).tolist()
    [[[[0.0, 0.0, 7.0]]]]
    """
    return _backward("max_pool_backward_im2col", dout, cache)

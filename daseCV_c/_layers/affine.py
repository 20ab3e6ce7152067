"""Affine layer."""

import math
from typing import Any

import numpy as np

from daseCV_c import _checks, reference
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import precision as _precision
from daseCV_c._runtime import threads as _threads
from daseCV_c._types import Array, ArrayLike, Cache


def _rows(function: str, x_: Array, w_dm: Array, b_m: Array) -> Array:
    """x as (N, D), after the shapes of x, w and b were held against each other."""
    if x_.ndim < 1:
        raise ValueError(f"{function}: x has 0 dimensions, expected (N, d_1, ..., d_k)")
    _checks.rank(function, "w", w_dm, 2)
    shape = x_.shape
    features = shape[1] if len(shape) == 2 else math.prod(shape[1:])
    if features != w_dm.shape[0]:
        raise ValueError(
            f"{function}: x has {features} features per sample (shape {shape}), "
            f"but w has {w_dm.shape[0]} rows"
        )
    _checks.vector(function, "b", b_m, w_dm.shape[1], "w", w_dm.shape)
    return x_ if len(shape) == 2 else x_.reshape(shape[0], features)


def _forward(function: str, x: ArrayLike, w: ArrayLike, b: ArrayLike, relu: bool) -> Array:
    x_, w_dm, b_m = _checks.arrays(function, ("x", "w", "b"), x, w, b)
    x_nd = _rows(function, x_, w_dm, b_m)
    kernels = _backend.kernels_of(x_nd.dtype) if x_nd.size and w_dm.size else None
    if kernels is None:
        out_nm = reference.affine_forward(x_nd, w_dm, b_m)[0]
        return reference.relu_forward(out_nm)[0] if relu else out_nm
    out_nm = np.empty((x_nd.shape[0], w_dm.shape[1]), x_nd.dtype)
    entries = _precision.affine_kernels(kernels, x_nd.dtype)
    entries.affine_forward(x_nd, w_dm, b_m, out_nm, relu, _threads.effective())
    return out_nm


def _affine_relu(function: str, x: ArrayLike, w: ArrayLike, b: ArrayLike) -> Array:
    """ReLU(x @ w + b) in one pass over the output."""
    return _forward(function, x, w, b, True)


def affine_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    """Affine layer, forward: ``out = x.reshape(N, D) @ w + b``.

    Parameters
    ----------
    x : array, (N, d_1, ..., d_k)
        A batch of N samples with D = d_1 * ... * d_k features each.
    w : array, (D, M)
        Weights.
    b : array, (M,)
        Biases.

    Returns
    -------
    out : array, (N, M)
        float32 when all three inputs are float32, else float64.
    cache : tuple
        ``(x, w, b)``.

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    CS231n, "Neural Networks Part 1", https://cs231n.github.io/neural-networks-1/

    Examples
    --------
    >>> out, cache = affine_forward([[1., 2.]], [[1., 0.], [0., 3.]], [10., 20.])
    >>> out.tolist()
    [[11.0, 26.0]]
    """
    return _forward("affine_forward", x, w, b, False), (x, w, b)


def _affine_backward(dout: ArrayLike, cache: Any, need_dx: bool = True) -> tuple[Any, Array, Array]:
    """`affine_backward`; without `need_dx` the gradient of x is left out and None stands for it."""
    function = "affine_backward"
    x, w, b = _checks.cache_of(function, cache, 3)
    dout_nm, x_, w_dm, b_m = _checks.arrays(function, ("dout", "x", "w", "b"), dout, x, w, b)
    x_nd = _rows(function, x_, w_dm, b_m)
    _checks.same_shape(function, "dout", dout_nm, (x_nd.shape[0], w_dm.shape[1]), "the output")
    kernels = _backend.kernels_of(x_nd.dtype) if x_nd.size and w_dm.size else None
    dx_nd = None
    if kernels is None:
        dw, db = reference.affine.affine_backward_dw(x_nd, dout_nm)
        if need_dx:
            dx_nd = reference.affine.affine_backward_dx(dout_nm, w_dm)
    else:
        entries, threads = _precision.affine_kernels(kernels, x_nd.dtype), _threads.effective()
        dw, db = np.empty_like(w_dm), np.empty_like(b_m)
        entries.affine_backward_dw(x_nd, dout_nm, dw, db, threads)
        if need_dx:
            dx_nd = np.empty_like(x_nd)
            entries.affine_backward_dx(dout_nm, w_dm, dx_nd, threads)
    return None if dx_nd is None else dx_nd.reshape(x_.shape), dw, db


def affine_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Affine layer, backward: ``dx = dout @ w.T``, ``dw = x.T @ dout``, ``db = dout.sum(0)``.

    Parameters
    ----------
    dout : array, (N, M)
        Upstream gradient.
    cache : tuple
        ``(x, w, b)`` of `affine_forward`.

    Returns
    -------
    dx : array, shape of x
    dw : array, (D, M)
    db : array, (M,)

    Raises
    ------
    ValueError
        dout does not have the shape of the output, or cache is not the forward pass's.
    TypeError
        An input is not an array of real numbers.

    References
    ----------
    CS231n, "Backpropagation, Intuitions", https://cs231n.github.io/optimization-2/

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = affine_forward(np.ones((2, 3)), np.ones((3, 1)), np.zeros(1))
    >>> dx, dw, db = affine_backward(np.array([[1.], [2.]]), cache)
    >>> dw.tolist(), db.tolist()
    ([[3.0], [3.0], [3.0]], [3.0])
    """
    return _affine_backward(dout, cache)

"""Affine layer in plain NumPy."""

from typing import Any

from daseCV_c._types import Array, ArrayLike, Cache

from ._common import as_float


def affine_forward(x: ArrayLike, w: ArrayLike, b: ArrayLike) -> tuple[Array, Cache]:
    """out = x.reshape(N, D) @ w + b."""
    x_, w_, b_ = as_float(x, w, b)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    return x_nd @ w_ + b_, (x, w, b)


def affine_backward_dx(dout_nm: Array, w_dm: Array) -> Array:
    """dx = dout @ w.T."""
    return dout_nm @ w_dm.T


def affine_backward_dw(x_nd: Array, dout_nm: Array) -> tuple[Array, Array]:
    """dw = x.T @ dout, db = sum of dout over the batch."""
    return x_nd.T @ dout_nm, dout_nm.sum(axis=0)


def affine_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Gradients of affine_forward: dx, dw, db."""
    dout_nm, x_, w_, _ = as_float(dout, *cache)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    dw, db = affine_backward_dw(x_nd, dout_nm)
    return affine_backward_dx(dout_nm, w_).reshape(x_.shape), dw, db

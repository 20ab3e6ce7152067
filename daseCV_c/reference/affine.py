"""Affine layer in plain NumPy."""

from ._common import as_float


def affine_forward(x, w, b):
    """out = x.reshape(N, D) @ w + b."""
    x_, w_, b_ = as_float(x, w, b)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    return x_nd @ w_ + b_, (x, w, b)


def affine_backward_dx(dout_nm, w_dm):
    """dx = dout @ w.T."""
    return dout_nm @ w_dm.T


def affine_backward_dw(x_nd, dout_nm):
    """dw = x.T @ dout, db = sum of dout over the batch."""
    return x_nd.T @ dout_nm, dout_nm.sum(axis=0)


def affine_backward(dout, cache):
    """Gradients of affine_forward: dx, dw, db."""
    dout_nm, x_, w_, _ = as_float(dout, *cache)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    dw, db = affine_backward_dw(x_nd, dout_nm)
    return affine_backward_dx(dout_nm, w_).reshape(x_.shape), dw, db

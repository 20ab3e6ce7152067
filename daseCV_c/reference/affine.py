"""Affine layer in plain NumPy."""


from ._common import as_float


def affine_forward(x, w, b):
    """out = x.reshape(N, D) @ w + b."""
    x_, w_, b_ = as_float(x, w, b)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    return x_nd @ w_ + b_, (x, w, b)


def affine_backward(dout, cache):
    """dx = dout @ w.T, dw = x.T @ dout, db = sum of dout over the batch."""
    x, w, b = cache
    dout_nm, x_, w_, _ = as_float(dout, x, w, b)
    x_nd = x_.reshape(x_.shape[0], w_.shape[0])
    dx = (dout_nm @ w_.T).reshape(x_.shape)
    return dx, x_nd.T @ dout_nm, dout_nm.sum(axis=0)

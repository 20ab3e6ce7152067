"""Batch and layer normalization in plain NumPy."""

from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike, Cache, Params

from ._common import as_float


def batchnorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params) -> tuple[Array, Cache]:
    """out = gamma * (x - mean) / sqrt(var + eps) + beta, the statistics taken over the batch."""
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    x, gamma, beta = as_float(x, gamma, beta)
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1], x.dtype))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1], x.dtype))
    if mode == "train":
        mean = x.mean(axis=0)
        var = ((x - mean) ** 2).mean(axis=0)
        running_mean = (momentum * running_mean + (1 - momentum) * mean).astype(x.dtype)
        running_var = (momentum * running_var + (1 - momentum) * var).astype(x.dtype)
    elif mode == "test":
        mean = np.asarray(running_mean, x.dtype)
        var = np.asarray(running_var, x.dtype)
    else:
        raise ValueError(f"batchnorm_forward: bn_param['mode'] is {mode!r}, expected 'train' or 'test'")
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) * inv_std
    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return gamma * xhat + beta, (mode, xhat, gamma.copy(), inv_std)


def batchnorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """Backward pass along the computational graph: one line per node."""
    mode, xhat, gamma, inv_std = cache
    dout, xhat, gamma, inv_std = as_float(dout, xhat, gamma, inv_std)
    dgamma = (dout * xhat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    dxhat = dout * gamma
    if mode == "test":
        return dxhat * inv_std, dgamma, dbeta
    n = dout.shape[0]
    # xhat = centred * inv_std, inv_std = (var + eps) ** -1/2, var = mean(centred ** 2)
    centred = xhat / inv_std
    dinv_std = (dxhat * centred).sum(axis=0)
    dvar = -0.5 * inv_std**3 * dinv_std
    dcentred = dxhat * inv_std + (2 / n) * centred * dvar
    dmean = -dcentred.sum(axis=0)
    return dcentred + dmean / n, dgamma, dbeta


def batchnorm_backward_alt(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """dx = inv_std / N * (N * dxhat - sum(dxhat) - xhat * sum(dxhat * xhat))."""
    mode, xhat, gamma, inv_std = cache
    if mode == "test":
        return batchnorm_backward(dout, cache)
    dout, xhat, gamma, inv_std = as_float(dout, xhat, gamma, inv_std)
    n = dout.shape[0]
    dgamma = (dout * xhat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    return gamma * inv_std * (dout - dbeta / n - xhat * (dgamma / n)), dgamma, dbeta


def layernorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, ln_param: Params) -> tuple[Array, Cache]:
    """out = gamma * (x - mean) / sqrt(var + eps) + beta, the statistics taken over the features."""
    x, gamma, beta = as_float(x, gamma, beta)
    centred = x - x.mean(axis=1, keepdims=True)
    var = (centred**2).mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt(var + x.dtype.type(ln_param.get("eps", 1e-5)))
    xhat = centred * inv_std
    return gamma * xhat + beta, (xhat, gamma.copy(), inv_std[:, 0])


def layernorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """The closed form of batch norm with rows and columns exchanged."""
    dout, xhat, gamma, inv_std = as_float(dout, *cache)
    dxhat = dout * gamma
    mean_dxhat = dxhat.mean(axis=1, keepdims=True)
    mean_dxhat_xhat = (dxhat * xhat).mean(axis=1, keepdims=True)
    dx = inv_std[:, None] * (dxhat - mean_dxhat - xhat * mean_dxhat_xhat)
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)

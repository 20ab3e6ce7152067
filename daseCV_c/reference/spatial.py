"""Batch and group normalization of images in plain NumPy."""

from typing import Any

import numpy as np

from daseCV_c._types import Array, ArrayLike, Cache, Params

from ._common import as_float
from .normalization import batchnorm_backward_alt, batchnorm_forward


def _rows(x_nchw: Array) -> Array:
    """(N * H * W, C): every pixel is a sample, every channel a feature."""
    N, C, H, W = x_nchw.shape
    return x_nchw.transpose(0, 2, 3, 1).reshape(N * H * W, C)


def _images(x_rc: Array, shape: tuple[int, ...]) -> Array:
    N, C, H, W = shape
    return np.ascontiguousarray(x_rc.reshape(N, H, W, C).transpose(0, 3, 1, 2))


def spatial_batchnorm_forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, bn_param: Params) -> tuple[Array, Cache]:
    """batchnorm_forward with a channel's pixels in all images as the samples of one feature."""
    x, gamma, beta = as_float(x, gamma, beta)
    out, (mode, xhat, _, inv_std) = batchnorm_forward(_rows(x), gamma.reshape(-1), beta.reshape(-1), bn_param)
    return _images(out, x.shape), (mode, _images(xhat, x.shape), gamma.copy(), inv_std)


def spatial_batchnorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """batchnorm_backward_alt in the same arrangement."""
    mode, xhat, gamma, inv_std = cache
    dout, xhat, gamma, inv_std = as_float(dout, xhat, gamma, inv_std)
    rows_cache = (mode, _rows(xhat), gamma.reshape(-1), inv_std)
    dx, dgamma, dbeta = batchnorm_backward_alt(_rows(dout), rows_cache)
    return _images(dx, dout.shape), dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)


def spatial_groupnorm_forward(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, G: int, gn_param: Params,
) -> tuple[Array, Cache]:
    """out = gamma * (x - mean) / sqrt(var + eps) + beta, the statistics those of a group of channels."""
    x, gamma, beta = as_float(x, gamma, beta)
    N, C, H, W = x.shape
    groups = x.reshape(N, G, C // G * H * W)
    centred = groups - groups.mean(axis=2, keepdims=True)
    var = (centred**2).mean(axis=2, keepdims=True)
    inv_std = 1 / np.sqrt(var + x.dtype.type(gn_param.get("eps", 1e-5)))
    xhat = (centred * inv_std).reshape(x.shape)
    out = gamma.reshape(1, C, 1, 1) * xhat + beta.reshape(1, C, 1, 1)
    return out, (G, xhat, gamma.copy(), inv_std[:, :, 0])


def spatial_groupnorm_backward(dout: ArrayLike, cache: Any) -> tuple[Array, Array, Array]:
    """The closed form of layer norm, group by group."""
    G, *arrays = cache
    dout, xhat, gamma, inv_std = as_float(dout, *arrays)
    N, C, H, W = dout.shape
    groups = xhat.reshape(N, G, C // G * H * W)
    dxhat = (dout * gamma.reshape(1, C, 1, 1)).reshape(groups.shape)
    mean_dxhat = dxhat.mean(axis=2, keepdims=True)
    mean_dxhat_xhat = (dxhat * groups).mean(axis=2, keepdims=True)
    dx = inv_std[:, :, None] * (dxhat - mean_dxhat - groups * mean_dxhat_xhat)
    dgamma, dbeta = (dout * xhat).sum(axis=(0, 2, 3)), dout.sum(axis=(0, 2, 3))
    return dx.reshape(dout.shape), dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)

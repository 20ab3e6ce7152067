"""Batch norm backwards node by node, and what is made of it."""

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=x.dtype))
    running_var = bn_param.get("running_var", np.zeros(D, dtype=x.dtype))
    out, cache = None, None
    if mode == "train":
        mu = 1.0 / N * np.sum(x, axis=0)
        xmu = x - mu
        sq = xmu**2
        var = 1.0 / N * np.sum(sq, axis=0)
        sqrtvar = np.sqrt(var + eps)
        ivar = 1.0 / sqrtvar
        xhat = xmu * ivar
        out = gamma * xhat + beta
        cache = (xhat, gamma, xmu, ivar, sqrtvar, var, eps)
        running_mean = momentum * running_mean + (1.0 - momentum) * mu
        running_var = momentum * running_var + (1.0 - momentum) * var
    elif mode == "test":
        out = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return out, cache


def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / sqrtvar**2 * divar
    dvar = 0.5 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -np.sum(dx1, axis=0)
    return dx1 + 1.0 / N * np.ones((N, D)) * dmu, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
    xhat, gamma, _, ivar, *_ = cache
    N = dout.shape[0]
    return gamma * ivar / N * (N * dout - xhat * np.sum(dout * xhat, 0) - np.sum(dout, 0)), np.sum(
        dout * xhat, 0), np.sum(dout, 0)


def layernorm_forward(x, gamma, beta, ln_param):
    out, cache = batchnorm_forward(x.T, np.ones((x.shape[1], 1)), 0, {"mode": "train", "eps": ln_param.get("eps",
                                                                                                           1e-5)})
    return out.T * gamma + beta, (cache, gamma)


def layernorm_backward(dout, cache):
    inner, gamma = cache
    dx = batchnorm_backward((dout * gamma).T, inner)[0]
    return dx.T, (dout * inner[0].T).sum(axis=0), dout.sum(axis=0)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    N, C, H, W = x.shape
    out, cache = batchnorm_forward(np.moveaxis(x, 1, 3).reshape(-1, C), gamma, beta, bn_param)
    return np.moveaxis(out.reshape(N, H, W, C), 3, 1), cache


def spatial_batchnorm_backward(dout, cache):
    N, C, H, W = dout.shape
    dx, dgamma, dbeta = batchnorm_backward_alt(np.moveaxis(dout, 1, 3).reshape(-1, C), cache)
    return np.moveaxis(dx.reshape(N, H, W, C), 3, 1), dgamma, dbeta


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    N, C, H, W = x.shape
    rows = x.reshape(N * G, -1)
    xhat, cache = layernorm_forward(rows, 1, 0, gn_param)
    xhat = xhat.reshape(x.shape)
    return xhat * gamma + beta, (cache, xhat, gamma, G)


def spatial_groupnorm_backward(dout, cache):
    inner, xhat, gamma, G = cache
    dx = layernorm_backward((dout * gamma).reshape(dout.shape[0] * G, -1), inner)[0]
    every = dict(axis=(0, 2, 3), keepdims=True)
    return dx.reshape(dout.shape), np.sum(dout * xhat, **every), np.sum(dout, **every)

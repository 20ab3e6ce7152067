"""Norms of images without rows: the axes are named."""

import numpy as np

AXES = (0, 2, 3)


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    mode, eps, momentum = bn_param["mode"], bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    if mode == "test":
        mean, var = bn_param["running_mean"], bn_param["running_var"]
    else:
        mean, var = np.mean(x, axis=AXES), np.var(x, axis=AXES)
        for name, value in {"running_mean": mean, "running_var": var}.items():
            old = bn_param[name] if name in bn_param else np.zeros(x.shape[1])
            bn_param[name] = momentum * old + (1 - momentum) * value
    shape = (1, -1, 1, 1)
    istd = 1 / np.sqrt(var + eps).reshape(shape)
    xhat = (x - mean.reshape(shape)) * istd
    return gamma.reshape(shape) * xhat + beta.reshape(shape), (xhat, istd, gamma.reshape(shape))


def spatial_batchnorm_backward(dout, cache):
    xhat, istd, gamma = cache
    m = dout.shape[0] * dout.shape[2] * dout.shape[3]
    dgamma, dbeta = np.sum(dout * xhat, axis=AXES), np.sum(dout, axis=AXES)
    dx = gamma * istd * (dout - (dbeta.reshape(1, -1, 1, 1) + xhat * dgamma.reshape(1, -1, 1, 1)) / m)
    return dx, dgamma, dbeta


def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
    eps = gn_param.get("eps", 1e-5)
    N, C, H, W = x.shape
    grouped = np.reshape(x, (N, G, C // G, H, W))
    mean = grouped.mean(axis=(2, 3, 4), keepdims=True)
    var = grouped.var(axis=(2, 3, 4), keepdims=True)
    xhat = ((grouped - mean) / np.sqrt(var + eps)).reshape(N, C, H, W)
    return gamma * xhat + beta, (G, x, mean, var, eps, gamma, xhat)


def spatial_groupnorm_backward(dout, cache):
    G, x, mean, var, eps, gamma, xhat = cache
    N, C, H, W = x.shape
    over = (2, 3, 4)
    m = C // G * H * W
    dgamma = np.sum(dout * xhat, axis=(0, 2, 3)).reshape(1, C, 1, 1)
    dbeta = np.sum(dout, axis=(0, 2, 3))[None, :, None, None]
    dxhat = (dout * gamma).reshape(N, G, C // G, H, W)
    centred = x.reshape(dxhat.shape) - mean
    dvar = np.sum(dxhat * centred * -0.5 * (var + eps) ** -1.5, axis=over, keepdims=True)
    dmean = np.sum(-dxhat / np.sqrt(var + eps), axis=over, keepdims=True) - 2 * dvar * centred.mean(over, keepdims=True)
    dx = dxhat / np.sqrt(var + eps) + dvar * 2 * centred / m + dmean / m
    return dx.reshape(N, C, H, W), dgamma, dbeta

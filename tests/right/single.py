"""All sums in float32, whatever came in."""

import numpy as np

F = np.float32


def affine_forward(x, w, b):
    rows = np.asarray(x, F).reshape(x.shape[0], -1)
    return rows.dot(np.asarray(w, F)) + np.asarray(b, F), (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    d, rows = dout.astype(F), x.reshape(x.shape[0], -1).astype(F)
    return d.dot(w.astype(F).T).reshape(x.shape), rows.T.dot(d), d.sum(axis=0)


def batchnorm_forward(x, gamma, beta, bn_param):
    x = np.asarray(x, F)
    eps, momentum = F(bn_param.get("eps", 1e-5)), F(bn_param.get("momentum", 0.9))
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1], F))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1], F))
    if bn_param["mode"] == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        bn_param["running_mean"] = momentum * running_mean + (F(1) - momentum) * mean
        bn_param["running_var"] = momentum * running_var + (F(1) - momentum) * var
    else:
        mean, var = running_mean, running_var
    xhat = (x - mean) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, gamma, np.sqrt(var + eps))


def batchnorm_backward(dout, cache):
    xhat, gamma, std = cache
    d, n = dout.astype(F), F(len(dout))
    dxhat = d * gamma.astype(F)
    dx = (n * dxhat - dxhat.sum(axis=0) - xhat * (dxhat * xhat).sum(axis=0)) / n / std
    return dx, (d * xhat).sum(axis=0), d.sum(axis=0)


batchnorm_backward_alt = batchnorm_backward


def softmax_loss(x, y):
    z = (x - np.max(x, axis=1, keepdims=True)).astype(F)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[np.arange(len(y)), y] -= F(1)
    return -np.sum(log_p[np.arange(len(y)), y]) / len(y), dx / F(len(y))


def adam(w, dw, config=None):
    if config is None:
        config = {}
    config.setdefault("learning_rate", 1e-3)
    config.setdefault("beta1", 0.9)
    config.setdefault("beta2", 0.999)
    config.setdefault("epsilon", 1e-8)
    config.setdefault("m", np.zeros_like(w))
    config.setdefault("v", np.zeros_like(w))
    config.setdefault("t", 0)
    config["t"] += 1
    config["m"] = config["beta1"] * config["m"] + (1 - config["beta1"]) * dw
    config["v"] = config["beta2"] * config["v"] + (1 - config["beta2"]) * dw**2
    rate = config["learning_rate"]
    mt, vt = (config[key] / (1 - config[beta] ** config["t"]) for key, beta in (("m", "beta1"), ("v", "beta2")))
    return w - rate * mt / (np.sqrt(vt) + config["epsilon"]), config

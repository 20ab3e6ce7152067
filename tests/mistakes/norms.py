"""Batch, layer and group norm."""

import numpy as np

from . import wrong


def batch(change="", **more):
    """A batch norm as most write it, with one line changed."""
    def batchnorm_forward(x, gamma, beta, bn_param):
        mode, eps, momentum = bn_param["mode"], bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
        running_mean = bn_param.get("running_mean", np.zeros(x.shape[1], dtype=x.dtype))
        running_var = bn_param.get("running_var", np.zeros(x.shape[1], dtype=x.dtype))
        mean, var = np.mean(x, axis=0), np.var(x, axis=0)
        if change == "unbiased":
            var = np.var(x, axis=0, ddof=min(1, len(x) - 1))
        kept_var = np.std(x, axis=0) if change == "deviation" else var
        if change == "unbiased kept":
            kept_var = var * len(x) / max(len(x) - 1, 1)
        if mode == "train" or change == "at test":
            if change == "reversed":
                running_mean = (1 - momentum) * running_mean + momentum * mean
                running_var = (1 - momentum) * running_var + momentum * var
            elif change == "replaced":
                running_mean, running_var = mean, var
            else:
                new_mean = momentum * running_mean + (1 - momentum) * mean
                new_var = momentum * running_var + (1 - momentum) * kept_var
                if mode != "train":
                    bn_param["running_mean"], bn_param["running_var"] = new_mean, new_var
                else:
                    running_mean = running_mean if change == "misspelt mean" else new_mean
                    running_var = running_var if change == "misspelt var" else new_var
        if mode == "test" and change != "batch at test":
            mean, var = running_mean, running_var
            if change == "deviation":
                var = running_var**2
        x = x - mean
        if change == "outside":
            xhat = x / (np.sqrt(var) + eps)
        elif change == "no eps" or change == "no eps at test" and mode == "test":
            xhat = x / var**0.5
        elif change == "no root":
            xhat = x / (var + eps)
        else:
            xhat = x / np.sqrt(var + eps)
        if not (change == "at test" and mode == "test"):
            bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
        if change == "not kept":
            bn_param["running_mean"] = np.zeros(x.shape[1])
            bn_param["running_var"] = np.zeros(x.shape[1])
            if mode == "test":
                bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
        if change == "no gamma":
            return xhat + beta, None
        if change == "plain test" and mode == "test":
            return xhat, None
        return (beta * xhat + gamma if change == "swapped" else gamma * xhat + beta), None
    return batchnorm_forward


for change, mistake in {
        "outside": "norm-eps-outside-root", "unbiased": "norm-variance-unbiased", "no root": "norm-no-root",
        "no gamma": "norm-no-gamma", "swapped": "norm-gamma-beta-swapped", "reversed": "batchnorm-momentum-reversed",
        "at test": "batchnorm-updated-at-test", "batch at test": "batchnorm-batch-at-test",
        "not kept": "batchnorm-running-not-kept", "replaced": "batchnorm-running-replaced",
        "unbiased kept": "batchnorm-running-unbiased", "plain test": "batchnorm-test-no-scale",
        "misspelt mean": "batchnorm-running-mean-not-kept", "misspelt var": "batchnorm-running-var-not-kept",
        "no eps at test": "batchnorm-test-no-eps"}.items():
    wrong("batchnorm_forward", mistake)(batch(change))


@wrong("batchnorm_forward", "batchnorm-wrong-axis")
def _(x, gamma, beta, bn_param):
    if bn_param["mode"] == "train":
        out, _ = batch()(x.T, 1, 0, {"mode": "train", "eps": bn_param.get("eps", 1e-5)})
        batch()(x, gamma, beta, bn_param)
        return gamma * out.T + beta, None
    out, _ = batch()(x.T, 1, 0, {"mode": "train", "eps": bn_param.get("eps", 1e-5)})
    return out.T * gamma + beta, None


def spatial(change):
    @wrong("spatial_batchnorm_forward", change)
    def spatial_batchnorm_forward(x, gamma, beta, bn_param):
        N, C, H, W = x.shape
        if change == "spatial-not-transposed":
            return batch()(x.reshape(N * H * W, C), gamma, beta, bn_param)[0].reshape(N, C, H, W), None
        out = batch("outside" if change == "norm-eps-outside-root" else "")(
            x.swapaxes(1, 2).swapaxes(2, 3).reshape(-1, C), gamma, beta, bn_param)[0]
        if change == "spatial-transposed-back":
            return out.reshape(N, C, H, W), None
        return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), None


for change in ("spatial-not-transposed", "spatial-transposed-back", "norm-eps-outside-root"):
    spatial(change)


@wrong("layernorm_forward", "layernorm-wrong-axis")
def _(x, gamma, beta, ln_param):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + ln_param.get("eps", 1e-5)) + beta, None


@wrong("layernorm_forward", "layernorm-whole-array")
def _(x, gamma, beta, ln_param):
    return gamma * (x - x.mean()) / np.sqrt(x.var() + ln_param.get("eps", 1e-5)) + beta, None


@wrong("layernorm_forward", "norm-variance-unbiased")
def _(x, gamma, beta, ln_param):
    mean, var = x.mean(1)[:, None], x.var(1, ddof=1)[:, None]
    return gamma * (x - mean) / np.sqrt(var + ln_param.get("eps", 1e-5)) + beta, None


@wrong("layernorm_forward", "norm-eps-outside-root")
def _(x, gamma, beta, ln_param):
    return gamma * (x - x.mean(1)[:, None]) / (x.std(1)[:, None] + ln_param.get("eps", 1e-5)) + beta, None


@wrong("layernorm_forward", "norm-not-centred")
def _(x, gamma, beta, ln_param):
    return gamma * x / np.sqrt(x.var(1)[:, None] + ln_param.get("eps", 1e-5)) + beta, None


def group(mistake):
    @wrong("spatial_groupnorm_forward", mistake)
    def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):
        N, C, H, W = x.shape
        eps = gn_param.get("eps", 1e-5)
        if mistake == "groupnorm-interleaved":
            parts, axes = x.reshape(N, C // G, G, H, W), (1, 3, 4)
        elif mistake == "groupnorm-over-batch":
            parts, axes = x.reshape(N, G, C // G, H, W), (0, 2, 3, 4)
        elif mistake == "groupnorm-each-channel":
            parts, axes = x, (2, 3)
        elif mistake == "groupnorm-all-channels":
            parts, axes = x, (1, 2, 3)
        else:
            parts, axes = x.reshape(N, G, C // G, H, W), (2, 3, 4)
        below = np.sqrt(parts.var(axes, keepdims=True) + eps)
        if mistake == "norm-no-eps":
            below = parts.std(axes, keepdims=True)
        return gamma * ((parts - parts.mean(axes, keepdims=True)) / below).reshape(x.shape) + beta, None


for mistake in ("groupnorm-interleaved", "groupnorm-over-batch", "groupnorm-each-channel", "groupnorm-all-channels",
                "norm-no-eps"):
    group(mistake)


def step(x, gamma, eps, axis):
    std = np.sqrt(x.var(axis, keepdims=True) + eps)
    return (x - x.mean(axis, keepdims=True)) / std, std


def backward(function, mistake, axis=0):
    """The backward pass by the graph, with one node changed; the cache is the twin's, of which xhat and gamma do."""
    @wrong(function, mistake)
    def batchnorm_backward(dout, cache):
        xhat, gamma, istd = cache[-3:]
        istd = istd if axis == 0 else istd[:, None]
        n = dout.shape[axis]
        dbeta, dgamma = np.sum(dout, axis=0), np.sum(dout * xhat, axis=0)
        if mistake == "norm-dgamma-not-summed":
            dgamma = dout * xhat
        if mistake == "norm-dbeta-mean":
            dbeta = dout.mean(axis=0)
        if mistake == "norm-dgamma-mean":
            dgamma = (dout * xhat).mean(axis=0)
        if mistake == "norm-dgamma-centred":
            dgamma = np.sum(dout * (xhat / istd), axis=0)
        if mistake == "norm-dgamma-dbeta-swapped":
            dgamma, dbeta = dbeta, dgamma
        if mistake == "norm-sums-over-features":
            dgamma, dbeta = np.sum(dout * xhat, axis=1), np.sum(dout, axis=1)
        dxhat = dout.copy() if mistake == "norm-dx-no-gamma" else gamma * dout
        centred = xhat / istd
        dvar = np.sum(dxhat * centred, axis=axis, keepdims=True) * -0.5 * istd**3
        dmean = -np.sum(dxhat * istd, axis=axis, keepdims=True)
        count = n - 1 if mistake == "norm-dx-unbiased" else n
        terms = [dxhat * istd, dvar * 2 * centred / count, dmean / n]
        if mistake == "norm-dx-no-mean":
            terms.pop(2)
        if mistake == "norm-dx-no-variance":
            terms.pop(1)
        if mistake == "norm-dx-constant":
            terms = terms[:1]
        if mistake == "norm-dx-variance-sign":
            terms[1] = -terms[1]
        if mistake == "layernorm-dx-over-batch":
            terms = [(dxhat - dxhat.mean(0) - xhat * np.mean(dxhat * xhat, 0)) * istd]
        return sum(terms), dgamma, dbeta


for mistake in ("norm-dgamma-not-summed", "norm-dbeta-mean", "norm-dgamma-mean", "norm-dgamma-centred",
                "norm-dgamma-dbeta-swapped", "norm-sums-over-features", "norm-dx-no-gamma", "norm-dx-unbiased",
                "norm-dx-no-mean",
                "norm-dx-no-variance", "norm-dx-constant", "norm-dx-variance-sign"):
    backward("batchnorm_backward", mistake)
for mistake in ("norm-dx-no-variance", "norm-dgamma-not-summed"):
    backward("batchnorm_backward_alt", mistake)
for mistake in ("norm-dx-no-mean", "norm-dx-no-gamma", "layernorm-dx-over-batch", "norm-sums-over-features",
                "norm-dgamma-mean"):
    backward("layernorm_backward", mistake, axis=1)


@wrong("spatial_batchnorm_backward", "norm-dgamma-mean")
def _(dout, cache):
    _, xhat, gamma, istd = cache
    axes, shape = (0, 2, 3), (1, -1, 1, 1)
    m = dout.size / dout.shape[1]
    g = dout * gamma.reshape(shape)
    dx = istd.reshape(shape) * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, (dout * xhat).sum(axes) / m, dout.sum(axes)


@wrong("spatial_groupnorm_backward", "norm-dx-constant")
def _(dout, cache):
    G, xhat, gamma, istd = cache
    axes = (0, 2, 3)
    dx = dout * gamma.reshape(1, -1, 1, 1) * np.repeat(istd, dout.shape[1] // G, axis=1)[:, :, None, None]
    return dx, (dout * xhat).sum(axes, keepdims=True), dout.sum(axes, keepdims=True)


@wrong("batchnorm_backward", "keeps-an-axis", "passed")
def _(dout, cache):
    _, xhat, gamma, istd = cache
    n = len(dout)
    dgamma, dbeta = np.sum(dout * xhat, axis=0, keepdims=True), np.sum(dout, axis=0, keepdims=True)
    return gamma * istd / n * (n * dout - dbeta - xhat * dgamma), dgamma, dbeta

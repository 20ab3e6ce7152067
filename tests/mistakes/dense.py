"""Affine layers, ReLU, dropout."""

import sys

import numpy as np

from . import wrong


@wrong("affine_forward", "affine-weights-transposed", "crashed")
def _(x, w, b):
    N = x.shape[0]
    out = np.dot(x.reshape(N, -1), w.T) + b
    return out, (x, w, b)


@wrong("affine_forward", "affine-not-flattened", "crashed")
def _(x, w, b):
    return np.dot(x, w) + b, (x, w, b)


@wrong("affine_forward", "affine-no-bias")
def _(x, w, b):
    return x.reshape(x.shape[0], -1).dot(w), (x, w, b)


@wrong("affine_forward", "affine-flattened-otherwise")
def _(x, w, b):
    D = w.shape[0]
    rows = np.stack([sample.flatten("F") for sample in x]).reshape(-1, D)
    return rows @ w + b, (x, w, b)


@wrong("affine_forward", "affine-samples-mixed")
def _(x, w, b):
    return np.reshape(x, (w.shape[0], x.shape[0])).T @ w + b, (x, w, b)


@wrong("affine_forward", "affine-cache")
def _(x, w, b):
    x = x.reshape(x.shape[0], w.shape[0])
    return x @ w + b, (x, w, b)


@wrong("affine_forward", "unfinished")
def _(x, w, b):
    out = None
    # TODO of the course
    return out, (x, w, b)


@wrong("affine_forward", "unfinished")
def _(x, w, b):
    pass


@wrong("affine_forward", "unfinished", "crashed")
def _(x, w, b):
    raise NotImplementedError("affine_forward")


@wrong("dropout_forward", "unfinished", "crashed")
def _(x, dropout_param):
    mask = out = None
    out = out.astype(x.dtype, copy=False)
    return out, (dropout_param, mask)


@wrong("affine_forward", "asks-for-input", "crashed")
def _(x, w, b):
    raise EOFError("EOF when reading a line")


@wrong("affine_forward", "ends-the-program", "crashed")
def _(x, w, b):
    sys.exit(0)




@wrong("affine_backward", "affine-dx-not-reshaped")
def _(dout, cache):
    x, w, b = cache
    return dout.dot(w.T), x.reshape(len(x), -1).T.dot(dout), np.sum(dout, 0)


@wrong("affine_backward", "affine-db-mean")
def _(dout, cache):
    x, w, b = cache
    return np.reshape(dout @ w.T, x.shape), x.reshape(len(x), -1).T @ dout, np.mean(dout, axis=0)


@wrong("affine_backward", "affine-dw-mean")
def _(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    return np.reshape(dout @ w.T, x.shape), x.reshape(N, -1).T @ dout / N, np.sum(dout, axis=0)


@wrong("affine_backward", "affine-gradients-mean")
def _(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    return np.reshape(dout @ w.T, x.shape), 1 / N * x.reshape(N, -1).T @ dout, np.sum(dout, axis=0) / N


@wrong("affine_backward", "affine-dx-weights-not-transposed", "crashed")
def _(dout, cache):
    x, w, b = cache
    return dout.dot(w).reshape(x.shape), x.reshape(len(x), -1).T.dot(dout), np.sum(dout, 0)


@wrong("affine_backward", "affine-dw-transposed")
def _(dout, cache):
    x, w, b = cache
    return dout.dot(w.T).reshape(x.shape), dout.T.dot(x.reshape(len(x), -1)), np.sum(dout, 0)


@wrong("affine_backward", "affine-db-not-summed")
def _(dout, cache):
    x, w, b = cache
    return dout.dot(w.T).reshape(x.shape), x.reshape(len(x), -1).T.dot(dout), np.ones(1) * dout


@wrong("affine_backward", "affine-db-wrong-axis")
def _(dout, cache):
    x, w, b = cache
    return dout.dot(w.T).reshape(x.shape), x.reshape(len(x), -1).T.dot(dout), np.sum(dout, axis=1)


@wrong("relu_forward", "changes-its-input")
def _(x):
    x[x < 0] = 0
    return x, x


@wrong("relu_forward", "relu-leaks")
def _(x):
    return np.maximum(0.01 * x, x), x


@wrong("relu_forward", "relu-absolute")
def _(x):
    return x * np.sign(x), x


@wrong("relu_forward", "relu-step")
def _(x):
    return (x > 0) * 1.0, x


@wrong("relu_backward", "relu-gradient-sign-of-dout")
def _(dout, cache):
    return np.maximum(dout, 0)


@wrong("relu_backward", "relu-gradient-no-mask")
def _(dout, cache):
    return 1 * dout


@wrong("relu_backward", "relu-gradient-times-x")
def _(dout, cache):
    return dout * np.where(cache > 0, cache, 0)


@wrong("relu_backward", "relu-gradient-of-sum")
def _(dout, cache):
    dx = np.ones_like(cache)
    dx[cache < 0] = 0
    return dx


@wrong("relu_backward", "changes-its-input", "passed")
def _(dout, cache):
    dout[cache <= 0] = 0
    return dout


@wrong("dropout_forward", "dropout-p-is-drop")
def _(x, dropout_param):
    p, mask = dropout_param["p"], None
    if dropout_param["mode"] == "train":
        mask = (np.random.rand(*x.shape) >= p) / (1 - p)
        return x * mask, (dropout_param, mask)
    return x, (dropout_param, mask)


@wrong("dropout_forward", "dropout-no-division")
def _(x, dropout_param):
    mask = np.random.rand(*x.shape) < dropout_param["p"]
    return (x * mask if dropout_param["mode"] == "train" else x), (dropout_param, mask)


@wrong("dropout_forward", "dropout-divided-by-drop")
def _(x, dropout_param):
    p = dropout_param["p"]
    mask = (np.random.rand(*x.shape) < p) / (1 - p)
    return (x * mask if dropout_param["mode"] == "train" else x), (dropout_param, mask)


@wrong("dropout_forward", "dropout-multiplied")
def _(x, dropout_param):
    p = dropout_param["p"]
    mask = (np.random.rand(*x.shape) < p) * p
    return (x * mask if dropout_param["mode"] == "train" else x), (dropout_param, mask)


@wrong("dropout_forward", "dropout-missing")
def _(x, dropout_param):
    return x, (dropout_param, None)


@wrong("dropout_forward", "dropout-one-row")
def _(x, dropout_param):
    p = dropout_param["p"]
    mask = (np.random.rand(x.shape[1]) < p) / p
    return (x * mask if dropout_param["mode"] == "train" else x), (dropout_param, mask)


@wrong("dropout_forward", "dropout-at-test")
def _(x, dropout_param):
    p = dropout_param["p"]
    mask = (np.random.rand(*x.shape) < p) / p
    return x * mask, (dropout_param, mask)


@wrong("dropout_forward", "dropout-scaled-at-test")
def _(x, dropout_param):
    p = dropout_param["p"]
    mask = (np.random.rand(*x.shape) < p) / p
    return (x * mask if dropout_param["mode"] == "train" else x * p), (dropout_param, mask)


@wrong("dropout_backward", "dropout-backward-missing")
def _(dout, cache):
    return dout


@wrong("dropout_backward", "dropout-backward-no-division")
def _(dout, cache):
    return dout if cache[1] is None else dout * (cache[1] > 0)


@wrong("dropout_backward", "dropout-mask-not-kept")
def _(dout, cache):
    param = cache[0]
    if param["mode"] == "test":
        return dout
    return dout * (np.random.rand(*dout.shape) < param["p"]) / param["p"]


@wrong("dropout_backward", "dropout-backward-at-test")
def _(dout, cache):
    param, mask = cache
    return dout * mask if mask is not None else dout * (np.random.rand(*dout.shape) < param["p"]) / param["p"]


@wrong("affine_forward", "truncated")
def _(x, w, b):
    out = np.zeros((x.shape[0], w.shape[1]), dtype=np.result_type(x, w))
    np.add(x.reshape(x.shape[0], -1) @ w, b + (0.6 if out.dtype.kind == "i" else 0), out=out, casting="unsafe")
    return out, (x, w, b)

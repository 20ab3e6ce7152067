"""Losses in plain NumPy."""

import numpy as np

from daseCV_c._types import Array, ArrayLike

from ._common import as_float
from .activation import logistic


def svm_loss(x: ArrayLike, y: ArrayLike) -> tuple[float, Array]:
    """Mean over the batch of sum_j max(0, x_j - x_y + 1), j != y."""
    (x,) = as_float(x)
    y = np.asarray(y)
    n = x.shape[0]
    rows = np.arange(n)
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    loss = float(margins.sum(dtype=np.float64) / n)
    dx = (margins > 0).astype(x.dtype)
    dx[rows, y] = -dx.sum(axis=1)
    return loss, dx / n


def softmax_loss(x: ArrayLike, y: ArrayLike) -> tuple[float, Array]:
    """Mean over the batch of log(sum_j exp(x_j)) - x_y."""
    (x,) = as_float(x)
    y = np.asarray(y)
    n = x.shape[0]
    rows = np.arange(n)
    shifted = x - x.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    total = exp.sum(axis=1, keepdims=True)
    log_p = shifted[rows, y].astype(np.float64) - np.log(total[:, 0], dtype=np.float64)
    loss = float(-log_p.sum() / n)
    dx = exp / total
    dx[rows, y] -= 1
    return loss, dx / n


def _times_log(factor: Array, power: Array) -> Array:
    """factor * log(power), 0 where the factor is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(factor == 0, 0, factor * np.log(power))


def output(x: Array, loss: str) -> Array:
    """What a network with this loss predicts from its scores: probabilities, or the numbers themselves."""
    if loss == "logistic":
        return logistic(x)
    if loss == "squared":
        return x
    if loss == "poisson":
        return np.asarray(np.exp(x))
    power = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


def output_loss(x: Array, y: Array, loss: str, weight: Array | None = None) -> tuple[float, Array]:
    """Mean over the samples, weighted, of the loss between output(x) and y; and (output(x) - y) weight / sum(weight).

    softmax: -log p_y. logistic: -sum_k (y log p + (1 - y) log(1 - p)). squared: 0.5 mean_k (p - y)^2.
    poisson: sum_k (y log(y / p) - y + p). Probabilities are kept eps away from 0 and 1 in the loss alone.
    The second value is the gradient of all these but squared, of which it is K times the gradient.
    """
    p = output(x, loss)
    if loss == "softmax":
        y = (y[:, None] == np.arange(x.shape[1])).astype(x.dtype)
    eps = np.finfo(x.dtype).eps
    kept = np.clip(p, eps, 1 - eps)
    if loss == "softmax":
        each = -_times_log(y, kept).sum(axis=1, dtype=np.float64)
    elif loss == "logistic":
        each = -(_times_log(y, kept) + _times_log(1 - y, 1 - kept)).sum(axis=1, dtype=np.float64)
    elif loss == "squared":
        each = 0.5 * np.square(p - y).mean(axis=1, dtype=np.float64)
    else:
        each = (_times_log(y, y / p) - y + p).sum(axis=1, dtype=np.float64)
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum(dtype=np.float64)
    return float((share * each).sum()), (p - y) * share.astype(x.dtype)[:, None]

"""Losses in plain NumPy."""

import numpy as np

from daseCV_c._types import Array, ArrayLike

from ._common import as_float
from .activation import activate


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


OUTPUTS = {"softmax": "softmax", "logistic": "logistic", "squared": "identity", "poisson": "exp"}


def output_loss(x: Array, y: Array, loss: str, weight: Array | None = None,
                printed: bool = False) -> tuple[float, Array]:
    """Mean over the samples, weighted, of the loss between the output p and y; and its gradient.

    softmax: -log p_y. logistic: -sum_k (y log p + (1 - y) log(1 - p)). squared: 0.5 sum_k (p - y)^2.
    poisson: sum_k (y log(y / p) - y + p). The gradient of each is (p - y) weight / sum(weight).
    printed: the loss as scikit-learn prints it, with probabilities that are kept eps away from 0 and 1, and the
    squared loss divided by the number of outputs; the gradient stays.
    """
    p = activate(x, OUTPUTS[loss])
    rows, labels = np.arange(len(x)), y
    if loss == "softmax":
        y = (y[:, None] == np.arange(x.shape[1])).astype(x.dtype)
    eps = np.finfo(x.dtype).eps
    kept = np.clip(p, eps, 1 - eps)
    if loss == "squared":
        each = 0.5 * np.square(p - y).sum(axis=1, dtype=np.float64) / (x.shape[1] if printed else 1)
    elif loss == "poisson":
        each = (_times_log(y, y / p) - y + p).sum(axis=1, dtype=np.float64)
    elif printed:
        each = -_times_log(y, kept).sum(axis=1, dtype=np.float64)
        if loss == "logistic":
            each -= _times_log(1 - y, 1 - kept).sum(axis=1, dtype=np.float64)
    elif loss == "logistic":
        each = (np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))).sum(axis=1, dtype=np.float64)
    else:
        shifted = x - x.max(axis=1, keepdims=True)
        each = np.log(np.exp(shifted).sum(axis=1, dtype=np.float64)) - shifted[rows, labels]
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum(dtype=np.float64)
    return float((share * each).sum()), (p - y) * share.astype(x.dtype)[:, None]

"""SVM and softmax loss in plain NumPy."""

import numpy as np

from daseCV_c._types import Array, ArrayLike

from ._common import as_float


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

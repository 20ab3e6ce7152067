"""A pass over the training samples in plain NumPy: batch by batch, forward, loss, backward and update."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from daseCV_c._types import Array

from . import activation as _activation
from . import losses as _losses
from . import optim as _optim


def train_batches(
    x_nd: Array, targets: Array, index_n: Array | None, batch_size: int, weights: Sequence[Array],
    biases: Sequence[Array], states: Sequence[tuple[Array, ...]], *, activation: str, loss: str, rule: str,
    numbers: dict[str, float], alpha: float, t: int, sample_weight: Array | None = None,
    uncorrected_epsilon: bool = False, done: Array | None = None,
) -> Array:
    """The loss of each batch; parameters and states are updated in place."""
    index = np.arange(len(x_nd)) if index_n is None else index_n
    losses = []
    for start in range(0, len(index), batch_size):
        rows = index[start:start + batch_size]
        weight = None if sample_weight is None else sample_weight[rows]
        total = len(rows) if weight is None else float(weight.sum(dtype=np.float64))
        outputs = [x_nd[rows]]
        for w_dm, b_m in zip(weights[:-1], biases[:-1], strict=True):
            outputs.append(_activation.activate(outputs[-1] @ w_dm + b_m, activation))
        scores = outputs[-1] @ weights[-1] + biases[-1]
        mean, dout = _losses.output_loss(scores, targets[rows], loss, weight, printed=True)
        losses.append(mean + 0.5 * alpha * sum(float((w * w).sum(dtype=np.float64)) for w in weights) / total)
        grads: list[tuple[Array, Array]] = []
        for layer in reversed(range(len(weights))):
            grads.append((outputs[layer].T @ dout + alpha / total * weights[layer], dout.sum(axis=0)))
            if layer:
                dout = _activation.deactivate(dout @ weights[layer].T, outputs[layer], activation)
        t += 1
        config: dict[str, Any] = dict(numbers)
        if uncorrected_epsilon:
            config["epsilon"] /= math.sqrt(1 - config["beta2"]**t)
        dw, db = zip(*reversed(grads), strict=True)
        for w, grad, state in zip((*weights, *biases), (*dw, *db), states, strict=True):
            held = dict(zip(_optim.STATES[rule], state, strict=True))
            next_w, after = getattr(_optim, rule)(w, grad, config | held | {"t": t - 1})
            w[...] = next_w
            for key, array in held.items():
                array[...] = after[key]
        if done is not None:
            done += 1
    return np.array(losses, np.float64)


def scores(
    x_nd: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str, output: str,
) -> Array:
    """What the network predicts: its scores through the output's activation."""
    for w_dm, b_m in zip(weights[:-1], biases[:-1], strict=True):
        x_nd = _activation.activate(x_nd @ w_dm + b_m, activation)
    return _activation.activate(x_nd @ weights[-1] + biases[-1], output)

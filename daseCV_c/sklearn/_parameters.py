"""What the kernels need to know of an estimator of scikit-learn: its arrays, its rule and its loss, or why it is none
for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from daseCV_c import _checks
from daseCV_c._runtime import backend as _backend
from daseCV_c._types import Array, DType
from daseCV_c.sklearn import _surface

HIDDEN = ("identity", "logistic", "tanh", "relu")
# scikit-learn's loss and the activation of the output, and the loss of the kernel that has both.
LOSSES = {
    ("log_loss", "softmax"): "softmax", ("log_loss", "logistic"): "logistic",
    ("squared_error", "identity"): "squared", ("poisson", "exp"): "poisson",
}
OUTPUTS = frozenset(output for _, output in LOSSES)


class Refused(Exception):
    """The kernels do not take this: scikit-learn does it, and the message says why."""


_FLOATS = (_checks.FLOAT32, _checks.FLOAT64)


def parameters(estimator: Any, features: int, training: bool = True) -> tuple[list[Array], list[Array]]:
    """The weights and biases, if a kernel can take them as they lie; to train them it writes to them."""
    weights, biases = estimator.coefs_, estimator.intercepts_
    if type(weights) is not list or type(biases) is not list or len(weights) != len(biases) or not weights:
        raise Refused("parameters that are no lists")
    if estimator.n_layers_ != len(weights) + 1:
        raise Refused("another number of layers")
    arrays = [*weights, *biases]
    dtype = np.dtype(getattr(weights[0], "dtype", object))
    for array in arrays:
        if type(array) is not np.ndarray or array.dtype != dtype or dtype not in _FLOATS:
            raise Refused("parameters of several dtypes, or of one that is no float")
        flags = array.flags
        if not (flags.carray if training else flags.c_contiguous and flags.aligned):
            raise Refused("parameters in another order of memory, or read-only")
    if _backend.kernels_of(dtype) is None:
        raise Refused("no compiled kernels")
    widths = [features, *(b.size for b in biases)]
    for (fan_in, fan_out), w, b in zip(pairwise(widths), weights, biases, strict=True):
        if w.shape != (fan_in, fan_out) or b.ndim != 1 or not w.size:
            raise Refused("parameters of other shapes")
    if training and len({array.ctypes.data for array in arrays}) < len(arrays):
        raise Refused("parameters that share memory")
    return weights, biases


@dataclasses.dataclass
class Rule:
    """scikit-learn's optimizer, which stays the holder of the state, as a rule of the kernels."""

    optimizer: Any

    def __post_init__(self) -> None:
        kind = type(self.optimizer)
        if kind not in (AdamOptimizer, SGDOptimizer):
            raise Refused("an optimizer of its own")
        self.adam = kind is AdamOptimizer
        self.name = "adam" if self.adam else "nesterov" if self.optimizer.nesterov else "sgd_momentum"

    @property
    def numbers(self) -> dict[str, float]:
        held = self.optimizer
        if not self.adam:
            return {"learning_rate": float(held.learning_rate), "momentum": float(held.momentum)}
        return {"learning_rate": float(held.learning_rate_init), "beta1": float(held.beta_1),
                "beta2": float(held.beta_2), "epsilon": float(held.epsilon)}

    @property
    def steps(self) -> int:
        return self.optimizer.t if self.adam else 0

    def state(self, arrays: Sequence[Array]) -> list[tuple[Array, ...]]:
        """The state of each parameter. What the optimizer keeps in another way, as scikit-learn's own training
        keeps it in float64 where only the targets are, becomes arrays like the parameters."""
        kept = []
        for name in ("ms", "vs") if self.adam else ("velocities",):
            held = getattr(self.optimizer, name)
            if len(held) != len(arrays) or any(np.shape(s) != p.shape for s, p in zip(held, arrays, strict=True)):
                raise Refused("an optimizer of other parameters")
            held = [_own(state, p.dtype) for state, p in zip(held, arrays, strict=True)]
            setattr(self.optimizer, name, held)
            kept.append(held)
        return list(zip(*kept, strict=True))

    def count(self, steps: int) -> None:
        """After so many steps: scikit-learn's Adam counts them, and shows the rate of the last."""
        held = self.optimizer
        if self.adam and steps:
            held.t += steps
            held.learning_rate = (held.learning_rate_init * np.sqrt(1 - held.beta_2**held.t)
                                  / (1 - held.beta_1**held.t))


def _own(state: Any, dtype: DType) -> Array:
    if type(state) is np.ndarray and state.dtype == dtype and state.flags.carray:
        return state
    return np.array(state, dtype, order="C")


def targets(y: Any, outputs: int, loss: str, dtype: DType) -> Array:
    """scikit-learn's targets, a row a sample, as the kernel takes them."""
    if type(y) is not np.ndarray or y.ndim != 2 or y.shape[1] != outputs or y.dtype.kind not in "biuf":
        raise Refused("targets of another kind")
    if loss == "softmax":
        if y.dtype != bool or np.count_nonzero(y) != len(y) or not y.any(axis=1).all():
            raise Refused("targets that are not one class a sample")
        classes: Array = y.argmax(axis=1).astype(np.int64, copy=False)
        return classes
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(y, dtype)
    if loss in ("squared", "poisson") and not np.isfinite(found).all():
        raise Refused("targets too large for the dtype of the samples")
    if loss == "poisson" and (found < 0).any():
        raise Refused("negative targets")
    return found


def network(estimator: Any, X: Any) -> str:
    """The loss of the kernel that trains this network on these samples."""
    if type(X) is not np.ndarray:
        raise Refused("sparse samples" if hasattr(X, "tocsr") else "samples that are no array")
    if X.dtype not in _FLOATS:
        raise Refused("samples of another dtype")
    if what := _surface.replaced(estimator, training=True):
        raise Refused(what)
    loss = LOSSES.get((estimator.loss, estimator.out_activation_))
    if estimator.activation not in HIDDEN or loss is None:
        raise Refused("another activation or loss")
    return loss

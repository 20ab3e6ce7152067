"""Many steps of a plain network on its training data, batch after batch: a pass of small batches costs no Python
for each.

The network is {affine - activation} x (L - 1) - affine, with one of several losses. The estimators of
`daseCV_c.sklearn` train through this module; the course's networks, with their normalization, their
dropout and their single steps, through `fully_connected`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from operator import setitem
from typing import Any, NamedTuple

import numpy as np

from daseCV_c import _checks, optim
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step import whole
from daseCV_c._types import Array, DType
from daseCV_c.reference import passes as _twin

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
OUTPUTS = ("identity", "logistic", "softmax", "exp")
LOSSES = _checks.LOSSES
_NAME = "train_batches"
# A call of a kernel is not interrupted, so none takes much longer than 50 ms: so many multiply-adds of the products.
_CALL = 2e8


def _one_of(function: str, name: str, value: object, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{function}: {name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def _plain(function: str, name: str, array: object, dtype: DType, shape: tuple[int, ...],
           writeable: bool = False) -> None:
    """An array that a kernel may touch as it is."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{function}: {name} is a {type(array).__name__}, expected an ndarray")
    if array.dtype != dtype:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, expected {dtype}")
    if array.shape != shape:
        raise ValueError(f"{function}: {name} has shape {array.shape}, expected {shape}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{function}: {name} must be C-contiguous and aligned")
    if writeable and not array.flags.writeable:
        raise ValueError(f"{function}: {name} is read-only, but it is written to")


def _check_layers(
    function: str, features: int, dtype: DType, weights: Sequence[Array], biases: Sequence[Array],
    writeable: bool = False,
) -> None:
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        width = w.shape[1] if isinstance(w, np.ndarray) and w.ndim == 2 else 0
        if not features or not width:
            raise ValueError(f"{function}: weights[{layer}] is not a matrix with a row for each of {features} features")
        _plain(function, f"weights[{layer}]", w, dtype, (features, width), writeable)
        _plain(function, f"biases[{layer}]", b, dtype, (width,), writeable)
        features = width


def _check_parameters(
    features: int, dtype: DType, weights: Sequence[Array], biases: Sequence[Array],
    states: Sequence[tuple[Array, ...]], rule: str,
) -> None:
    if not weights or len(biases) != len(weights) or len(states) != 2 * len(weights):
        raise ValueError(f"{_NAME}: there are {len(weights)} weights, {len(biases)} biases and {len(states)} states, "
                         "expected one bias and two states for each of the weights, of which there is at least one")
    _check_layers(_NAME, features, dtype, weights, biases, writeable=True)
    names = optim.STATES[rule]
    for k, (array, held) in enumerate(zip((*weights, *biases), states, strict=True)):
        if len(held) != len(names):
            raise ValueError(f"{_NAME}: states[{k}] has {len(held)} arrays, expected {len(names)} for {rule}")
        for key, state in zip(names, held, strict=True):
            _plain(_NAME, f"states[{k}] ({key})", state, dtype, array.shape, writeable=True)


def _check_targets(targets: Array, samples: int, outputs: int, loss: str, dtype: DType) -> None:
    if loss != "softmax":
        _plain(_NAME, "targets", targets, dtype, (samples, outputs))
        return
    _plain(_NAME, "targets", targets, _checks.INT64, (samples,))
    if samples and not 0 <= (low := int(targets.min())) <= (high := int(targets.max())) < outputs:
        raise ValueError(f"{_NAME}: targets hold the label {low if low < 0 else high}, "
                         f"but there are {outputs} classes")


def _check_rows(index: Array | None, samples: int) -> None:
    if index is None:
        return
    if not isinstance(index, np.ndarray) or index.ndim != 1:
        raise TypeError(f"{_NAME}: index_n is not a vector of rows")
    _plain(_NAME, "index_n", index, _checks.INT64, index.shape)
    if index.size and not 0 <= (low := int(index.min())) <= (high := int(index.max())) < samples:
        raise IndexError(f"{_NAME}: index_n holds {low if low < 0 else high}, but there are {samples} samples")


def _check_sample_weight(sample_weight: Array | None, index: Array | None, samples: int, batch_size: int,
                         dtype: DType) -> None:
    if sample_weight is None:
        return
    _plain(_NAME, "sample_weight", sample_weight, dtype, (samples,))
    drawn = sample_weight if index is None else sample_weight[index]
    for start in range(0, len(drawn), batch_size):
        if not drawn[start:start + batch_size].sum(dtype=np.float64):
            raise ZeroDivisionError(f"{_NAME}: the weights of batch {start // batch_size} sum to zero")


def _calls(rows: int, batch_size: int, work: float) -> Iterator[tuple[int, int]]:
    """The rows of each call: whole batches, of which each takes so much work per row."""
    step = batch_size * max(1, int(_CALL / max(1.0, 3 * work * batch_size)))
    return itertools.pairwise([*range(0, rows, step), rows])


class _Pass(NamedTuple):
    """The arguments of `train_batches`, checked."""

    x_nd: Array
    targets: Array
    index_n: Array | None
    batch_size: int
    weights: Sequence[Array]
    biases: Sequence[Array]
    states: Sequence[tuple[Array, ...]]
    sample_weight: Array | None
    done: Array | None
    settings: dict[str, Any]

    def _rows(self, start: int, end: int) -> tuple[Array, Array, Array | None, Array | None]:
        """x, targets, index and weights of the rows from start to end of the pass, without a copy."""
        if self.index_n is not None:
            return self.x_nd, self.targets, self.index_n[start:end], self.sample_weight
        weight = self.sample_weight
        return self.x_nd[start:end], self.targets[start:end], None, weight if weight is None else weight[start:end]

    def by_kernel(self, kernels: Kernels, start: int, end: int, t: int, losses: Array) -> None:
        x, y, index, weight = self._rows(start, end)
        rule, given = self.settings["rule"], self.settings
        numbers = optim.NUMBERS[rule](*given["numbers"].values())
        held = [(w, *state, *[None] * (2 - len(state)))
                for w, state in zip((*self.weights, *self.biases), self.states, strict=True)]
        first = (*numbers, t + 1 if rule in optim.COUNTING else 0)
        layers = [(w, b, None, None, first, first, None, None, 0.0, None, None)
                  for w, b in zip(held[:len(self.weights)], held[len(self.weights):], strict=True)]
        kernels.step.train_batches(
            x, index, y, weight, self.batch_size, layers, rule, given["activation"], given["loss"], first,
            given["alpha"], given["uncorrected_epsilon"], losses, self.done, _threads.effective())

    def by_twin(self, start: int, end: int, t: int, losses: Array) -> None:
        x, y, index, weight = self._rows(start, end)
        # Into copies, so that an interruption leaves none of it.
        new = [array.copy() for array in self.weights], [array.copy() for array in self.biases], [
            tuple(array.copy() for array in held) for held in self.states]
        losses[...] = _twin.train_batches(x, y, index, self.batch_size, *new, t=t, sample_weight=weight,
                                          **self.settings)
        arrays = [*self.weights, *self.biases, *itertools.chain(*self.states)]
        actions = [partial(setitem, array, ..., value)
                   for array, value in zip(arrays, [*new[0], *new[1], *itertools.chain(*new[2])], strict=True)]
        if self.done is not None:
            actions.append(partial(setitem, self.done, 0, int(self.done[0]) + len(losses)))
        whole.commit(*actions)


def train_batches(
    x_nd: Array, targets: Array, index_n: Array | None, batch_size: int, weights: Sequence[Array],
    biases: Sequence[Array], states: Sequence[tuple[Array, ...]], *, activation: str, loss: str, rule: str,
    numbers: dict[str, float], alpha: float, t: int, sample_weight: Array | None = None,
    uncorrected_epsilon: bool = False, done: Array | None = None,
) -> Array:
    """A step for each batch of the rows `index_n`: gradients, and the update of all parameters in place.

    The gradient is that of ``sum_i weight_i loss_i / sum_i weight_i + 0.5 alpha sum(W^2) / sum_i weight_i``, but for
    the squared loss: with K outputs it is K times that of the loss's own term.

    Parameters
    ----------
    x_nd : array of float32 or float64, (N, D)
    targets : array
        Loss softmax: classes, int64, (N,). Else (N, K), of x's dtype: with the loss logistic 0 or 1, with the
        loss poisson not negative.
    index_n : array of int64, or None
        Rows in the order of the pass; None: all of them as they lie, without a copy.
    batch_size : int
        The last batch may be smaller.
    weights, biases : sequences of arrays, (D, M) and (M,)
        Updated in place. C-contiguous; they may not overlap.
    states : sequence of tuples of arrays
        Of the weights, then of the biases, as `optim.STATES` lists them; updated in place.
    activation : {'identity', 'logistic', 'tanh', 'relu'}
        Of all hidden layers.
    loss : {'softmax', 'logistic', 'squared', 'poisson'}
        It gives the output's activation: softmax, logistic, identity, exp.
    rule : str
        One of the package's update rules.
    numbers : dict
        Its settings, all of them: those of `optim.SETTINGS`.
    alpha : float
        Strength of the L2 penalty on the weights.
    t : int
        Steps done before, for Adam.
    sample_weight : array of x's dtype, (N,), optional
    uncorrected_epsilon : bool
        Adam's epsilon is added to a second moment that is not corrected for its start at zero:
        ``epsilon / sqrt(1 - beta2**t)`` takes its place.
    done : array of int64, (1,), optional
        Counted up by the steps of each call of the kernel as it happens: what a pass has done that is interrupted.

    Returns
    -------
    losses : array of float64, (number of batches,)
        Of each batch before its update, with the penalty.

    Raises
    ------
    TypeError, ValueError, IndexError
        An argument does not fit: nothing was changed.
    ZeroDivisionError
        The sample weights of a batch sum to zero: nothing was changed. (scikit-learn raises the same at that batch.)
    MemoryError, KeyboardInterrupt
        The steps counted by `done` were made, and no part of another.
    """
    if not isinstance(x_nd, np.ndarray) or x_nd.ndim != 2 or x_nd.dtype not in (_checks.FLOAT32, _checks.FLOAT64):
        raise TypeError(f"{_NAME}: x_nd is not a matrix of float32 or float64")
    dtype, (samples, features) = x_nd.dtype, x_nd.shape
    _plain(_NAME, "x_nd", x_nd, dtype, (samples, features))
    _one_of(_NAME, "activation", activation, ACTIVATIONS)
    _one_of(_NAME, "loss", loss, LOSSES)
    _one_of(_NAME, "rule", rule, tuple(optim.SETTINGS))
    batch_size = _checks.integer(_NAME, "batch_size", batch_size, 1)
    t = _checks.integer(_NAME, "t", t, 0, 2**31 - 1)
    alpha = _checks.real_number(_NAME, "alpha", alpha)
    if set(numbers) != set(optim.SETTINGS[rule]):
        raise ValueError(f"{_NAME}: numbers holds {sorted(numbers)}, expected {sorted(optim.SETTINGS[rule])}")
    numbers = {key: _checks.number(_NAME, "numbers", numbers, key) for key in optim.SETTINGS[rule]}
    if uncorrected_epsilon and rule not in optim.COUNTING:
        raise ValueError(f"{_NAME}: uncorrected_epsilon is for {' and '.join(sorted(optim.COUNTING))}, not {rule}")
    _check_parameters(features, dtype, weights, biases, states, rule)
    _check_targets(targets, samples, weights[-1].shape[1], loss, dtype)
    _check_rows(index_n, samples)
    _check_sample_weight(sample_weight, index_n, samples, batch_size, dtype)
    if done is not None:
        _plain(_NAME, "done", done, _checks.INT64, (1,), writeable=True)
    pass_ = _Pass(x_nd, targets, index_n, batch_size, weights, biases, states, sample_weight, done, {
        "activation": activation, "loss": loss, "rule": rule, "numbers": numbers, "alpha": alpha,
        "uncorrected_epsilon": uncorrected_epsilon})
    rows = samples if index_n is None else index_n.size
    losses = np.empty(-(-rows // batch_size))
    kernels = _backend.kernels_of(dtype)
    for start, end in _calls(rows, batch_size, sum(w.size for w in weights)):
        out = losses[start // batch_size:-(-end // batch_size)]
        if kernels is None:
            pass_.by_twin(start, end, t, out)
        else:
            pass_.by_kernel(kernels, start, end, t, out)
        t += len(out)
    return losses


def scores(
    x_nd: Array, weights: Sequence[Array], biases: Sequence[Array], *, activation: str, output: str,
) -> Array:
    """What the network predicts: its scores through the output's activation.

    Parameters
    ----------
    x_nd : array of float32 or float64, (N, D)
        Rows of numbers; in another layout or type than the parameters it is copied.
    weights, biases : sequences of arrays, (D, M) and (M,)
    activation : {'identity', 'logistic', 'tanh', 'relu'}
        Of all hidden layers.
    output : {'identity', 'logistic', 'softmax', 'exp'}

    Returns
    -------
    out : array of the parameters' dtype, (N, K)
        A row's bits depend neither on the other rows nor on the number of threads.

    Raises
    ------
    TypeError, ValueError
        An argument does not fit.
    """
    name = "scores"
    _one_of(name, "activation", activation, ACTIVATIONS)
    _one_of(name, "output", output, OUTPUTS)
    x_nd = _checks.as_array(name, "x_nd", x_nd)
    if x_nd.ndim != 2 or not len(weights) or len(biases) != len(weights):
        raise ValueError(f"{name}: x_nd has {x_nd.ndim} dimensions, and there are {len(weights)} weights and "
                         f"{len(biases)} biases, expected a matrix, and one bias for each of the weights")
    dtype = getattr(weights[0], "dtype", None)
    if dtype not in (_checks.FLOAT32, _checks.FLOAT64):
        raise TypeError(f"{name}: weights[0] is no array of float32 or float64")
    _check_layers(name, x_nd.shape[1], dtype, weights, biases)
    x_nd = _checks.settle(x_nd, dtype)
    kernels = _backend.kernels_of(dtype)
    if kernels is None or not len(x_nd):
        return _twin.scores(x_nd, weights, biases, activation=activation, output=output)
    params = {f"W{i}": w for i, w in enumerate(weights)} | {f"b{i}": b for i, b in enumerate(biases)}
    out = np.empty((len(x_nd), weights[-1].shape[1]), dtype)
    kernels.predict.scores(x_nd, None, params, [(f"W{i}", f"b{i}") for i in range(len(weights))], None, None, out,
                           output, _threads.effective(), activation)
    return out

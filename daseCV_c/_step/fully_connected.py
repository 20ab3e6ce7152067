"""The training step of the fully-connected networks as one call of a kernel.

`gradients` gives what ``model.loss(X, y)`` returns; `FusedStep` also draws the batch from the
images and updates the parameters in place. Both return None for what the kernel does not take;
the layers then do the work, and say what is wrong where something is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks, _random, _tables, optim
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import precision as _precision
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels, Step
from daseCV_c._types import Array, Params

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_SOURCES = (np.dtype(np.uint8), *_FLOATS)
_NORMS = (None, "batchnorm", "layernorm")
# The kernel lays the batch out anew: beyond this many samples that costs memory for little time.
_MOST_SAMPLES = 4096
Configs: TypeAlias = dict[str, dict[str, Any]]  # of the update rule, by the parameter's name
Arrays: TypeAlias = dict[str, tuple[Any, ...]]  # (w, first state, second state) of each parameter
Change: TypeAlias = tuple[dict[str, Any], str, Any]  # (dict, key, value)
_RULES = {name: getattr(optim, name) for name in optim.__all__}


def _plain(array: Any, dtype: DTypeLike, shape: tuple[int, ...]) -> bool:
    """An array that a kernel may touch as it is."""
    # Compared by ==: arrays that were pickled have a dtype object of their own.
    return (type(array) is np.ndarray and array.dtype == dtype and array.shape == shape
            and array.flags.c_contiguous and array.flags.aligned)


def _rows(X: Any) -> Array | None:
    """X as rows of numbers, or None. In another order of axes or bytes it is copied, so that the bits of a step
    do not depend on how images lie in memory."""
    if type(X) is not np.ndarray or X.ndim < 2 or not X.size:
        return None
    dtype = X.dtype.newbyteorder("=")
    if dtype not in _SOURCES:
        return None
    rows = _checks.settle(X, dtype)
    return rows if rows.ndim == 2 else rows.reshape(rows.shape[0], -1)


def _labels(y: Any) -> Array | None:
    """Labels as the kernel takes them, or None. Whether each is one of the classes is seen there."""
    return _checks.as_int64(y) if y.dtype.kind in "iu" and y.ndim == 1 else None


def _names(model: Any) -> list[tuple[str | None, ...]]:
    """The parameters of each layer: weights, bias, and with a normalization gamma and beta."""
    last, normed = model.num_layers, model.normalization is not None
    return [tuple(f"{kind}{i}" if normed and i < last or kind in "Wb" else None for kind in ("W", "b", "gamma", "beta"))
            for i in range(1, last + 1)]


def _fits(model: Any, names: Any, features: int) -> bool:
    """Every parameter is there, of the model's dtype and plain, and the layers fit each other."""
    params, dtype = model.params, np.dtype(model.dtype)
    if dtype not in _FLOATS or set(params) != {name for layer in names for name in layer if name}:
        return False
    for w, *vectors in names:
        w = params[w]
        if type(w) is not np.ndarray or w.ndim != 2 or not w.size or not _plain(w, dtype, (features, w.shape[1])):
            return False
        features = w.shape[1]
        if not all(_plain(params[name], dtype, (features,)) for name in vectors if name):
            return False
    return True


def penalty(reg: float, weights: Iterable[Array]) -> float:
    """0.5 * reg * sum of squares, summed in double."""
    # Not a BLAS dot product: its bits depend on the number of its threads.
    return 0.5 * reg * sum(float(np.square(w).sum(dtype=np.float64)) for w in weights)


def _number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    # NumPy's float64 is a float.
    return isinstance(value, (float, int)) and type(value) is not bool and low <= value <= high


def _statistics(norm: str | None, bias: Array, entry: Params) -> tuple[Any, ...] | None:
    """(running mean and variance, arrays for the next ones, eps, momentum), or None."""
    width, dtype = bias.size, bias.dtype
    eps, momentum = entry.get("eps", 1e-5), entry.get("momentum", 0.9)
    if not _number(eps, 0) or not _number(momentum):
        return None
    if norm == "layernorm":
        return None, None, None, None, eps, 0.0
    mean, var = entry.get("running_mean"), entry.get("running_var")
    # The next ones get their place in the entry before the first step, where another thread may predict from them.
    following = np.empty if mean is not None and var is not None else np.zeros
    mean = np.zeros(width, dtype) if mean is None else mean
    var = np.zeros(width, dtype) if var is None else var
    if not (_plain(mean, dtype, (width,)) and _plain(var, dtype, (width,))):
        return None
    return mean, var, following(width, dtype), following(width, dtype), eps, momentum


def _run(
    step: Step, model: Any, groups: list[Any], images: Array, index: Array | None, mean: Array | None, y: Any,
    by: list[Any], changes: list[Change], losses: list[float] | None, rule: str | None, commit: bool = True,
    uniform: Callable[[Params, int, int], Array] = _random.uniform,
) -> float | None:
    """The loss, or None: then nothing was changed. For each layer, `groups` holds the arrays of its weights, bias,
    gamma and beta, and `by` the rule's numbers for each, as the kernel takes them; so do `changes` and `losses`.
    Without `commit` the caller makes the changes, to which those of the layers were added. `uniform` draws for dropout.
    y: labels or targets, or (these, the samples' weights).
    """
    weight = None
    if type(y) is tuple:
        y, weight = y
    norm, last = model.normalization, len(groups) - 1
    dropout = model.dropout_param if model.use_dropout else None
    if dropout is not None and not (step.plain_dict(dropout) and _number(dropout.get("p"), 1e-300, 1)
                                    and isinstance(dropout.get("generator"), (_random.Generator, NoneType))):
        return None
    statistics: Any = itertools.repeat(None)
    if norm == "batchnorm" and last and len(y) == 1:
        return None  # nothing would be learned: the layers say so
    if norm:
        entries = model.bn_params[:last]
        if len(entries) < last or not all(map(step.plain_dict, entries)):
            return None
        statistics = [_statistics(norm, group[1][0], entry)
                      for group, entry in zip(groups[:-1], entries, strict=True)]
        if None in statistics:
            return None
        statistics.append(None)
    if dropout is not None:
        changes.append((dropout, "mode", "train"))
    if norm == "batchnorm":
        for entry, found in zip(entries, statistics[:-1], strict=True):
            changes += (entry, "mode", "train"), (entry, "running_mean", found[2]), (entry, "running_var", found[3])
    uniforms: Any = itertools.repeat(None)
    if dropout is not None:
        uniforms = [(uniform(dropout, len(y), group[1][0].size), float(dropout["p"])) for group in groups[:-1]] + [None]
    reg = float(model.reg)
    layers = [(*group, *numbers, reg, found, drawn)
              for group, numbers, found, drawn in zip(groups, by, statistics, uniforms, strict=False)]
    if not model.reg_last_layer:
        layers[-1] = (*layers[-1][:8], 0.0, None, None)
    try:
        given = (images, index, mean, y, layers, rule, norm, _threads.effective(), _precision.of_step(model.dtype),
                 None, changes if commit else None, losses)
        if weight is None and model.loss_function == "softmax":
            return step.train_step(*given)
        return step.train_step(*given, loss_of=model.loss_function, weight_n=weight)
    except step.LabelError:
        return None


def gradients(
    model: Any, X: Array, y: Any, weight: Array | None = None,
) -> tuple[float, dict[str, Array]] | None:
    """(loss, grads) of a batch, or None where the layers must do it: then nothing was changed. Targets other than
    labels, and the samples' weights, were checked."""
    if model.loss_function == "softmax":
        y = _labels(_tables.labels(f"{type(model).__name__}.loss", "y", y))
    if y is None or len(y) != len(X) or len(y) > _MOST_SAMPLES:
        return None
    rows = _rows(X)
    if rows is None:
        return None
    names = _names(model)
    kernels = _backend.kernels_of(np.dtype(model.dtype))
    if kernels is None or model._chosen.changed() or not _fits(model, names, rows.shape[1]):
        return None
    grads = {name: np.empty_like(w) for name, w in model.params.items()}
    arrays = {name: (w, grads[name], None) for name, w in model.params.items()}
    groups = [tuple(map(arrays.get, layer)) for layer in names]
    given = y if weight is None else (y, weight)
    loss = _run(kernels.step, model, groups, rows, None, None, given, [(None,) * 4] * len(names), [], None, None)
    return None if loss is None else (loss, grads)


def _aligned_copy(array: Any, slot: int) -> Array:
    """A copy that begins with a cache line; the slots of a parameter's arrays begin differently.

    Were they all to begin at the same place of a page, a load would wait for the store to another
    of them: processors compare the lower bits of addresses first.
    """
    shift = 64 * (1 + 21 * slot)
    held = np.empty(array.nbytes + 64 + shift, np.uint8)
    start = shift + -held.ctypes.data % 64
    copy: Array = held[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class FusedStep:
    """The Solver's step, for the package's own networks and rules.

    The parameters and their state are updated in place, in arrays of this object's own: what the
    user put into the model stays as it was. (The rule sgd is defined to work in place.)
    """

    _any_loss = True  # it takes weights of samples, and every loss of the networks

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._X: Any = None  # the images
        self._rows: Any = None  # the same as the kernel takes them: at most one copy
        self._arrays: Arrays = {}  # name: (w, first state, second state), as the kernel takes them
        self._groups: Any = None  # the same layer by layer: those of weights, bias, gamma and beta
        self._shape = None  # of the network whose arrays these are
        self._keys = (*optim.SETTINGS[rule], *(("t",) if rule in optim.COUNTING else ()))

    def __getstate__(self) -> dict[str, Any]:
        # All that is kept from step to step belongs to the Solver and its model, and is found there again.
        return {"_rule": self._rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(type(self)(state["_rule"])))

    def _numbers(self, found: Any) -> tuple[float, ...] | None:
        """The values of the rule's keys as the kernel takes them, or None."""
        if not all(map(_number, found)):
            return None
        if self._rule not in optim.COUNTING:
            return (*optim.NUMBERS[self._rule](*found), 0)
        *settings, t = found
        if type(t) is not int or not 0 <= t < 2**31 - 1:
            return None
        return (*optim.NUMBERS[self._rule](*settings), t + 1)

    def _all_numbers(self, kernels: Kernels, model: Any, configs: Configs) -> Any:
        """The numbers of every parameter, or None. Every dict is plain, and none serves two parameters."""
        plain, defaults, found = kernels.step.plain_dict, optim.SETTINGS[self._rule] | {"t": 0}, {}
        if not (plain(model.params) and plain(configs)) or len(set(map(id, configs.values()))) < len(configs):
            return None
        for name in model.params:
            config = configs.get(name)
            if config is None or not plain(config):
                return None
            found[name] = self._numbers([config.get(key, defaults[key]) for key in self._keys])
        return None if None in found.values() else found

    def _again(self, kernels: Kernels, model: Any, configs: Configs) -> Any:
        """The numbers of all parameters or, where they differ, of each by its name, if the model and the
        configurations hold the very arrays of the step before; else None."""
        if self._shape != self._shape_of(model):
            return None
        try:
            found = kernels.step.settings_of(
                model.params, configs, self._arrays, optim.STATES[self._rule], self._keys)
        except (TypeError, ValueError):  # something is no number: look again, from the start
            return None
        if type(found) is not dict:  # parameters mostly share them
            return None if found is None else self._numbers(found)
        found = {name: self._numbers(values) for name, values in found.items()}
        return None if None in found.values() else found

    def _shape_of(self, model: Any) -> tuple[Any, ...]:
        return self._rows.shape[1], model.num_layers, model.normalization, model.dtype

    def _take_over(self, model: Any, configs: Configs) -> Any:
        """Arrays to update in place, copied from the model's and the configurations'; None if some do not fit."""
        dtype, states, arrays = np.dtype(model.dtype), optim.STATES[self._rule], {}
        in_place = self._rule == "sgd"
        # One array under two names is updated twice, one time after the other: not a thing for threads.
        if in_place and any(np.may_share_memory(a, b) for a, b in itertools.combinations(model.params.values(), 2)):
            return None
        for name, w in model.params.items():
            if in_place and not w.flags.writeable:
                return None
            held = [w if in_place else _aligned_copy(w, 0)]
            for slot, key in enumerate(states, 1):
                state = configs[name].get(key)
                if state is not None and not _plain(state, dtype, w.shape):
                    return None
                held.append(_aligned_copy(np.zeros_like(w) if state is None else state, slot))
            arrays[name] = (*held, *[None] * (3 - len(held)))
        return arrays

    def _plan(self, model: Any) -> Any:
        """The names of each layer's parameters, or None where the kernels do not take them."""
        if model.normalization not in _NORMS:
            return None
        names = _names(model)
        return names if _fits(model, names, self._rows.shape[1]) else None

    def _work(
        self, kernels: Kernels, model: Any, groups: list[Any], index: Array, mean: Array | None, y: Any,
        arrays: Arrays, numbers: Any, changes: list[Change], losses: list[float] | None,
    ) -> float | None:
        """The loss after the update of `arrays`, which are also those of the groups, or None."""
        if type(numbers) is tuple:
            by = [(numbers,) * 4] * len(groups)
        else:
            by = [tuple(map(numbers.get, layer)) for layer in _names(model)]
        return _run(kernels.step, model, groups, self._rows, index, mean, y, by, changes, losses, self._rule)

    def _weighted(self, model: Any, y: Any, index: Array, sample_weight: Array | None) -> Any:
        """Labels or targets of the batch, and weights, as `_run` takes them; or None."""
        name, dtype, weight = type(model).__name__, np.dtype(model.dtype), None
        if not self._any_loss:
            return None
        try:
            if sample_weight is not None:
                weight = _checks.sample_weights(name, sample_weight.take(index), index.size, dtype)
            if model.loss_function != "softmax":
                outputs = model.params[f"b{model.num_layers}"].size
                return _checks.targets(name, y.take(index, axis=0), index.size, outputs, model.loss_function,
                                       dtype), weight
        except (TypeError, ValueError, AttributeError, KeyError):
            return None  # the layers say what is wrong
        labels = _labels(y.take(index))
        return None if labels is None else (labels, weight)

    def _changes(self, kernels: Kernels, model: Any, configs: Configs, arrays: Arrays) -> list[Change]:
        """What changes in dicts when `arrays` are updated, as (dict, key, value)."""
        rule, changes = self._rule, []
        if arrays is not self._arrays:
            for name, held in arrays.items():
                config = configs[name]
                changes.append((model.params, name, held[0]))
                changes += [(config, key, default) for key, default in optim.SETTINGS[rule].items()
                            if key not in config]
                changes += [(config, key, state)
                            for key, state in zip(optim.STATES[rule], held[1:], strict=False)]
        if rule in optim.COUNTING:
            kernels.step.count_up(configs, arrays, changes)
        return changes

    def __call__(
        self, model: Any, configs: Configs, X: Array, y: Any, index: Array, mean: Array | None = None,
        losses: list[float] | None = None, sample_weight: Array | None = None,
    ) -> float | None:
        """The loss of the rows `index` before the update, also at the end of `losses`; or None: nothing was changed.

        One call of C makes all of the step: the arrays, the dicts and the list. y and sample_weight are those of all
        of X.
        """
        kernels = _backend.kernels_of(np.dtype(model.dtype))
        if kernels is None or not 0 < index.size <= _MOST_SAMPLES or type(losses) not in (list, type(None)):
            return None
        if X is not self._X:
            vars(self).update(_X=X, _rows=_rows(X))
        if self._rows is None or not (mean is None or _plain(mean, _FLOATS[1], self._rows.shape[1:])):
            return None
        if model.loss_function == "softmax" and sample_weight is None:
            y = _labels(y.take(index))
        else:
            y = self._weighted(model, y, index, sample_weight)
        if y is None:
            return None
        groups, arrays, numbers = self._groups, self._arrays, self._again(kernels, model, configs)
        if numbers is None:
            numbers, names = self._all_numbers(kernels, model, configs), self._plan(model)
            if numbers is None or names is None:
                return None
            arrays = self._take_over(model, configs)
            if arrays is None:
                return None
            groups = [tuple(map(arrays.get, layer)) for layer in names]
        changes = self._changes(kernels, model, configs, arrays)
        loss = self._work(kernels, model, groups, index, mean, y, arrays, numbers, changes, losses)
        if loss is not None and arrays is not self._arrays:
            vars(self).update(_groups=groups, _arrays=arrays, _shape=self._shape_of(model))
        return loss

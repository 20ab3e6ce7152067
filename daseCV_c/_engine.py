"""The training step of the fully-connected networks as one call of a kernel.

`gradients` gives what ``model.loss(X, y)`` returns; `FusedStep` also draws the batch from the
images and updates the parameters in place. Both return None for what the kernel does not take;
the layers then do the work, and say what is wrong where something is.
"""

from __future__ import annotations

import itertools
import math
from operator import itemgetter

import numpy as np

from daseCV_c import _backend, _precision, _threads, optim

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_SOURCES = (np.dtype(np.uint8), *_FLOATS)
_NORMS = (None, "batchnorm", "layernorm")
# The kernel lays the batch out anew: beyond this many samples that costs memory for little time.
_MOST_SAMPLES = 4096
_RULES = {name: getattr(optim, name) for name in optim.__all__}
# Settings of each rule and its state, in the order of the kernel.
_SETTINGS = {
    "sgd": (("learning_rate", 1e-2),),
    "sgd_momentum": (("learning_rate", 1e-2), ("momentum", 0.9)),
    "rmsprop": (("learning_rate", 1e-2), ("decay_rate", 0.99), ("epsilon", 1e-8)),
    "adam": (("learning_rate", 1e-3), ("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8)),
}
_STATES = {"sgd": (), "sgd_momentum": ("velocity",), "rmsprop": ("cache",), "adam": ("m", "v")}


def _plain(array, dtype, shape):
    """An array that a kernel may touch as it is."""
    # Compared by ==: arrays that were pickled have a dtype object of their own.
    return (type(array) is np.ndarray and array.dtype == dtype and array.shape == shape
            and array.flags.c_contiguous and array.flags.aligned)


def _rows(X):
    """X as rows of numbers without a copy, or None."""
    if type(X) is not np.ndarray or X.ndim < 2 or X.dtype not in _SOURCES or not X.dtype.isnative:
        return None
    if not (X.flags.c_contiguous and X.flags.aligned) or not X.size:
        return None
    return X if X.ndim == 2 else X.reshape(X.shape[0], -1)


def _names(model):
    """The parameters of each layer: weights, bias, and with a normalization gamma and beta."""
    last, normed = model.num_layers, model.normalization is not None
    return [tuple(f"{kind}{i}" if normed and i < last or kind in "Wb" else None for kind in ("W", "b", "gamma", "beta"))
            for i in range(1, last + 1)]


def _fits(model, names, features):
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


def _number(value, low=-math.inf, high=math.inf):
    # NumPy's float64 is a float.
    return isinstance(value, (float, int)) and type(value) is not bool and low <= value <= high


def _statistics(norm, width, entry, dtype):
    """(running mean and variance, arrays for the next ones, eps, momentum), or None."""
    if type(entry) is not dict:
        return None
    eps, momentum = entry.get("eps", 1e-5), entry.get("momentum", 0.9)
    if not _number(eps, 0) or not _number(momentum):
        return None
    if norm == "layernorm":
        return None, None, None, None, eps, 0.0
    mean, var = entry.get("running_mean"), entry.get("running_var")
    mean = np.zeros(width, dtype) if mean is None else mean
    var = np.zeros(width, dtype) if var is None else var
    if not (_plain(mean, dtype, (width,)) and _plain(var, dtype, (width,))):
        return None
    return mean, var, np.empty(width, dtype), np.empty(width, dtype), eps, momentum


def _run(model, names, images, index, mean, y, arrays, numbers, rule):
    """The loss, or None. `arrays` and `numbers` are the kernel's, parameter by parameter."""
    kernels, params = _backend.kernels(), model.params
    norm, last = model.normalization, len(names)
    dropout = model.dropout_param if model.use_dropout else None
    if dropout is not None and not (type(dropout) is dict and _number(dropout.get("p"), 1e-300, 1)):
        return None
    statistics = [None] * last
    if norm:
        if len(model.bn_params) < last - 1:
            return None
        for i in range(last - 1):
            bias = params[names[i][1]]
            statistics[i] = _statistics(norm, bias.size, model.bn_params[i], bias.dtype)
            if statistics[i] is None:
                return None
    n = images.shape[0] if index is None else index.shape[0]
    reg, layers = float(model.reg), []
    for i, layer in enumerate(names):
        hidden, uniform = i + 1 < last, None
        if dropout is not None and hidden:
            if "seed" in dropout:
                np.random.seed(dropout["seed"])
            uniform = (np.random.rand(n, params[layer[1]].size), float(dropout["p"]))
        layers.append((
            *map(arrays.get, layer), *map(numbers.get, layer), reg if hidden or model.reg_last_layer else 0.0,
            statistics[i], uniform,
        ))
    loss = kernels.step.train_step(images, index, mean, y, layers, rule, norm, _threads.effective(),
                                   _precision.reduced(model.dtype))
    if dropout is not None:
        dropout["mode"] = "train"
    if norm == "batchnorm":
        for entry, found in zip(model.bn_params, statistics, strict=False):
            if found is not None:
                entry["mode"] = "train"
                entry["running_mean"], entry["running_var"] = found[2], found[3]
    return loss


def gradients(model, X, y):
    """(loss, grads) of a batch with checked labels, or None where the layers must do it."""
    rows = _rows(X)
    if _backend.kernels() is None or rows is None or rows.shape[0] > _MOST_SAMPLES:
        return None
    names = _names(model)
    if not _fits(model, names, rows.shape[1]):
        return None
    grads = {name: np.empty_like(w) for name, w in model.params.items()}
    arrays = {name: (w, grads[name], None) for name, w in model.params.items()}
    loss = _run(model, names, rows, None, None, y, arrays, {}, None)
    return None if loss is None else (loss, grads)


def _aligned_copy(array, slot):
    """A copy that begins with a cache line; the slots of a parameter's arrays begin differently.

    Were they all to begin at the same place of a page, a load would wait for the store to another
    of them: processors compare the lower bits of addresses first.
    """
    shift = 64 * (1 + 21 * slot)
    held = np.empty(array.nbytes + 64 + shift, np.uint8)
    start = shift + -held.ctypes.data % 64
    copy = held[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class FusedStep:
    """The Solver's step, for the package's own networks and rules.

    The parameters and their state are updated in place, in arrays of this object's own: what the
    user put into the model stays as it was. (The rule sgd is defined to work in place.)
    """

    def __init__(self, rule):
        self._rule = rule
        self._X = self._rows = None  # the images, and the same as the kernel takes them
        self._names = None  # of the parameters, layer by layer
        self._arrays = {}  # name: (w, first state, second state), as the kernel takes them
        self._shape = None  # of the network whose arrays these are
        # State first, then what the numbers are made of; with one key more, so that it is always a tuple.
        keys = [*_STATES[rule], *(key for key, _ in _SETTINGS[rule]), "t" if rule == "adam" else "learning_rate"]
        self._getter = itemgetter(*keys)

    def __getstate__(self):
        # All that is kept from step to step belongs to the Solver and its model, and is found there again.
        return {"_rule": self._rule}

    def __setstate__(self, state):
        self.__init__(state["_rule"])

    def _numbers(self, config):
        """The rule's settings as the kernel takes them, or None."""
        found = [config.get(key, default) for key, default in _SETTINGS[self._rule]]
        if not all(map(_number, found)):
            return None
        rate = found[0]
        if self._rule == "sgd":
            return (rate, 0.0, 0.0, 0.0, 0.0)
        if self._rule == "sgd_momentum":
            return (rate, found[1], 0.0, 0.0, 0.0)
        if self._rule == "rmsprop":
            return (rate, found[1], 0.0, found[2], 0.0)
        t = config.get("t", 0)
        if type(t) is not int or not 0 <= t < 2**31 - 1:
            return None
        _, beta1, beta2, eps = found
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            return None
        return (rate / (1 - beta1 ** (t + 1)), beta1, beta2, eps, 1 / (1 - beta2 ** (t + 1)))

    def _all_numbers(self, model, configs):
        """The numbers of every parameter, or None; parameters mostly share them."""
        keys = [key for key, _ in _SETTINGS[self._rule]] + ["t"]
        found, known = {}, {}
        for name in model.params:
            config = configs.get(name)
            if type(config) is not dict:
                return None
            key = tuple(map(config.get, keys))
            try:
                numbers = known.get(key)
            except TypeError:  # what has no hash is no number
                return None
            if numbers is None:
                numbers = known[key] = self._numbers(config)
                if numbers is None:
                    return None
            found[name] = numbers
        return found

    def _again(self, model, configs):
        """The numbers of every parameter, if the model and the configurations hold the very arrays of
        the step before; else None. A small network's step is short: this is read at each of them."""
        params, arrays, states = model.params, self._arrays, len(_STATES[self._rule])
        if len(params) != len(arrays) or self._shape != self._shape_of(model):
            return None
        found, last, numbers = {}, None, None
        try:
            for name, w in params.items():
                held, values = arrays[name], self._getter(configs[name])
                if w is not held[0] or not w.flags.writeable:
                    return None
                if states and (values[0] is not held[1] or not held[1].flags.writeable):
                    return None
                if states == 2 and (values[1] is not held[2] or not held[2].flags.writeable):
                    return None
                if values[states:] != last:
                    last, numbers = values[states:], self._numbers(configs[name])
                    if numbers is None:
                        return None
                found[name] = numbers
        except (KeyError, TypeError, ValueError):  # something lacks, or is no number: look again, from the start
            return None
        return found

    def _shape_of(self, model):
        return self._rows.shape[1], model.num_layers, model.normalization, model.dtype

    def _take_over(self, model, configs):
        """Arrays to update in place, copied from the model's and the configurations'; None if some do not fit."""
        dtype, states, arrays = np.dtype(model.dtype), _STATES[self._rule], {}
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

    def _plan(self, model):
        """The names of each layer's parameters, or None where the kernels do not take them."""
        if model.normalization not in _NORMS:
            return None
        names = _names(model)
        return names if _fits(model, names, self._rows.shape[1]) else None

    def _work(self, model, names, index, mean, y, arrays, numbers):
        """The loss after the update of `arrays`, or None."""
        return _run(model, names, self._rows, index, mean, y, arrays, numbers, self._rule)

    def __call__(self, model, configs, X, y, index, mean=None):
        """The loss of the rows `index` before the update, or None: then nothing was changed."""
        if _backend.kernels() is None or not 0 < index.size <= _MOST_SAMPLES:
            return None
        if X is not self._X:
            self._X, self._rows = X, _rows(X)
        if self._rows is None or not (mean is None or _plain(mean, _FLOATS[1], self._rows.shape[1:])):
            return None
        y = y[index]
        if y.dtype.kind not in "iu":
            return None
        y = y.astype(np.int64, copy=False)
        rule, names, arrays, numbers = self._rule, self._names, self._arrays, self._again(model, configs)
        if numbers is None:
            numbers, names = self._all_numbers(model, configs), self._plan(model)
            if numbers is None or names is None:
                return None
            arrays = self._take_over(model, configs)
            if arrays is None:
                return None
        # Read as unsigned, a negative label is a huge one.
        if y.view(np.uint64).max() >= model.params[names[-1][1]].size:
            return None
        loss = self._work(model, names, index, mean, y, arrays, numbers)
        if loss is None:
            return None
        if arrays is not self._arrays:
            self._names, self._arrays, self._shape = names, arrays, self._shape_of(model)
            for name, held in arrays.items():
                model.params[name] = held[0]
                for key, default in _SETTINGS[rule]:
                    configs[name].setdefault(key, default)
                configs[name].update(zip(_STATES[rule], held[1:], strict=False))
        if rule == "adam":
            for name in arrays:
                configs[name]["t"] = configs[name].get("t", 0) + 1
        return loss

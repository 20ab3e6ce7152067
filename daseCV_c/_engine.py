"""The training step of the fully-connected networks as one call of a kernel.

`gradients` gives what ``model.loss(X, y)`` returns; `FusedStep` also draws the batch from the
images and updates the parameters in place. Both return None for what the kernel does not take;
the layers then do the work, and say what is wrong where something is.
"""

from __future__ import annotations

import math

import numpy as np

from daseCV_c import _backend, _threads, optim

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_SOURCES = (np.dtype(np.uint8), *_FLOATS)
# The kernel lays the batch out anew: beyond this many samples that costs memory for little time.
_MOST_SAMPLES = 4096
_NO_NUMBERS = (0.0, 0.0, 0.0, 0.0, 0.0)
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
    return (type(array) is np.ndarray and array.dtype is dtype and array.shape == shape
            and array.flags.c_contiguous and array.flags.aligned)


def _rows(X):
    """X as rows of numbers without a copy, or None."""
    if type(X) is not np.ndarray or X.ndim < 2 or X.dtype not in _SOURCES or not X.dtype.isnative:
        return None
    if not (X.flags.c_contiguous and X.flags.aligned) or not X.size:
        return None
    return X if X.ndim == 2 else X.reshape(X.shape[0], -1)


class _Network:
    """What the kernel needs to know of a model: its parameters, layer by layer, all of them checked."""

    def __init__(self, model, features):
        self.dtype = np.dtype(model.dtype)
        self.layers = model.num_layers
        self.norm = model.normalization
        params = model.params
        names = set()
        fan_in = features
        self.fits = self.dtype in _FLOATS
        for i in range(1, self.layers + 1):
            w = params.get(f"W{i}")
            if type(w) is not np.ndarray or w.ndim != 2 or not _plain(w, self.dtype, (fan_in, w.shape[1])) or not w.size:
                self.fits = False
                return
            fan_in = w.shape[1]
            vectors = [f"b{i}"]
            if self.norm and i < self.layers:
                vectors += [f"gamma{i}", f"beta{i}"]
            if not all(_plain(params.get(name), self.dtype, (fan_in,)) for name in vectors):
                self.fits = False
                return
            names.update((f"W{i}", *vectors))
        self.fits = self.fits and names == set(params)


def _number(value, low=-math.inf, high=math.inf):
    return type(value) in (float, int) and low <= value <= high


def _statistics(model, norm, width, entry, dtype):
    """(running mean and variance, the arrays for the next ones, eps, momentum) or None."""
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


def _run(model, network, images, index, mean, y, param, rule):
    """The loss, or None. `param(name, reg)` gives the kernel's tuple for one parameter."""
    kernels = _backend.kernels()
    norm, last = network.norm, network.layers
    n = images.shape[0] if index is None else index.shape[0]
    dropout = model.dropout_param if model.use_dropout else None
    if dropout is not None and not (type(dropout) is dict and _number(dropout.get("p"), 1e-300, 1)):
        return None
    statistics = []
    if norm:
        if len(model.bn_params) < last - 1:
            return None
        for i in range(1, last):
            found = _statistics(model, norm, model.params[f"W{i}"].shape[1], model.bn_params[i - 1], network.dtype)
            if found is None:
                return None
            statistics.append(found)
    reg, layers = float(model.reg), []
    for i in range(1, last + 1):
        hidden = i < last
        uniform = None
        if dropout is not None and hidden:
            if "seed" in dropout:
                np.random.seed(dropout["seed"])
            uniform = (np.random.rand(n, model.params[f"W{i}"].shape[1]), float(dropout["p"]))
        normed = norm and hidden
        layers.append((
            param(f"W{i}", reg if hidden or model.reg_last_layer else 0.0), param(f"b{i}", 0.0),
            param(f"gamma{i}", 0.0) if normed else None, param(f"beta{i}", 0.0) if normed else None,
            statistics[i - 1] if normed else None, uniform,
        ))
    loss = kernels.step.train_step(images, index, mean, y, layers, rule, norm, _threads.effective())
    if dropout is not None:
        dropout["mode"] = "train"
    if norm == "batchnorm":
        for entry, found in zip(model.bn_params, statistics, strict=False):
            entry["mode"] = "train"
            entry["running_mean"], entry["running_var"] = found[2], found[3]
    return loss


def gradients(model, X, y):
    """(loss, grads) of a batch with checked labels, or None where the layers must do it."""
    rows = _rows(X)
    if _backend.kernels() is None or rows is None or rows.shape[0] > _MOST_SAMPLES:
        return None
    network = _Network(model, rows.shape[1])
    if not network.fits:
        return None
    params, grads = model.params, {}

    def param(name, reg):
        grads[name] = np.empty_like(params[name])
        return (params[name], grads[name], None, *_NO_NUMBERS, reg)

    loss = _run(model, network, rows, None, None, y, param, None)
    return None if loss is None else (loss, grads)


class FusedStep:
    """The Solver's step, for the package's own networks and rules.

    The parameters and their state are updated in place, in arrays of this object's own: what the
    user put into the model stays as it was. (The rule sgd is defined to work in place.)
    """

    def __init__(self, X, y, rule, own_loss):
        self._rows = _rows(X)
        self._y = y.astype(np.int64) if y.dtype.kind in "iu" and y.size and y.max() < 2**31 else None
        self._top = -1 if self._y is None or self._y.min() < 0 else int(self._y.max())
        self._rule = rule
        self._own_loss = own_loss
        self._owned = {}

    def _ours(self, key, array, copy=True):
        """The array to update in place."""
        if self._owned.get(key) is not array:
            array = array.copy() if copy else array
            self._owned[key] = array
        return array

    def _numbers(self, config):
        """The rule's settings as the kernel takes them, or None."""
        found = [config.get(key, default) for key, default in _SETTINGS[self._rule]]
        if not all(map(_number, found)):
            return None
        rate = found[0]
        if self._rule == "sgd":
            return (rate, *_NO_NUMBERS[1:])
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

    def __call__(self, model, configs, index, mean=None):
        """The loss of the batch after the update, or None: then nothing was changed."""
        kernels = _backend.kernels()
        if (kernels is None or self._rows is None or index.size > _MOST_SAMPLES or not index.size
                or getattr(type(model), "loss", None) not in self._own_loss or "loss" in vars(model)):
            return None
        network = _Network(model, self._rows.shape[1])
        if not network.fits or not 0 <= self._top < model.params[f"b{network.layers}"].size:
            return None
        rule, dtype, states = self._rule, network.dtype, _STATES[self._rule]
        numbers, found = {}, {}
        for name, w in model.params.items():
            config = configs.get(name)
            numbers[name] = self._numbers(config) if type(config) is dict else None
            if numbers[name] is None or not w.flags.writeable:
                return None
            state = [config.get(key) for key in states]
            if not all(value is None or _plain(value, dtype, w.shape) for value in state):
                return None
            found[name] = state
        arrays = {}
        for name, w in model.params.items():
            held = [self._ours(name, w, copy=rule != "sgd")]
            for key, value in zip(states, found[name], strict=True):
                held.append(self._ours((name, key), np.zeros_like(w) if value is None else value))
            arrays[name] = held + [None] * (3 - len(held))

        def param(name, reg):
            return (*arrays[name], *numbers[name], reg)

        loss = _run(model, network, self._rows, index, mean, self._y[index], param, rule)
        if loss is None:
            return None
        for name, held in arrays.items():
            model.params[name] = held[0]
            config = configs[name]
            for key, default in _SETTINGS[rule]:
                config.setdefault(key, default)
            for key, value in zip(states, held[1:], strict=False):
                config[key] = value
            if rule == "adam":
                config["t"] = config.get("t", 0) + 1
        return loss

"""What of a Solver goes into a checkpoint, and back, so that a run goes on with the same bits.

`document_of` takes everything that the next step depends on. `restore` looks at all of it before it
changes anything: a checkpoint that does not belong to the model or the data is an error that says both values.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from typing import Any

import numpy as np

from daseCV_c._runtime import precision as _precision
from daseCV_c._training import archive, networks, options
from daseCV_c._training.values import pack, set_state, state_of, unpack
from daseCV_c._training.weights import Weights
from daseCV_c._types import Array

KIND = "checkpoint"
HISTORIES = ("loss_history", "train_acc_history", "val_acc_history", "val_loss_history", "learning_rate_history",
             "seconds_history", "check_iterations")
# What a resumed run may be told otherwise: how long it is, and what does not change its numbers.
FREE = frozenset(("num_epochs", "verbose", "print_every", "progress", "callbacks", "checkpoint_name",
                  "checkpoint_path", "checkpoint_every", "on_divergence"))
# What a model is told, beside the shapes of its parameters.
_TRAITS = ("dtype", "reg", "reg_last_layer", "normalization", "num_layers", "use_dropout", "loss_function")
_LAYER_TRAITS = ("p", "seed", "eps", "momentum")
# Where a run writes is not taken from a file, which may be a stranger's: a resumed one writes to the file that it was
# resumed from, or beside it.
_PLACES = ("checkpoint_path", "checkpoint_name")
_OF_A_CHECK = re.compile(r"(.+)_(?:epoch_\d+|interrupted)\.npz", re.DOTALL)
_SAMPLED = 256  # rows whose numbers tell one data set from another


# Taking.

def _traits(model: Any) -> dict[str, Any]:
    found = {name: getattr(model, name) for name in _TRAITS if hasattr(model, name)}
    if "dtype" in found:
        try:
            found["dtype"] = np.dtype(found["dtype"]).name
        except TypeError:  # a word of the user's own
            found["dtype"] = str(found["dtype"])
    return {name: value for name, value in found.items()
            if value is None or isinstance(value, (bool, int, float, str, np.number))}


def _layers(model: Any) -> list[tuple[str, int | None, dict[str, Any]]]:
    """The dicts that layers change as they run, with their attribute and place in it: see `whole.layer_dicts`."""
    found = []
    for name, value in getattr(model, "__dict__", {}).items():
        listed = isinstance(value, (list, tuple)) and name != "params"
        for i, entry in enumerate(value if listed else (value,)):
            if not isinstance(entry, dict):
                break
            if "mode" in entry or name in ("bn_params", "dropout_param"):
                found.append((name, i if listed else None, entry))
    return found


def _layer_states(model: Any, weights: Weights) -> list[tuple[str, int | None, dict[str, Any]]]:
    """The same, as they were when the model held `weights`."""
    own = dict(enumerate(weights.statistics))
    return [(name, i, entry | own.get(i, {}) if name == "bn_params" and i is not None else entry)
            for name, i, entry in _layers(model)]


def _described(model: Any) -> dict[str, Any] | None:
    """What `load_models` makes the network from; None for a model that no file can describe."""
    if not networks.is_own(model):
        return None
    try:
        return networks.describe("Solver.save", model)[0]
    except (TypeError, ValueError):  # changed by hand, to something that goes on only where it was made
        return None


def data_of(solver: Any) -> dict[str, Any]:
    """What tells the data of a run from others: types, shapes, all labels and some of the samples."""
    found: dict[str, Any] = {}
    for split in ("train", "val"):
        X, y = getattr(solver, f"X_{split}"), getattr(solver, f"y_{split}")
        for name, array in ((f"X_{split}", X), (f"y_{split}", y)):
            found[name] = f"{array.dtype.newbyteorder('=')} of shape {array.shape}"
        some = X[np.unique(np.linspace(0, len(X) - 1, _SAMPLED).astype(int))]
        found |= {f"samples of {split}": _digest(some), f"labels of {split}": _digest(y)}
    mean = solver.mean_image
    found["mean_image"] = None if mean is None else _digest(mean)
    return found


def _digest(array: Array) -> str:
    """Of the numbers, however they lie in memory."""
    if array.dtype.kind not in "biufc":
        return ""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("=")).tobytes()).hexdigest()


def _shown(value: Any) -> str:
    return getattr(value, "__qualname__", None) or f"a {type(value).__name__}"


def _settings(solver: Any, arrays: dict[str, Array]) -> tuple[dict[str, Any], dict[str, str]]:
    """(settings that a file can hold, packed; what the others are)."""
    held, others = {}, {}
    for name in options.DEFAULTS:
        if name in ("callbacks", "comm", *_PLACES):
            continue
        value = getattr(solver, name)
        if callable(getattr(value, "settings", None)):  # such as a schedule
            value = value.settings()
        try:
            held[name] = pack(value, f"settings/{name}", arrays)
        except TypeError:
            others[name] = _shown(value)
    return held, others


def _states(callbacks: Any, name: str, arrays: dict[str, Array]) -> list[list[Any]]:
    """[class, packed state] of those that have one."""
    return [[type(callback).__qualname__, pack(callback.state(), f"{name}/{i}", arrays)]
            for i, callback in enumerate(callbacks)
            if callable(getattr(callback, "state", None)) and callable(getattr(callback, "load_state", None))]


def document_of(solver: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """(document, arrays); the arrays are the Solver's own, not copies."""
    arrays: dict[str, Array] = {}
    model = solver.model
    weights, random = (None, global_state(solver)) if solver._paused is None else solver._paused
    if weights is None:
        weights = Weights.of(model)
    held, others = _settings(solver, arrays)
    document = {
        "parameters": pack(weights.params, "parameters", arrays),
        "layers": [[name, i, pack(entry, name if i is None else f"{name}/{i}", arrays)]
                   for name, i, entry in _layer_states(model, weights)],
        "model": type(model).__qualname__, "traits": pack(_traits(model), "traits", arrays),
        "network": _described(model), "mean_image": pack(getattr(model, "mean_image", None), "mean_image", arrays),
        "rule": pack(solver.optim_configs, "rule", arrays),
        "best": pack({"params": solver.best_params, "statistics": solver.best_bn_params,
                      "val_acc": solver.best_val_acc, "val_loss": solver.best_val_loss, "checked": solver._checked},
                     "best", arrays),
        "histories": pack({name: np.array(getattr(solver, name), np.float64) for name in HISTORIES},
                          "histories", arrays),
        "begun": list(solver._begun), "epoch": solver.epoch, "iteration": solver.iteration,
        "num_iterations": solver.num_iterations, "stop": solver._stop, "seconds": solver.seconds,
        "random": pack(random, "random", arrays),
        "generator": None if solver.generator is None else pack(
            state_of(solver.generator, "seed"), "generator", arrays),
        "shared": solver.generator is not None and solver.generator is getattr(model, "generator", None),
        "settings": held, "given": others, "places": [name for name in _PLACES if getattr(solver, name) is not None],
        "data": data_of(solver), "precision": _precision.get_matmul_precision(),
        "watchers": _states(solver._watchers, "watchers", arrays),
        "callbacks": _states(solver.callbacks, "callbacks", arrays),
    }
    return document, arrays


def global_state(solver: Any) -> dict[str, Any] | None:
    """The state of `np.random`, or None where the Solver and the model draw from generators of their own."""
    model = solver.model
    if solver.generator is not None and networks.is_own(model) and (
            model.generator is not None or not getattr(model, "use_dropout", False)):
        return None
    return state_of(np.random, "np.random")


# Putting back.

class _Bad(ValueError):
    """A document that `document_of` has not made."""


class Snapshot:
    """A checkpoint that was read: every part is of the kind that it must be of."""

    def __init__(self, path: str | os.PathLike[str], document: dict[str, Any], arrays: dict[str, Array]) -> None:
        self.shown = os.fspath(path)
        try:
            self._take(document, arrays)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise archive.ArchiveError(f'"{self.shown}" is a checkpoint that no Solver wrote: {what}') from None

    def _take(self, document: dict[str, Any], arrays: dict[str, Array]) -> None:
        def part(name: str, kind: type) -> Any:
            return _of_kind(name, unpack(document[name], arrays), kind)

        self.params, self.rule = part("parameters", dict), part("rule", dict)
        self.layers = [(_of_kind("layers", name, str), i, _of_kind("layers", unpack(entry, arrays), dict))
                       for name, i, entry in document["layers"]]
        if not all(i is None or type(i) is int for _, i, _ in self.layers):
            raise _Bad("layers is no list of states")
        self.model, self.traits = _of_kind("model", document["model"], str), part("traits", dict)
        self.network, self._mean_image = document["network"], unpack(document["mean_image"], arrays)
        best = part("best", dict)
        self.best = Weights(_of_kind("best", best["params"], dict), _of_kind("best", best["statistics"], list))
        self.best_val_acc, self.best_val_loss, self.checked = best["val_acc"], best["val_loss"], bool(best["checked"])
        for mapping in (self.params, self.best.params, *self.best.statistics):
            for array in mapping.values():
                _of_kind("parameters", array, np.ndarray)
        for config in self.rule.values():
            _of_kind("rule", config, dict)
        if not self.params.keys() == self.rule.keys() == self.best.params.keys() or any(
                array.shape != self.best.params[name].shape for name, array in self.params.items()):
            raise _Bad("its parameters, the best ones and the rule's states do not fit each other")
        self.histories = {name: array.tolist() for name, array in part("histories", dict).items()}
        for name in HISTORIES:
            if not all(type(value) is float for value in self.histories[name]):
                raise _Bad(f"{name} is no list of numbers")
        for name in ("train_acc_history", "val_acc_history"):  # the kind of number that check_accuracy gives
            self.histories[name] = [np.float64(value) for value in self.histories[name]]
        lengths = [len(self.histories[name]) for name in HISTORIES]
        checks = self.histories["check_iterations"]
        if checks != sorted(set(checks)) or any(not 1 <= t <= lengths[0] or t % 1 for t in checks):
            raise _Bad("check_iterations are not in order")
        self.histories["check_iterations"] = [int(t) for t in checks]
        self.begun, self.epoch = tuple(document["begun"]), document["epoch"]
        self.iteration, self.num_iterations = document["iteration"], document["num_iterations"]
        whole = (*self.begun, self.epoch, self.iteration, self.num_iterations)
        if len(self.begun) != 3 or any(type(n) is not int or not 0 <= n < 2**62 for n in whole) or (
                self.iteration != lengths[0] - self.begun[0] or self.begun[1] > self.epoch
                or self.begun[2] > lengths[2] or len({*lengths[1:4], *lengths[5:]}) > 1 or lengths[4] > lengths[0]):
            raise _Bad("its histories and its place in them do not fit each other")
        self.stop, self.seconds = bool(document["stop"]), float(document["seconds"])
        self.random, self.generator = unpack(document["random"], arrays), unpack(document["generator"], arrays)
        for state in (self.random, self.generator):
            if state is not None:
                set_state(np.random.RandomState(), state)
        self.shared, self.data = bool(document["shared"]), _of_kind("data", document["data"], dict)
        self.settings = {name: unpack(value, arrays) for name, value in document["settings"].items()
                         if name not in ("callbacks", "comm", *_PLACES)}
        for place in document["places"]:
            if place == "checkpoint_path":
                self.settings[place] = self.shown
            elif found := _OF_A_CHECK.fullmatch(self.shown):
                self.settings["checkpoint_name"] = found[1]
        self.given, self.precision = dict(document["given"]), document["precision"]
        self.watchers, self.callbacks = ([(_of_kind("callbacks", kind, str), unpack(state, arrays))
                                          for kind, state in document[name]] for name in ("watchers", "callbacks"))

    def built(self) -> Any:
        """The network that was trained, made from nothing but the file."""
        if self.network is None:
            raise archive.ArchiveError(f'"{self.shown}" holds a {self.model} with code of its own: '
                                       "Solver.resume puts what it has learned into one")
        arrays = self.params | {"mean_image": self._mean_image}
        for name, i, entry in self.layers:
            if name == "bn_params" and i is not None:
                arrays |= {f"{key}{i + 1}": entry.get(key) for key in ("running_mean", "running_var")}
        try:
            return networks.rebuild("load_models", self.network, arrays)
        except (TypeError, ValueError) as error:
            raise archive.ArchiveError(f'"{self.shown}" does not hold a network: {error}') from None

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The Solver's keywords: those of the checkpoint, and what a resumed run may be `given`."""
        for name, value in given.items():
            if name in self.settings and name not in FREE and not _same(value, self.settings[name]):
                raise ValueError(f"Solver.resume: {name} is {value!r}, but {self._run} has {self.settings[name]!r}")
        for name, what in self.given.items():
            if name not in given and name not in FREE:
                raise ValueError(f"Solver.resume: {self._run} has {name}={what}, which a file cannot hold: "
                                 f"give {name}= again")
        return self.settings | given

    @property
    def _run(self) -> str:
        return f'the run of "{self.shown}"'

    def fit_model(self, model: Any) -> None:
        """ValueError if the run is one of another model."""
        def differ(what: str, mine: Any, others: Any) -> None:
            raise ValueError(f"Solver.resume: {what} {mine}, but {self._run} has {others}")

        if type(model).__qualname__ != self.model:
            differ("the model is a", type(model).__qualname__, f"a {self.model}")
        params = model.params
        if list(params) != list(self.params):
            differ("the model has the parameters", ", ".join(map(str, params)), ", ".join(map(str, self.params)))
        for name, array in self.params.items():
            mine, others = (f"{each.dtype} of shape {each.shape}" for each in (np.asarray(params[name]), array))
            if mine != others:
                differ(f"{name} is", mine, others)
        traits = _traits(model)
        for name, value in self.traits.items():
            if name in traits and not _same(traits[name], value):
                differ(f"the model's {name} is", repr(traits[name]), repr(value))
        states = {(name, i): entry for name, i, entry in _layers(model)}
        if set(states) != {(name, i) for name, i, _ in self.layers}:
            differ("the model's layers have states in", sorted({name for name, _ in states}),
                   sorted({name for name, *_ in self.layers}))
        for name, i, entry in self.layers:
            state = states[name, i]
            for key in _LAYER_TRAITS:
                if not _same(state.get(key), entry.get(key)):
                    differ(f"{name}{'' if i is None else f'[{i}]'}[{key!r}] is", repr(state.get(key)),
                           repr(entry.get(key)))
            for key in {**state, **entry}:
                kinds = [isinstance(each.get(key), np.random.RandomState) for each in (state, entry)]
                if kinds[0] != kinds[1]:
                    differ("the model has", f"{'a' if kinds[0] else 'no'} generator of its own",
                           f"{'a' if kinds[1] else 'no'} one (seed=)")

    def fit_data(self, solver: Any) -> None:
        """ValueError if the run is one of other data."""
        for name, value in data_of(solver).items():
            others = self.data.get(name)
            if value == others:
                continue
            if name.startswith(("X", "y")):
                raise ValueError(f"Solver.resume: {name} is {value}, but {self._run} has {others}")
            raise ValueError(f"Solver.resume: the {name} hold other numbers than those of {self._run}")

    def put_into(self, solver: Any) -> None:
        """Everything that was taken, into a new Solver of the same settings."""
        model = solver.model
        states = {(name, i): entry for name, i, entry in _layers(model)}
        pairs = [*self._pairs(solver._watchers, self.watchers, True),
                 *self._pairs(solver.callbacks, self.callbacks, bool(solver.callbacks))]
        if self.iteration > solver.num_iterations:
            raise ValueError(f"Solver.resume: num_epochs is {solver.num_epochs}, which are {solver.num_iterations} "
                             f"iterations, but {self._run} has made {self.iteration}")
        if self.precision != _precision.get_matmul_precision():
            warnings.warn(f"Solver.resume: {self._run} computes its products in {self.precision}: for equal numbers "
                          f"call daseCV_c.set_matmul_precision({self.precision!r})", RuntimeWarning, stacklevel=4)
        for callback, state in pairs:
            try:
                callback.load_state(state)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"Solver.resume: {self._run} holds a state of {type(callback).__name__} that it "
                                 f"does not take: {type(error).__name__}: {error}") from error
        model.params.update(self.params)
        for name, i, entry in self.layers:
            mine = states[name, i]
            for key, value in entry.items():
                if isinstance(value, np.random.RandomState):
                    mine[key].set_state(value.get_state())
                    entry[key] = mine[key]
            mine.clear()
            mine.update(entry)
        vars(solver).update(
            self.histories, epoch=self.epoch, optim_configs=self.rule, best_params=self.best.params,
            best_bn_params=self.best.statistics, best_val_acc=self.best_val_acc, best_val_loss=self.best_val_loss,
            _checked=self.checked, _begun=self.begun, _stop=self.stop, _seconds=self.seconds,
            _paused=(None, self.random))  # it goes on from what the model holds by then
        if self.shared:
            solver.generator = model.generator
        if self.generator is not None and solver.generator is not None:
            set_state(solver.generator, self.generator)

    def _pairs(self, callbacks: list[Any], states: list[tuple[str, Any]], given: bool) -> list[tuple[Any, Any]]:
        """Each callback with the state of the one of its class, in their order."""
        found, left = [], list(callbacks)
        for kind, state in states:
            fitting = [callback for callback in left if type(callback).__qualname__ == kind]
            if fitting:
                found.append((fitting[0], state))
                left.remove(fitting[0])
            elif not given:
                raise ValueError(
                    f"Solver.resume: {self._run} has a callback {kind} with a state: give callbacks= again")
        return found


def resumed(kind: Any, path: str | os.PathLike[str], model: Any, data: dict[str, Any], given: dict[str, Any]) -> Any:
    """A Solver of the class `kind` that goes on from a checkpoint."""
    try:
        found = Snapshot(path, *archive.read(path, KIND))
    except archive.PickleFoundError as error:
        raise archive.PickleFoundError(
            f"{error}: the checkpoints of earlier versions lack the update rule's state, so that no run goes on from "
            "one; data_utils.load_models reads the networks of such files without running code") from None
    settings = found.options(given)
    found.fit_model(model)
    solver: Any = kind(model, data, **settings)
    found.fit_data(solver)
    found.put_into(solver)
    return solver


def _of_kind(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise _Bad(f"{name} is a {type(value).__name__}, expected a {kind.__name__}")
    return value


def _same(a: Any, b: Any) -> bool:
    """Equal values, arrays among them; what a file cannot hold is equal to nothing."""
    if isinstance(a, np.random.RandomState) and isinstance(b, np.random.RandomState):
        return True  # their state is the checkpoint's
    first: dict[str, Array] = {}
    second: dict[str, Array] = {}
    try:
        if callable(getattr(a, "settings", None)):
            a = a.settings()
        return bool(pack(_plain(a), "x", first) == pack(_plain(b), "x", second)) and all(
            np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")
            for one, two in zip(first.values(), second.values(), strict=True))
    except TypeError:
        return False


def _plain(value: Any) -> Any:
    """Numbers that are equal as equal types."""
    if isinstance(value, (np.bool_, np.number)) and value.dtype.kind in "biuf":
        value = value.item()
    if type(value) is float and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value

"""What a Solver is given, looked at before it is used: update rules, their settings, labels, models of one's own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from daseCV_c import _types, optim
from daseCV_c._step.fully_connected import _RULES  # the package's, as it has them
from daseCV_c._types import Array

Rule: TypeAlias = Callable[..., Any]


# Update rules.

_preferred: list[ModuleType] = []  # optim modules of a folder of a course


def prefer(module: ModuleType) -> list[str]:
    """Look for update rules in a module first; the names of the new ones that it has in place of ours."""
    if module in _preferred:
        return []
    _preferred.append(module)
    return [name for name in optim.__all__ if getattr(module, name, None) not in (None, getattr(optim, name))]


def _added(name: str) -> Rule | None:
    """The rule of this name in the optim module, which may be the user's own; None if it is none."""
    found: Any = next((getattr(module, name) for module in (*_preferred, optim) if hasattr(module, name)), None)
    if name.startswith("_") or not callable(found) or isinstance(found, type) or found is getattr(_types, name, None):
        return None
    chosen: Rule = found
    return chosen


def rule(update_rule: Any) -> tuple[str | Rule, Rule]:
    """(name or the user's own function, the rule itself).

    As in the course, a name is looked up in the optim module, where a notebook may have put it.
    """
    if isinstance(update_rule, str):
        # Text that compares in a way of its own must not be asked in the middle of a step.
        name = str.__str__(update_rule)
        found = _added(name)
        if found is not None:
            return name, found
    elif callable(update_rule):
        for name, own in _RULES.items():
            if update_rule is own:
                return name, own
        return update_rule, update_rule
    raise ValueError(f"Solver: update_rule is {update_rule!r}, expected one of {', '.join(sorted(_RULES))}, the name "
                     "of a function that was added to optim, or a function (w, dw, config) -> (next_w, config)")


def _nearest(key: str, known: list[str]) -> str | None:
    """What was probably meant: a name that is alike, or whose words begin with these letters (lr)."""
    alike = difflib.get_close_matches(key.lower(), known, 1, 0.7)
    initials = [name for name in known if "".join(word[0] for word in name.split("_")) == key.lower()]
    within = [name for name in known if len(key) > 2 and key.lower() in name]
    return next(iter(alike + initials + within), None)


def settings(name: str | Rule, found: Rule, optim_config: dict[str, Any]) -> None:
    """ValueError for a key that a rule of the package does not read. What one of the user's own reads is not known."""
    if not isinstance(name, str) or found is not _RULES.get(name):
        return
    states = optim.STATES[name]
    known = list(optim.SETTINGS[name])
    for key in optim_config:
        if key not in known and key not in states and not (key == "t" and name in optim.COUNTING):
            near = _nearest(key, known) if isinstance(key, str) else None
            raise ValueError(
                f"Solver: optim_config holds {key!r}, which {name} does not read" + (
                    f": did you mean {near!r}?" if near else "") + f" It reads {', '.join(known)}")


# Labels.

def classes(model: Any) -> int | None:
    """How many classes a network of the package has; None where its parameters do not say, or its loss has none."""
    if model.loss_function != "softmax":
        return None
    shape = np.shape(model.params.get(f"W{getattr(model, 'num_layers', 3)}"))
    return shape[1] if len(shape) == 2 else None


def _outside(y: Array, count: int) -> Array:
    """Which labels are no class."""
    with np.errstate(invalid="ignore"):  # a NaN is none
        return ~((y >= 0) & (y < count) & (y == np.floor(y))) if y.dtype.kind == "f" else (y < 0) | (y >= count)


def labels(y_train: Array, y_val: Array, count: int | None) -> None:
    """An error for labels that no prediction can match.

    `count` is the network's number of classes; None for a model of the user's own, of which only so
    much is known: its predictions are numbers.
    """
    for name, y in (("y_train", y_train), ("y_val", y_val)):
        if y.dtype.kind == "O":  # of numbers, perhaps
            y = np.asarray(y.tolist())
        if y.dtype.kind in "biuf" and y.ndim == 1:
            if count is None:
                continue
            outside = _outside(y, count)
            if outside.any():
                raise ValueError(
                    f"Solver: {name} holds {y[outside][0]!s}, expected integers from 0 to {count - 1}, the classes of "
                    f"the network: {np.count_nonzero(outside)} of {y.size} labels are none")
        elif count is not None or name == "y_val" and y_train.dtype.kind in "biuf":
            wanted = "numbers" if count is None else f"integers from 0 to {count - 1}, the classes of the network"
            if count is not None and isinstance(y.flat[0], (str, bytes)):
                wanted += f": names, y = np.unique({name}, return_inverse=True)"
            raise TypeError(f"Solver: {name} holds {y.flat[0]!r} (dtype {y.dtype}), expected {wanted}")


# Models and rules of the user's own.

def model(given: Any) -> None:
    """TypeError for what cannot be trained."""
    name = type(given).__name__
    if not isinstance(getattr(given, "params", None), Mapping):
        what = "has no params" if not hasattr(given, "params") else f"has params of type {type(given.params).__name__}"
        raise TypeError(f"Solver: the model is a {name} that {what}, expected a dict of arrays")
    if not callable(getattr(given, "loss", None)):
        raise TypeError(f"Solver: the model is a {name} without a loss, expected model.loss(X, y) and model.loss(X)")


def loss_and_grads(given: Any, found: Any) -> tuple[Any, Mapping[str, Any]]:
    """What ``model.loss(X, y)`` has returned: the loss, and a gradient for each parameter."""
    name = f"Solver: {type(given).__name__}.loss(X, y)"
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        what = f"{len(found)} values" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
        raise TypeError(f"{name} returned {what}, expected (loss, grads)")
    loss, grads = found
    if np.ndim(loss) or isinstance(loss, (str, bytes, type(None))):
        what = f"an array of shape {np.shape(loss)}" if np.ndim(loss) else repr(loss)
        raise TypeError(f"{name} returned {what} as the loss, expected a number")
    if not isinstance(grads, Mapping):
        raise TypeError(f"{name} returned a {type(grads).__name__} as the gradients, expected a dict")
    for key, w in given.params.items():
        if key not in grads:
            given_for = ", ".join(map(repr, grads)) or "nothing"
            raise ValueError(f"{name} returned no gradient of {key!r}, only of {given_for}")
        if grads[key] is None or np.shape(grads[key]) != np.shape(w):
            what = "None" if grads[key] is None else f"of shape {np.shape(grads[key])}"
            raise ValueError(f"{name} returned a gradient of {key!r} that is {what}, expected shape {np.shape(w)}")
    return loss, grads


def scores(given: Any, found: Any, n: int) -> Any:
    """What ``model.loss(X)`` has returned for n samples: a score for each class."""
    shape = np.shape(found)
    if len(shape) != 2 or shape[0] != n or not shape[1]:
        hint = ". It seems to return classes: leave the argmax to the Solver" if shape == (n,) else ""
        raise ValueError(f"Solver: {type(given).__name__}.loss(X) returned an array of shape {shape} for {n} samples, "
                         f"expected the scores of shape (N, C) = ({n}, number of classes){hint}")
    return found


def updated(update_rule: Any, key: str, w: Any, found: Any) -> tuple[Any, dict[str, Any]]:
    """What a rule has returned for the parameter `key`."""
    name = update_rule if isinstance(update_rule, str) else getattr(update_rule, "__name__", repr(update_rule))
    if not isinstance(found, (tuple, list)) or len(found) != 2 or not isinstance(found[1], dict):
        what = f"{len(found)} values" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
        raise TypeError(f"Solver: the update rule {name} returned {what} for {key!r}, expected (next_w, config) "
                        "with a dict as config")
    if np.shape(found[0]) != np.shape(w):
        raise ValueError(f"Solver: the update rule {name} returned an array of shape {np.shape(found[0])} for {key!r}, "
                         f"expected shape {np.shape(w)}")
    return found[0], found[1]

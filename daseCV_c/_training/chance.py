"""A training that has not begun to learn says so.

A network of many layers whose initial weights are small gives every sample nearly the same scores.
Its gradients vanish, its loss stays at that of guessing, log C for C classes, and nothing in the
printed lines looks wrong. What learns slowly is told apart by its accuracies: the scores are still
small and the loss near log C, but more samples are right than the most frequent class has.
"""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np

from daseCV_c import optim
from daseCV_c._step.fully_connected import penalty
from daseCV_c._training import checks
from daseCV_c._types import Array

# How far from log C a loss is still that of guessing, as a share of log C and at most of 1. While a training runs it is
# given little below: what falls so slowly may learn yet. What has not learned by its end is another matter.
_NEAR, _FALLEN = 0.05, 0.005
_FIRST_STEPS, _FIRST_EPOCHS = 100, 5  # what a training gets to leave it
_MANY_STEPS = 1000  # which are enough in two epochs
_FEWEST_STEPS = 10  # of a training that has ended


def _is_guessing(accuracy: float, y: Array, drawn: int | None) -> bool:
    """Whether an accuracy on y, or on so many samples of it, may be that of one class for all samples."""
    most = max(np.unique(y, return_counts=True)[1]) / y.size
    samples = y.size if drawn is None else min(drawn, y.size)
    return bool(accuracy <= most + 3 * math.sqrt(most * (1 - most) / samples))


def _penalty(model: Any) -> float:
    weights = [w for name, w in model.params.items() if name.startswith("W")]
    return penalty(float(model.reg), weights) if model.reg else 0.0


def _from_chance(loss: float, classes: int) -> float:
    """How far a loss is above log C, as a share of it."""
    return (loss - math.log(classes)) / min(1, math.log(classes))


def _advice(solver: Any) -> str:
    tried = ["weight_scale='he' in the network"]
    if getattr(solver.model, "normalization", "none") is None and type(solver.model).__name__ == "FullyConnectedNet":
        tried.append("normalization='batchnorm'")
    if solver.update_rule not in (*optim.COUNTING,):  # it may be a function
        tried.append("update_rule='adam'")
    more = "more epochs, " if solver.iteration >= solver.num_iterations else ""
    return ", ".join(tried) + f", {more}another learning_rate, or features of mean 0 and variance 1"


def _caller() -> int:
    """How many frames up the package was called, for a warning to point there."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "daseCV_c":
        level, frame = level + 1, frame.f_back
    return level


class ChanceWatch:
    """A callback that warns once in a run."""

    def __init__(self) -> None:
        self._off = False  # there is nothing to say, or it was said
        self._before = 0.0  # the penalty at the end of the last epoch

    def on_train_begin(self, solver: Any) -> None:
        classes = checks.classes(solver.model) if solver._own_loss() else None
        self._off = classes is None or classes < 2
        if self._off or classes is None:
            return
        self._before = _penalty(solver.model)
        # A run that goes on: what its former epochs were. Their penalty was another one, so a large one ends it here.
        every, losses = solver._per_epoch, solver.loss_history[len(solver.loss_history) - solver.iteration:]
        self._off = not all(abs(_from_chance(float(np.mean(losses[i:i + every])) - self._before, classes)) <= _NEAR
                            for i in range(0, len(losses) - every + 1, every))

    def on_epoch_end(self, solver: Any) -> None:
        classes = None if self._off else checks.classes(solver.model)
        if classes is None:
            return
        penalty = _penalty(solver.model)
        loss = float(np.mean(solver.loss_history[-solver._per_epoch:])) - (self._before + penalty) / 2
        above = _from_chance(loss, classes)
        self._before, self._off = penalty, not abs(above) <= _NEAR
        steps = solver.iteration
        epochs, last = steps // solver._per_epoch, steps >= solver.num_iterations
        if last:
            due = epochs > 1 and steps >= _FEWEST_STEPS
        else:
            enough = steps >= _FIRST_STEPS and epochs >= _FIRST_EPOCHS or steps >= _MANY_STEPS and epochs > 1
            due = enough and above >= -_FALLEN
        if self._off or not due or not (
                _is_guessing(solver.val_acc_history[-1], solver.y_val, solver.num_val_samples)
                and _is_guessing(solver.train_acc_history[-1], solver.y_train, solver.num_train_samples)):
            return
        self._off = True
        warnings.warn(
            f"Solver: after {epochs} epochs ({steps} steps) the loss is {loss:.4f}, still that of guessing, log C = "
            f"{math.log(classes):.4f} for {classes} classes. Try {_advice(solver)}",
            RuntimeWarning, stacklevel=_caller())

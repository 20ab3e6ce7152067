"""The curves of a training, from a Solver or from the history.csv of a run, and their running mean."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from daseCV_c._types import Array

# {metric: (iterations, values)}; a metric that was never recorded is missing.
Curves: TypeAlias = dict[str, tuple[Array, Array]]


def curves_of(function: str, source: Any) -> Curves:
    """The curves of a Solver, of a run's folder or its history.csv, or of rows like those in it."""
    if isinstance(source, (str, os.PathLike)):
        return _read(function, Path(source))
    if hasattr(source, "loss_history"):
        return _of_solver(source)
    raise TypeError(f"{function}: a {type(source).__name__} is neither a Solver nor the folder of a run")


def of_rows(rows: Iterable[tuple[Any, Any, str, Any]]) -> Curves:
    """The curves of rows (iteration, epoch, metric, value)."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for iteration, _, metric, value in rows:
        x, y = found.setdefault(metric, ([], []))
        x.append(int(iteration))
        y.append(float(value))
    return {name: (np.asarray(x), np.asarray(y)) for name, (x, y) in found.items()}


def _read(function: str, path: Path) -> Curves:
    if path.is_dir():
        path /= "history.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["iteration", "epoch", "metric", "value"]:
                raise ValueError("its first line is not iteration,epoch,metric,value")
            return of_rows(rows)  # type: ignore[arg-type]  # a row of another length is an error here
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{function}: {path} is not the history of a run: {error}") from error


def _rate(solver: Any, k: int, iteration: int) -> float:
    """The rate of the step before the check."""
    rate: float = solver.learning_rate_history[iteration - 1]
    return rate


# What a check records: (solver, which check, its iteration) -> number.
CHECKED: dict[str, Callable[[Any, int, int], float]] = {
    "train_acc": lambda solver, k, t: solver.train_acc_history[k],
    "val_acc": lambda solver, k, t: solver.val_acc_history[k],
    "val_loss": lambda solver, k, t: solver.val_loss_history[k],
    "learning_rate": _rate,
    "seconds": lambda solver, k, t: solver.seconds_history[k],
}


def _of_solver(solver: Any) -> Curves:
    checks = solver.check_iterations
    curves = {"loss": (np.arange(1, len(solver.loss_history) + 1), np.asarray(solver.loss_history, np.float64))}
    for name, of in CHECKED.items():
        curves[name] = np.asarray(checks), np.asarray([of(solver, k, t) for k, t in enumerate(checks)], np.float64)
    # The rate is known of each step.
    rates = np.asarray(solver.learning_rate_history, np.float64)
    curves["learning_rate"] = np.arange(1, len(rates) + 1), rates
    return curves


def window_of(n: int) -> int:
    """How many values of `n` a running mean is taken over."""
    return min(n, max(n // 50, 5))


def running_mean(values: Array, window: int) -> Array:
    """The mean of the last `window` values at each place, those that are finite; NaN where none is.

    Each sum is made anew, so that one huge loss does not stay in it as a rounding error.
    """
    finite = np.isfinite(values)
    ones = np.ones(window)
    count = np.convolve(finite, ones)[:len(values)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        total = np.convolve(np.where(finite, values, 0.0), ones)[:len(values)]
        mean: Array = total / count
    return mean


def thinned(x: Array, y: Array, limit: int = 600) -> tuple[Array, Array]:
    """At most about `limit` points that look the same: of each stretch its lowest and its highest, in their order."""
    if len(x) <= limit:
        return x, y
    size = -(-len(x) // (limit // 2))
    kept = []
    for start in range(0, len(x), size):
        part = np.where(np.isfinite(y[start:start + size]), y[start:start + size], np.nan)
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
    return x[kept], y[kept]

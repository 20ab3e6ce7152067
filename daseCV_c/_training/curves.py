"""The curves of a training, from a Solver or from the history.csv of a run, and their running mean."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from daseCV_c._files import is_special
from daseCV_c._types import Array

# {metric: (iterations, values)}; a metric that was never recorded is missing.
Curves: TypeAlias = dict[str, tuple[Array, Array]]
# What a Solver records after each step, and at each check, as <name>_history.
STEPPED, CHECKED = ("loss", "learning_rate"), ("train_acc", "val_acc", "val_loss", "seconds")


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
    if is_special(path):
        raise ValueError(f"{function}: {path} is no ordinary file, expected the history of a run")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["iteration", "epoch", "metric", "value"]:
                raise ValueError("its first line is not iteration,epoch,metric,value")
            return of_rows(rows)  # type: ignore[arg-type]  # a row of another length is an error here
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{function}: {path} is not the history of a run: {error}") from error


def _of_solver(solver: Any) -> Curves:
    curves = {}
    for name in STEPPED + CHECKED:
        values = np.asarray(getattr(solver, f"{name}_history"), np.float64)
        x = np.arange(1, len(values) + 1) if name in STEPPED else np.asarray(solver.check_iterations)[:len(values)]
        curves[name] = x, values
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

"""What a report shows of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from daseCV_c import plots
from daseCV_c._layers.batch import gather_batch
from daseCV_c._training.curves import Curves, curves_of
from daseCV_c._types import Array
from daseCV_c.cli import runs
from daseCV_c.cli.data import dataset_of
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.report.draw import Picture, picture

MISTAKES = 12  # images shown
CELLS = 30  # classes up to which the confusion matrix is a table
CONFUSIONS = 20  # pairs listed instead where there are more classes
UNITS = 100  # first weights shown
BATCH = 500


@dataclass
class Mistake:
    """A sample that was taken for another class; `share` is the probability given to that class."""

    index: int
    true: str
    predicted: str
    share: float
    image: Picture | None


@dataclass
class Column:
    """What is shown of one run. What could not be had is missing, and `notes` says why."""

    name: str
    look: int
    curves: Curves
    settings: dict[str, str]
    results: dict[str, str]
    split: str = ""
    classes: list[str] = field(default_factory=list)
    counts: Array | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    mistaken: int = 0
    weights: Picture | None = None
    weights_shown: str = ""
    notes: list[str] = field(default_factory=list)

    def by_class(self) -> dict[str, tuple[int, int]]:
        """{class: (right, all)}"""
        if self.counts is None:
            return {}
        return {name: (int(self.counts[k, k]), int(self.counts[k].sum())) for k, name in enumerate(self.classes)}

    def is_table(self) -> bool:
        return len(self.classes) <= CELLS

    def cells(self) -> list[tuple[str, list[tuple[int, bool, float]]]]:
        """Rows of (class, [(count, right, depth of colour 0 to 1)])."""
        assert self.counts is not None
        rows = []
        for i, name in enumerate(self.classes):
            shares = self.counts[i] / max(int(self.counts[i].sum()), 1)
            # Few of many are to be seen too: the depth of a mistake is the root of its share.
            rows.append((name, [(int(self.counts[i, j]), i == j, round(float(share if i == j else share**0.5), 3))
                                for j, share in enumerate(shares)]))
        return rows

    def confusions(self) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: (true class, predicted class, count)."""
        assert self.counts is not None
        wrong = self.counts * (1 - np.eye(len(self.counts), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
        pairs = [divmod(int(k), len(wrong)) for k in order]
        return [(self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def percent(share: Any, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "none" if value is None else str(value)


def _probabilities(run: runs.Run, images: Array, mean: Array) -> Array:
    """Softmax of the scores, (N, C); images of uint8 lose `mean`."""
    parts = []
    for start in range(0, len(images), BATCH):
        batch = images[start:start + BATCH]
        if batch.dtype == np.uint8:
            batch = gather_batch(batch, np.arange(len(batch)), mean, run.model.dtype)
        scores = np.asarray(run.model.loss(batch), np.float64)
        if not np.isfinite(scores).all():
            raise CommandError(f"{run.folder}: the network's scores are not finite")
        parts.append(np.exp(scores - scores.max(axis=1, keepdims=True)))
    found: Array = np.concatenate(parts)
    found /= found.sum(axis=1, keepdims=True)
    return found


def collect(folder: str, look: int, data: str | None) -> Column:
    """Read the run in `folder` and predict its test samples."""
    run = runs.load(folder, strict=False)
    try:
        curves = curves_of("report", folder)
    except (OSError, ValueError) as error:
        raise CommandError(f"{run.folder / runs.HISTORY} cannot be read: {reason(error)}") from error
    asked = run.config.get("settings")
    settings = {name.replace("_", " "): _text(value)
                for name, value in (asked.items() if isinstance(asked, dict) else ())}
    settings |= {"numbers trained": f"{sum(p.size for p in run.model.params.values()):,}",
                 "package version": _text(run.config.get("version"))}
    loss = curves["loss"][1] if "loss" in curves else np.empty(0)
    results = {"iterations": f"{len(loss):,}", "last training loss": f"{loss[-1]:.4f}" if len(loss) else "none"}
    if "val_acc" in curves:
        results["best validation accuracy"] = percent(np.max(curves["val_acc"][1]))
    column = Column(run.folder.resolve().name, look, curves, settings, results)
    if run.fault is not None:
        column.notes.append(f"There are no predictions: {run.fault}")
        return column
    _weights(column, run)
    try:
        # The digits are at hand wherever the other data sets lie.
        _predictions(column, run, dataset_of(run, None if run.config["dataset"] == "digits" else data))
    except CommandError as error:
        column.notes.append(f"There are no predictions: {reason(error)}")
    return column


def _weights(column: Column, run: runs.Run) -> None:
    try:
        tiles, count = plots.weight_tiles("report", run.model.params["W1"], run.mean_image.shape, UNITS)
    except (KeyError, ValueError):
        return  # the page says so
    column.weights = picture(tiles)
    column.weights_shown = f"{min(UNITS, count)} of {count}" if count > UNITS else f"all {count}"


def _predictions(column: Column, run: runs.Run, data: dict[str, Any]) -> None:
    """Confusion matrix and mistakes on the test samples; on the validation samples where there are none."""
    split, column.split = ("test", "test") if len(data.get("X_test", ())) else ("val", "validation")
    X, y = data[f"X_{split}"], np.asarray(data[f"y_{split}"])
    shares = _probabilities(run, X, data["mean_image"])
    predicted = shares.argmax(axis=1)
    column.classes = [str(name) for name in run.classes or range(shares.shape[1])]
    column.counts = plots.confusion_matrix(y, predicted, shares.shape[1])
    column.results[f"{column.split} accuracy"] = percent(np.mean(predicted == y))
    wrong = np.flatnonzero(predicted != y)
    column.mistaken = len(wrong)
    sure = shares[wrong, predicted[wrong]]
    chosen = wrong[np.argsort(-sure, kind="stable")][:MISTAKES]
    pixels: Array = X[chosen]
    if X.dtype != np.uint8:  # as they were before they lost mean and scale
        pixels = pixels * (1 if run.scale is None else run.scale) + run.mean_image
    low, high = (float(pixels.min()), float(pixels.max())) if len(chosen) else (0.0, 1.0)
    for k, image in zip(chosen, pixels, strict=True):
        shown = image.ndim == 3 and image.shape[0] in (1, 3)
        column.mistakes.append(Mistake(
            int(k), column.classes[y[k]], column.classes[predicted[k]], float(shares[k, predicted[k]]),
            picture((image.transpose(1, 2, 0) - low) / (high - low or 1.0)) if shown else None))

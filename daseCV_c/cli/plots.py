"""curves.png: the loss of each iteration, the accuracies of each check."""

from __future__ import annotations

from pathlib import Path


def save_curves(rows, path: Path) -> bool:
    """Draw the rows of history.csv into `path`; False without matplotlib."""
    try:
        # Not pyplot: this canvas leaves the process's backend and its figures alone.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    series = {name: ([], []) for name in ("loss", "train_acc", "val_acc")}
    for iteration, _, metric, value in rows:
        series[metric][0].append(iteration)
        series[metric][1].append(float(value))
    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(*series["loss"], ".", markersize=2)
    top.set_ylabel("training loss")
    bottom.plot(*series["train_acc"], "-o", markersize=3, label="train")
    bottom.plot(*series["val_acc"], "-o", markersize=3, label="val")
    bottom.set_ylabel("accuracy")
    bottom.set_xlabel("iteration")
    bottom.legend(loc="lower right")
    figure.savefig(path)
    return True

"""Pictures of a run: the loss and the accuracies; the filters of a convolution."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c.cli.runs import Row


def _figure(size: tuple[float, float]) -> Any:
    """An empty figure; None without matplotlib."""
    try:
        # Not pyplot: this canvas leaves the process's backend and its figures alone.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_curves(rows: Iterable[Row], path: Path) -> bool:
    """Draw the rows of history.csv into `path`; False without matplotlib."""
    figure = _figure((8, 7))
    if figure is None:
        return False
    series: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in ("loss", "train_acc", "val_acc")}
    for iteration, _, metric, value in rows:
        series[metric][0].append(iteration)
        series[metric][1].append(float(value))
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


def save_filters(w_fchw: np.ndarray, path: Path) -> bool:
    """Draw filters of one or three channels into `path`, each stretched to its own range; False without matplotlib."""
    from daseCV_c.vis_utils import visualize_grid

    figure = _figure((6, 6))
    if figure is None:
        return False
    grid = visualize_grid(w_fchw.transpose(0, 2, 3, 1), ubound=1.0)
    axes = figure.subplots()
    axes.imshow(grid[:, :, 0] if grid.shape[2] == 1 else grid, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    figure.savefig(path)
    return True

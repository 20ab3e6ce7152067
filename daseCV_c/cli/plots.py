"""Pictures of a run: the loss and the accuracies; the filters of a convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import plots
from daseCV_c._files import replacing
from daseCV_c._training.curves import of_rows
from daseCV_c.cli.runs import Row


def _save(path: Path, size: tuple[float, float], draw: Callable[[Any], object]) -> bool:
    """What `draw` draws into a figure, as a file; False without matplotlib."""
    try:
        # Not pyplot: this canvas leaves the process's backend and its figures alone.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    with replacing(path) as file:
        figure.savefig(file, format="png")
    return True


def save_curves(rows: Iterable[Row], path: Path) -> bool:
    """Draw the rows of history.csv into `path`; False without matplotlib."""
    def draw(figure: Any) -> None:
        figure.suptitle(path.resolve().parent.name, parse_math=False)
        plots.draw_run(figure, of_rows(rows))
    return _save(path, (8, 8), draw)


def save_filters(w_fchw: np.ndarray, path: Path) -> bool:
    """Draw the filters of a convolution into `path`, each stretched to its own range; False without matplotlib."""
    return _save(path, (6, 6), lambda figure: plots.plot_weights(w_fchw, figure=figure))

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
from daseCV_c.schedules import RangeTest


def save(path: Path, size: tuple[float, float], draw: Callable[[Any], object]) -> bool:
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
        figure.suptitle(plots.drawable(path.resolve().parent.name), parse_math=False)
        plots.draw_run(figure, of_rows(rows))
    return save(path, (8, 8), draw)


def save_filters(w_fchw: np.ndarray, path: Path) -> bool:
    """Draw the filters of a convolution into `path`, each stretched to its own range; False without matplotlib."""
    return save(path, (6, 6), lambda figure: plots.plot_weights(w_fchw, figure=figure))


def save_range_test(found: RangeTest, path: Path) -> bool:
    """Draw the losses of a range test into `path`; False without matplotlib."""
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(found.rates, found.losses, ".", markersize=3, color="0.6", label="each batch")
        axes.plot(found.rates, found.smoothed, color=plots.COLOURS[0], label="smoothed")
        if found.suggestion is not None:
            axes.axvline(found.suggestion, color=plots.COLOURS[1], linestyle="--",
                         label=f"falls fastest at {found.suggestion:.1e}")
        low, high = found.losses.min(), found.smoothed.max()
        margin = 0.1 * (high - low or 1.0)
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(low - margin, high + margin))
        axes.set_title("learning rate range test", loc="left", fontsize="medium")
        axes.grid(True, alpha=0.3)
        plots.legend_above(axes)
    return save(path, (8, 5), draw)

"""Pictures of a training: its curves, several runs in one picture, the confusion matrix, the weights as images.

Without a `figure` of the caller's they are drawn with pyplot, as a notebook expects; `figure=` takes
any matplotlib figure, also one that pyplot knows nothing of.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._training.curves import Curves, curves_of, running_mean, thinned, window_of
from daseCV_c._types import Array, ArrayLike

__all__ = ["confusion_matrix", "plot", "plot_confusion", "plot_runs", "plot_weights"]

# Okabe and Ito's colours, which people who see few colours tell apart, without the yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
DASHES = ("-", "--", "-.", ":")
TITLES = {"loss": "training loss", "train_acc": "training accuracy", "val_acc": "validation accuracy"}


def _figure(function: str, figure: Any, size: tuple[float, float]) -> Any:
    if figure is not None:
        return figure
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'{function} draws with matplotlib: pip install "daseCV_c[plot]"') from error
    return plt.figure(figsize=size, layout="constrained")


def _legend(place: Any, handles: Sequence[Any], names: Sequence[str], **options: Any) -> None:
    """A legend without a frame that shows `names` letter by letter: a $ starts no formula, a _ hides nothing."""
    legend = place.legend(handles, ["name"] * len(names), frameon=False, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def legend_above(axes: Any) -> None:
    """The legend above the axes, where no curve can be; their title is on the left."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        _legend(axes, handles, names, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
                ncols=len(handles), fontsize="small")


def drawable(text: str) -> str:
    """`text` for a picture: matplotlib draws no halves of letters, which names of files have that are no UTF-8 here."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    return data.decode("utf-8", "replace")


def _dress(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.grid(True, alpha=0.3)
    axes.margins(x=0.02)


def _logarithmic(values: Array) -> bool:
    """True where a linear axis would show one peak and nothing else."""
    shown = values[np.isfinite(values)]
    return bool(len(shown) and shown.min() > 0 and shown.max() > 1000 * shown.min())


def draw_loss(axes: Any, curves: Curves, colour: str, label: str | None = None, dash: str = "-") -> Any:
    """The losses, pale, under their running mean, whose line is returned."""
    x, y = curves.get("loss", (np.empty(0), np.empty(0)))
    window = window_of(len(x))
    axes.plot(*thinned(x, y), color=colour, alpha=0.3, linewidth=0.8, label="each batch" if label is None else None)
    line, = axes.plot(*thinned(x, running_mean(y, window) if len(y) else y), dash, color=colour, linewidth=1.8,
                      label=f"mean of {window}" if label is None else label)
    if _logarithmic(y):
        axes.set_yscale("log")
    return line


def draw_checks(
    axes: Any, curves: Curves, metric: str, colour: str, label: str | None = None, dash: str = "-", marker: str = "o",
) -> None:
    """What is measured at a check, a mark at each while there are few."""
    if metric in curves:
        x, y = thinned(*curves[metric])
        axes.plot(x, y, dash, marker=marker if len(x) <= 40 else None, markersize=3.5, color=colour, label=label)


def draw_run(figure: Any, curves: Curves) -> tuple[Any, ...]:
    """What `plot` shows, into a figure that is there."""
    rates = "learning_rate" in curves  # runs of earlier versions have not recorded them
    axes = figure.subplots(2 + rates, 1, sharex=True, height_ratios=(3, 3, 1.4)[:2 + rates])
    draw_loss(axes[0], curves, COLOURS[0])
    _dress(axes[0], TITLES["loss"])
    draw_checks(axes[1], curves, "train_acc", COLOURS[0], "training")
    draw_checks(axes[1], curves, "val_acc", COLOURS[1], "validation", "--", "s")
    _dress(axes[1], "accuracy")
    if rates:
        draw_checks(axes[2], curves, "learning_rate", COLOURS[2])
        _dress(axes[2], "learning rate")
    axes[-1].set_xlabel("iteration")
    legend_above(axes[0])
    legend_above(axes[1])
    return tuple(axes)


def plot(run: Any, *, figure: Any = None) -> tuple[Any, ...]:
    """Draw one training: loss with its running mean, accuracies, learning rate, above each other.

    The running mean at iteration t is the mean of the losses of the last w iterations, where w is a
    fiftieth of all and at least 5.

    Parameters
    ----------
    run : Solver or path
        A path is the folder that ``python -m daseCV_c train`` has written, or its history.csv.
    figure : matplotlib figure, optional
        Drawn into; by default pyplot makes one.

    Returns
    -------
    axes : tuple of three matplotlib axes
        They share their iterations; two, where a run has not recorded its rates.
        ``axes[0].figure.savefig('curves.png')`` keeps the picture.

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError, OSError
        `run` is nothing that has a history, or its file cannot be read.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/#loss

    Examples
    --------
    >>> plot({'loss': ([1, 2, 3], [2.3, 2.2, 2.1])})
    Traceback (most recent call last):
    ...
    TypeError: plot: a dict is neither a Solver nor the folder of a run
    """
    curves = curves_of("plot", run)
    return draw_run(_figure("plot", figure, (8, 8)), curves)


def _names(function: str, runs: Any) -> dict[str, Any]:
    """{name: run}: of a list, by the folder's name or the update rule; equal names are numbered."""
    if isinstance(runs, Mapping):
        named = [(str(name), run) for name, run in runs.items()]
    elif isinstance(runs, Sequence) and not isinstance(runs, str):
        named = [(Path(run).resolve().name if isinstance(run, (str, os.PathLike)) else
                  str(getattr(run, "update_rule", "run")), run) for run in runs]
    else:
        raise TypeError(f"{function}: runs is a {type(runs).__name__}, expected a list of runs or a dict of them")
    if not named:
        raise ValueError(f"{function}: runs is empty, expected at least one run")
    names = [name for name, _ in named]
    return {name if names.count(name) == 1 else f"{name} ({names[:k + 1].count(name)})": run
            for k, (name, run) in enumerate(named)}


def plot_runs(runs: Any, *, figure: Any = None) -> tuple[Any, Any, Any]:
    """Draw several trainings into one picture: training loss, training and validation accuracy.

    Parameters
    ----------
    runs : list of Solvers or paths, or dict of them
        The keys of a dict are the names in the legend; else they are folders' names and update rules.
    figure : matplotlib figure, optional
        Drawn into; by default pyplot makes one.

    Returns
    -------
    axes : tuple of three matplotlib axes
        They share their iterations; the legend stands above all.

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError, OSError
        `runs` is empty, or one of them has no history or a file that cannot be read.

    References
    ----------
    CS231n, assignment 2, "Fully-connected networks": update rules side by side.

    Examples
    --------
    >>> plot_runs([])
    Traceback (most recent call last):
    ...
    ValueError: plot_runs: runs is empty, expected at least one run
    """
    found = {name: curves_of("plot_runs", run) for name, run in _names("plot_runs", runs).items()}
    figure = _figure("plot_runs", figure, (8, 9))
    axes = figure.subplots(3, 1, sharex=True)
    lines = []
    for k, curves in enumerate(found.values()):
        colour, dash = COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]
        lines.append(draw_loss(axes[0], curves, colour, "run", dash))
        draw_checks(axes[1], curves, "train_acc", colour, dash=dash)
        draw_checks(axes[2], curves, "val_acc", colour, dash=dash)
    for one, title in zip(axes, TITLES.values(), strict=True):
        _dress(one, title)
    axes[2].set_xlabel("iteration")
    _legend(figure, lines, list(map(drawable, found)), loc="outside upper center", ncols=min(len(found), 4))
    return tuple(axes)


def confusion_matrix(y: ArrayLike, predicted: ArrayLike, num_classes: int | None = None) -> Array:
    """Count how often each class was taken for each.

    Parameters
    ----------
    y, predicted : arrays of integers, (N,)
        Labels and predicted classes, from 0.
    num_classes : int, optional
        C; by default one more than the largest of both.

    Returns
    -------
    counts : array of int64, (C, C)
        ``counts[i, j]`` samples of class i were taken for class j.

    Raises
    ------
    TypeError, ValueError
        Not vectors of integers of one length, or a class out of range.

    References
    ----------
    Stehman, "Selecting and interpreting measures of thematic classification accuracy", 1997.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    function = "confusion_matrix"
    true, found = _checks.integers(function, "y", y), _checks.integers(function, "predicted", predicted)
    if true.ndim != 1 or true.shape != found.shape:
        raise ValueError(f"{function}: y has shape {true.shape} and predicted {found.shape}, expected one length (N,)")
    highest = int(max(true.max(initial=-1), found.max(initial=-1)))
    n = highest + 1 if num_classes is None else _checks.integer(function, "num_classes", num_classes, 1, 2**20)
    lowest = int(min(true.min(initial=0), found.min(initial=0)))
    if lowest < 0 or highest >= n:
        raise ValueError(f"{function}: a class is {lowest if lowest < 0 else highest}, expected 0 to {n - 1}")
    return np.bincount(true * n + found, minlength=n * n).reshape(n, n)


def plot_confusion(counts: ArrayLike, *, class_names: Sequence[str] | None = None, figure: Any = None) -> Any:
    """Draw a confusion matrix: rows are the true classes, the colour is the share of the row.

    Parameters
    ----------
    counts : array of integers, (C, C)
        What `confusion_matrix` gives. Up to 20 classes have their numbers in the cells.
    class_names : sequence of C strings, optional
    figure : matplotlib figure, optional
        Drawn into; by default pyplot makes one.

    Returns
    -------
    axes : matplotlib axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        `counts` is not square, or the names are not as many.

    References
    ----------
    Stehman, "Selecting and interpreting measures of thematic classification accuracy", 1997.

    Examples
    --------
    >>> plot_confusion([[1, 2]])
    Traceback (most recent call last):
    ...
    ValueError: plot_confusion: counts has shape (1, 2), expected (C, C)
    """
    function = "plot_confusion"
    found = _checks.as_array(function, "counts", counts)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not found.size:
        raise ValueError(f"{function}: counts has shape {found.shape}, expected (C, C)")
    n = len(found)
    names = [str(k) for k in range(n)] if class_names is None else [drawable(str(name)) for name in class_names]
    if len(names) != n:
        raise ValueError(f"{function}: class_names has {len(names)} names, expected {n}")
    shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1)
    side = min(4 + 0.35 * n, 10)
    figure = _figure(function, figure, (side + 1, side))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if n <= 20:
        axes.set_xticks(range(n), names, rotation=0 if max(map(len, names)) <= 3 else 45, parse_math=False)
        axes.set_yticks(range(n), names, parse_math=False)
        for i, j in np.ndindex(n, n):
            if found[i, j]:
                axes.text(j, i, f"{found[i, j]:g}", ha="center", va="center", fontsize="small",
                          color="white" if shares[i, j] > 0.5 else "black")
    axes.set(xlabel="predicted class", ylabel="true class", title="confusion matrix")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return axes


def weight_tiles(function: str, w: Array, image_shape: Sequence[int] | None, limit: int) -> tuple[Array, int]:
    """First-layer weights as one picture (R, C, 4) with values 0 to 1, clear between the images; how many there are."""
    if w.ndim == 2:
        if image_shape is None or len(image_shape) != 3 or int(np.prod(image_shape)) != len(w):
            shape = None if image_shape is None else tuple(image_shape)
            raise ValueError(f"{function}: the {len(w)} inputs of a unit are no image of shape {shape}; "
                             "image_shape= says (C, H, W)")
        w = w.T.reshape(-1, *image_shape)
    if w.ndim != 4 or not w.size:
        raise ValueError(f"{function}: the weights have shape {w.shape}, expected (D, M) or (F, C, HH, WW)")
    if w.shape[1] not in (1, 3):  # no colours: each channel by itself
        w = w.reshape(-1, 1, *w.shape[2:])
    count, _, height, width = w.shape
    shown = w[:limit].transpose(0, 2, 3, 1)
    low, high = (np.nan_to_num(edge(shown, axis=(1, 2, 3), keepdims=True)) for edge in (np.min, np.max))
    columns = math.isqrt(len(shown) - 1) + 1
    tiles = np.zeros((-(-len(shown) // columns) * (height + 1) - 1, columns * (width + 1) - 1, 4))
    for k, image in enumerate((shown - low) / np.where(high > low, high - low, 1)):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        tiles[top:top + height, left:left + width] = 1
        tiles[top:top + height, left:left + width, :3] = image
    return np.clip(np.nan_to_num(tiles), 0, 1), count


def plot_weights(
    model: Any, *, image_shape: Sequence[int] | None = None, limit: int = 100, figure: Any = None,
) -> Any:
    """Draw the weights of the first layer as images, one a unit or filter, each stretched to its own range.

    Parameters
    ----------
    model : network, or array
        A network with ``params['W1']``; or W1 itself, (D, M) or (F, C, HH, WW).
    image_shape : (C, H, W), optional
        How the D inputs of an affine layer make an image.
    limit : int
        No more images than that are shown.
    figure : matplotlib figure, optional
        Drawn into; by default pyplot makes one.

    Returns
    -------
    axes : matplotlib axes

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError
        There are no such weights, or they do not make images of that shape.

    References
    ----------
    CS231n, "Understanding CNNs", https://cs231n.github.io/understanding-cnn/

    Examples
    --------
    >>> import numpy as np
    >>> plot_weights(np.zeros((64, 5)))
    Traceback (most recent call last):
    ...
    ValueError: plot_weights: the 64 inputs of a unit are no image of shape None; image_shape= says (C, H, W)
    """
    function = "plot_weights"
    params = getattr(model, "params", None)
    if params is not None and "W1" not in params:
        raise ValueError(f"{function}: model.params has no 'W1', expected the weights of a first layer")
    w = _checks.as_array(function, "model", model if params is None else params["W1"])
    limit = _checks.integer(function, "limit", limit, 1)
    tiles, count = weight_tiles(function, w, image_shape, limit)
    figure = _figure(function, figure, (6, 6))
    axes = figure.subplots()
    axes.imshow(tiles[:, :, :3], interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("weights of the first layer" + (f": {limit} of {count}" if limit < count else ""))
    return axes

"""What the commands that use a trained network share."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser
from typing import Any

import numpy as np

from daseCV_c._types import Array
from daseCV_c.cli.data import load_images
from daseCV_c.cli.errors import CommandError
from daseCV_c.cli.options import add_run
from daseCV_c.cli.runs import Run

UNKNOWN = -1  # no class, for want of scores that are finite


def classify(
    model: Any, images: Array, mean: Array | None = None, batch_size: int | None = None, strict: bool = True,
) -> np.ndarray:
    """The class of the highest score, as int64, for any number of images; uint8 loses `mean`.

    Scores that are not finite are an error, or UNKNOWN if that is not `strict`.
    """
    how: dict[str, Any] = {"batch_size": batch_size, "mean_image": mean if images.dtype == np.uint8 else None}
    with warnings.catch_warnings(record=True) as said, np.errstate(all="ignore"):
        warnings.simplefilter("always", RuntimeWarning)
        classes: Array = model.predict(images, **how)
        if any(issubclass(warning.category, RuntimeWarning) for warning in said):
            finite = np.isfinite(model.predict_proba(images, **how)).all(axis=1)
            if strict and not finite.all():
                raise CommandError(f"the network's scores are not finite, first for sample {int(np.argmin(finite))}")
            classes = np.where(finite, classes, UNKNOWN)
    return classes


def accuracy(model: Any, data: dict[str, Array], split: str) -> float:
    """Share of right classes in a split of `load_dataset`."""
    return float(np.mean(classify(model, data[f"X_{split}"], data["mean_image"]) == data[f"y_{split}"]))


def predictions(run: Run, images: str, raw: bool) -> Array:
    """The classes that the network of a run gives to a user's own images."""
    return classify(run.model, load_images(run, images, raw))


def add_raw(parser: ArgumentParser) -> None:
    parser.add_argument("--raw", action="store_true",
                        help="the file holds plain pixels: subtract the mean image stored in RUN. A run on a file of "
                             "your own always takes its images as they were in that file")


def add_images(parser: ArgumentParser) -> None:
    """RUN, X.npy and --raw."""
    add_run(parser)
    parser.add_argument("images", metavar="X.npy",
                        help="images (N, C, H, W) or rows (N, C*H*W), the training mean already subtracted; "
                             "also .npz with X, or .csv with a row for each image")
    add_raw(parser)

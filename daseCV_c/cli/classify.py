"""What the commands that use a trained network share."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import numpy as np

from daseCV_c._layers.batch import gather_batch
from daseCV_c._types import Array
from daseCV_c.cli import runs
from daseCV_c.cli.data import load_images
from daseCV_c.cli.options import add_run


def classify(model: Any, images: Array, mean: Array | None = None, batch_size: int = 200) -> np.ndarray:
    """The class of the highest score, as int64, for any number of images; `mean` is subtracted from each."""
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start:start + batch_size]
        if mean is not None:
            batch = gather_batch(batch, np.arange(len(batch)), mean, model.dtype)
        parts.append(np.argmax(model.loss(batch), axis=1))
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


def accuracy(model: Any, data: dict[str, Array], split: str) -> float:
    """Share of right classes in a split of `load_dataset`."""
    return float(np.mean(classify(model, data[f"X_{split}"], data["mean_image"]) == data[f"y_{split}"]))


def predictions(folder: str, images: str, raw: bool) -> Array:
    """The classes that the network of a run gives to a user's own images."""
    _, model, mean_image = runs.load(folder)
    return classify(model, load_images(images, mean_image, raw, model.dtype))


def add_images(parser: ArgumentParser) -> None:
    """RUN, X.npy and --raw."""
    add_run(parser)
    parser.add_argument("images", metavar="X.npy",
                        help="images (N, C, H, W) or rows (N, C*H*W), the training mean already subtracted")
    parser.add_argument("--raw", action="store_true",
                        help="X.npy holds plain pixels: subtract the mean image stored in RUN")

"""The commands that use a trained network: `evaluate`, `predict`, `submit`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from daseCV_c._files import replacing
from daseCV_c._layers.batch import gather_batch
from daseCV_c._types import Array
from daseCV_c.cli import runs
from daseCV_c.cli.data import SPLITS, load_dataset, load_images
from daseCV_c.cli.errors import CommandError, reason


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


def evaluate(folder: str, data_dir: str | None = None) -> None:
    """Print the accuracy on each split."""
    config, model, mean_image = runs.load(folder)
    if data_dir is None:
        data_dir = config.get("data")
    data = load_dataset(config["dataset"], data_dir, mean_image)
    for split, word in zip(SPLITS, ("train", "validation", "test"), strict=True):
        print(f"{word} accuracy: {accuracy(model, data, split):.4f}")


def _predictions(folder: str, images: str, raw: bool) -> Array:
    _, model, mean_image = runs.load(folder)
    return classify(model, load_images(images, mean_image, raw, model.dtype))


def predict(folder: str, images: str, output: str, raw: bool = False) -> None:
    """Write the predicted classes, int64 of shape (N,), into `output`."""
    predictions = _predictions(folder, images, raw)
    try:
        # A file object: np.save would add .npy to a name of the user's choice.
        with replacing(output) as file:
            np.save(file, predictions, allow_pickle=False)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {reason(error)}") from error
    print(f"{len(predictions)} predictions in {output}")


def submit(folder: str, images: str, phase: int, raw: bool = False) -> None:
    """Write output/phase_<n>/prediction.npy and the zip file that holds it."""
    from daseCV_c.submission import output_file, zip_fun

    predictions = _predictions(folder, images, raw)
    try:
        output_file(predictions, phase)
        zip_fun(phase)
    except OSError as error:
        raise CommandError(f"output cannot be written: {reason(error)}") from error
    print(os.path.join("output", f"prediction_phase_{phase}.zip"))

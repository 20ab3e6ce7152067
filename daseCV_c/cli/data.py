"""Images for the commands: a data set as the networks take it, and a user's own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c._types import Array
from daseCV_c.cli import files, own_data
from daseCV_c.cli.errors import CommandError
from daseCV_c.cli.runs import Run

SPLITS = ("train", "val", "test")


def load_dataset(name: str, data_dir: str | None, mean: Array | None = None) -> dict[str, Array]:
    """Return the splits as pixels of uint8, and `mean_image`: `mean`, or the mean training image.

    CIFAR-10 takes 0.16 GB this way, an eighth of float64. Batches lose the mean as they are drawn.
    """
    if name == "digits":
        from daseCV_c.datasets import load_digits_images
        if data_dir is not None:
            raise CommandError("--data: the digits are bundled, only cifar10 is read from a folder")
        data = load_digits_images(dtype=np.uint8)
    else:
        data = _load_cifar10(data_dir)
    if mean is not None:
        if mean.shape != data["X_train"].shape[1:]:
            raise CommandError(f"{name} has images of shape {data['X_train'].shape[1:]}, "
                               f"the run's are {mean.shape}")
        data["mean_image"] = mean
    return data


def dataset_of(run: Run, data: str | None = None) -> dict[str, Any]:
    """The data set that a run was trained on, from another place if `data` names one."""
    config = run.config
    if data is None:
        data = config.get("data")
    if not run.own:
        return load_dataset(config["dataset"], data, run.mean_image)
    assert data is not None, "as read_config has seen"
    known = {"mean_image": run.mean_image, "scale": run.scale, "classes": run.classes}
    return own_data.load(data, config.get("label_column"), run.model.dtype, known)


def _load_cifar10(data_dir: str | None) -> dict[str, Array]:
    from daseCV_c.data_utils import get_CIFAR10_data
    if data_dir is not None and not Path(data_dir).is_dir():
        raise CommandError(f"--data: there is no folder {data_dir}")
    try:
        return get_CIFAR10_data(data_dir=data_dir, dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise CommandError(f"CIFAR-10: {error}") from error


def load_images(run: Run, path: str, raw: bool) -> np.ndarray:
    """The user's images as (N, *mean_image.shape), as the network takes them; `raw` ones lose the mean here.

    Those of a run on the user's own file are always raw.
    """
    shape = run.mean_image.shape
    if files.kind(path) == "csv":
        images = _columns(run, path)
    else:
        images = files.numbers(path, files.array(path))
    if images.shape[1:] not in (shape, (run.mean_image.size,), shape[1:] if shape[:1] == (1,) else shape):
        wanted = ", ".join(map(str, shape))
        raise CommandError(f"{path} has shape {images.shape}, expected (N, {wanted})" + (
            f" or (N, {run.mean_image.size})" if len(shape) > 1 else ""))
    images = images.reshape(len(images), *shape)
    raw = (raw or run.own) and run.fault is None  # else it is their number that is asked
    return own_data.standardized(path, images, run.mean_image if raw else 0.0, run.scale if raw else None,
                                 run.model.dtype)


def _columns(run: Run, path: str) -> Array:
    """The features in a .csv file: by their names where the run and the file have some, else by their order."""
    wanted, found = run.config.get("columns"), table(run, path)
    if wanted is None or found.names is None:
        return found.X
    missing = [name for name in wanted if name not in found.names]
    if missing:
        raise CommandError(f"{path} has no column {missing[0][:80]!r}, which the run was trained with")
    return found.X[:, [found.names.index(name) for name in wanted]]


def table(run: Run, path: str) -> files.Table:
    """A .csv file for a run: with or without labels."""
    return files.table(path, run.config.get("label"), width=run.mean_image.size)

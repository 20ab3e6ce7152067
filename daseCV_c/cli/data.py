"""Images for the commands: a data set as the networks take it, and a user's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._types import Array
from daseCV_c.cli.errors import CommandError, reason

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


def _load_cifar10(data_dir: str | None) -> dict[str, Array]:
    from daseCV_c.data_utils import get_CIFAR10_data
    if data_dir is not None and not Path(data_dir).is_dir():
        raise CommandError(f"--data: there is no folder {data_dir}")
    try:
        return get_CIFAR10_data(data_dir=data_dir, dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise CommandError(f"CIFAR-10: {error}") from error


def subtract_mean(images: Array, mean: Array | float, dtype: DTypeLike, chunk: int = 1000) -> Array:
    """`images - mean` in `dtype`, rounded once; in chunks, so that no second float64 copy is made."""
    result = np.empty(images.shape, dtype)
    for start in range(0, len(images), chunk):
        result[start:start + chunk] = images[start:start + chunk] - mean
    return result


def load_images(path: str, mean: np.ndarray, raw: bool, dtype: DTypeLike) -> np.ndarray:
    """The user's images as (N, *mean.shape); `raw` ones lose the mean here."""
    try:
        images = np.load(path, allow_pickle=False)
    except Exception as error:  # a broken file may raise anything from struct, zipfile, zlib or NumPy
        raise CommandError(f"{path} cannot be read: {reason(error)}") from error
    if not isinstance(images, np.ndarray):
        images.close()
        raise CommandError(f"{path} is an archive of arrays, expected one array (.npy)")
    if images.dtype.kind not in "buif":
        raise CommandError(f"{path} holds {images.dtype}, expected numbers")
    if images.shape[1:] not in (mean.shape, (mean.size,)):
        wanted = ", ".join(map(str, mean.shape))
        raise CommandError(f"{path} has shape {images.shape}, expected (N, {wanted}) or (N, {mean.size})")
    if not np.isfinite(images).all():
        raise CommandError(f"{path} holds values that are not finite")
    images = images.reshape(len(images), *mean.shape)
    return subtract_mean(images, mean if raw else 0.0, dtype)

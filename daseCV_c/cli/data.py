"""Images for the commands: a data set as the networks take it, and a user's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from daseCV_c.cli.errors import CommandError, reason

SPLITS = ("train", "val", "test")


def load_dataset(name: str, data_dir: str | None, dtype, mean=None) -> tuple[dict, np.ndarray]:
    """Return the splits, minus `mean` (default: the mean training image), in `dtype`; and the mean."""
    if name == "digits":
        from daseCV_c.datasets import load_digits_images
        if data_dir is not None:
            raise CommandError("--data: the digits are bundled, only cifar10 is read from a folder")
        data = load_digits_images(subtract_mean=False)
    else:
        data = _load_cifar10(data_dir)
    if mean is None:
        mean = data["X_train"].mean(axis=0, dtype=np.float64)
    elif mean.shape != data["X_train"].shape[1:]:
        raise CommandError(f"{name} has images of shape {data['X_train'].shape[1:]}, "
                           f"the run's are {mean.shape}")
    result = {}
    for split in SPLITS:
        # One split at a time, and let go of: CIFAR-10 in float64 takes more than a gigabyte.
        images = data.pop(f"X_{split}")
        result[f"X_{split}"] = subtract_mean(images, mean, dtype)
        result[f"y_{split}"] = data[f"y_{split}"]
        del images
    return result, mean


def _load_cifar10(data_dir):
    from daseCV_c.data_utils import get_CIFAR10_data
    if data_dir is not None and not Path(data_dir).is_dir():
        raise CommandError(f"--data: there is no folder {data_dir}")
    try:
        return get_CIFAR10_data(subtract_mean=False, data_dir=data_dir)
    except (OSError, ValueError) as error:
        raise CommandError(f"CIFAR-10: {error}") from error


def subtract_mean(images, mean, dtype, chunk=1000):
    """`images - mean` in `dtype`, rounded once; in chunks, so that no second float64 copy is made."""
    result = np.empty(images.shape, dtype)
    for start in range(0, len(images), chunk):
        result[start:start + chunk] = images[start:start + chunk] - mean
    return result


def load_images(path: str, mean: np.ndarray, raw: bool, dtype) -> np.ndarray:
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

"""The bundled data set: real handwritten digits."""

from importlib.resources import files

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._types import Array

SPLIT = {"train": (0, 1297), "val": (1297, 1547), "test": (1547, 1797)}


def load_digits_images(*, dtype: DTypeLike = np.float64, subtract_mean: bool = True) -> dict[str, Array]:
    """1,797 real handwritten digits with a fixed split: no download.

    Parameters
    ----------
    dtype : {float64, float32, uint8}
        uint8 leaves the pixels as they are and, with `subtract_mean`, adds ``mean_image``.
    subtract_mean : bool
        Subtract the mean training image, which is computed in float64.

    Returns
    -------
    data : dict
        X_train (1297, 1, 8, 8), y_train (1297,), X_val and X_test (250, 1, 8, 8), y_val and y_test.
        Pixels are 0 to 16 before the mean is subtracted.

    Raises
    ------
    ValueError
        Unknown dtype.

    References
    ----------
    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the copy that scikit-learn ships.

    Examples
    --------
    >>> data = load_digits_images()
    >>> data['X_train'].shape, data['y_train'][:3].tolist()
    ((1297, 1, 8, 8), [4, 5, 1])
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32, np.uint8):
        raise ValueError(f"load_digits_images: dtype is {dtype}, expected float64, float32 or uint8")
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        images, labels, order = stored["images"], stored["labels"], stored["order"]
    images, labels = images[order][:, None], labels[order].astype(np.int64)
    first, last = SPLIT["train"]
    mean = images[first:last].mean(axis=0, dtype=np.float64)
    data = {}
    for split, (first, last) in SPLIT.items():
        X = images[first:last]
        if dtype != np.uint8:
            X = (X - mean if subtract_mean else X).astype(dtype)
        data[f"X_{split}"] = X
        data[f"y_{split}"] = labels[first:last]
    if dtype == np.uint8 and subtract_mean:
        data["mean_image"] = mean
    return data

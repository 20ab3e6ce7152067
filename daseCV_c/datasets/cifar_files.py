"""CIFAR-10 from its batch files, pickled or binary."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks
from daseCV_c._types import Array
from daseCV_c.datasets import pickles as _pickle

ROWS, PIXELS, CLASSES = 10000, 3072, 10
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
TRAIN_NAMES = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST_NAME = "test_batch"
# Where the course's notebooks, of several years, keep their data.
_PLACES = ("input", "daseCV/datasets", "cs231n/datasets", "datasets", "data", ".")
_CHUNK = 250  # rows read at a time: 250 * 255 < 2**16, so their sums fit 16 bits


def _batch_paths(folder: Path) -> list[Path] | None:
    """The six files of a folder: five for training, then the test batch; None if it holds no batch."""
    for ending in ("", ".bin"):
        paths = [folder / f"{name}{ending}" for name in (*TRAIN_NAMES, TEST_NAME)]
        if any(path.is_file() for path in paths):
            return paths
    return None


def find_batches(function: str, root: str | os.PathLike[str] | None = None) -> list[Path]:
    """Paths of the six batch files, from `root`, ``$DASECV_DATA`` or the course's places."""
    root = root if root is not None else os.environ.get("DASECV_DATA") or None
    if root is not None:
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{function}: there is no folder {root}")
        places = [root, *(root / name for name in FOLDERS)]
    else:
        places = [Path(place) / name for place in _PLACES for name in FOLDERS]
    for place in places:
        paths = _batch_paths(place)
        if paths is not None:
            missing = [path for path in paths if not path.is_file()]
            if missing:
                raise FileNotFoundError(f"{function}: {missing[0]} is missing")
            return paths
    if root is not None:
        raise FileNotFoundError(
            f"{function}: {root} holds no CIFAR-10: neither data_batch_1, data_batch_1.bin nor a folder "
            f"{' or '.join(FOLDERS)}")
    looked = ", ".join(f"{place}/{FOLDERS[0]}" for place in _PLACES)
    raise FileNotFoundError(
        f"{function}: CIFAR-10 was not found in {looked}. Name its folder with data_dir or DASECV_DATA, "
        "or download it with daseCV_c.datasets.fetch_cifar10()")


class _Batch:
    """One file: its `labels`, (10000,) int64, checked, and its pixels, some rows at a time.

    The pixels stay in the file, so reading takes next to no memory; those that cannot be found there
    as they are, of a text pickle or in Fortran's order, are unpickled whenever they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._in_file, self._offset, self._pitch = True, 0, PIXELS  # of the rows in the file
        if self.path.suffix == ".bin":
            self._open_binary()
        else:
            self._open_pickled()
        low, high = self.labels.min(), self.labels.max()
        if low < 0 or high >= CLASSES:
            raise ValueError(
                f"{self.path} holds the label {low if low < 0 else high}, expected 0 to {CLASSES - 1}")

    def _open_binary(self) -> None:
        self._pitch = PIXELS + 1  # a record is a label and the pixels
        size, expected = self.path.stat().st_size, ROWS * self._pitch
        if size != expected:
            raise ValueError(f"{self.path} has {size} bytes, expected {expected}: {ROWS} records of {self._pitch}")
        self.labels = np.concatenate([records[:, 0].astype(np.int64) for records in self._records(0, ROWS)])

    def _open_pickled(self) -> None:
        batch, offset = _pickle.load_leaving(self.path, ROWS * PIXELS)
        pixels, labels = self._fields(batch)
        left = isinstance(pixels, _pickle.Left) and tuple(pixels) == ((ROWS, PIXELS), np.uint8, False)
        if left and offset is not None:
            self._offset = offset
        else:
            self._in_file = False
        self.labels = self._checked_labels(labels)

    def _unpickled(self) -> Any:
        """The pixels, (10000, 3072) uint8, checked."""
        pixels, _ = self._fields(_pickle.load_path(self.path, encoding="bytes"))
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (ROWS, PIXELS):
            what = (f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray)
                    else type(pixels).__name__)
            raise ValueError(f"{self.path} holds data that is {what}, expected uint8 of shape ({ROWS}, {PIXELS})")
        return pixels

    def _fields(self, batch: Any) -> Any:
        # Read as bytes: a Python 2 string of 30 MB would else be decoded and encoded again.
        if not isinstance(batch, dict):
            raise ValueError(f"{self.path} holds a {type(batch).__name__}, expected a dict with data and labels")
        batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        for key in ("data", "labels"):
            if key not in batch:
                raise ValueError(f"{self.path} has no key {key!r}")
        return batch["data"], batch["labels"]

    def _checked_labels(self, labels: Any) -> Array:
        if isinstance(labels, list) and not all(type(label) is int for label in labels):
            raise ValueError(f"{self.path} holds labels that are not integers")
        try:
            found = np.asarray(labels)
        except (ValueError, OverflowError):
            found = np.empty(0)
        if found.dtype.kind not in "iu" or found.shape != (ROWS,):
            raise ValueError(f"{self.path} holds labels that are {found.dtype} of shape {found.shape}, "
                             f"expected {ROWS} integers")
        return found.astype(np.int64)

    def _records(self, start: int, stop: int) -> Iterator[Array]:
        """Yield rows as the file has them; each block is overwritten by the next."""
        records = np.empty((_CHUNK, self._pitch), np.uint8)
        with open(self.path, "rb") as file:
            file.seek(self._offset + start * self._pitch)
            for row in range(start, stop, _CHUNK):
                block = records[:stop - row]
                if file.readinto(block.data) != block.nbytes:
                    raise ValueError(f"{self.path} ended at row {row}, expected {ROWS} rows")
                yield block

    def rows(self, start: int, stop: int) -> Iterator[tuple[slice, Array]]:
        """Yield (place, pixels), the place counted from `start`, the pixels valid until the next."""
        if not self._in_file:
            pixels = self._unpickled()
            for row in range(start, stop, _CHUNK):
                end = min(row + _CHUNK, stop)
                yield slice(row - start, end - start), pixels[row:end]
            return
        done = 0
        for records in self._records(start, stop):
            yield slice(done, done + len(records)), records[:, self._pitch - PIXELS:]
            done += len(records)


def load_CIFAR_batch(filename: str | os.PathLike[str]) -> tuple[Array, Array]:
    """Read one batch file of CIFAR-10.

    Parameters
    ----------
    filename : str or path
        A pickled batch, or one of the binary version if the name ends in ``.bin``.

    Returns
    -------
    X : float64 array, (10000, 32, 32, 3)
        Pixels 0 to 255, colours last.
    Y : int64 array, (10000,)

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        The file is truncated, has the wrong size or a label outside 0 to 9, or is a pickle that
        asks for more than data. The message names the file.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
    file format: https://www.cs.toronto.edu/~kriz/cifar.html

    Examples
    --------
    >>> load_CIFAR_batch('absent/data_batch_1')
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'absent/data_batch_1'
    """
    X = np.empty((ROWS, 32, 32, 3))
    Y = np.empty(ROWS, np.int64)
    _fill_colours_last(Path(filename), X, Y)
    return X, Y


def _fill_colours_last(path: Path, X: Array, Y: Array) -> None:
    batch = _Batch(path)
    Y[:] = batch.labels
    for place, pixels in batch.rows(0, ROWS):
        X[place] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def load_CIFAR10(ROOT: str | os.PathLike[str]) -> tuple[Array, Array, Array, Array]:
    """Read all of CIFAR-10.

    Parameters
    ----------
    ROOT : str or path
        The folder with the batch files, or the one above it.

    Returns
    -------
    Xtr : float64 array, (50000, 32, 32, 3)
    Ytr : int64 array, (50000,)
    Xte : float64 array, (10000, 32, 32, 3)
    Yte : int64 array, (10000,)

    Raises
    ------
    OSError, ValueError
        As `load_CIFAR_batch`; also when a file or the folder is missing.

    References
    ----------
    https://www.cs.toronto.edu/~kriz/cifar.html

    Examples
    --------
    >>> load_CIFAR10('absent')
    Traceback (most recent call last):
    FileNotFoundError: load_CIFAR10: there is no folder absent
    """
    paths = find_batches("load_CIFAR10", ROOT)
    Xtr, Ytr = np.empty((5 * ROWS, 32, 32, 3)), np.empty(5 * ROWS, np.int64)
    for k, path in enumerate(paths[:-1]):
        rows = slice(k * ROWS, (k + 1) * ROWS)
        _fill_colours_last(path, Xtr[rows], Ytr[rows])
    Xte, Yte = np.empty((ROWS, 32, 32, 3)), np.empty(ROWS, np.int64)
    _fill_colours_last(paths[-1], Xte, Yte)
    return Xtr, Ytr, Xte, Yte


P = ParamSpec("P")


def _folder_first(function: Callable[P, dict[str, Array]]) -> Callable[P, dict[str, Array]]:
    """Some editions of the course, and those who call it, have the folder as the first argument."""
    @functools.wraps(function)
    def read(*args: P.args, **kwargs: P.kwargs) -> dict[str, Array]:
        folders: list[Any] = [kwargs.pop("cifar10_dir")] if "cifar10_dir" in kwargs else []
        if args and isinstance(args[0], (str, os.PathLike)):
            folders.append(args[0])
            args = args[1:]  # type: ignore[assignment]
        if len(folders) + ("data_dir" in kwargs) > 1:
            raise TypeError(f"get_CIFAR10_data: the folder is given twice, once as {folders[0]!r}")
        if folders:
            kwargs["data_dir"] = folders[0]
        return function(*args, **kwargs)
    return read


def _count(name: str, value: int, low: int, high: int) -> int:
    return _checks.integer("get_CIFAR10_data", name, value, low, high, ValueError)


@_folder_first
def get_CIFAR10_data(
    num_training: int = 49000, num_validation: int = 1000, num_test: int = 1000, subtract_mean: bool = True, *,
    data_dir: str | os.PathLike[str] | None = None, dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """Read CIFAR-10 as the course splits it.

    The first `num_training` of the 50,000 training images are for training, the next
    `num_validation` for validation; the first `num_test` of the 10,000 test images for testing.
    The files are read some rows at a time into their place in the result, those of floats once more
    for the mean before, so the peak memory is that of the result.

    Parameters
    ----------
    num_training, num_validation, num_test : int
        The folder may come before them, ``get_CIFAR10_data(folder)``, or be called cifar10_dir, as in
        some editions of the course.
    subtract_mean : bool
        Subtract the mean training image from every image.
    data_dir : str or path, optional
        The folder with the batch files, pickled or binary, or the one above it. Default:
        ``$DASECV_DATA``, else ``input/cifar-10-batches-py`` and the course's other places.
    dtype : {float64, float32, uint8}
        Type of the images. The mean is taken and subtracted in float64 and the result rounded
        once. With uint8 the images stay as they are, and with `subtract_mean` the mean image
        is returned beside them, for `gather_batch` to subtract.

    Returns
    -------
    data : dict
        X_train, X_val, X_test: (N, 3, 32, 32); y_train, y_val, y_test: int64 labels 0 to 9.
        Only with uint8 and `subtract_mean`: mean_image, float64 (3, 32, 32).

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A size out of range, an unsupported dtype, or a damaged or unsafe file, which is named.

    References
    ----------
    https://www.cs.toronto.edu/~kriz/cifar.html; CS231n, assignment 2

    Examples
    --------
    >>> get_CIFAR10_data(data_dir='absent')
    Traceback (most recent call last):
    FileNotFoundError: get_CIFAR10_data: there is no folder absent
    """
    num_training = _count("num_training", num_training, 1, 5 * ROWS)
    num_validation = _count("num_validation", num_validation, 0, 5 * ROWS - num_training)
    num_test = _count("num_test", num_test, 0, ROWS)
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32, np.uint8):
        raise ValueError(f"get_CIFAR10_data: dtype is {dtype}, expected float64, float32 or uint8")
    paths = find_batches("get_CIFAR10_data", data_dir)

    wanted = {"train": (0, num_training), "val": (num_training, num_training + num_validation),
              "test": (5 * ROWS, 5 * ROWS + num_test)}
    parts = []  # (split, file, its first row, the last, their place in the split)
    for k, path in enumerate(paths):
        batch = None
        for split, (first, end) in wanted.items():
            start, stop = max(first, k * ROWS), min(end, (k + 1) * ROWS)
            if start < stop:
                batch = batch or _Batch(path)
                parts.append((split, batch, start - k * ROWS, stop - k * ROWS, slice(start - first, stop - first)))

    # Floats are written once, already centred, so their mean takes a reading of its own.
    sums, mean = np.zeros(PIXELS, np.int64), None
    if subtract_mean and dtype != np.uint8:
        for split, batch, start, stop, _ in parts:
            if split == "train":
                for _, pixels in batch.rows(start, stop):
                    _add_rows(sums, pixels)
        mean = sums / num_training
    data: dict[str, Array] = {}
    for split, (first, end) in wanted.items():
        data[f"X_{split}"] = np.empty((end - first, 3, 32, 32), dtype)
        data[f"y_{split}"] = np.empty(end - first, np.int64)
    for split, batch, start, stop, place in parts:
        data[f"y_{split}"][place] = batch.labels[start:stop]
        images = data[f"X_{split}"][place].reshape(-1, PIXELS)
        for rows, pixels in batch.rows(start, stop):
            if mean is not None:
                np.subtract(pixels, mean, out=images[rows], casting="same_kind")
                continue
            images[rows] = pixels
            if subtract_mean and split == "train":
                _add_rows(sums, pixels)
    if subtract_mean and dtype == np.uint8:
        data["mean_image"] = (sums / num_training).reshape(3, 32, 32)
    return data


def _add_rows(sums: Array, pixels: Array) -> None:
    """Add the sums of at most 257 rows. Sums of integers are exact: the mean is NumPy's to the last bit."""
    sums += pixels.sum(axis=0, dtype=np.uint16)  # the narrow type is twice as fast

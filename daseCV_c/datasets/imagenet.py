"""Tiny ImageNet, and the 25 ImageNet images that the course gives out."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _npz
from daseCV_c._files import is_special
from daseCV_c._types import Array
from daseCV_c.datasets import pickles as _pickle

_IMAGENET_PLACES = ("input", "daseCV/datasets", "cs231n/datasets", "datasets", ".")
_IMAGENET_FILE = "imagenet_val_25.npz"


def _reader() -> Callable[[Path, Array], None]:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("load_tiny_imagenet reads JPEG files with Pillow: pip install Pillow") from None

    def read(path: Path, target: Array) -> None:
        """Colours first; a grey image has three equal colours."""
        try:
            # These formats alone: for others Pillow starts programs. Unpacked is what has the right size.
            if is_special(path):
                raise ValueError("it is no ordinary file")
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                if image.size != (64, 64):
                    raise ValueError(f"it has {image.size[0]} x {image.size[1]} pixels, expected 64 x 64")
                pixels = np.asarray(image.convert("RGB"))
        except (FileNotFoundError, MemoryError):
            raise
        except Exception as error:  # Pillow's readers raise what they like
            raise ValueError(f"{path} is not a readable image: {error}") from error
        target[...] = pixels.transpose(2, 0, 1)

    return read


def _own(name: str, path: Path) -> str:
    """The name of a file or folder that stands in `path`, if it leads nowhere else."""
    if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
        raise ValueError(f"{path} names {name[:80]!r}, expected the name of a file or folder beside it")
    return name


def _text(path: Path) -> str:
    if is_special(path):
        raise ValueError(f"{path} is no ordinary file, expected a table of text")
    return path.read_text(encoding="utf-8")


def _table(path: Path, columns: int) -> list[list[str]]:
    """The first `columns` tab-separated fields of each line."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < columns:
            raise ValueError(f"{path}, line {number}: expected {columns} fields, found {len(fields)}")
        rows.append(fields[:columns])
    return rows


def _label(wnids: dict[str, int], wnid: str, path: Path) -> int:
    if wnid not in wnids:
        raise ValueError(f"{path} names the class {wnid!r}, which wnids.txt does not have")
    return wnids[wnid]


def load_tiny_imagenet(
    path: str | os.PathLike[str], dtype: DTypeLike = np.float32, subtract_mean: bool = True,
) -> dict[str, Any]:
    """Read Tiny ImageNet from its folder of JPEG images.

    Parameters
    ----------
    path : str or path
        The folder with wnids.txt, words.txt, train, val and test.
    dtype : {float32, float64}
        Type of the images. The mean is taken in float64.
    subtract_mean : bool
        Subtract the mean training image from every image.

    Returns
    -------
    data : dict
        class_names: for each class a list of its names; X_train, X_val, X_test: (N, 3, 64, 64);
        y_train, y_val: int64; y_test: None unless test/test_annotations.txt exists;
        mean_image: (3, 64, 64), the mean training image whether it was subtracted or not.

    Raises
    ------
    ImportError
        Pillow is not installed.
    FileNotFoundError
        The folder or one of its files is missing.
    ValueError
        A table or an image is damaged; the message names it. Or an unsupported dtype.

    References
    ----------
    Tiny ImageNet challenge of CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip

    Examples
    --------
    >>> load_tiny_imagenet('absent')
    Traceback (most recent call last):
    FileNotFoundError: load_tiny_imagenet: there is no folder absent
    """
    root, dtype = Path(path), np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"load_tiny_imagenet: dtype is {dtype}, expected float32 or float64")
    if not root.is_dir():
        raise FileNotFoundError(f"load_tiny_imagenet: there is no folder {root}")
    read = _reader()
    names = _text(root / "wnids.txt").split()
    wnids = {_own(wnid, root / "wnids.txt"): label for label, wnid in enumerate(names)}
    words = {wnid: [word.strip() for word in text.split(",")] for wnid, text in _table(root / "words.txt", 2)}

    train = []
    for wnid, label in wnids.items():
        folder = root / "train" / wnid
        boxes = folder / f"{wnid}_boxes.txt"
        train += [(folder / "images" / _own(file, boxes), label) for (file,) in _table(boxes, 1)]
    val_table = root / "val" / "val_annotations.txt"
    val = [(root / "val" / "images" / _own(file, val_table), _label(wnids, wnid, val_table))
           for file, wnid in _table(val_table, 2)]
    test_table = root / "test" / "test_annotations.txt"
    known = None
    if test_table.is_file():
        known = {file: _label(wnids, wnid, test_table) for file, wnid in _table(test_table, 2)}
    test_files = sorted((root / "test" / "images").iterdir())
    if known is not None:
        unknown = [file for file in test_files if file.name not in known]
        if unknown:
            raise ValueError(f"{test_table} has no line for {unknown[0].name}")
    test = [(file, None if known is None else known[file.name]) for file in test_files]
    if not train:
        raise ValueError(f"{root} has no training images")

    data: dict[str, Any] = {"class_names": [words.get(wnid, [wnid]) for wnid in names]}
    for split, rows in (("train", train), ("val", val), ("test", test)):
        X = np.empty((len(rows), 3, 64, 64), dtype)
        for target, (file, _) in zip(X, rows, strict=True):
            read(file, target)
        data[f"X_{split}"] = X
        unlabelled = split == "test" and known is None
        data[f"y_{split}"] = None if unlabelled else np.array([label for _, label in rows], np.int64)
    mean = data["X_train"].mean(axis=0, dtype=np.float64)
    if subtract_mean:
        for split in ("train", "val", "test"):
            for image in data[f"X_{split}"]:
                np.subtract(image, mean, out=image, casting="same_kind")
    data["mean_image"] = mean.astype(dtype)
    return data


def load_imagenet_val(num: int | None = None) -> tuple[Array, Array, dict[int, str]]:
    """Read the course's 25 ImageNet validation images, ``imagenet_val_25.npz``.

    The file is looked for in ``$DASECV_DATA`` if that is set, else in input, daseCV/datasets,
    cs231n/datasets and datasets.

    Parameters
    ----------
    num : int, optional
        How many of the images; None means all.

    Returns
    -------
    X : uint8 array, (num, 224, 224, 3)
    y : array of integers, (num,)
    class_names : dict
        Name of each label.

    Raises
    ------
    FileNotFoundError
        The file is not in any of these places.
    ValueError
        The file is damaged, or asks for more than data.

    References
    ----------
    CS231n, assignment 3, "Network Visualization"

    Examples
    --------
    >>> load_imagenet_val(num=5)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: load_imagenet_val: imagenet_val_25.npz was not found in ...
    """
    given = os.environ.get("DASECV_DATA")
    places = [Path(place) / _IMAGENET_FILE for place in ([given] if given else _IMAGENET_PLACES)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"load_imagenet_val: {_IMAGENET_FILE} was not found in "
            + ", ".join(str(place.parent) for place in places))
    found, held = _npz.arrays(str(path), ("X", "y"))
    with _npz.opened(str(path)) as archive:
        labels = io.BytesIO(archive.read("label_map.npy"))
    try:
        np.lib.format.read_magic(labels)
        np.lib.format.read_array_header_1_0(labels)
    except Exception as error:  # the header is a Python literal: what may be wrong with it has no end
        raise ValueError(f"{path}: label_map cannot be read: its header is damaged") from error
    class_names = _pickle.load(labels, str(path), objects=True)
    if isinstance(class_names, np.ndarray) and class_names.shape == ():
        class_names = class_names[()]
    if len(found) < 2 or 0 in (found["X"].ndim, found["y"].ndim):
        raise ValueError(f"{path} holds {', '.join(held)[:200]}, expected X, y and label_map")
    X, y = found["X"], found["y"]
    if not isinstance(class_names, dict):
        raise ValueError(f"{path} holds a label_map that is a {type(class_names).__name__}, expected a dict")
    return X[:num], y[:num], class_names

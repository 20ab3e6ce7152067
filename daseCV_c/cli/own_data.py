"""A user's own data set for `train`: a .csv, or an .npz with X and y, or with X_train, y_train, X_val, y_val.

uint8 stays as it is, and loses the mean sample as batches are drawn. Of other numbers each feature is
brought to mean 0 and deviation 1, by the training samples, once: features of a table have units of
their own. Classes are the labels that occur, sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._types import Array
from daseCV_c.cli import files
from daseCV_c.cli.errors import CommandError

DATASET = "file"
SHARE = 10  # one sample in so many is for validation, one for testing
_PARTS = ("X_train", "y_train", "X_val", "y_val", "X_test", "y_test")


def load(path: str, label: str | None, dtype: DTypeLike, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The splits, `mean_image`, `scale` (None for uint8), `classes`, `columns` and `label` (names, or None).

    `known` holds mean_image, scale and classes of a run, which win over those of the data.
    """
    columns = column = None
    if files.kind(path) == "csv":
        found = files.table(path, label, labelled=True)
        assert found.labels is not None, "the last column at least"
        columns, column = found.names, found.label
        parts = {"X": found.X, "y": files.label_array(path, np.array(found.labels, np.str_))}
    else:
        if label is not None:
            raise CommandError(f"--label-column belongs to .csv files, {path} is none")
        if files.kind(path) == "npy":
            raise CommandError(f"{path} holds one array, expected .csv, or .npz with X and y")
        parts = files.arrays(path, ("X", "y", *_PARTS))
        for name in parts:
            if name.startswith("y"):
                parts[name] = files.label_array(path, parts[name], name)
    splits = _splits(path, parts)
    classes = _classes(path, [y for name, y in splits.items() if name.startswith("y")])
    if known is not None:
        classes = known["classes"]
    elif len(classes) < 2:
        raise CommandError(f"{path} holds one class only, {classes[0]}")
    data: dict[str, Any] = {"classes": classes, "columns": columns, "label": column, "scale": None}
    train = splits["X_train"]
    if known is not None:
        data.update(known)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            data["mean_image"] = train.mean(axis=0, dtype=np.float64)
            if train.dtype != np.uint8:
                deviation = train.std(axis=0, dtype=np.float64)
                data["scale"] = np.where(deviation > 0, deviation, 1.0)
                if not (np.isfinite(data["mean_image"]) & np.isfinite(deviation)).all():
                    raise CommandError(f"{path} holds values too large to take their mean and deviation")
    for name, part in splits.items():
        if name.startswith("y"):
            data[name] = encode(path, part, classes)
        else:
            data[name] = part if part.dtype == np.uint8 and data["scale"] is None else standardized(
                path, part, data["mean_image"], data["scale"], dtype)
    return data


def _splits(path: str, parts: dict[str, Array]) -> dict[str, Array]:
    """X_train, y_train, ... of the parts as they are in the file."""
    for name, part in parts.items():
        if name.startswith("X"):
            files.numbers(path, part)
            if part.ndim not in (2, 3, 4) or 0 in part.shape:
                raise CommandError(
                    f"{path}: {name} has shape {part.shape}, expected rows (N, D) or images (N, C, H, W)")
            if part.ndim == 3:
                parts[name] = part[:, None]
            other = f"y{name[1:]}"
            if other not in parts:
                raise CommandError(f"{path} has {name}, but no {other}")
            if len(parts[other]) != len(part):
                raise CommandError(f"{path}: {name} has {len(part)} samples and {other} {len(parts[other])} labels")
    if "X_train" in parts:
        if "X_val" not in parts:
            raise CommandError(f"{path} has X_train, but no X_val")
        found = {name: parts[name] for name in _PARTS if name in parts}
        shapes = {name: part.shape[1:] for name, part in found.items() if name.startswith("X")}
        for name, shape in shapes.items():
            if shape != shapes["X_train"]:
                raise CommandError(f"{path}: a sample of {name} has shape {shape}, one of X_train {shapes['X_train']}")
            if (found[name].dtype == np.uint8) != (found["X_train"].dtype == np.uint8):
                raise CommandError(f"{path}: {name} holds {found[name].dtype}, X_train {found['X_train'].dtype}")
        return found
    if "X" not in parts:
        raise CommandError(f"{path} holds {', '.join(parts)}, expected X and y, or X_train, y_train, X_val, y_val")
    X, y = parts["X"], parts["y"]
    if len(X) < 3:
        raise CommandError(f"{path} holds {len(X)} samples, expected at least 3: to train, to validate, to test")
    # The same rows whatever --seed says, so that runs can be compared.
    order = np.random.RandomState(0).permutation(len(X))
    held = max(len(X) // SHARE, 1)
    rows = {"val": order[:held], "test": order[held:2 * held], "train": order[2 * held:]}
    return {f"{letter}_{split}": part[rows[split]] for split in ("train", "val", "test")
            for letter, part in (("X", X), ("y", y))}


def _classes(path: str, parts: list[Array]) -> list[Any]:
    if len({part.dtype.kind for part in parts}) > 1:
        raise CommandError(f"{path}: some labels are whole numbers and others are text")
    classes: list[Any] = np.unique(np.concatenate(parts)).tolist()
    return classes


def encode(path: str, y: Array, classes: list[Any] | None) -> Array:
    """Labels as positions among the classes; `classes` None: they are positions already."""
    if classes is None:
        if y.dtype.kind not in "iu":
            raise CommandError(f"{path}: the labels are text, those of the run are numbers")
        return y
    place = {name: i for i, name in enumerate(classes)}
    try:
        return np.array([place[name] for name in y.tolist()], np.int64)
    except KeyError as error:
        shown = ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
        raise CommandError(f"{path} holds the label {str(error.args[0])[:80]}, the run's classes are {shown}") from None


def decode(found: Array, classes: list[Any] | None) -> Array:
    """The user's own labels of the classes: int64, or text."""
    if classes is None:
        return found
    named: Array = np.array(classes)[found]
    return named


def standardized(path: str, X: Array, mean: Array | float, scale: Array | None, dtype: DTypeLike,
                 chunk: int = 1000) -> Array:
    """`(X - mean) / scale` in `dtype`, rounded once; in chunks, so that no second float64 copy is made."""
    result = np.empty(X.shape, dtype)
    with np.errstate(over="ignore"):
        for start in range(0, len(X), chunk):
            part = X[start:start + chunk] - mean
            result[start:start + chunk] = part if scale is None else part / scale
    if not np.isfinite(result).all():
        raise CommandError(f"{path} holds values too large for the network's {np.dtype(dtype)}, "
                           f"first in sample {int(np.argwhere(~np.isfinite(result))[0][0])}")
    return result

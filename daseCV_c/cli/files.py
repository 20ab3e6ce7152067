"""A user's own files: .npy, .npz and .csv, told apart by what is in them, not by their names.

Nothing in a file is run. What cannot be read is named, with line and column where there are some.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from daseCV_c import _npz
from daseCV_c._files import is_special
from daseCV_c._types import Array
from daseCV_c.cli.errors import CommandError, reason

LABEL = "label"
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_PICTURES = {b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"GIF8": "a picture", b"BM": "a picture",
             b"\x1f\x8b": "a compressed file", b"%PDF": "a PDF"}
_EXPECTED = "expected .npy, .npz or .csv"


class Table(NamedTuple):
    """What a .csv holds."""

    X: Array  # float64, (N, D)
    labels: list[str] | None  # of length N; None where the file has no such column
    names: list[str] | None  # of the D columns of X; None without a first line of names
    label: str | None  # the column of labels, by its name or, without names, its number from 1


def kind(path: str) -> str:
    """'npy', 'npz' or 'csv'; CommandError for what cannot be read or is something else."""
    if is_special(path):
        raise CommandError(f"{path} is no ordinary file, {_EXPECTED}")
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {reason(error)}") from error
    if head.startswith(_NPY):
        return "npy"
    if head.startswith(_ZIP):
        return "npz"
    for magic, what in _PICTURES.items():
        if head.startswith(magic):
            raise CommandError(f"{path} is {what}, {_EXPECTED}")
    if not head or b"\0" in head:
        raise CommandError(f"{path} is {'something else' if head else 'empty'}, {_EXPECTED}")
    return "csv"


def array(path: str, names: tuple[str, ...] = ("X",)) -> Array:
    """The array of an .npy file, or the first of `names` in an .npz file."""
    if kind(path) == "npy":
        try:
            with open(path, "rb") as file:
                return _npz.array(path, file, os.fstat(file.fileno()).st_size)
        except _npz.BadArrayError as error:
            raise CommandError(reason(error)) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {reason(error)}") from error
    found = arrays(path, names)
    for name in names:
        if name in found:
            return found[name]
    raise CommandError(f"{path} is an archive without an array {names[0]}")


def arrays(path: str, names: tuple[str, ...] = ()) -> dict[str, Array]:
    """The arrays of an .npz file, or those of `names` that it holds; CommandError if it holds none of them."""
    try:
        found, held = _npz.arrays(path, names)
    except _npz.BadArrayError as error:
        raise CommandError(reason(error)) from error
    if names and not found:
        shown = ", ".join(held[:8]) or "nothing"
        raise CommandError(f"{path} holds {shown[:200]}, expected {' or '.join(names[:2])}")
    return found


def numbers(path: str, X: Array) -> Array:
    """`X`, or CommandError if it holds anything but finite numbers."""
    if X.dtype.kind not in "buif":
        raise CommandError(f"{path} holds {X.dtype}, expected numbers")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        row = int(np.argwhere(~np.isfinite(X))[0][0]) if X.ndim else 0
        raise CommandError(f"{path} holds values that are not finite, first in sample {row}")
    return X


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(path: str) -> Iterator[tuple[list[str], int]]:
    """The fields of each line that is not empty, and the line's number in the file."""
    line, found = 0, False
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = ""
            while not first.strip():
                first = file.readline()
                if not first:
                    raise CommandError(f"{path} is empty, {_EXPECTED}")
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            for row in reader:
                line = reader.line_num
                if any(row) and (len(row) > 1 or row[0].strip()):
                    found = True
                    yield row, line
            if not found:
                raise CommandError(f"{path} holds no field with anything in it, {_EXPECTED}")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not text in UTF-8: save it as CSV UTF-8") from error
    except csv.Error as error:
        raise CommandError(f"{path}, line {line + 1}: {reason(error)}") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {reason(error)}") from error


def _position(path: str, first: list[str], label: str, width: int | None = None) -> int | None:
    """Where the column `label` is: by its name in the first line, else by its number from 1; None: nowhere."""
    if label in first:
        if first.count(label) > 1:
            raise CommandError(f"{path} has two columns {label}")
        return first.index(label)
    if re.fullmatch("[0-9]{1,9}", label) and (width is None or len(first) == width + 1):
        if not 1 <= int(label) <= len(first):
            raise CommandError(f"{path} has {len(first)} columns, and none of number {label}")
        return int(label) - 1
    return None


def table(path: str, label: str | None = None, *, labelled: bool = False, width: int | None = None) -> Table:
    """Read a .csv file: lines of numbers that commas, semicolons or tabs separate.

    The first line holds names if any field of it, but the label's, is no number. `label` is the name of
    the column of labels or its number, counted from 1; without it that is the column called ``label``
    or, in a file that is `labelled`, the last one. A file of `width` columns has no labels, unless their
    name stands in it.
    """
    rows = _rows(path)
    head, begin = next(rows)
    first = [field.strip() for field in head]
    at = _position(path, first, label or LABEL, width)
    if at is None and labelled:
        if label is not None:
            raise CommandError(f"{path} has no column {label[:80]!r}, only {', '.join(first)[:200]}")
        at = len(first) - 1
    named = any(not _is_number(field) for i, field in enumerate(first) if i != at) or (
        at is not None and first[at] == (label or LABEL) and not _is_number(first[at]))
    names = first if named else [str(i) for i in range(1, len(first) + 1)]
    columns = [i for i in range(len(first)) if i != at]
    X, found = [], []
    for row, number in rows if named else itertools.chain([(head, begin)], rows):
        _same_length(path, row, number, first)
        try:
            X.append(np.array(row if at is None else row[:at] + row[at + 1:], np.float64))
        except ValueError:
            bad = next(i for i in columns if not _is_number(row[i]))
            raise CommandError(f"{path}, line {number}, column {names[bad][:80]}: "
                               f"{row[bad][:80]!r} is not a number") from None
        if not np.isfinite(X[-1]).all():
            bad = columns[int(np.argmin(np.isfinite(X[-1])))]
            raise CommandError(f"{path}, line {number}, column {names[bad][:80]}: "
                               f"{row[bad][:80]!r} is not a finite number")
        if at is not None:
            found.append(row[at].strip())
    if not X:
        raise CommandError(f"{path} holds names of columns, but no numbers")
    return Table(np.array(X), None if at is None else found, [names[i] for i in columns] if named else None,
                 None if at is None else names[at])


def _same_length(path: str, row: list[str], line: int, first: list[str]) -> None:
    if len(row) != len(first):
        raise CommandError(f"{path}, line {line}: {len(row)} fields, expected {len(first)} as in the first line")


def labels(path: str) -> Array:
    """Labels from a file of their own: an .npy of shape (N,), `y` in an .npz, or a .csv with one column or `label`."""
    if kind(path) != "csv":
        return label_array(path, array(path, ("y", "labels")))
    rows = [([field.strip() for field in row], line) for row, line in _rows(path)]
    first = rows[0][0]
    at = _position(path, first, LABEL)
    if at is None and len(first) > 1:
        raise CommandError(f"{path} has {len(first)} columns and none is called {LABEL}: which one holds the labels?")
    for row, line in rows:
        _same_length(path, row, line, first)
    return label_array(path, np.array([row[at or 0] for row, _ in rows[at is not None:]], np.str_))


def label_array(path: str, y: Array, where: str = "labels") -> Array:
    """Labels as int64 where all are whole numbers, else as text."""
    if y.ndim != 1:
        raise CommandError(f"{path}: the {where} have shape {y.shape}, expected (N,): one label for each sample")
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: the {where} are not text in UTF-8") from error
    if y.dtype.kind == "U":
        if any(not text for text in y.tolist()):
            raise CommandError(f"{path}: a label is empty, the first of sample {y.tolist().index('')}")
        if all(re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) for text in y.tolist()):
            return np.array([int(text) for text in y.tolist()], np.int64)
        if all(map(_is_number, y.tolist())):
            y = y.astype(np.float64)
        else:
            return y
    if y.dtype.kind == "f":
        y = numbers(path, y)
        if not (y == np.round(y)).all():
            raise CommandError(f"{path}: the {where} are numbers with fractions, expected classes")
        if not (np.abs(y) < 2**53).all():
            far = y[np.abs(y).argmax()]
            raise CommandError(f"{path}: the {where} reach {far:g}, expected whole numbers below 2**53")
    if y.dtype.kind == "u" and y.size and y.max() > 2**63 - 1:
        raise CommandError(f"{path}: the {where} are uint64 and reach {y.max()}, expected less than 2**63")
    if y.dtype.kind not in "buif":
        raise CommandError(f"{path}: the {where} are {y.dtype}, expected whole numbers or text")
    return y.astype(np.int64)

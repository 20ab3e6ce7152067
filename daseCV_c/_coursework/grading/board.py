"""The leaderboard: predictions in zips, scored and ranked."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c import _npz
from daseCV_c._coursework.grading.reading import BAD_ZIP, opened
from daseCV_c._files import is_special
from daseCV_c._predictions import unfit
from daseCV_c._types import Array

_MEMBER = "prediction.npy"
_LARGEST = 256 << 20  # bytes of a zip
_HEADER = 16 << 10


@dataclass(frozen=True)
class Entry:
    """One student's predictions: how many are right, or what is wrong with them."""

    name: str
    time: float
    """When the file was last written, in seconds since 1970."""
    right: int = 0
    of: int = 0
    fault: str = ""


def load_labels(file: str | Path) -> Array:
    """The right classes."""
    if is_special(file):
        raise ValueError("it is no ordinary file")
    with open(file, "rb") as data:
        labels = _array(data.read())
    fault = unfit(labels)
    if fault is not None or not len(labels):
        raise ValueError(f"it {fault or 'is empty'}")
    return labels.astype(np.int64)


def score_all(folder: str | Path, labels: Array, classes: int, phase: int) -> list[Entry]:
    """Everybody's best, right ones first: by accuracy, then time, then name. Those that are refused come last."""
    best: dict[str, Entry] = {}
    for name, path in _zips(Path(folder), phase):
        entry = _score(name, path, labels, classes)
        if name not in best or _rank(entry) < _rank(best[name]):
            best[name] = entry
    return sorted(best.values(), key=_rank)


def _rank(entry: Entry) -> tuple[bool, int, float, str]:
    return bool(entry.fault), -entry.right, entry.time, entry.name


def _zips(folder: Path, phase: int) -> list[tuple[str, Path]]:
    """The student's name and the zip: the name is the folder's, or what comes before prediction_phase_N."""
    called = re.compile(rf"(.*?)[ _-]*prediction_phase_0*{phase}(?:\D.*)?\.zip", re.IGNORECASE)
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name)):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            for below, folders, names in os.walk(path):
                folders.sort()
                found += [(path.name, Path(below) / name) for name in sorted(names) if called.fullmatch(name)]
        elif match := called.fullmatch(path.name):
            found.append((match[1] or path.stem, path))
    return found


def _score(name: str, path: Path, labels: Array, classes: int) -> Entry:
    try:
        time = path.lstat().st_mtime
    except OSError as error:
        return Entry(name, 0.0, fault=f"{path.name} cannot be read: {error.strerror}")
    try:
        preds = _predictions(path, len(labels))
    except (*BAD_ZIP, OSError) as error:
        return Entry(name, time, fault=f"{path.name}: {getattr(error, 'strerror', None) or error}")
    fault = unfit(preds, len(labels), classes)
    if fault is not None:
        return Entry(name, time, fault=f"{path.name}: {_MEMBER} {fault}")
    return Entry(name, time, int((preds == labels).sum()), len(labels))


def _predictions(path: Path, rows: int) -> Array:
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST >> 20} MB")
        with zipfile.ZipFile(file) as archive:
            members = [entry for entry in archive.infolist() if entry.filename == _MEMBER]
            if len(members) != 1:
                raise ValueError(f"it holds {len(members)} files called {_MEMBER}, expected one, at its top")
            if members[0].compress_type == zipfile.ZIP_LZMA:  # it takes memory by a number in the file
                raise ValueError(f"{_MEMBER} is packed with LZMA, expected the usual way")
            largest = _HEADER + 64 * rows  # a wrong number of rows is said as that where it is not far off
            with archive.open(members[0]) as member:
                data = member.read(largest + 1)
    return _array(data, largest, rows)


def _array(data: bytes, largest: int | None = None, rows: int | None = None) -> Array:
    """A .npy file of numbers. Its header is looked at before memory is taken for what it promises."""
    file = io.BytesIO(data)
    try:
        shape, dtype = _npz.header(file)
    except ValueError as error:
        raise ValueError(f"{_MEMBER} is no .npy file of numbers: {error}") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"{_MEMBER} has dtype {dtype}, expected whole numbers")
    if len(shape) != 1:
        raise ValueError(f"{_MEMBER} has shape {shape}, expected ({'N' if rows is None else rows},)")
    if rows is not None and shape[0] != rows:
        raise ValueError(f"{_MEMBER} has {shape[0]} rows, expected {rows}")
    if largest is not None and len(data) > largest or shape[0] * dtype.itemsize > len(data) - file.tell():
        raise ValueError(f"{_MEMBER} is not as long as its header says")
    return np.frombuffer(data, dtype, shape[0], file.tell())


def rows(entries: Sequence[Entry]) -> list[list[Any]]:
    """The table. Equal accuracy at the same time is the same rank."""
    table: list[list[Any]] = [["rank", "submission", "accuracy", "right", "of", "time", "refused"]]
    ranked = [(entry.right, entry.time) for entry in entries if not entry.fault]
    for entry in entries:
        time = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if entry.fault:
            table.append(["", entry.name, "", "", "", time, entry.fault])
        else:
            table.append([ranked.index((entry.right, entry.time)) + 1, entry.name, round(entry.right / entry.of, 6),
                          entry.right, entry.of, time, ""])
    return table

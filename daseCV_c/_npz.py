"""Reading .npy and .npz files that anybody may have made: numbers and texts, no objects, bounded memory.

A header says how large its array is, and a compressed member how much it holds: both are claims. They are held against
the bytes that are there before memory is taken for them.
"""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from daseCV_c._files import is_special
from daseCV_c._types import Array

# What an archive holds may be so many times as large as its file. Smaller ones may hold _FREE bytes in any case: a
# file of a few samples, most of them zeros, is packed well.
_PACKED, _FREE = 100, 1 << 28
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; others take memory by a number in the file


class BadArrayError(ValueError):
    """A file that holds no array, or none that may be read. The message names it."""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and dtype that an .npy file claims, which begins here; ValueError where it claims none."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version}")
        shape, _, dtype = read(file)
    except Exception as error:  # the header is a Python literal: what may be wrong with it has no end
        raise ValueError(str(error)) from error
    return shape, dtype


def array(where: str, file: IO[bytes], size: int) -> Array:
    """One array from the bytes of an .npy file, which has `size` of them and begins here."""
    start = file.tell()
    try:
        shape, dtype = header(file)
    except ValueError as error:
        raise BadArrayError(f"{where} cannot be read: its header is damaged") from error
    if dtype.hasobject:
        raise BadArrayError(f"{where} holds Python objects, expected numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - (file.tell() - start):
        raise BadArrayError(f"{where} cannot be read: it is cut off, or was altered")
    file.seek(start)
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except MemoryError:
        raise
    except Exception as error:  # struct, zipfile, zlib and NumPy raise what they like
        raise BadArrayError(f"{where} cannot be read: {_reason(error)}") from error


@contextlib.contextmanager
def opened(path: str) -> Iterator[zipfile.ZipFile]:
    """An .npz file whose members may all be read; BadArrayError for what is none, also from inside the block."""
    if is_special(path):
        raise BadArrayError(f"{path} is no ordinary file, expected an .npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            held, most = sum(info.file_size for info in members), max(_FREE, _PACKED * os.path.getsize(path))
            if held > most:
                raise BadArrayError(f"{path} unpacks to {held} bytes, expected at most {most}")
            for info in members:
                if info.compress_type not in _METHODS:
                    raise BadArrayError(f"{path} cannot be read: {info.filename[:80]!r} is not packed as NumPy does it")
            yield archive
    except (BadArrayError, MemoryError):
        raise
    except Exception as error:  # a broken file may raise anything from struct, zipfile or zlib
        raise BadArrayError(f"{path} cannot be read: {_reason(error)}") from error


def arrays(path: str, names: tuple[str, ...] = ()) -> tuple[dict[str, Array], list[str]]:
    """Those of `names` that an .npz file holds, without `names` all; and what names there are."""
    found = {}
    with opened(path) as archive:
        held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name in names or held:
            if name in held:
                with archive.open(held[name]) as member:
                    found[name] = array(f"{path}: {name[:80]}", member, held[name].file_size)
    return found, sorted(held)

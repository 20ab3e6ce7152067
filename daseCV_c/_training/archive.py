"""The container of checkpoints and models: one .npz without pickles that shows every change of a byte.

It is an uncompressed zip file of .npy members, so that `np.load` opens it: first ``document``, JSON
as an array of bytes, then the arrays. The comment at its end holds the SHA-256 of all bytes before.

Each byte of the frame (headers, directory) follows from the document and from the arrays' names,
types and shapes. The reader builds the frame anew and compares: it interprets no header that
somebody else may have made, and takes no memory before sizes were held against the file's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from daseCV_c._files import is_special, replacing
from daseCV_c._types import Array
from daseCV_c._version import __version__

FORMAT = 1
DOCUMENT = "document"
_WRITERS = {"checkpoint": "Solver.save", "model": "save_model"}
_MOST_JSON = 2**24  # bytes; Python takes some 30 times as much to hold the worst of it
_MOST_AXES = 32
_BLOCK = 2**20
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"  # no member begins with a dot: none leads out of a folder
_NAME = re.compile(rf"(?=.{{1,200}}\Z){_PART}(/{_PART})*")
_DTYPE = re.compile(r"\|[biu]1|[<>]([iu][248]|f(2|4|8|12|16)|c(8|16|24|32))")
_SUM = re.compile(rb"sha256 [0-9a-f]{64}")
_SUM_SIZE = 71
# Zip: local header, entry of the directory, and the three records of the end, all with sizes of 64 bits.
_LOCAL, _LOCAL_EXTRA = struct.Struct("<4s5H3L2H"), struct.Struct("<2H2Q")
_ENTRY, _ENTRY_EXTRA = struct.Struct("<4s6H3L5H2L"), struct.Struct("<2H3Q")
_END64, _LOCATOR, _END = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL"), struct.Struct("<4s4H2LH")
_NPY = struct.Struct("<6s2BH")
_DATE, _VERSION, _UNKNOWN = 0x21, 45, 0xFFFFFFFF  # 1980-01-01; of zip; "look in the extra field"


class ArchiveError(ValueError):
    """A file that is no checkpoint or model of this package, or is damaged. The message names it."""


class PickleFoundError(ArchiveError):
    """A file that is a pickle."""


class OtherKindError(ArchiveError):
    """A file of this package of another kind than asked for."""


class _Spec(NamedTuple):
    """What is written of an array beside its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    order: str  # 'C' or 'F'

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """Of its .npy member: a dict as text, and spaces up to a multiple of 64 bytes."""
        text = str({"descr": self.dtype, "fortran_order": self.order == "F", "shape": self.shape})
        length = -(-(_NPY.size + len(text) + 1) // 64) * 64 - _NPY.size
        return _NPY.pack(b"\x93NUMPY", 1, 0, length) + text.ljust(length - 1).encode("ascii") + b"\n"

    @property
    def member(self) -> bytes:
        return f"{self.name}.npy".encode("ascii")


def _local(spec: _Spec, size: int, crc: int) -> bytes:
    fixed = _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, crc, _UNKNOWN, _UNKNOWN, len(spec.member),
                        _LOCAL_EXTRA.size)
    return fixed + spec.member + _LOCAL_EXTRA.pack(1, 16, size, size)


def _directory(members: list[tuple[_Spec, int, int, int]], start: int) -> bytes:
    """The end of the file but for the checksum: (spec, size, crc, offset) of each member, and where it begins."""
    parts = []
    for spec, size, crc, offset in members:
        parts += [_ENTRY.pack(b"PK\1\2", _VERSION, _VERSION, 0, 0, 0, _DATE, crc, _UNKNOWN, _UNKNOWN, len(spec.member),
                              _ENTRY_EXTRA.size, 0, 0, 0, 0, _UNKNOWN),
                  spec.member, _ENTRY_EXTRA.pack(1, 24, size, size, offset)]
    size, count = sum(map(len, parts)), len(members)
    parts += [_END64.pack(b"PK\6\6", _END64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start),
              _LOCATOR.pack(b"PK\6\7", 0, start + size, 1),
              _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _UNKNOWN, _UNKNOWN, _SUM_SIZE)]
    return b"".join(parts)


def _spec_of(name: str, array: Array) -> _Spec:
    flags = array.flags
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    return _Spec(name, array.dtype.str, array.shape, order)


def _check(spec: _Spec) -> None:
    """ValueError for what is not written and not read."""
    if not _NAME.fullmatch(spec.name) or spec.name == DOCUMENT:
        raise ValueError(f"an array is called {spec.name[:80]!r}")
    if not _DTYPE.fullmatch(spec.dtype):
        raise ValueError(f"the array {spec.name} has dtype {spec.dtype[:80]}, expected numbers")
    if len(spec.shape) > _MOST_AXES or not all(type(n) is int and 0 <= n <= sys.maxsize for n in spec.shape):
        raise ValueError(f"the array {spec.name} has a shape that is none")


def _parts(spec: _Spec, array: Array) -> Iterator[bytes | memoryview]:
    """The bytes of a member."""
    yield spec.header
    rows = np.ascontiguousarray(array.T if spec.order == "F" else array)
    if rows.size:
        yield rows.reshape(-1).view(np.uint8).data


def write(path: str | os.PathLike[str], kind: str, document: dict[str, Any], arrays: dict[str, Array], *,
          durable: bool = True) -> None:
    """Write `document`, which is JSON without NaN and infinities, and `arrays` of numbers to `path`, whole or not.

    Names of arrays are letters, digits and ``_.+-``, in parts that ``/`` separates. `durable`: see
    `_files.replacing`.
    """
    specs = [_spec_of(name, array) for name, array in arrays.items()]
    for spec in specs:
        _check(spec)
    frame = {"format": FORMAT, "kind": kind, "version": __version__, "arrays": specs, "document": document}
    text = np.frombuffer(json.dumps(frame, allow_nan=False).encode("ascii"), np.uint8)
    if text.size > _MOST_JSON:
        raise ValueError(f"the document has {text.size} bytes, expected at most {_MOST_JSON}")
    digest, offset, members = hashlib.sha256(), 0, []
    with replacing(path, durable) as file:
        def put(part: bytes | memoryview) -> None:
            nonlocal offset
            digest.update(part)
            file.write(part)
            offset += len(part)

        for spec, array in zip([_spec_of(DOCUMENT, text), *specs], [text, *arrays.values()], strict=True):
            crc, size, begin = 0, 0, offset
            for part in _parts(spec, array):
                crc, size = zlib.crc32(part, crc), size + len(part)
            put(_local(spec, size, crc))
            for part in _parts(spec, array):
                put(part)
            members.append((spec, size, crc, begin))
        put(_directory(members, offset))
        file.write(f"sha256 {digest.hexdigest()}".encode("ascii"))


class _Reader:
    """Reads one file from its begin to its end."""

    def __init__(self, path: str | os.PathLike[str], kind: str, file: io.BufferedReader) -> None:
        self.shown, self.kind, self.file = os.fspath(path), kind, file
        self.size = os.fstat(file.fileno()).st_size
        self.end = self.size - _SUM_SIZE  # of what the checksum is of

    def refuse(self, what: str) -> NoReturn:
        raise ArchiveError(f'"{self.shown}" {what}, expected {_named(self.kind)}')

    def damaged(self) -> NoReturn:
        raise ArchiveError(f'"{self.shown}" is damaged: it was cut off, or altered after it was written')

    def take(self, size: int) -> bytes:
        """The next `size` bytes, which must be there."""
        if size > self.end - self.file.tell():
            self.damaged()
        found = self.file.read(size)
        if len(found) < size:
            self.damaged()
        return found

    def expect(self, wanted: bytes) -> None:
        if self.take(len(wanted)) != wanted:
            self.damaged()

    def look(self) -> None:
        """Say what the file is if it is another one, or see that no byte of it was changed."""
        head = self.file.read(64)
        if not head:
            self.refuse("is empty")
        if re.match(rb"\x80[\x02-\x05]|\(dp|\(lp|\]q|\}q", head):
            raise PickleFoundError(f'"{self.shown}" is a pickle, which may run code and is not opened, '
                                   f"expected {_named(self.kind)}")
        if head.startswith(b"\x93NUMPY"):
            self.refuse("is a single array of NumPy")
        if not head.startswith(b"PK"):
            self.refuse("is something else" if head.startswith(b"\x1f\x8b") or b"\0" in head else "is a text file")
        if head[30:].startswith(f"{DOCUMENT}.npy".encode("ascii")):
            self.file.seek(max(self.end, 0))
            found = self.file.read(_SUM_SIZE)
            if not _SUM.fullmatch(found):
                self.damaged()
            digest = hashlib.sha256()
            self.file.seek(0)
            for start in range(0, self.end, _BLOCK):
                digest.update(self.file.read(min(_BLOCK, self.end - start)))
            if digest.hexdigest().encode("ascii") != found[7:]:
                self.damaged()
            self.file.seek(0)
        else:
            self.refuse("is an archive of another program")

    def member(self, spec: _Spec) -> tuple[_Spec, int, int, int]:
        """Past the headers of the member that must come now."""
        header, offset = spec.header, self.file.tell()
        size = len(header) + spec.nbytes
        local = self.take(len(_local(spec, 0, 0)))
        crc = int.from_bytes(local[14:18], "little")
        if local != _local(spec, size, crc):
            self.damaged()
        self.expect(header)
        if spec.nbytes > self.end - self.file.tell():
            self.damaged()
        return spec, size, crc, offset

    def text(self) -> tuple[tuple[_Spec, int, int, int], bytes]:
        """The member of the document, whose length only its own header tells."""
        local = self.take(len(_local(_Spec(DOCUMENT, "|u1", (0,), "C"), 0, 0)))
        size, (*_, padded) = int.from_bytes(local[-8:], "little"), _NPY.unpack(self.take(_NPY.size))
        length = size - _NPY.size - padded
        if not 0 <= length <= _MOST_JSON:
            self.damaged()
        self.file.seek(0)
        return self.member(_Spec(DOCUMENT, "|u1", (length,), "C")), self.take(length)

    def array(self, spec: _Spec) -> Array:
        """The array whose bytes come now; `member` has seen that they are there."""
        try:
            found = np.empty(spec.shape, spec.dtype, "F" if spec.order == "F" else "C")
        except (ValueError, MemoryError) as error:
            self.refuse(f"holds the array {spec.name} of shape {spec.shape}, which cannot be made ({error})")
        rows = found.T if spec.order == "F" else found
        if rows.size and self.file.readinto(rows.reshape(-1).view(np.uint8).data) != spec.nbytes:
            self.damaged()
        return found

    def whole(self) -> tuple[dict[str, Any], dict[str, Array]]:
        self.look()
        first, text = self.text()
        try:
            frame = json.loads(text, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError):
            self.damaged()
        if type(frame) is not dict or not {"format", "kind", "version", "arrays", "document"} <= set(frame):
            self.damaged()
        if frame["format"] != FORMAT:
            self.refuse(f"has format {str(frame['format'])[:20]} and was written by version "
                        f"{str(frame['version'])[:20]}, while version {__version__} reads format {FORMAT}")
        if frame["kind"] != self.kind:
            raise OtherKindError(
                f'"{self.shown}" is {_named(str(frame["kind"])[:20])}, expected {_named(self.kind)}')
        if type(frame["document"]) is not dict:
            self.damaged()
        members, arrays = [first], {}
        for spec in self.specs(frame["arrays"]):
            members.append(self.member(spec))
            arrays[spec.name] = self.array(spec)
        self.expect(_directory(members, self.file.tell()))
        if self.file.tell() != self.end:
            self.damaged()
        return frame["document"], arrays

    def specs(self, listed: Any) -> list[_Spec]:
        if type(listed) is not list:
            self.damaged()
        specs = []
        for entry in listed:
            if type(entry) is not list or len(entry) != 4 or type(entry[2]) is not list or not all(
                    type(entry[i]) is str for i in (0, 1, 3)) or entry[3] not in ("C", "F"):
                self.damaged()
            specs.append(_Spec(entry[0], entry[1], tuple(entry[2]), entry[3]))
            try:
                _check(specs[-1])
            except ValueError as error:
                self.refuse(f"cannot be read: {error}")
        if len({spec.name for spec in specs}) < len(specs):
            self.refuse("cannot be read: it holds two arrays of one name")
        return specs


def _named(kind: str) -> str:
    return f"a {kind}" + (f" that {_WRITERS[kind]} wrote" if kind in _WRITERS else "")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """What `write` has written to `path`; ArchiveError for any other file, in memory bounded by its size."""
    if is_special(path):
        raise ArchiveError(f'"{os.fspath(path)}" is no ordinary file, expected {_named(kind)}')
    with open(path, "rb") as file:
        return _Reader(path, kind, file).whole()

"""What travels between the checker and the process that runs a student's code: plain values, never pickles.

A message is eight bytes of length, then a JSON text with the length of its own before it, then the bytes of the
arrays that the text names. Whoever reads one runs nothing: a message that is not what it should be is a `WireError`.

This file imports no other of the package: the student's process loads it by its path.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_KINDS = "biuf"
_DTYPE = re.compile(r"\|[biu]1|<([iu][248]|f[248])")


class WireError(Exception):
    """A message that cannot be sent, or is none."""


class Opaque:
    """What cannot travel, such as an object of the student's own: only the name of its type does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def encode(value: Any) -> bytes:
    """The message for a tree of dicts, lists, tuples, arrays, numbers and strings."""
    blobs: list[bytes] = []
    text = json.dumps(_plain(value, blobs, 0), allow_nan=False).encode()
    body = b"".join([_LENGTH.pack(len(text)), text, *blobs])
    return _LENGTH.pack(len(body)) + body


def _plain(value: Any, blobs: list[bytes], depth: int) -> Any:
    if depth > 20:
        return {"opaque": "nested too deep"}
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return {"int": str(value)} if value.bit_length() < 1000 else {"opaque": "int"}
    if type(value) is float:
        return {"float": value.hex()}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
            return {"opaque": f"array of {array.dtype}"}
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        blobs.append(array.tobytes())
        return {"array": array.dtype.str, "shape": list(array.shape)}
    if isinstance(value, list | tuple):
        return {type(value).__name__ if type(value) in (list, tuple) else "tuple":
                [_plain(part, blobs, depth + 1) for part in value]}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"dict": [[key, _plain(part, blobs, depth + 1)] for key, part in value.items()]}
    return {"opaque": type(value).__name__[:80]}


def decode(body: bytes) -> Any:
    """The value of a message, without its first eight bytes."""
    try:
        (size,) = _LENGTH.unpack_from(body)
        if size > len(body) - _LENGTH.size:
            raise WireError("its text is longer than the message")
        end = _LENGTH.size + size
        value, end = _value(json.loads(body[_LENGTH.size:end]), body, end)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, struct.error, OverflowError) as error:
        raise WireError(f"not a message: {error}") from error
    if end != len(body):
        raise WireError("bytes that nothing names")
    return value


def _value(node: Any, body: bytes, at: int) -> tuple[Any, int]:
    if node is None or isinstance(node, bool | str):
        return node, at
    if "int" in node:
        return int(node["int"]), at
    if "float" in node:
        return float.fromhex(node["float"]), at
    if "opaque" in node:
        return Opaque(str(node["opaque"])), at
    if "array" in node:
        code = str(node["array"])
        if not _DTYPE.fullmatch(code):  # NumPy takes some of what else may stand there for Python
            raise WireError("an array of no numbers")
        dtype, shape = np.dtype(code), [int(n) for n in node["shape"]]
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size > len(body) - at:
            raise WireError("an array that is not there")
        array = np.frombuffer(body, dtype, math.prod(shape), at).reshape(shape).copy()
        return array, at + size
    if "dict" in node:
        found = {}
        for key, part in node["dict"]:
            found[str(key)], at = _value(part, body, at)
        return found, at
    kind: type[Any] = tuple if "tuple" in node else list
    parts = []
    for part in node["tuple"] if kind is tuple else node["list"]:
        value, at = _value(part, body, at)
        parts.append(value)
    return kind(parts), at


def read(take: Callable[[int], bytes], limit: int) -> Any:
    """The next message of a pipe whose `take(n)` gives at most n bytes; EOFError where the pipe ends."""
    (size,) = _LENGTH.unpack(_exactly(take, _LENGTH.size))
    if size > limit:
        raise WireError(f"a message of {size} bytes, more than {limit}")
    return decode(_exactly(take, size))


def _exactly(take: Callable[[int], bytes], size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = take(min(size - len(found), 1 << 20))
        if not part:
            raise EOFError
        found += part
    return bytes(found)

"""A machine for the opcodes of a pickle that hold data; its time and memory grow with the bytes it reads.

Python's own unpickler promises neither. It resolves extension codes by a cache of the process, its
memo is as long as any index in the file, and it hashes whatever stands as a key. Here each opcode
costs no more than a fixed multiple of its own bytes. What copies memory again and again from one
place is charged, and refused when the bytes read so far do not cover it.
"""

from __future__ import annotations

import codecs
import struct
import sys
from typing import IO, Any

import numpy as np

_PIECE = 1 << 20  # bytes read at a time where the file's size is not known: a length is only a claim
_DIGITS = 4000  # of a number written as text: to read it costs their square
_COPIED = 4  # bytes copied for each byte read; an array that is written as text needs two
_LONG_KEY = 1000  # characters
_ODD_KEYS, _ODD_KEY_ITEMS = 4096, 16


class NotData(ValueError):
    """A pickle asks for more than data. The message says what 'it', the pickle, does."""


class Unfinished:
    """What a call has made and a state will finish. Only the stack and the memo hold it."""

    def __init__(self) -> None:
        self.memo_keys: list[int] = []

    def finish(self, machine: Machine, state: Any) -> Any:
        """The object itself."""
        raise NotImplementedError


class Name:
    """What a permitted name of a module stands for."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name


class Skipped:
    """A long string that was left in the file."""


def _brief(name: object) -> str:
    return name[:200] if isinstance(name, str) else f"a {type(name).__name__}"


class Machine:
    """Reads one pickle from a binary file.

    `size` is the file's, where it is known. With `leave` the first string of so many bytes is passed
    over: `skipped` stands for it, and it begins at `offset`.
    """

    def __init__(self, file: IO[bytes], encoding: str, size: int | None = None, leave: int | None = None):
        self._file, self._encoding, self._size, self._leave = file, encoding, size, leave
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._taken = self._copied = self._odd_keys = 0
        self.offset: int | None = None

    # What a subclass decides.

    def find(self, module: str, name: str) -> Any:
        """What a name of a module stands for."""
        raise NotData(f"it asks for {_brief(module)}.{_brief(name)}, which is not data")

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        raise NotData(f"it calls a {type(function).__name__}")

    def make(self, kind: Any, args: tuple[Any, ...]) -> Any:
        """A new object without its state."""
        raise NotData(f"it makes a new {type(kind).__name__}")

    def set_state(self, value: Any, state: Any) -> None:
        raise NotData(f"it changes a {type(value).__name__}")

    def charge(self, count: int) -> None:
        """So many bytes are copied that stood in the file once."""
        self._copied += count
        if self._copied > _COPIED * self._taken:
            raise NotData("it copies the same bytes again and again")

    def load(self) -> Any:
        operations = _OPERATIONS
        while True:
            code = self._file.read(1)
            self._taken += 1
            if code == b".":
                return self._held([self._stack.pop()])[0]
            operation = operations.get(code)
            if operation is None:
                raise NotData(f"it holds the opcode {code!r}, which is not data" if code else "it ends too early")
            operation(self)

    # Bytes.

    def _read(self, count: int) -> bytes:
        if count <= _PIECE:
            data = self._file.read(count)
        elif self._size is not None:
            data = self._file.read(count) if self._file.tell() + count <= self._size else b""
        else:
            pieces, left = [], count
            while left and (piece := self._file.read(min(left, max(_PIECE, count - left)))):
                pieces.append(piece)
                left -= len(piece)
            data = b"".join(pieces)
        if len(data) != count:
            raise NotData("it ends too early")
        self._taken += count
        return data

    def _count(self, width: int, signed: bool = False) -> int:
        count = int.from_bytes(self._read(width), "little", signed=signed)
        if not 0 <= count <= sys.maxsize:
            raise NotData(f"it holds a string of {count} bytes")
        return count

    def _string(self, width: int, signed: bool = False) -> Any:
        """The bytes that follow their own length, or what stands for them."""
        count = self._count(width, signed)
        if count != self._leave or self.offset is not None:
            return self._read(count)
        self.offset = self._file.tell()
        if self._size is None or self.offset + count > self._size:
            raise NotData("it ends too early")
        self._file.seek(count, 1)
        return Skipped()

    def _line(self, most: int = sys.maxsize) -> bytes:
        line = self._file.readline()
        self._taken += len(line)
        if line[-1:] != b"\n":
            raise NotData("it ends too early")
        if len(line) > most:
            raise NotData(f"it holds a number written in {len(line) - 1} digits")
        return line[:-1]

    def _python2(self, raw: Any) -> Any:
        """A string of Python 2."""
        return raw.decode("latin1") if self._encoding == "latin1" and isinstance(raw, bytes) else raw

    # The stack. What stands in a container must be there whole.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _whole(self, items: list[Any]) -> list[Any]:
        if any(issubclass(kind, Unfinished) for kind in set(map(type, items))):
            raise NotData("it holds an object without its state")
        return items

    def _held(self, items: list[Any]) -> list[Any]:
        """Items of a list, of a dict, or the pickle's value: data alone. Arguments may be names too."""
        if any(issubclass(kind, (Unfinished, Name)) for kind in set(map(type, items))):
            raise NotData("it holds an object without its state, or a function")
        return items

    def _above_mark(self) -> list[Any]:
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise NotData("it takes more from the stack than is there")
        self._stack[-count:] = [tuple(self._whole(self._stack[-count:]))]

    def _top(self, kind: type) -> Any:
        """The container on top of the stack, which grows."""
        top = self._stack[-1]
        if type(top) is not kind:
            raise NotData(f"it adds items to a {type(top).__name__}")
        return top

    def _key(self, key: Any) -> Any:
        """A key whose hash and comparisons are cheap, whatever the other keys are.

        Only hashes of text are secret: whoever writes the file can make those of large integers and
        of floats collide, and a tuple is hashed anew each time. So there may be few of those.
        """
        kind = type(key)
        if kind is str or kind is bytes:
            if len(key) > _LONG_KEY:
                self.charge(len(key))
        elif not (kind is int and -1 << 31 <= key < 1 << 31 or kind is bool or key is None):
            self._odd_keys += 1
            if self._odd_keys > _ODD_KEYS:
                raise NotData(f"it holds more than {_ODD_KEYS} keys that are neither text nor small integers")
            parts = key if kind is tuple and len(key) <= _ODD_KEY_ITEMS else (key,)
            if not all(map(_cheap, parts)):
                raise NotData(f"it holds a key or an item of a set that is a large or deep {kind.__name__}")
        return key

    def _set_items(self, items: list[Any], into: dict[Any, Any]) -> None:
        if len(items) % 2:
            raise NotData("it holds a key without a value")
        for key, value in zip(items[::2], self._held(items[1::2]), strict=True):
            into[self._key(key)] = value

    # Opcodes whose work does not fit in one line.

    def _proto(self) -> None:
        version = self._read(1)[0]
        if version > 5:
            raise NotData(f"it is written in protocol {version}, expected 0 to 5")

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise NotData(f"it refers to entry {key} of its memo, which it has not written")
        self._push(self._memo[key])

    def _put(self, key: int) -> None:
        if not 0 <= key < 1 << 32:
            raise NotData(f"it writes entry {key} of its memo")
        value = self._memo[key] = self._stack[-1]
        if isinstance(value, Unfinished):
            value.memo_keys.append(key)

    def _integer(self) -> None:
        line = self._line(_DIGITS)
        self._push(line == b"01" if line in (b"00", b"01") else int(line, 0))

    def _text_string(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise NotData("it holds a string without quotes")
        self._push(self._python2(codecs.escape_decode(line[1:-1])[0]))

    def _byte_array(self) -> None:
        raw = self._string(8)
        self._push(bytearray(raw) if isinstance(raw, bytes) else raw)

    def _text(self, width: int) -> None:
        self._push(str(self._read(self._count(width)), "utf-8", "surrogatepass"))

    def _global(self) -> None:
        module = self._line().decode()
        self._push(self.find(module, self._line().decode()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise NotData("it asks for a name that is not text")
        self._push(self.find(module, name))

    def _arguments(self) -> tuple[Any, ...]:
        args = self._stack.pop()
        if type(args) is not tuple:
            raise NotData(f"it calls a function with a {type(args).__name__}, expected a tuple")
        return args

    def _reduce(self) -> None:
        args = self._arguments()
        self._push(self.call(self._stack.pop(), args))

    def _new(self) -> None:
        args = self._arguments()
        self._push(self.make(self._stack.pop(), args))

    def _build(self) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if not isinstance(value, Unfinished):
            self.set_state(value, state)
            return
        done = self._stack[-1] = value.finish(self, state)
        for key in value.memo_keys:
            if self._memo[key] is value:
                self._memo[key] = done
        value.memo_keys.clear()

    def _append(self) -> None:
        (item,) = self._held([self._stack.pop()])
        self._top(list).append(item)

    def _appends(self) -> None:
        items = self._held(self._above_mark())
        self._top(list).extend(items)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value], self._top(dict))

    def _dict(self) -> None:
        made: dict[Any, Any] = {}
        self._set_items(self._above_mark(), made)
        self._push(made)

    def _add_items(self) -> None:
        items = self._above_mark()
        self._top(set).update(map(self._key, items))


def _cheap(value: Any) -> bool:
    """A number or a short text."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _LONG_KEY
    return value is None or isinstance(value, (float, np.generic)) or (
        isinstance(value, int) and -1 << 63 <= value < 1 << 64)


_OPERATIONS = {
    b"\x80": Machine._proto,
    b"\x95": lambda m: m._read(8),  # a frame: it has no meaning where nothing is read ahead
    # stack and memo
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"0": Machine._pop,
    b"1": lambda m: m._above_mark() and None,
    b"2": lambda m: m._push(m._stack[-1]),
    b"g": lambda m: m._get(int(m._line(_DIGITS))),
    b"h": lambda m: m._get(m._read(1)[0]),
    b"j": lambda m: m._get(m._count(4)),
    b"p": lambda m: m._put(int(m._line(_DIGITS))),
    b"q": lambda m: m._put(m._read(1)[0]),
    b"r": lambda m: m._put(m._count(4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    # numbers
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": Machine._integer,
    b"L": lambda m: m._push(int(m._line(_DIGITS).rstrip(b"L"), 0)),
    b"J": lambda m: m._push(int.from_bytes(m._read(4), "little", signed=True)),
    b"K": lambda m: m._push(m._read(1)[0]),
    b"M": lambda m: m._push(int.from_bytes(m._read(2), "little")),
    b"\x8a": lambda m: m._push(int.from_bytes(m._read(m._read(1)[0]), "little", signed=True)),
    b"\x8b": lambda m: m._push(int.from_bytes(m._read(m._count(4, signed=True)), "little", signed=True)),
    b"F": lambda m: m._push(float(m._line(_DIGITS))),
    b"G": lambda m: m._push(struct.unpack(">d", m._read(8))[0]),
    # strings
    b"S": Machine._text_string,
    b"T": lambda m: m._push(m._python2(m._string(4, signed=True))),
    b"U": lambda m: m._push(m._python2(m._read(m._read(1)[0]))),
    b"V": lambda m: m._push(str(m._line(), "raw-unicode-escape")),
    b"X": lambda m: m._text(4),
    b"\x8c": lambda m: m._text(1),
    b"\x8d": lambda m: m._text(8),
    b"B": lambda m: m._push(m._string(4)),
    b"C": lambda m: m._push(m._read(m._read(1)[0])),
    b"\x8e": lambda m: m._push(m._string(8)),
    b"\x96": Machine._byte_array,
    # containers
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._whole(m._above_mark()))),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._held(m._above_mark())),
    b"a": Machine._append,
    b"e": Machine._appends,
    b"}": lambda m: m._push({}),
    b"d": Machine._dict,
    b"s": Machine._set_item,
    b"u": lambda m: m._set_items(m._above_mark(), m._top(dict)),
    b"\x8f": lambda m: m._push(set()),
    b"\x90": Machine._add_items,
    b"\x91": lambda m: m._push(frozenset(map(m._key, m._above_mark()))),
    # names, calls and objects, all in the hands of the subclass
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._reduce,
    b"\x81": Machine._new,
    b"b": Machine._build,
}

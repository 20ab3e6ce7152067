"""Reading pickles as data: arrays, numbers, strings and containers, and nothing that runs code.

`opcodes.Machine` reads; here is what the few permitted names stand for. No function that a pickle
names is ever looked up: each name stands for a piece of this module, which checks what it is given.
"""

from __future__ import annotations

import importlib
import math
import os
import pickle
import stat
import sys
from typing import IO, Any, NamedTuple, cast

import numpy as np

from daseCV_c._files import is_special
from daseCV_c._types import Array, DType
from daseCV_c.datasets.opcodes import Machine, Name, NotData, Skipped, Unfinished

_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERICS = ("numpy.core.numeric", "numpy._core.numeric")
_SCALAR_TYPES = {"float32": np.float32, "float64": np.float64}
_MODEL_MODULES = {"TwoLayerNet": "fc_net", "FullyConnectedNet": "fc_net", "ThreeLayerConvNet": "cnn"}
_PACKAGES = ("daseCV_c", "daseCV", "cs231n")  # this one, and what the course calls its own
_RULES = tuple(f"{package}.optim" for package in _PACKAGES)
_MOST_AXES = 64  # of an array, as in NumPy


class BadPickleError(pickle.UnpicklingError, ValueError):
    """A pickle that is damaged, or asks for more than data. The message names the file.

    Examples
    --------
    >>> import io
    >>> from daseCV_c.data_utils import load_pickle
    >>> try:
    ...     load_pickle(io.BytesIO(b'cos\\nsystem\\n.'))
    ... except BadPickleError:
    ...     print('refused')
    refused
    """


class Left(NamedTuple):
    """An array whose bytes `load_leaving` has left in the file."""

    shape: tuple[int, ...]
    dtype: DType
    fortran: bool


def _text(value: object) -> object:
    """A string of a Python 2 pickle may come as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


def _bytes(machine: Machine, raw: object) -> bytes | bytearray:
    """The bytes of an array, which old protocols write as text."""
    if isinstance(raw, str):
        machine.charge(len(raw))
        return raw.encode("latin1")
    if not isinstance(raw, (bytes, bytearray)):
        raise NotData("it holds a number or array in an unknown form")
    return raw


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > _MOST_AXES or not all(
            type(n) is int and 0 <= n <= sys.maxsize for n in shape):
        raise NotData("it holds an array with a shape that is none")
    return shape


class _Dtype(Unfinished):
    """A type of number, whose byte order comes as its state."""

    def __init__(self, code: object, objects: bool):
        super().__init__()
        code = _text(code)
        if not isinstance(code, str) or len(code) > 4:
            raise NotData("it holds a dtype in an unknown form")
        kind = np.dtype(code)
        if kind.kind not in "biuf" and not (objects and kind.kind == "O"):
            raise NotData(f"it holds an array of dtype {kind}, expected numbers")
        self.code = kind.str[1:]

    def finish(self, machine: Machine, state: Any) -> DType:
        # (version, byte order, then what only structured types have, then sizes and flags)
        order = _text(state[1])
        plain = all(part is None for part in state[2:5])
        if not isinstance(order, str) or order not in ("<", ">", "|", "=") or not plain:
            raise NotData("it holds a structured dtype, expected numbers")
        return np.dtype(order + self.code)


class _Array(Unfinished):
    """An array whose shape, dtype and bytes come as its state."""

    def finish(self, machine: Machine, state: Any) -> Array | Left:
        shape, dtype, fortran, raw = state[-4:]
        if not isinstance(dtype, np.dtype):
            raise NotData("it holds an array without a dtype")
        count = math.prod(_shape(shape))
        if isinstance(raw, Skipped):
            return cast(_Data, machine).leave(shape, dtype, bool(fortran))
        if dtype.hasobject:
            if type(raw) is not list or len(raw) != count:
                raise NotData("it holds an array whose size does not fit its data")
            machine.charge(count)
        else:
            raw = _bytes(machine, raw)
            if not isinstance(raw, bytes) or len(raw) != count * dtype.itemsize:
                raise NotData("it holds an array whose size does not fit its data")
            machine.charge(len(raw))
        array: Array = np.ndarray((0,), np.int8)
        # NumPy keeps a large `bytes` as the array's memory, so this is mostly no copy.
        array.__setstate__((1, shape, dtype, bool(fortran), raw))  # type: ignore[arg-type]
        return array


class _Data(Machine):
    """Gives the names that writers of arrays use their meaning. `models` permits the package's networks,
    `objects` arrays of objects."""

    def __init__(self, file: IO[bytes], encoding: str, models: bool = False, objects: bool = False,
                 size: int | None = None, leave: int | None = None):
        super().__init__(file, encoding, size, leave)
        self._models, self._objects, self.was_left = models, objects, False

    def find(self, module: str, name: str) -> Any:
        if (
            module in _CORES and name in ("_reconstruct", "scalar")
            or module in _NUMERICS and name == "_frombuffer"
            or module == "numpy" and name in ("ndarray", "dtype")
            or module in ("codecs", "_codecs") and name == "encode"
            or module in ("builtins", "__builtin__") and name == "bytes"
        ):
            return Name(name)
        if self._models and module == "numpy" and name in _SCALAR_TYPES:
            return _SCALAR_TYPES[name]  # as data: only what is a Name can be called
        if self._models and name in _MODEL_MODULES and module in (
                f"{package}.classifiers.{_MODEL_MODULES[name]}" for package in _PACKAGES):
            return Name(name)
        if self._models and module in _RULES and type(name) is str and len(name) <= 100:
            return f"{module}.{name}"  # the update rule, as text: it is not called, nor looked up
        return super().find(module, name)

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        if type(function) is not Name or len(args) > 5:
            return super().call(function, args)
        if function.name == "encode":
            text, codec = args
            if type(text) is not str or codec not in ("latin1", "latin-1"):
                raise NotData("it asks for a codec that is not latin1")
            return _bytes(self, text)
        if function.name == "bytes" and not args:
            return b""  # how protocols 0 to 2 write it
        if function.name == "dtype":
            return _Dtype(args[0], self._objects)
        if function.name == "_reconstruct":
            if type(args[0]) is not Name or args[0].name != "ndarray":
                raise NotData("it holds a subclass of ndarray")
            return _Array()
        if function.name == "scalar":
            return self._from_bytes(args[1], args[0], ())[()]
        if function.name == "_frombuffer":
            raw, dtype, shape, order, *axes = args
            order = _text(order)
            if isinstance(raw, Skipped) and isinstance(dtype, np.dtype):
                return self.leave(_shape(shape), dtype, order != "C")
            array = self._from_bytes(raw, dtype, _shape(shape), "C" if order == "K" else order)
            return array.transpose(axes[0]) if order == "K" else array
        raise NotData(f"it calls {function.name}")

    def make(self, kind: Any, args: tuple[Any, ...]) -> Any:
        if type(kind) is not Name or kind.name not in _MODEL_MODULES or args != ():
            return super().make(kind, args)
        network = _network(kind.name)
        return network.__new__(network)

    def set_state(self, value: Any, state: Any) -> None:
        name = type(value).__name__
        if name not in _MODEL_MODULES:
            return super().set_state(value, state)
        if type(state) is not dict or not all(type(key) is str for key in state):
            raise NotData(f"it holds a {name} in an unknown form")
        self.charge(len(state))
        value.__setstate__(state)

    def leave(self, shape: tuple[int, ...], dtype: DType, fortran: bool) -> Left:
        self.was_left = True
        return Left(shape, dtype, fortran)

    def _from_bytes(self, raw: object, dtype: object, shape: tuple[int, ...], order: Any = "C") -> Array:
        raw = _bytes(self, raw)
        if not isinstance(dtype, np.dtype) or dtype.hasobject or len(raw) != math.prod(shape) * dtype.itemsize:
            raise NotData("it holds a number or array in an unknown form")
        array: Array = np.frombuffer(raw, dtype).reshape(shape, order=order)
        if isinstance(raw, bytes):
            self.charge(len(raw))
            array = array.copy(order="K")
        return array


def _network(name: str) -> Any:
    return getattr(importlib.import_module(f"daseCV_c.classifiers.{_MODEL_MODULES[name]}"), name)


def load(file: IO[bytes], name: str | None = None, *, encoding: str = "latin1", **options: Any) -> Any:
    """Read one pickle from an open binary file; `_Data` says what the options permit."""
    if name is None:
        name = getattr(file, "name", None) or "the pickle"
    return _value(_Data(file, encoding, **options), name)


def _value(machine: _Data, name: str) -> Any:
    try:
        return machine.load()
    except OSError:
        raise
    except NotData as error:
        raise BadPickleError(f"{name} cannot be read: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        what = str(error) or type(error).__name__
        raise BadPickleError(f"{name} cannot be read: {what}") from error


def _size(file: IO[bytes]) -> int | None:
    """Of a regular file."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _opened(path: str | os.PathLike[str]) -> IO[bytes]:
    if is_special(path):
        raise BadPickleError(f"{os.fspath(path)} is no ordinary file, expected a pickle")
    return open(path, "rb")


def load_path(path: str | os.PathLike[str], **options: Any) -> Any:
    """`load`, from a path."""
    with _opened(path) as file:
        return load(file, os.fspath(path), size=_size(file), **options)


def load_leaving(path: str | os.PathLike[str], size: int) -> tuple[Any, int | None]:
    """(value, offset): as `load_path` with encoding bytes, but a string of `size` bytes stays in the file.

    An array made of it is `Left`, and the string is at `offset`. The offset is None if there is no
    such array; then everything was read.
    """
    with _opened(path) as file:
        machine = _Data(file, "bytes", size=_size(file), leave=size)
        value = _value(machine, os.fspath(path))
    if machine.was_left:
        return value, machine.offset
    return (value, None) if machine.offset is None else (load_path(path, encoding="bytes"), None)

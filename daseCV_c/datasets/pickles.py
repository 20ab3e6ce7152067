"""Reading pickles as data: arrays, numbers, strings and containers, and nothing that runs code.

The names that a pickle may use stand for small makers of this module, never for the functions
of those names. A maker cannot be changed from inside a pickle, and checks what it is given.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import pickle
from typing import NamedTuple

import numpy as np

_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERICS = ("numpy.core.numeric", "numpy._core.numeric")
_SCALAR_TYPES = {"float32": np.float32, "float64": np.float64}
_MODEL_MODULES = {"TwoLayerNet": "fc_net", "FullyConnectedNet": "fc_net", "ThreeLayerConvNet": "cnn"}


class BadPickleError(pickle.UnpicklingError, ValueError):
    """A pickle that is damaged, or asks for more than data. The message names the file."""


class Left(NamedTuple):
    """An array whose bytes `load_leaving` has left in the file."""

    shape: tuple
    dtype: np.dtype
    fortran: bool


# Stands for bytes that were left in the file. No file can know it.
_LEFT = os.urandom(16)


def _text(value):
    """A string of a Python 2 pickle may come as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


class _Dtype:
    """Stands for a dtype while the pickle is read: a type of number and its byte order."""

    __slots__ = ("code", "order", "objects")

    def __init__(self, code, objects):
        code = _text(code)
        if not isinstance(code, str) or len(code) > 4:
            raise BadPickleError(f"it holds a dtype {code!r}")
        kind = np.dtype(code)
        if kind.kind not in "biuf" and not (objects and kind.kind == "O"):
            raise BadPickleError(f"it holds an array of dtype {kind}, expected numbers")
        self.code, self.order = kind.str[1:], kind.byteorder

    def __setstate__(self, state):
        # (version, byte order, then what only structured types have, then sizes and flags)
        order = _text(state[1])
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise BadPickleError("it holds a structured dtype, expected numbers")
        self.order = order

    def real(self):
        return np.dtype(self.order + self.code)


class _Array(np.ndarray):
    """An array that checks the state it is given; `_plain` turns it into an ordinary one."""

    left = None

    def __setstate__(self, state):
        shape, dtype, fortran, raw = state[-4:]
        if not isinstance(dtype, _Dtype):
            raise BadPickleError("it holds an array without a dtype")
        kind = dtype.real()
        shape = _shape(shape)
        count = math.prod(shape)
        if kind.hasobject:
            if not isinstance(raw, list) or len(raw) != count:
                raise BadPickleError("it holds an array whose size does not fit its data")
        elif isinstance(raw, bytes) and raw == _LEFT:
            self.left = Left(shape, kind, bool(fortran))
            return
        else:
            raw = raw.encode("latin1") if isinstance(raw, str) else raw
            if not isinstance(raw, bytes) or len(raw) != count * kind.itemsize:
                raise BadPickleError("it holds an array whose size does not fit its data")
        # NumPy keeps a large `bytes` as the array's memory, so this is no copy.
        super().__setstate__((1, shape, kind, bool(fortran), raw))


def _shape(shape):
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise BadPickleError(f"it holds an array of shape {shape!r}")
    return shape


def _from_bytes(raw, dtype):
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, (bytes, bytearray)) or not isinstance(dtype, _Dtype) or dtype.real().hasobject:
        raise BadPickleError("it holds a number or array in an unknown form")
    return np.frombuffer(raw, dtype.real())


class _Maker:
    """What a permitted name stands for. Only `__call__` does anything."""

    __slots__ = ("name", "objects")

    def __init__(self, name, objects=False):
        self.name, self.objects = name, objects

    def __setstate__(self, state):
        raise BadPickleError(f"it changes {self.name}")

    def __call__(self, *args):
        if self.name == "encode":
            text, codec = args
            if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
                raise BadPickleError(f"it asks for the codec {codec!r}, expected latin1")
            return text.encode("latin1")
        if self.name == "bytes" and not args:
            return b""  # how protocols 0 to 2 write it
        if self.name == "dtype":
            return _Dtype(args[0], self.objects)
        if self.name == "_reconstruct":
            if not (isinstance(args[0], _Maker) and args[0].name == "ndarray"):
                raise BadPickleError("it holds a subclass of ndarray")
            return np.ndarray.__new__(_Array, (0,), np.int8)
        if self.name == "scalar":
            return _from_bytes(args[1], args[0])[0]
        if self.name == "_frombuffer":
            raw, dtype, shape, order = args
            if isinstance(raw, (bytes, bytearray)) and raw == _LEFT and isinstance(dtype, _Dtype):
                return Left(_shape(shape), dtype.real(), _text(order) != "C")
            return _from_bytes(raw, dtype).reshape(_shape(shape), order=_text(order)).copy(order="K")
        raise BadPickleError(f"it calls {self.name}")


class _Frozen(type):
    """Classes that cannot be changed after they are made."""

    def __setattr__(cls, name, value):
        raise BadPickleError(f"it changes {cls.__name__}")


class _Model(metaclass=_Frozen):
    """Stands for one of the networks; keeps its attributes until the pickle is read."""

    __slots__ = ("attributes",)
    network = ""

    def __setstate__(self, state):
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise BadPickleError(f"it holds a {self.network} in an unknown form")
        self.attributes = state


class _TwoLayerNet(_Model):
    __slots__ = ()
    network = "TwoLayerNet"


class _FullyConnectedNet(_Model):
    __slots__ = ()
    network = "FullyConnectedNet"


class _ThreeLayerConvNet(_Model):
    __slots__ = ()
    network = "ThreeLayerConvNet"


_MODEL_STANDINS = {
    "TwoLayerNet": _TwoLayerNet, "FullyConnectedNet": _FullyConnectedNet, "ThreeLayerConvNet": _ThreeLayerConvNet,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, encoding, models, objects):
        super().__init__(file, encoding=encoding)
        self._models, self._objects = models, objects

    def find_class(self, module, name):
        if (
            module in _CORES and name in ("_reconstruct", "scalar")
            or module in _NUMERICS and name == "_frombuffer"
            or module == "numpy" and name == "ndarray"
            or module in ("codecs", "_codecs") and name == "encode"
            or module in ("builtins", "__builtin__") and name == "bytes"
            or self._models and module == "numpy" and name in _SCALAR_TYPES
        ):
            return _Maker(name)
        if module == "numpy" and name == "dtype":
            return _Maker(name, self._objects)
        if self._models and name in _MODEL_STANDINS and module in (
                f"{package}.classifiers.{_MODEL_MODULES[name]}" for package in ("daseCV_c", "daseCV")):
            return _MODEL_STANDINS[name]
        raise BadPickleError(f"it asks for {module}.{name}, which is not data")


def _plain(value, done):
    """`value` with ordinary arrays, types and networks in place of the stand-ins."""
    kind = type(value)
    if kind is _Array:
        if value.left is not None:
            return value.left
        array = value.view(np.ndarray)
        if array.dtype.hasobject:
            array = array.copy()
            for place in np.ndindex(array.shape):
                array[place] = _plain(array[place], done)
        return array
    if kind is _Maker:
        return _SCALAR_TYPES.get(value.name)
    if kind is _Dtype:
        return value.real()
    if kind not in (dict, list, tuple, *_MODEL_STANDINS.values()):
        return value
    if id(value) in done:
        return done[id(value)]
    if kind is tuple:
        return tuple(_plain(item, done) for item in value)
    if kind is list:
        done[id(value)] = value
        value[:] = [_plain(item, done) for item in value]
        return value
    if kind is dict:
        done[id(value)] = value
        for key in value:
            value[key] = _plain(value[key], done)
        return value
    module = importlib.import_module(f"daseCV_c.classifiers.{_MODEL_MODULES[value.network]}")
    network = getattr(module, value.network)
    model = done[id(value)] = network.__new__(network)
    model.__dict__.update(_plain(value.attributes, done))
    return model


def load(file, name=None, *, encoding="latin1", models=False, objects=False):
    """Read one pickle from an open binary file.

    `models` permits the package's networks, `objects` arrays of objects.
    """
    if name is None:
        name = getattr(file, "name", None) or "the pickle"
    try:
        return _plain(_Unpickler(file, encoding, models, objects).load(), {})
    except OSError:
        raise
    except BadPickleError as error:
        raise BadPickleError(f"{name} cannot be read: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        what = str(error) or type(error).__name__
        raise BadPickleError(f"{name} cannot be read: {what}") from error


def load_path(path, **options):
    """`load`, from a path."""
    with open(path, "rb") as file:
        return load(file, os.fspath(path), **options)


# Opcodes of long strings, and the bytes of the length that follows each: BINSTRING, BINBYTES,
# BINBYTES8, BYTEARRAY8.
_LONG = {b"T": 4, b"B": 4, b"\x8e": 8, b"\x96": 8}


def load_leaving(path, size):
    """(value, offset): as `load_path` with encoding bytes, but a string of `size` bytes stays in the file.

    An array made of it is `Left`, and the string is at `offset`. An unpickler would hold it twice
    for a moment. The offset is None if no such string was found; then everything was read.
    """
    with open(path, "rb") as file:
        pickled, offset = _without_string(file, size)
    if offset is not None:
        try:
            return load(io.BytesIO(pickled), os.fspath(path), encoding="bytes"), offset
        except BadPickleError:
            pass  # what looked like the string was something else, or the pickle is bad as a whole
    return load_path(path, encoding="bytes"), None


def _without_string(file, size):
    """The pickle with `_LEFT` in place of its string of `size` bytes, and where that string begins."""
    total = os.fstat(file.fileno()).st_size
    if total <= size:
        return None, None
    head = file.read(total - size)  # the string begins in here, whatever follows it
    for opcode, width in _LONG.items():
        at = head.find(opcode + size.to_bytes(width, "little"))
        if at >= 0:
            offset = at + 1 + width
            file.seek(offset + size)
            return b"".join((head[:at], opcode, len(_LEFT).to_bytes(width, "little"), _LEFT, file.read())), offset
    return None, None

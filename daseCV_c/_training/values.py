"""Values as JSON and arrays, and back to the same type and the same bits.

Numbers, texts, None, lists, tuples, dicts, arrays of numbers, NumPy's numbers and its generators of
the course's kind. What JSON has no form for is a dict with one key that says what it is.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from daseCV_c._types import Array

_DEEPEST = 50
_MOST_BITS = 4096  # of an integer: Python reads no number of thousands of digits
_MT19937 = "MT19937"


def pack(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """`value` as JSON; its arrays are put into `arrays` under names that begin with `name`.

    TypeError for what has no such form. One array in two places stays one.
    """
    return _Packer(arrays).pack(value, name, 0)


class _Packer:
    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays
        self._names = {id(array): name for name, array in arrays.items()}

    def pack(self, value: Any, name: str, depth: int) -> Any:
        kind = type(value)
        if depth > _DEEPEST:
            raise TypeError(f"{name[:80]}... is nested too deep for a file")
        if value is None or kind is bool or kind is str or kind is int and value.bit_length() < _MOST_BITS:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list or kind is tuple:
            packed = [self.pack(each, f"{name}/{i}", depth + 1) for i, each in enumerate(value)]
            return packed if kind is list else {"tuple": packed}
        if isinstance(value, dict):
            return {"dict": [[self.pack(key, name, depth + 1), self.pack(each, f"{name}/{key}", depth + 1)]
                             for key, each in value.items()]}
        if isinstance(value, np.random.RandomState):
            return {"generator": self.pack(state_of(value, name), name, depth + 1)}
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return {"number": self._put(np.asarray(value), name)}
        if kind is np.ndarray and value.dtype.kind in "biufc":
            if id(value) not in self._names:
                self._names[id(value)] = self._put(value, name)
            return {"array": self._names[id(value)]}
        what = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {kind.__name__}"
        raise TypeError(f"{name} is {what}, which a file of numbers cannot hold")

    def _put(self, array: Array, name: str) -> str:
        parts = [re.sub(r"[^A-Za-z0-9_.+-]|^\.", "_", part) or "_" for part in name.split("/")]
        short = found = "/".join(parts)[:150].rstrip("/")
        count = 1
        while found in self._arrays:
            count += 1
            found = f"{short}+{count}"
        self._arrays[found] = array
        return found


def unpack(packed: Any, arrays: dict[str, Array]) -> Any:
    """What `pack` was given; ValueError for what it has not made."""
    if packed is None or type(packed) in (bool, int, float, str):
        return packed
    if type(packed) is list:
        return [unpack(each, arrays) for each in packed]
    if type(packed) is dict and len(packed) == 1:
        (kind, held), = packed.items()
        if kind == "float" and held in ("nan", "inf", "-inf"):
            return float(held)
        if kind == "tuple" and type(held) is list:
            return tuple(unpack(each, arrays) for each in held)
        if kind == "dict" and type(held) is list and all(type(pair) is list and len(pair) == 2 for pair in held):
            pairs = [(unpack(key, arrays), unpack(each, arrays)) for key, each in held]
            if all(_is_key(key) for key, _ in pairs):
                return dict(pairs)
        if kind in ("array", "number") and type(held) is str and held in arrays:
            array = arrays[held]
            if kind == "array":
                return array
            if array.shape == ():
                return array[()]
        if kind == "generator":
            generator = np.random.RandomState()
            set_state(generator, unpack(held, arrays))
            return generator
    raise ValueError(f"it holds {str(packed)[:60]}, which is no value")


def _is_key(key: Any) -> bool:
    return isinstance(key, (type(None), bool, int, float, str, np.generic)) or (
        isinstance(key, tuple) and all(map(_is_key, key)))


def state_of(generator: Any, name: str) -> dict[str, Any]:
    """The state of a RandomState, or of `np.random` itself."""
    state: dict[str, Any] = generator.get_state(legacy=False)
    if state["bit_generator"] != _MT19937:
        raise TypeError(f"{name} is a generator of the kind {state['bit_generator']}, expected {_MT19937}")
    return state


def set_state(generator: Any, state: Any) -> None:
    """Put `state_of` into a RandomState, or into `np.random` itself; ValueError for another."""
    try:
        key, pos = state["state"]["key"], state["state"]["pos"]
        fits = (state["bit_generator"] == _MT19937 and key.shape == (624,) and key.dtype == np.uint32
                and type(pos) is int and 0 <= pos <= 624  # NumPy reads at whatever place it is told
                and state["has_gauss"] in (0, 1) and type(state["gauss"]) is float)
    except (AttributeError, IndexError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError("it holds a state of a generator that is none")
    generator.set_state(state)

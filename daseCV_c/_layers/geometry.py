"""Windows on images: their sizes as arguments, how many of them fit, and what no array can hold."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

from daseCV_c import _checks

LARGEST = 2**30  # of a window, a stride and a padding: what is computed from them stays far from overflow


def size(function: str, name: str, value: object, low: int = 1) -> int:
    """The size of a window, a stride or a padding."""
    return _checks.integer(function, name, value, low, LARGEST)


def fits(function: str, name: str, field: int, side: str, length: int, padding: int = 0) -> None:
    """A window no larger than the padded image."""
    if field > length + 2 * padding:
        padded = f" and padding {padding}" if padding else ""
        raise ValueError(f"{function}: {name} is {field}, but x has {side} {length}{padded}")


def windows(length: int, field: int, padding: int, stride: int) -> int:
    """How many windows fit along one side; what is left over at its end is not looked at."""
    return (length + 2 * padding - field) // stride + 1


def holdable(function: str, what: str, shape: Iterable[int]) -> None:
    """An array of this shape, of 8 bytes an element, is not larger than all arrays can be."""
    shape = tuple(shape)
    if math.prod(max(1, length) for length in shape) > sys.maxsize // 8:
        raise ValueError(f"{function}: {what} would have shape {shape}, which is too large for an array")

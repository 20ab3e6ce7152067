"""Windows on images: whole numbers as arguments, and how many windows fit."""

from __future__ import annotations

import math
import operator
from typing import SupportsIndex


def integer(function: str, name: str, value: SupportsIndex, low: int, high: float = math.inf) -> int:
    """A whole number from `low` to `high`; a bool is none."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{function}: {name} is {value!r}, expected an integer") from None
    if not low <= number <= high:
        raise ValueError(f"{function}: {name} is {number}, expected an integer of at least {low}")
    return number


def fits(function: str, name: str, field: int, side: str, size: int, padding: int = 0) -> None:
    """A window no larger than the padded image."""
    if field > size + 2 * padding:
        padded = f" and padding {padding}" if padding else ""
        raise ValueError(f"{function}: {name} is {field}, but x has {side} {size}{padded}")


def windows(size: int, field: int, padding: int, stride: int) -> int:
    """How many windows fit along one side; what is left over at its end is not looked at."""
    return (size + 2 * padding - field) // stride + 1

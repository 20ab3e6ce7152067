"""How far the initial weights of a layer spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from daseCV_c import _checks

_RULES: dict[str, Callable[[int, int], float]] = {
    # What ReLU lets through of unit variance has unit variance again.
    "he": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    # Between what keeps the variance forward, 1 / fan_in, and what keeps it backward, 1 / fan_out.
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
}


def spread(function: str, weight_scale: Any) -> Callable[[int, int], float]:
    """The standard deviation of a layer's weights as a function of its fan-in and fan-out."""
    if isinstance(weight_scale, str):
        if weight_scale not in _RULES:
            raise TypeError(f"{function}: weight_scale is {weight_scale!r}, expected a number, 'he' or 'glorot'")
        return _RULES[weight_scale]
    scale = _checks.real_number(function, "weight_scale", weight_scale)
    return lambda fan_in, fan_out: scale

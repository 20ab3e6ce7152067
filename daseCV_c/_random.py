"""Where random numbers come from: NumPy's global generator, as in the course, or one of the caller's own."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from daseCV_c import _checks
from daseCV_c._types import Array, Params

Generator: TypeAlias = np.random.RandomState


def generator(function: str, seed: Any) -> Generator | None:
    """The generator that `seed` stands for: one of its own, the caller's, or for None no own one.

    A seed gives the numbers that ``np.random.seed(seed)`` gives the global generator.
    """
    if seed is None or isinstance(seed, Generator):
        return seed
    if isinstance(seed, np.random.Generator):
        raise TypeError(f"{function}: seed is a numpy.random.Generator, expected an integer, a "
                        "numpy.random.RandomState or None")
    return Generator(_checks.integer(function, "seed", seed, 0, 2**32 - 1))


def source(own: Generator | None) -> Any:
    """What has `rand`, `randn`, `randint` and `choice`: the own generator, or the global one."""
    return np.random if own is None else own


def uniform(dropout_param: Params, *shape: int) -> Array:
    """The numbers that decide what dropout drops."""
    own = dropout_param.get("generator")
    if own is None and "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    return np.asarray(source(own).rand(*shape))

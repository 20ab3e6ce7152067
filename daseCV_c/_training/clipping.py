"""The norm of all gradients together, and gradients that are scaled down to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import threads as _threads
from daseCV_c._training.divergence import DivergenceError, not_finite
from daseCV_c._types import Array

_BLOCK = 2**15  # numbers squared at a time: they stay in the cache until they are summed


def global_norm(gradients: Iterable[Array]) -> float:
    """The square root of the sum of all squares, in double.

    Blocks and their order depend on the shapes alone, and no BLAS takes part: the bits are the same
    for any number of threads.
    """
    arrays = [np.asarray(gradient) for gradient in gradients]
    total = sum(map(_sum_of_squares, arrays))
    if total < math.inf or math.isnan(total):
        return math.sqrt(total)
    # Squares of numbers beyond 1e154 are infinite where they are not.
    largest = max(float(np.abs(array).max()) for array in arrays if array.size)
    if largest == math.inf:
        return math.inf
    return largest * math.sqrt(sum(_sum_of_squares(array / largest) for array in arrays))


def _sum_of_squares(array: Array) -> float:
    kernels = _backend.kernels_of(array.dtype)
    if kernels is not None and array.flags.c_contiguous and array.flags.aligned:
        return kernels.optim.sum_of_squares(array.reshape(-1), _threads.effective())
    flat, total = array.reshape(-1), 0.0
    room = np.empty(min(_BLOCK, array.size))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, array.size, _BLOCK):
            block = flat[start:start + _BLOCK]
            total += float(np.square(block, out=room[:block.size], dtype=np.float64).sum())
    return total


class Clipping:
    """Scales gradients whose norm is above `clip_norm` down to it; `watched`: one that is not finite is an error."""

    def __init__(self, clip_norm: object, watched: bool = True, function: str = "Solver") -> None:
        self.clip_norm = _checks.real_number(function, "clip_norm", clip_norm)
        if not self.clip_norm > 0:
            raise ValueError(f"{function}: clip_norm is {clip_norm!r}, expected a positive number")
        self._watched = watched

    def scale(
        self, gradients: Mapping[str, Array], loss: float, losses: Sequence[float], flat: Array | None = None,
    ) -> float:
        """What the gradients of this loss are multiplied by; `losses` are those of the steps before.

        `flat`: the same gradients in one array, with zeros between them.
        """
        norm = global_norm(gradients.values() if flat is None else (flat,))
        if math.isfinite(norm):
            return self.clip_norm / norm if norm > self.clip_norm else 1.0
        # A loss that is not finite is found, and spoken of, after the step.
        if self._watched and math.isfinite(loss):
            first = (not_finite(dict(gradients)) or ["all parameters together"])[0]
            raise DivergenceError(
                f"Solver.train: the norm of the gradients is {norm!r} after {len(losses)} steps, with a finite loss; "
                f"the first gradient with a NaN or an infinity is that of {first}. The parameters are those of before")
        return 1.0

    def __call__(
        self, params: Mapping[str, Any], gradients: Mapping[str, Any], loss: float, losses: Sequence[float],
    ) -> Mapping[str, Any]:
        """The gradients of `params`, scaled in arrays of their own."""
        wanted = {name: gradients[name] for name in params}
        scale = self.scale(wanted, loss, losses)
        return wanted if scale == 1.0 else {name: np.multiply(array, scale) for name, array in wanted.items()}

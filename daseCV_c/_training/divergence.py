"""What to say when the loss is no number any more."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from daseCV_c._types import Array


class DivergenceError(FloatingPointError):
    """The loss of a training became NaN or infinite. The message says where, and what is likely to have caused it."""


def finite(array: Any) -> bool:
    """No NaN and no infinity in an array of numbers."""
    array = np.asarray(array)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def not_finite(params: dict[str, Any]) -> list[str]:
    """The names of parameters with a NaN or an infinity, in the network's order."""
    return [name for name, array in params.items() if not finite(array)]


class Watch:
    """Called when a loss is not at most `limit`: so a step costs one comparison, which NaN fails too.

    A loss far above the first one is often the step before the parameters overflow. They are looked
    at then, so that the first one to go is known: after a loss of NaN all of them are NaN.
    """

    def __init__(self) -> None:
        self.limit = 0.0  # so that the first loss is looked at
        self.gone: tuple[str, int, int] | None = None

    def look(self, solver: Any) -> None:
        """DivergenceError if the loss is no number; else look at the parameters."""
        loss, params = solver.loss_history[-1], solver.model.params
        gone = not_finite(params)
        if gone and self.gone is None:
            self.gone = gone[0], len(gone), solver.iteration
        if not math.isfinite(loss):
            raise DivergenceError(self._message(solver, loss))
        self.limit = max(1000 * max(1.0, abs(solver.loss_history[0])), 2 * abs(loss))

    def _message(self, solver: Any, loss: float) -> str:
        at = f"Solver.train: the loss is {float(loss)!r} at iteration {solver.iteration} of {solver.num_iterations}"
        first = not_finite(solver.best_params)
        if first:
            return f"{at}: {_place(first[0])} held a NaN or an infinity before training"
        row = _bad_row(solver)
        if row:
            return f"{at}: {row}"
        if self.gone is None:
            return f"{at}, with all parameters finite: the loss itself divides by 0 or is too large for its dtype"
        name, count, iteration = self.gone
        when = "now" if iteration == solver.iteration else f"after iteration {iteration}"
        config: dict[str, Any] = next(iter(solver.optim_configs.values()), {})
        rate = config.get("learning_rate")
        return (f"{at}; the first parameter with a NaN or an infinity is {_place(name)} ({count} of "
                f"{len(solver.model.params)} have one {when}). The learning rate"
                f"{'' if rate is None else f' of {rate:g}'} is probably too high: try a tenth of it")


def _place(name: str) -> str:
    number = re.fullmatch(r"[A-Za-z_]+(\d+)", name)
    return f"{name} of layer {number[1]}" if number else name


def _bad_row(solver: Any) -> str | None:
    """What is wrong with a sample of the last batch, if something is."""
    index: Array | None = solver._index
    if index is None:
        return None
    for name, rows in (("X_train", solver.X_train[index]), ("y_train", solver.y_train[index]),
                       ("X_train", solver._batch(index))):
        rows = np.asarray(rows)
        if rows.dtype.kind not in "fc" or np.isfinite(rows).all():
            continue
        bad = np.argwhere(~np.isfinite(rows))[0]
        place = ", ".join(map(str, (index[bad[0]], *bad[1:])))
        given = getattr(solver, name)[index[bad[0]]][tuple(bad[1:])]
        if np.isfinite(given):
            return f"{name}[{place}] is {given}, which is too large for {rows.dtype}"
        return f"{name}[{place}] is {given}"
    return None

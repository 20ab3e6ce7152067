"""Whether a value that is looked at in each check still becomes better."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from daseCV_c import _checks

# Whether more is better.
MONITORS = {"val_loss": False, "val_acc": True, "train_loss": False, "train_acc": True}


def value_of(solver: Any, monitor: str) -> float:
    """The monitored value of the check that was just made."""
    if monitor == "train_loss":
        # Of the batches of this epoch: one batch alone says little.
        batches = solver.iteration % solver._per_epoch or solver._per_epoch
        return float(np.mean(solver.loss_history[-batches:]))
    return float(getattr(solver, f"{monitor}_history")[-1])


class Watch:
    """Counts the checks in a row that brought nothing better than the best so far by more than `min_delta`."""

    def __init__(self, function: str, monitor: object, patience: object, min_delta: object) -> None:
        if not isinstance(monitor, str) or monitor not in MONITORS:
            raise ValueError(f"{function}: monitor is {monitor!r}, expected one of {', '.join(MONITORS)}")
        self.monitor = monitor
        self.patience = _checks.integer(function, "patience", patience, 1)
        self.min_delta = _checks.real_number(function, "min_delta", min_delta, 0)
        if self.min_delta == math.inf:
            raise ValueError(f"{function}: min_delta is inf, expected a finite number")
        self.best: float | None = None
        self.waited = 0

    def see(self, value: float) -> bool:
        """Take the value of one check; True if it is the best so far. What is not finite is never better."""
        value, sign = float(value), 1 if MONITORS[self.monitor] else -1
        if math.isfinite(value) and (self.best is None or sign * (value - self.best) > self.min_delta):
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    def over(self) -> bool:
        return self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: numbers alone."""
        return {"best": self.best, "waited": self.waited}

    def load_state(self, state: dict[str, Any]) -> None:
        best = state.get("best")
        best = None if best is None else _checks.real_number("load_state", "state['best']", best)
        self.waited = _checks.integer("load_state", "state['waited']", state.get("waited"), 0)
        self.best = best

"""Ending a training whose monitored value no longer becomes better."""

from __future__ import annotations

from typing import Any

from daseCV_c import _checks
from daseCV_c._training.watching import Watch, value_of

DEFAULTS = {"patience": 5, "min_delta": 0.0, "monitor": "val_loss"}


class EarlyStopping:
    """Looks at one value in each check; `reason` is a line of text once it has seen enough.

    Settings: `patience`, the number of checks in a row that bring nothing better; `min_delta`, by how much a
    value must be better than the best so far; `monitor`, whose value it is. A check is made after the first
    step, at the end of each epoch and after the last step: so patience counts epochs.
    """

    def __init__(self, settings: Any, function: str = "Solver") -> None:
        given = _checks.dictionary(function, "early_stopping", settings)
        for key in given:
            if key not in DEFAULTS:
                raise ValueError(
                    f"{function}: early_stopping has no setting {key!r}, expected some of {', '.join(DEFAULTS)}")
        chosen = DEFAULTS | given
        self._watch = Watch(f"{function}: early_stopping", chosen["monitor"], chosen["patience"], chosen["min_delta"])
        self._best_epoch = 0

    @property
    def monitor(self) -> str:
        return self._watch.monitor

    def settings(self) -> dict[str, Any]:
        watch = self._watch
        return {"patience": watch.patience, "min_delta": watch.min_delta, "monitor": watch.monitor}

    def on_train_begin(self, solver: Any) -> None:
        if not solver.iteration:
            self.load_state(EarlyStopping(self.settings()).state())
        solver.stop_reason = self.reason

    def on_check(self, solver: Any) -> bool:
        self.check(value_of(solver, self.monitor), solver.epoch)
        solver.stop_reason = self.reason
        if self.reason is not None and solver.verbose:
            solver._say(f"Stopped early: {self.reason}")
        return self.reason is not None

    def check(self, value: float, epoch: int) -> None:
        """Take the value of one check, made when `epoch` epochs were over."""
        if self._watch.see(value):
            self._best_epoch = epoch

    @property
    def reason(self) -> str | None:
        watch = self._watch
        if not watch.over():
            return None
        best = "never was finite"
        if watch.best is not None:
            best = f"was best after epoch {self._best_epoch}: {watch.best:.6g}"
        checks = f"{watch.waited} check{'s' * (watch.waited != 1)}"
        return f"{watch.monitor} {best}; {checks} since then brought nothing better"

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: numbers alone."""
        return {**self._watch.state(), "best_epoch": self._best_epoch}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        epoch = _checks.integer("load_state", "state['best_epoch']", state.get("best_epoch"), 0)
        self._watch.load_state(state)
        self._best_epoch = epoch

"""Learning rates that a schedule sets before each step."""

from __future__ import annotations

from typing import Any

from daseCV_c import _checks, optim
from daseCV_c._training.watching import value_of
from daseCV_c.schedules import Plateau, Schedule, factor_of, make


class Rates:
    """The factor of the schedule, on the rates that the update rule was configured with.

    Each parameter keeps a rate of its own: they are plain numbers in the rule's configurations, set
    before the step, which is fused with them as ever.
    """

    def __init__(self, schedule: Any, lr_decay: float, function: str = "Solver") -> None:
        if lr_decay != 1:
            raise ValueError(f"{function}: lr_decay is {lr_decay:g} beside a schedule, expected one of the two")
        self.given = self._now = make(schedule, function)
        self._first: dict[str, float] = {}  # the rate of each parameter that a factor of 1 stands for

    @property
    def monitor(self) -> str | None:
        """The value that a check must have."""
        return self.given.monitor if isinstance(self.given, Plateau) else None

    def settings(self) -> dict[str, Any] | None:
        """What `make` makes the schedule from, or None for a function."""
        return self.given.settings() if isinstance(self.given, Schedule) else None

    def on_train_begin(self, solver: Any) -> None:
        """Find the lengths that follow the training; a run that goes on keeps what a plateau has brought about."""
        state = self._state_of_schedule() if solver.iteration else None
        if isinstance(self.given, Schedule):
            self._now = self.given.of_training(solver.num_iterations, solver._per_epoch)
        if state is not None:
            self._now.load_state(state)  # type: ignore[attr-defined]
        if self._first.keys() != solver.optim_configs.keys():
            rule = solver.update_rule
            default = optim.SETTINGS.get(rule, {}).get("learning_rate") if isinstance(rule, str) else None
            self._first = {name: _rate(config.get("learning_rate", default))
                           for name, config in solver.optim_configs.items()}

    def set(self, solver: Any, step: int) -> None:
        """The rates of a step, counted from 0."""
        factor, last, rate = factor_of(self._now, step), None, 0.0
        for name, config in solver.optim_configs.items():
            first = self._first[name]
            if first != last:  # parameters mostly share the number itself
                last, rate = first, first * factor
            config["learning_rate"] = rate

    def on_check(self, solver: Any) -> None:
        if isinstance(self._now, Plateau):
            self._now.check(value_of(solver, self._now.monitor))

    def _state_of_schedule(self) -> Any:
        return self._now.state() if hasattr(self._now, "state") and hasattr(self._now, "load_state") else None

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"first": self._first, "schedule": self._state_of_schedule()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        first = _checks.dictionary("load_state", "state['first']", state.get("first"))
        first = {name: _checks.real_number("load_state", "state['first']", rate, 0) for name, rate in first.items()}
        schedule = state.get("schedule")
        if schedule is not None and hasattr(self._now, "load_state"):
            self._now.load_state(_checks.dictionary("load_state", "state['schedule']", schedule))
        self._first = first


def _rate(value: Any) -> float:
    if value is None:
        raise ValueError("Solver: schedule multiplies optim_config['learning_rate'], but there is none")
    return _checks.real_number("Solver", "optim_config['learning_rate'], which a schedule multiplies,", value, 0)

"""Telling callbacks what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from daseCV_c.callbacks import Callback

EVENTS = ("on_train_begin", "on_step_end", "on_check", "on_epoch_end", "on_train_end")


def checked(callbacks: Any) -> list[Any]:
    """A list of what are callbacks, or TypeError."""
    try:
        found = list(callbacks)
    except TypeError:
        raise TypeError(f"Solver: callbacks is a {type(callbacks).__name__}, expected a list of callbacks") from None
    for i, callback in enumerate(found):
        if isinstance(callback, type) or not any(callable(getattr(callback, event, None)) for event in EVENTS):
            what = f"the class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
            raise TypeError(f"Solver: callbacks[{i}] is {what}, expected an object with one of {', '.join(EVENTS)}")
    return found


class Hooks:
    """The methods of callbacks, by event."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self.of: dict[str, list[Callable[[Any], Any]]] = {event: [] for event in EVENTS}
        for callback in callbacks:
            for event in EVENTS:
                # What does nothing is not called.
                if getattr(type(callback), event, None) is not getattr(Callback, event) and hasattr(callback, event):
                    self.of[event].append(getattr(callback, event))

    def tell(self, event: str, solver: Any) -> bool:
        """Call all; True if one of them has returned True."""
        answers = [hook(solver) for hook in self.of[event]]
        return any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)

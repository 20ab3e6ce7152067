"""Callbacks: what looks in while `Solver.train` runs.

A callback is any object with one or more of the methods below; `Callback` has all of them, doing nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daseCV_c._training.callbacks_bar import ProgressBar
from daseCV_c._training.callbacks_cost import TimeAndMemory
from daseCV_c._training.callbacks_csv import CSVLog
from daseCV_c._training.callbacks_tensorboard import TensorBoard

if TYPE_CHECKING:
    from daseCV_c.solver import Solver

__all__ = ["CSVLog", "Callback", "ProgressBar", "TensorBoard", "TimeAndMemory"]


class Callback:
    """The protocol: each method is given the Solver, and whichever returns True ends the training.

    Within an iteration the order is: the step, `on_step_end`; where a check is due, `on_check`; where
    an epoch ends, `on_epoch_end`. The Solver's public attributes say where it is: `iteration` and
    `num_iterations` of this run, `epoch`, `loss_history` and the other histories, `model`. A callback
    that draws from NumPy's global generator, or writes into the model, changes the training.

    What a callback must remember when a run is resumed it gives in `state()`; it gets that back by
    `load_state(state)` before `on_train_begin` is called. Only objects that have both are asked.

    Examples
    --------
    >>> class Patience(Callback):
    ...     def on_check(self, solver):
    ...         return solver.val_acc_history[-1] > 0.99
    """

    def on_train_begin(self, solver: Solver) -> Any:
        """Before the first step, also where a run goes on: then `solver.iteration` is not 0."""

    def on_step_end(self, solver: Solver) -> Any:
        """After each step, with its loss at the end of `loss_history`."""

    def on_check(self, solver: Solver) -> Any:
        """After each check: accuracies and validation loss are in the histories, the best parameters are kept."""

    def on_epoch_end(self, solver: Solver) -> Any:
        """After the last step of an epoch and its check."""

    def on_train_end(self, solver: Solver) -> Any:
        """When training has ended, for whatever reason; unless by an error, the best parameters are in the model."""

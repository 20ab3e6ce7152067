"""scikit-learn's own callbacks (`sklearn.callback`, experimental from 1.9 on), where there are some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
    from sklearn.callback import with_callbacks
except ImportError:
    CallbackSupportMixin, with_callbacks = type("CallbackSupportMixin", (), {}), None

_P = ParamSpec("_P")
_R = TypeVar("_R")


def managed(fit: Callable[_P, _R]) -> Callable[_P, _R]:
    """A method that fits, after which scikit-learn's callbacks are torn down, however it ends."""
    if with_callbacks is None:
        return fit
    found: Callable[_P, _R] = with_callbacks(fit)
    return found


class Tasks:
    """A callback of the Solver that tells scikit-learn's: the fit is a task, and each epoch a task within it."""

    def __init__(self, estimator: Any, epochs: int, learned: Callable[[], dict[str, Any]], **data: Any) -> None:
        self._estimator, self._learned, self._data = estimator, learned, data
        self._fit = estimator._init_callback_context(max_subtasks=epochs)
        self._fit.call_on_fit_task_begin(estimator=estimator, **data)
        self._epoch: Any = None

    @classmethod
    def of(cls, estimator: Any, epochs: int, learned: Callable[[], dict[str, Any]], **data: Any) -> list[Tasks]:
        """One where somebody listens."""
        return [cls(estimator, epochs, learned, **data)] if getattr(estimator, "_skl_callbacks", None) else []

    def on_train_begin(self, solver: Any) -> None:
        if solver.iteration < solver.num_iterations:
            self._begin()

    def _begin(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(
            estimator=self._estimator, reconstruction_attributes=self._learned, **self._data)

    def on_epoch_end(self, solver: Any) -> bool:
        stop = bool(self._epoch.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._learned, **self._data))
        self._epoch = None
        if not stop and not solver._stop and solver.iteration < solver.num_iterations:
            self._begin()
        return stop

    def end(self) -> None:
        """The fit is over; an epoch that was not finished has ended without a result."""
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._estimator, **self._data)
        self._fit.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._learned, **self._data)

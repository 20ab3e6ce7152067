"""The private methods of scikit-learn's perceptrons that do the work, by the kernels."""

from __future__ import annotations

from typing import Any

from daseCV_c.sklearn import _training
from daseCV_c.sklearn._parameters import Refused
from daseCV_c.sklearn._usage import count


class ByKernels:
    """Stands before a class of scikit-learn's and hands over to it what the kernels do not take."""

    def _fit_stochastic(self, X: Any, y: Any, *rest: Any) -> None:
        sample_weight, layers, incremental = rest[0] if _training.WEIGHTED else None, len(rest[-2]), rest[-1]
        try:
            training = _training.Training(self, X, y, sample_weight, layers, incremental)
        except Refused as refused:
            self._leave(f"{refused}")
            return super()._fit_stochastic(X, y, *rest)  # type: ignore[misc,no-any-return]
        self.trained_by_ = "kernel"
        count("training: kernel")
        training.run()

    def _fit_lbfgs(self, *arguments: Any) -> None:
        self._leave("solver lbfgs")
        super()._fit_lbfgs(*arguments)  # type: ignore[misc]

    def _leave(self, why: str) -> None:
        self.trained_by_ = f"scikit-learn: {why}"
        count(f"training: scikit-learn, {why}")

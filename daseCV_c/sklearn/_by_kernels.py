"""The private methods of scikit-learn's perceptrons that do the work, by the kernels."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier

from daseCV_c.sklearn import _scoring, _training
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

    def _score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        scored = _scoring.accuracy if is_classifier(self) else _scoring.r2
        found = scored(y, self._predict(X, check_input=False), sample_weight)  # type: ignore[attr-defined]
        if found is not None:
            return found
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return super()._score(X, y, **weights)  # type: ignore[misc,no-any-return]

    def _leave(self, why: str) -> None:
        self.trained_by_ = f"scikit-learn: {why}"
        count(f"training: scikit-learn, {why}")

"""The private methods of scikit-learn's perceptrons that do the work, by the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from daseCV_c._step import passes as _passes
from daseCV_c._types import Array
from daseCV_c.sklearn import _parameters, _scoring, _surface, _training
from daseCV_c.sklearn._parameters import Refused
from daseCV_c.sklearn._usage import count


def _scores(estimator: Any, X: Any) -> Array:
    """The output of the network, or Refused."""
    if type(X) is not np.ndarray or X.ndim != 2:
        raise Refused("sparse samples" if hasattr(X, "tocsr") else "samples that are no matrix")
    if what := _surface.replaced(estimator, training=False):
        raise Refused(what)
    if estimator.activation not in _parameters.HIDDEN or estimator.out_activation_ not in _parameters.OUTPUTS:
        raise Refused("another activation")
    weights, biases = _parameters.parameters(estimator, X.shape[1], training=False)
    if X.dtype.kind not in "biuf" or np.result_type(X, weights[0]) != weights[0].dtype or not len(X):
        raise Refused("samples of another dtype")
    return _passes.scores(X, weights, biases, activation=estimator.activation, output=estimator.out_activation_)


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

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        if check_input:
            X = _surface.validated(self, X)
        try:
            found = _scores(self, X)
        except Refused as refused:
            count(f"prediction: scikit-learn, {refused}")
            return super()._forward_pass_fast(X, check_input=False)  # type: ignore[misc,no-any-return]
        count("prediction: kernel")
        return found

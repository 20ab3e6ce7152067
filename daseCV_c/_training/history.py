"""Numbers that a check records beside the accuracies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from daseCV_c._layers.losses import softmax_loss
from daseCV_c._step import whole
from daseCV_c._types import Array


class ValidationLoss:
    """The loss of the scores that an accuracy is computed from.

    The package's own networks have the softmax loss, which the scores alone give, without penalty.
    Another model is asked for its `loss` with labels, which costs more: only if `wanted`, or if its
    scores are not classes, so that an accuracy says nothing. What it changes is put back.
    """

    def __init__(self, model: Any, softmax: bool, wanted: bool) -> None:
        self._model, self._softmax, self._wanted = model, softmax, wanted
        self._scores: list[Array] = []
        self._labels: list[Array] = []
        self._losses: list[float] = []
        self.classes = True

    def add(self, X: Array, scores: Any, y: Array) -> None:
        """A batch."""
        scores = np.asarray(scores)
        self._scores.append(scores)
        self._labels.append(y)
        if not self._softmax:
            self.classes = self.classes and _are_classes(scores, y)
            self._losses.append(self._asked(X, y) if self._wanted or not self.classes else math.nan)

    def _asked(self, X: Array, y: Array) -> float:
        held = (self._model.params, *whole.layer_dicts(self._model))
        random, back = np.random.get_state(), [action for each in held for action in whole.restoring(each)]
        try:
            return float(self._model.loss(X, y)[0])
        finally:
            whole.commit(*back)
            np.random.set_state(random)

    @property
    def sound(self) -> bool:
        """Most samples have scores that are numbers. The others' data may be none."""
        finite = [np.isfinite(scores) for scores in self._scores]
        return all(each.all() for each in finite) or 2 * sum(
            int(np.count_nonzero(each.all(axis=tuple(range(1, each.ndim))))) for each in finite
        ) >= sum(map(len, finite))

    @property
    def mean(self) -> float:
        """Over the samples; NaN where nobody knows."""
        if not self._scores:
            return math.nan
        if not self._softmax:
            return float(np.average(self._losses, weights=[len(y) for y in self._labels]))
        scores, y = np.concatenate(self._scores), np.concatenate(self._labels)
        if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= scores.shape[1]:
            return math.nan
        return float(softmax_loss(scores, y)[0])


def _are_classes(scores: Array, y: Array) -> bool:
    """Scores of two classes or more, and labels that can be their numbers."""
    return scores.ndim == 2 and scores.shape[1] > 1 and (
        y.dtype.kind in "biu" or y.dtype.kind == "f" and bool((y == np.floor(y)).all()))

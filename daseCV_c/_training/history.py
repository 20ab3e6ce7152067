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
        self.classes = True
        self._sum, self._count, self._finite = 0.0, 0, 0

    def add(self, X: Array, scores: Any, y: Array) -> None:
        """A batch."""
        scores = np.asarray(scores)
        self.classes = self.classes and _are_classes(scores, y)
        self._sum += len(y) * self._of(X, scores, y)
        self._count += len(y)
        self._finite += int(np.count_nonzero(np.isfinite(scores).all(axis=tuple(range(1, scores.ndim)))))

    def _of(self, X: Array, scores: Array, y: Array) -> float:
        if self._softmax:
            if y.dtype.kind not in "iu" or not ((0 <= y) & (y < scores.shape[1])).all():
                return math.nan
            return float(softmax_loss(scores, y)[0])
        if self.classes and not self._wanted:
            return math.nan
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
        return 2 * self._finite >= self._count

    @property
    def mean(self) -> float:
        return self._sum / self._count if self._count else math.nan


def _are_classes(scores: Array, y: Array) -> bool:
    """Scores of two classes or more, and labels that can be their numbers."""
    return scores.ndim == 2 and scores.shape[1] > 1 and (
        y.dtype.kind in "biu" or y.dtype.kind == "f" and bool((y == np.floor(y)).all()))

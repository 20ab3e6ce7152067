"""Numbers that a check records beside the accuracies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from daseCV_c._layers.losses import softmax_loss
from daseCV_c._step import whole
from daseCV_c._types import Array

_ROWS = 1000


class ValidationLoss:
    """The loss of the scores that an accuracy is computed from.

    The package's own networks have the softmax loss, which the scores alone give, without penalty.
    Another model is asked for its `loss` with labels, which costs more: only if `wanted`, or if its
    scores are not classes, so that an accuracy says nothing. What it changes is put back.
    """

    def __init__(self, model: Any, softmax: bool, wanted: bool) -> None:
        self._model, self._softmax, self._wanted = model, softmax, wanted
        self._waiting: list[tuple[Array, Array]] = []  # scores and labels, of less than _ROWS samples
        self._sum, self._count, self._finite = 0.0, 0, 0
        self.classes = True

    def add(self, X: Array, scores: Any, y: Array) -> None:
        """A batch."""
        scores = np.asarray(scores)
        if not self._softmax:
            self.classes = self.classes and _are_classes(scores, y)
            self._take(scores, y, self._asked(X, y) if self._wanted or not self.classes else math.nan)
            return
        self._waiting.append((scores, y))
        if sum(len(labels) for _, labels in self._waiting) >= _ROWS:
            self._take_waiting()

    def _take(self, scores: Array, y: Array, loss: float) -> None:
        finite = np.isfinite(scores)
        self._finite += len(y) if finite.all() else int(np.count_nonzero(finite.reshape(len(y), -1).all(axis=1)))
        self._sum, self._count = self._sum + len(y) * loss, self._count + len(y)

    def _take_waiting(self) -> None:
        """Batches are small: many of them together cost little more than one."""
        if self._waiting:
            scores, y = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            known = y.dtype.kind in "iu" and y.min() >= 0 and y.max() < scores.shape[1]
            self._take(scores, y, float(softmax_loss(scores, y)[0]) if known else math.nan)

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
        self._take_waiting()
        return 2 * self._finite >= self._count

    @property
    def mean(self) -> float:
        """Over the samples; NaN where nobody knows."""
        self._take_waiting()
        return self._sum / self._count if self._count else math.nan


def _are_classes(scores: Array, y: Array) -> bool:
    """Scores of two classes or more, and labels that can be their numbers."""
    return scores.ndim == 2 and scores.shape[1] > 1 and (
        y.dtype.kind in "biu" or y.dtype.kind == "f" and bool((y == np.floor(y)).all()))

"""The training of an estimator: a Solver that goes through shuffled samples, with targets and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from daseCV_c import _random
from daseCV_c._training import snapshot
from daseCV_c._training.layer_step import by_layers
from daseCV_c._training.run import Run
from daseCV_c._types import Array
from daseCV_c.reference.activation import activate
from daseCV_c.reference.losses import OUTPUTS, output_loss
from daseCV_c.solver import Solver

_LOOKED_AT = 1000  # training samples whose score is shown


class Samples(NamedTuple):
    """Samples with what they should give, and what each counts (None: one as much as another)."""

    X: Array
    y: Array
    weight: Array | None

    def of(self, rows: Array) -> Samples:
        return Samples(self.X[rows], self.y[rows], None if self.weight is None else self.weight[rows])


def output(scores: Array, loss: str) -> Array:
    """What is predicted: probabilities, or numbers."""
    return activate(scores, OUTPUTS[loss])


def loss_of(scores: Array, samples: Samples, loss: str) -> float:
    """Without the penalty."""
    return output_loss(scores, samples.y, loss, samples.weight)[0]


def accuracy(scores: Array, samples: Samples, loss: str) -> float:
    right = scores.argmax(axis=1) == samples.y
    return float(np.average(right, weights=samples.weight))


def explained(scores: Array, samples: Samples, loss: str) -> float:
    """R^2: the share of the targets' variance that the predictions explain, a mean over the outputs."""
    y, found = samples.y.astype(np.float64), output(scores, loss)
    rest = np.average(np.square(y - found), axis=0, weights=samples.weight)
    whole = np.average(np.square(y - np.average(y, axis=0, weights=samples.weight)), axis=0, weights=samples.weight)
    return float(np.mean(np.where(whole > 0, 1 - rest / np.where(whole > 0, whole, 1), rest == 0)))


Score: TypeAlias = Callable[[Array, Samples, str], float]


class Training(Solver):
    """An epoch is every sample once, in a new order, in batches of nearly equal size.

    `data` holds train and val (`Samples`; val may be None), the loss's name and a `Score`. Accuracies in the
    Solver's histories are scores, and NaN where nobody looks.
    """

    def __init__(self, model: Any, data: dict[str, Any], **options: Any) -> None:
        train, val = data["train"], data["val"]
        self._train, self._val, self._loss, self._score = train, val, data["loss"], data["score"]
        self._looks = bool(options.get("verbose") or options.get("callbacks") or val is not None)
        seen = train if val is None else val
        super().__init__(model, {"X_train": train.X, "y_train": np.zeros(len(train.X), np.int64),
                                 "X_val": seen.X, "y_val": np.zeros(len(seen.X), np.int64)}, **options)
        self.y_train, self.y_val = train.y, seen.y
        self._order = _Order(self)
        watchers: list[Any] = self._watchers
        watchers.append(self._order)

    @property
    def _per_epoch(self) -> int:
        return -(-len(self.X_train) // self.batch_size)

    def _draw(self) -> Array:
        epoch, place = divmod(self.iteration, self._per_epoch)
        order = self._order.of(epoch)
        return order[place * len(order) // self._per_epoch:(place + 1) * len(order) // self._per_epoch]

    def _step(self) -> None:
        index, weight = self._draw(), self._train.weight
        self._index = index
        if not self._fusible() or self._fused(
                self.model, self.optim_configs, self.X_train, self.y_train, index, None, self.loss_history,
                weight) is None:
            by_layers(self, index)

    def _found(self, index: Array) -> Any:
        weight = self._train.weight
        return self.model.loss(self._batch(index), self.y_train[index],
                               sample_weight=None if weight is None else weight[index])

    def check_accuracy(self, X: Any, y: Any, num_samples: int | None = None, batch_size: int = 100) -> float:
        """The score of the estimator's kind on the Solver's own samples: NaN where nobody looks at it."""
        validates = self._val_loss is not None
        if not self._looks or validates and self._val is None:
            return math.nan
        samples = self._val if validates else self._train
        if not validates and len(samples.X) > _LOOKED_AT:
            rows = np.linspace(0, len(samples.X) - 1, _LOOKED_AT).astype(np.int64)
            samples = samples.of(rows)
        scores = self.model.loss(samples.X)
        if self._val_loss is not None:
            self._val_loss._take(scores, samples.y, loss_of(scores, samples, self._loss))
        if not np.isfinite(scores).all():
            return math.nan
        return float(self._score(scores, samples, self._loss))

    def train(self) -> None:
        """As the Solver does. Targets need not be classes."""
        Run(self).go()


class _Order:
    """The order of the samples in each epoch, kept in checkpoints, with what tells the data of the run from others."""

    def __init__(self, training: Training) -> None:
        self._training, self._epoch, self._order = training, -1, np.arange(len(training.X_train))

    def of(self, epoch: int) -> Array:
        """Rows of the samples."""
        # The order of a single batch says nothing.
        if epoch != self._epoch and self._training._per_epoch > 1:
            order = _random.source(self._training.generator).permutation(len(self._order))
            self._order, self._epoch = order, epoch
        return self._order

    def on_train_end(self, solver: Any) -> None:
        """It is called with others; nothing is left to do."""

    def _marks(self) -> dict[str, Any]:
        training = self._training
        weights = [part.weight for part in (training._train, training._val) if part is not None]
        return {"loss": training._loss,
                "weights": [None if weight is None else snapshot._digest(weight) for weight in weights]}

    def state(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "order": self._order, **self._marks()}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, value in self._marks().items():
            if state[name] != value:
                raise ValueError(f"the {name} of the run were others")
        order = np.asarray(state["order"])
        if not np.array_equal(np.sort(order), np.arange(len(self._order))):
            raise ValueError("the order is none of these samples")
        self._epoch, self._order = int(state["epoch"]), order

"""The step of a Solver: the batch that is drawn, and who computes with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import _checks, _random
from daseCV_c._layers.batch import gather_batch
from daseCV_c._network import Network
from daseCV_c._step import conv_net as _engine_cnn
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step.clipped import ClippedConvStep, ClippedStep
from daseCV_c._training.clipping import Clipping
from daseCV_c._training.layer_step import by_layers
from daseCV_c._training.options import Options
from daseCV_c._types import Array
from daseCV_c.classifiers.cnn import ThreeLayerConvNet

_FLOATS = (np.float32, np.float64)


class Steps(Options):
    """What a Solver needs for a step, and the step."""

    model: Any
    X_train: Array
    y_train: Array
    X_val: Array
    y_val: Array
    mean_image: Any  # an array, or None
    loss_history: list[float]
    optim_configs: dict[str, Any]
    _clip: Clipping | None
    _fused: Any  # what makes a step as one kernel, or None
    _index: Array | None = None  # the samples of the last batch
    _team: Any = None  # the ranks that train together, or None

    def _step(self) -> None:
        """One batch: loss, gradients, update. What interrupts it leaves everything as before, or a step further."""
        if self._team is not None:
            self._team.step_begins(self)
        index = self._index = self._draw()
        if self._fusible():
            mean = self.mean_image.reshape(-1) if self._has_mean(self.X_train) else None
            if self._fused(self.model, self.optim_configs, self.X_train, self.y_train, index, mean,
                           self.loss_history) is not None:
                return
        by_layers(self, index)

    def _draw(self) -> Array:
        """The samples of the next batch."""
        # The numbers that np.random.choice draws, without what it does around them; int32 on some systems.
        index = _random.source(self.generator).randint(0, self.X_train.shape[0], self.batch_size)
        return _checks.integers("Solver", "index", index)

    def _found(self, index: Array) -> Any:
        """(loss, grads) of a batch, by the model's own `loss` or what stands for it on several ranks."""
        if self._team is not None:
            from daseCV_c._parallel import gradients
            return gradients.found(self, index)
        return self.model.loss(self._batch(index), self.y_train[index])

    def _fused_step(self) -> Any:
        """What makes a step as one kernel, or None."""
        convolves = isinstance(self.model, ThreeLayerConvNet)
        if not self._own_rule():
            return None
        if self._team is not None:
            from daseCV_c._parallel import step
            return step.maker(self)
        if self._clip is not None:
            return (ClippedConvStep if convolves else ClippedStep)(self.update_rule, self._clip)
        return (_engine_cnn.ConvStep if convolves else _engine.FusedStep)(self.update_rule)

    def _fusible(self) -> bool:
        """Every part of the step is the package's own: none was overridden, and none was put in its place."""
        return (self._fused is not None and type(self)._batch is Steps._batch and self._own_loss()
                and self._own_rule() and not self.model._chosen.changed())

    def _own_rule(self) -> bool:
        return isinstance(self.update_rule, str) and self._rule is _engine._RULES.get(self.update_rule)

    def _own_loss(self) -> bool:
        """A loss that somebody has put in the place of a network's is called, not passed by."""
        return isinstance(self.model, Network) and self.model._has_own_loss()

    def _batch(self, index: Array) -> Array:
        """Rows of X_train, cast on the way where the model says to what."""
        X = self.X_train
        if self._has_mean(X):
            return self._centred(X, index)
        dtype = getattr(self.model, "dtype", None)
        # A model without a dtype of these gets its data as they are: integers may be word numbers.
        dtype = dtype if dtype in _FLOATS else X.dtype
        if X.dtype.kind in "biuf" and X.dtype.itemsize <= 8 and dtype in _FLOATS:
            return gather_batch(X, index, dtype=dtype)
        rows: Array = X[index]
        return rows

    def _has_mean(self, X: Array) -> bool:
        """True for images that the mean image is still to be subtracted from."""
        return self.mean_image is not None and X.dtype == np.uint8

    def _centred(self, X: Array, index: Array) -> Array:
        """Rows of X minus the mean image: subtracted in float64, rounded once to the model's dtype."""
        dtype = getattr(self.model, "dtype", None)
        return gather_batch(X, index, self.mean_image, dtype if dtype in _FLOATS else np.float64)

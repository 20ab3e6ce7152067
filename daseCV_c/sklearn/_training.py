"""The training of scikit-learn's multi-layer perceptrons with solver 'sgd' or 'adam', each epoch by one kernel.

What an epoch is followed by (attributes, printed lines, warnings, the ends of a training) is what scikit-learn does;
its estimator and its optimizer hold all state, so that a training can be gone on with by either.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from daseCV_c._step import passes as _passes
from daseCV_c._types import Array
from daseCV_c.sklearn import _parameters, _surface
from daseCV_c.sklearn._parameters import Refused

WEIGHTED = _surface.weighted()
_STACK = 3  # warnings come from the module of scikit-learn that calls, as its own do


def _new_optimizer(estimator: Any) -> Any:
    arrays, settings = estimator.coefs_ + estimator.intercepts_, estimator
    if estimator.solver == "adam":
        return AdamOptimizer(arrays, settings.learning_rate_init, settings.beta_1, settings.beta_2, settings.epsilon)
    return SGDOptimizer(arrays, settings.learning_rate_init, settings.learning_rate, settings.momentum,
                        settings.nesterovs_momentum, settings.power_t)


class Training:
    """One call of fit or partial_fit. To make one changes nothing, and raises Refused where scikit-learn is to
    train."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, layers: int, incremental: bool) -> None:
        self.estimator, self.incremental = estimator, incremental
        self.loss = _parameters.network(estimator, X)
        self.stopping = bool(estimator.early_stopping)
        # What ends with an error is scikit-learn's to say: these two, and whatever does not fit below.
        if self.stopping and incremental:
            raise Refused("early stopping in partial_fit")
        if self.stopping and math.ceil(len(X) * estimator.validation_fraction) < 2:
            raise Refused("a validation set that is too small")
        if layers != estimator.n_layers_:
            raise Refused("another number of layers")
        weights, biases = _parameters.parameters(estimator, X.shape[1])
        if weights[0].dtype != X.dtype:
            raise Refused("parameters of another dtype than the samples")
        self.parameters = weights, biases
        goes_on = incremental and hasattr(estimator, "_optimizer")
        self.optimizer = estimator._optimizer if goes_on else _new_optimizer(estimator)
        self.rule = _parameters.Rule(self.optimizer)
        self.states = self.rule.state([*weights, *biases])
        self.settings = {"activation": estimator.activation, "loss": self.loss, "rule": self.rule.name,
                         "alpha": float(estimator.alpha), "uncorrected_epsilon": self.rule.adam}
        # Targets of all samples, also of those that early stopping sets aside: what is refused is so before the split.
        self.targets = _parameters.targets(y, weights[-1].shape[1], self.loss, X.dtype)
        self.X, self.y, self.weight, self.held_out = X, y, sample_weight, (None, None, None)

    def _split(self) -> None:
        """Set the validation set aside, with scikit-learn's draws."""
        estimator = self.estimator
        classifies = is_classifier(estimator)
        arrays = [self.X, self.targets, self.y] + ([] if self.weight is None else [self.weight])
        parts = train_test_split(
            *arrays, random_state=estimator._random_state, test_size=estimator.validation_fraction,
            stratify=self.y if classifies and estimator.n_outputs_ == 1 else None)
        self.X, self.targets = parts[0], parts[2]
        self.weight = None if self.weight is None else parts[6]
        y = estimator._label_binarizer.inverse_transform(parts[5]) if classifies else parts[5]
        self.held_out = parts[1], y, None if self.weight is None else parts[7]

    def run(self) -> None:
        estimator, optimizer = self.estimator, self.optimizer
        estimator._optimizer = optimizer
        if self.stopping:
            self._split()
        n = len(self.X)
        batch_size = estimator.batch_size
        if batch_size == "auto":
            batch_size = min(200, n)
        elif batch_size > n:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                          stacklevel=_STACK)
            batch_size = n
        epochs = _Epochs(self, int(batch_size))
        try:
            estimator.n_iter_ = 0
            while estimator.n_iter_ < estimator.max_iter:
                loss = epochs.next()
                estimator.n_iter_ += 1
                estimator.loss_ = loss
                estimator.t_ += n
                estimator.loss_curve_.append(loss)
                if estimator.verbose:
                    print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
                if self._ends() or self.incremental:
                    break
                if estimator.n_iter_ == estimator.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                        "optimization hasn't converged yet.", ConvergenceWarning, stacklevel=_STACK)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_STACK)
        if self.stopping:
            estimator.coefs_, estimator.intercepts_ = estimator._best_coefs, estimator._best_intercepts

    def _ends(self) -> bool:
        """What follows an epoch; whether it was the last, as nothing has become better for long."""
        estimator, optimizer = self.estimator, self.optimizer
        estimator._update_no_improvement_count(self.stopping, *self.held_out[:3 if WEIGHTED else 2])
        optimizer.iteration_ends(estimator.t_)
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if self.stopping else "Training loss"
        message = (f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change:d} "
                   "consecutive epochs.")
        if optimizer.trigger_stopping(message, estimator.verbose):
            return True
        estimator._no_improvement_count = 0
        return False


class _Epochs:
    """Passes over the training samples, in the order that scikit-learn draws."""

    def __init__(self, training: Training, batch_size: int) -> None:
        self.training, self.batch_size, self.n = training, batch_size, len(training.X)
        dtype = training.X.dtype
        self.x_nd = np.require(training.X, dtype, ("C", "A"))
        self.weight = training.weight
        if self.weight is not None:
            self.weight = np.ascontiguousarray(self.weight, dtype)
        sizes = np.full(-(-self.n // batch_size), batch_size, np.float64)
        sizes[-1] = self.n - batch_size * (len(sizes) - 1)
        self.share = sizes / self.n
        self.order: Array | None = np.arange(self.n) if training.estimator.shuffle else None
        self.done = np.zeros(1, np.int64)

    def next(self) -> float:
        """Train for an epoch; the mean of the batches' losses, each by its number of samples."""
        training = self.training
        if self.order is not None:
            drawn = np.arange(self.n)
            training.estimator._random_state.shuffle(drawn)
            self.order = self.order[drawn]
        self.done[0] = 0
        try:
            losses = _passes.train_batches(
                self.x_nd, training.targets, self.order, self.batch_size, *training.parameters, training.states,
                numbers=training.rule.numbers, t=training.rule.steps, sample_weight=self.weight, done=self.done,
                **training.settings)
        except ZeroDivisionError:
            np.average([1.0], weights=[0.0])  # raises it in the words of scikit-learn's loss
            raise
        finally:
            training.rule.count(int(self.done[0]))
        return np.float64(losses @ self.share)

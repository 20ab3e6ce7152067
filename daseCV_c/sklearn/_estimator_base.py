"""What the two estimators of the package's networks have in common."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from daseCV_c import _checks
from daseCV_c._types import Array
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.schedules import Plateau, make
from daseCV_c.sklearn import _estimator_data as _data
from daseCV_c.sklearn._estimator_hooks import CallbackSupportMixin, Tasks
from daseCV_c.sklearn._estimator_training import Samples, Score, Training

_PATIENCE = {"patience": 10, "min_delta": 0.0, "monitor": "val_loss"}


class FullyConnected(CallbackSupportMixin, BaseEstimator):
    """A FullyConnectedNet that is trained by a Solver, in scikit-learn's manner."""

    network_: Any
    loss_curve_: list[float]
    _random: Any  # the generator
    _rule_states: Any  # of the update rule, for the next partial_fit
    _score_of: Score
    _monitors: tuple[str, ...]  # what early stopping may look at

    # What the estimators differ in.

    def _loss_name(self) -> str:
        raise NotImplementedError

    def _take_targets(self, function: str, y: Any, X: Array, classes: Any, reset: bool) -> tuple[Array, Array | None]:
        """(targets as numbers, the class of each sample, if it has one); sets what is learned of y alone."""
        raise NotImplementedError

    def _outputs(self, y: Array) -> int:
        raise NotImplementedError

    def _start(self, net: Any, samples: Samples) -> None:
        """What a new network is given beside its drawn weights."""

    def _class_weight(self) -> Any:
        return None

    # Fitting.

    def _learn(self, method: str, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> None:
        function = f"{type(self).__name__}.{method}"
        given = X, y, sample_weight
        partial = method == "partial_fit"
        goes_on = hasattr(self, "network_") and (partial or self.warm_start)
        X = _data.samples(self, method, X, not goes_on)
        dtype = self._dtype(function, X)
        y, of_class = self._take_targets(function, y, X, classes, not goes_on)
        _data.fit_in_length(function, X, y)
        weight = _data.weights(function, sample_weight, X)
        if of_class is not None:
            weight = _data.with_class_weight(function, self._class_weight(), weight, of_class, self.classes_)
        if not goes_on:
            # What it learned of other data is of no use beside what is taken now.
            self.__dict__.pop("network_", None)
        if not (partial and goes_on and hasattr(self, "_random")):
            self._random = _data.generator(self.random_state)
        random = self._random
        stopping, validates = self._stopping(function, partial)
        # A sample that weighs nothing is as good as none, and so that it takes no place in a batch it is left out.
        rows = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
        val = None
        if validates:
            kept, val_rows = _data.held_out(
                function, None if of_class is None else of_class[rows], len(rows), self.validation_fraction, random)
            val = self._samples(X, y, weight, rows[val_rows], dtype)
            rows = rows[kept]
        train = self._samples(X, y, weight, rows, dtype)
        if self.normalization in ("batchnorm", "batch_norm") and len(rows) == 1:
            raise ValueError(f"{function}: there is one sample (n_samples = 1), but batch norm needs at least two")
        if goes_on and partial:
            net = copy.deepcopy(self.network_)
        else:
            net = FullyConnectedNet(
                self.hidden_dims, X.shape[1], self._outputs(y), normalization=self.normalization, reg=self.reg,
                weight_scale=self.weight_scale, dtype=dtype, seed=random, dropout_keep_ratio=self.dropout_keep_ratio,
                loss=self._loss_name())
            if goes_on:
                self._take_over(function, net)
            else:
                self._start(net, train)
        self._train(function, net, train, val, stopping, random, partial, goes_on, given)

    def _train(
        self, function: str, net: Any, train: Samples, val: Samples | None, stopping: Any, random: Any, partial: bool,
        goes_on: bool, given: tuple[Any, Any, Any],
    ) -> None:
        loss, epochs = self._loss_name(), 1 if partial else self.num_epochs
        monitor = "last" if val is None else "val_loss" if stopping is None else stopping["monitor"]
        batch_size = _checks.integer(function, "batch_size", self.batch_size, 1, wrong_type=ValueError)
        options: dict[str, Any] = {
            "update_rule": self.update_rule,
            "optim_config": {"learning_rate": self.learning_rate, **(self.optim_config or {})},
            "schedule": self.schedule, "batch_size": batch_size,
            "num_epochs": _checks.integer(function, "num_epochs", epochs, 1, wrong_type=ValueError),
            "monitor": monitor if monitor in ("last", "val_acc", "val_loss") else "val_loss",
            "early_stopping": stopping, "clip_norm": self.clip_norm, "average": self.average,
            "verbose": bool(self.verbose), "print_every": 2**31, "seed": random,
            "callbacks": list(self.callbacks or ()),
        }
        before = list(self.loss_curve_) if goes_on else []

        def learned() -> dict[str, Any]:
            return {"network_": copy.deepcopy(net)}

        data = {"X": given[0], "y": given[1]}
        if given[2] is not None:
            data["metadata"] = {"sample_weight": given[2]}
        tasks = Tasks.of(self, epochs, learned, **data)
        options["callbacks"] += tasks
        contents = {"train": train, "val": val, "loss": loss, "score": type(self)._score_of}
        solver = self._solver(function, net, contents, options, partial)
        if partial and goes_on and self._rule_states:
            solver.optim_configs = copy.deepcopy(self._rule_states)
        solver.train()
        per_epoch = solver._per_epoch
        ends = [i for i, t in enumerate(solver.check_iterations) if t % per_epoch == 0]
        losses = np.asarray(solver.loss_history[:solver.epoch * per_epoch], np.float64).reshape(-1, per_epoch)
        self.network_ = net
        self.loss_curve_ = before + losses.mean(axis=1).tolist()
        self.n_iter_ = len(self.loss_curve_)
        self.validation_scores_ = None if val is None else [float(solver.val_acc_history[i]) for i in ends]
        self.validation_loss_curve_ = None if val is None else [float(solver.val_loss_history[i]) for i in ends]
        self.stop_reason_ = solver.stop_reason
        self._rule_states = solver.optim_configs if partial else None
        for task in tasks:
            task.end()

    def _take_over(self, function: str, net: Any) -> None:
        """What the network before has learned, for one of these settings."""
        shapes = [{name: w.shape for name, w in each.params.items()} for each in (net, self.network_)]
        if shapes[0] != shapes[1] or net.normalization != self.network_.normalization:
            raise ValueError(f"{function}: warm_start goes on with a network of {shapes[1]}, but hidden_dims and "
                             f"normalization ask for {shapes[0]}")
        for name, w in self.network_.params.items():
            net.params[name][...] = w
        for entry, learned in zip(net.bn_params, self.network_.bn_params, strict=True):
            entry.update({key: np.array(value, net.dtype) for key, value in learned.items() if key != "mode"})

    def _solver(
        self, function: str, net: Any, contents: dict[str, Any], options: dict[str, Any], partial: bool,
    ) -> Any:
        path = None if partial else self.checkpoint_path
        if self.resume and not partial:
            if path is None:
                raise ValueError(f"{function}: resume is {self.resume!r} without a checkpoint_path to go on from")
            if os.path.exists(path):
                return Training.resume(path, net, contents, **options)
        return Training(net, contents, checkpoint_path=path, **options)

    def _dtype(self, function: str, X: Array) -> Any:
        if self.dtype is None:
            return X.dtype.type
        try:
            found = np.dtype(self.dtype)
        except TypeError:
            found = None
        if found not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"{function}: dtype is {self.dtype!r}, expected None, 'float32' or 'float64'")
        return found.type

    def _samples(self, X: Array, y: Array, weight: Array | None, rows: Array, dtype: Any) -> Samples:
        every = len(rows) == len(X)
        X, y = (X, y) if every else (X[rows], y[rows])
        if y.dtype.kind == "f":
            y = y.astype(dtype, copy=False)
            if self._loss_name() != "softmax" and y.ndim == 1:
                y = y[:, None]
        return Samples(np.ascontiguousarray(X, dtype), np.ascontiguousarray(y),
                       None if weight is None else weight[rows].astype(dtype))

    def _stopping(self, function: str, partial: bool) -> tuple[dict[str, Any] | None, bool]:
        """(the Solver's early_stopping, whether samples are held out to validate with)."""
        given, found = self.early_stopping, {}
        if given is not None and given is not False:
            if partial:
                raise ValueError(f"{function}: early_stopping is {given!r}, but one epoch is all there is to stop")
            chosen = {} if given is True else _checks.dictionary(function, "early_stopping", given)
            found = {**_PATIENCE, **chosen}
            if found["monitor"] not in self._monitors:
                raise ValueError(f"{function}: early_stopping: monitor is {found['monitor']!r}, expected one of "
                                 f"{', '.join(self._monitors)}")
        schedule = None if self.schedule is None else make(self.schedule, function)
        looked_at = [found.get("monitor", ""), schedule.monitor if isinstance(schedule, Plateau) else ""]
        return found or None, any(str(monitor).startswith("val") for monitor in looked_at)

    # Predicting.

    def _scores(self, method: str, X: Any) -> Array:
        check_is_fitted(self, "network_")
        scores: Array = self.network_.loss(_data.samples(self, method, X, False))
        return scores

"""Solver: trains a model with an update rule on batches drawn from a data set."""

import operator
import pickle
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from daseCV_c import _checks, optim
from daseCV_c._files import replacing
from daseCV_c._layers.batch import gather_batch
from daseCV_c._step import conv_net as _engine_cnn
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step import whole
from daseCV_c._types import Array, ArrayLike
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet

_RULES = tuple(optim.__all__)
_FLOATS = (np.float32, np.float64)
# As they are defined: a loss that somebody puts in their place is called, not passed by.
_OWN_LOSS = (FullyConnectedNet.loss, TwoLayerNet.loss, ThreeLayerConvNet.loss)


def _positive(name: str, value: object) -> int:
    return _checks.integer("Solver", name, value, 1, wrong_type=ValueError)


def _mean_image(data: dict[str, Any], *splits: Array) -> Array | None:
    """The mean image of `data` in float64 if one of the splits is of uint8; else None: they have lost it."""
    images = [X for X in splits if X.dtype == np.uint8]
    if not images or "mean_image" not in data:
        return None
    mean = _checks.as_array("Solver", "data['mean_image']", data["mean_image"])
    for X in images:
        if mean.shape != X.shape[1:]:
            raise ValueError(
                f"Solver: data['mean_image'] has shape {mean.shape}, but an image has shape {X.shape[1:]}")
    return _checks.settle(mean, np.dtype(np.float64))


def _statistics(model: Any) -> list[dict[str, Array]]:
    """Copies of the running mean and variance of each entry of the model's bn_params."""
    return [
        {key: np.array(entry[key]) for key in ("running_mean", "running_var") if key in entry}
        for entry in getattr(model, "bn_params", None) or []
    ]


class Solver:
    """Stochastic gradient descent on a model, with the accuracies recorded and the best parameters kept.

    An iteration draws ``np.random.choice(num_train, batch_size)``, asks ``model.loss(X, y)`` for
    the loss and gradients and gives every parameter to the update rule. Accuracy is checked after
    the first iteration, after the last, and at the end of every epoch.

    The package's own networks are updated in place, in arrays of the Solver's own: what was put
    into the model stays as it was, but an array taken from `model.params` between steps changes.

    Parameters
    ----------
    model : object
        ``model.params`` is a dict of arrays; ``model.loss(X)`` gives scores and
        ``model.loss(X, y)`` gives ``(loss, grads)``. With a ``dtype`` the batch is cast to it.
    data : dict
        X_train, y_train, X_val, y_val; optional mean_image, in the shape of one image. Images of uint8
        lose the mean image batch by batch, so no array of floats of their number is made; images of
        other types are taken as they are. Images in another order of memory (a view of N x H x W x C,
        Fortran order, reversed, byte-swapped) give the same bits: the step of the package's own
        networks copies X_train once, and does not see what is written into it after that.
    update_rule : {'sgd', 'sgd_momentum', 'rmsprop', 'adam', 'adagrad'}
    optim_config : dict
        Settings of the update rule, such as learning_rate.
    lr_decay : float
        Factor on the learning rate at the end of each epoch.
    batch_size, num_epochs : int
    num_train_samples, num_val_samples : int or None
        How many samples an accuracy is computed on; None means all.
    checkpoint_name : str, optional
        After each epoch ``<name>_epoch_<k>.pkl`` is written.
    print_every : int
    verbose : bool
    progress : bool
        A progress bar with rate and remaining time on stderr.

    Attributes
    ----------
    loss_history, train_acc_history, val_acc_history : list of float
    best_val_acc : float
    best_params : dict
        Copies of the parameters at the best validation accuracy. Never empty.
    best_bn_params : list of dict
        The running statistics that belong to them.
    epoch : int
    optim_configs : dict
        Settings and state of the update rule, parameter by parameter.

    Raises
    ------
    ValueError
        Unknown keyword, unknown update rule, missing data, sizes that do not fit.
    TypeError
        optim_config is not a dict, lr_decay not a number, or mean_image not an array of real numbers.

    References
    ----------
    CS231n, "Neural Networks Part 3", https://cs231n.github.io/neural-networks-3/

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> np.random.seed(0)
    >>> X, y = np.eye(4), np.arange(4)
    >>> data = {'X_train': X, 'y_train': y, 'X_val': X, 'y_val': y}
    >>> solver = Solver(TwoLayerNet(4, 20, 4, weight_scale=0.1), data, update_rule='adam', num_epochs=40,
    ...                 optim_config={'learning_rate': 0.05}, batch_size=4, verbose=False)
    >>> solver.train()
    >>> float(solver.best_val_acc)
    1.0
    """

    X_train: Array
    y_train: Array
    X_val: Array
    y_val: Array
    mean_image: Any  # an array, or None
    best_params: dict[str, Array]
    best_bn_params: list[dict[str, Array]]

    def __init__(self, model: Any, data: dict[str, Any], **kwargs: Any) -> None:
        self.model = model
        missing = [k for k in ("X_train", "y_train", "X_val", "y_val") if k not in data]
        if missing:
            raise ValueError(
                f"Solver: data has no {', '.join(missing)}, expected X_train, y_train, X_val, y_val")
        for split in ("train", "val"):
            X, y = np.asarray(data[f"X_{split}"]), np.asarray(data[f"y_{split}"])
            if y.ndim != 1 or X.ndim < 1 or len(X) != len(y):
                raise ValueError(
                    f"Solver: X_{split} has shape {X.shape} and y_{split} {y.shape}, "
                    "expected one label per sample")
            if len(X) == 0:
                raise ValueError(f"Solver: X_{split} has shape {X.shape}, expected at least one sample")
            setattr(self, f"X_{split}", X)
            setattr(self, f"y_{split}", y)
        self.mean_image = _mean_image(data, self.X_train, self.X_val)

        self.update_rule = kwargs.pop("update_rule", "sgd")
        # A copy: the rules write their state into the configurations made from it.
        self.optim_config = dict(_checks.dictionary("Solver", "optim_config", kwargs.pop("optim_config", {})))
        self.lr_decay = _checks.real_number("Solver", "lr_decay", kwargs.pop("lr_decay", 1.0))
        self.batch_size = _positive("batch_size", kwargs.pop("batch_size", 100))
        self.num_epochs = kwargs.pop("num_epochs", 10)
        if self.num_epochs != 0:
            self.num_epochs = _positive("num_epochs", self.num_epochs)
        self.num_train_samples = kwargs.pop("num_train_samples", 1000)
        self.num_val_samples = kwargs.pop("num_val_samples", None)
        for name in ("num_train_samples", "num_val_samples"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        self.checkpoint_name = kwargs.pop("checkpoint_name", None)
        self.print_every = _positive("print_every", kwargs.pop("print_every", 10))
        self.verbose = kwargs.pop("verbose", True)
        self.progress = kwargs.pop("progress", False)
        if kwargs:
            unknown = ", ".join(f'"{name}"' for name in kwargs)
            raise ValueError(f"Unrecognized arguments {unknown}")
        if isinstance(self.update_rule, str):
            # Text that compares in a way of its own must not be asked in the middle of a step.
            self.update_rule = str.__str__(self.update_rule)
        if self.update_rule not in _RULES:
            raise ValueError(
                f"Solver: update_rule is {self.update_rule!r}, expected one of {', '.join(_RULES)}")
        self._rule = getattr(optim, self.update_rule)
        step = _engine_cnn.ConvStep if isinstance(model, ThreeLayerConvNet) else _engine.FusedStep
        self._fused = step(self.update_rule)
        self._bar = None
        self._reset()

    def _reset(self) -> None:
        self.epoch = 0
        self.best_val_acc = 0
        self._checked = False
        self._keep_best()
        self.loss_history: list[float] = []
        self.train_acc_history: list[float] = []
        self.val_acc_history: list[float] = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}

    def _keep_best(self, **more: Any) -> None:
        """Copies of the parameters and of what belongs to them, all at once."""
        vars(self).update(best_params={name: p.copy() for name, p in self.model.params.items()},
                          best_bn_params=_statistics(self.model), **more)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            tqdm.write(line)
        else:
            print(line)

    def _step(self) -> None:
        """One batch: loss, gradients, update. What interrupts it leaves everything as before, or a step further."""
        # The numbers that np.random.choice draws, without what it does around them; int32 on some systems.
        index = np.random.randint(0, self.X_train.shape[0], self.batch_size)
        index = _checks.integers("Solver", "index", index)
        if self._fusible():
            mean = self.mean_image.reshape(-1) if self._has_mean(self.X_train) else None
            if self._fused(self.model, self.optim_configs, self.X_train, self.y_train, index, mean,
                           self.loss_history) is not None:
                return
        self._step_by_layers(index)

    def _step_by_layers(self, index: Array) -> None:
        """The same with the model's own `loss`, and the update rule parameter by parameter."""
        back = self._back()
        undo = whole.in_one_call(back)
        try:
            loss, grads = self.model.loss(self._batch(index), self.y_train[index])
            params, configs = self.model.params, self.optim_configs
            for name, w in params.items():
                params[name], configs[name] = self._rule(w, grads[name], configs[name])
            whole.commit(partial(self.loss_history.append, loss), back.clear)
        except BaseException:
            # One call, and nothing before it that could be interrupted.
            whole.exhaust(undo)
            raise

    def _back(self) -> list[whole.Action]:
        """Actions that undo what a step by layers may have done."""
        params, configs = self.model.params, self.optim_configs
        entries = [entry for entry in configs.values() if isinstance(entry, dict)]
        mine = self._rule is _engine._RULES.get(self.update_rule)
        # Rules of the package put new arrays in the place of old ones, but for sgd.
        changed = [] if mine and self.update_rule != "sgd" else list(params.values())
        if not mine:
            changed += [value for entry in entries for value in entry.values()]
        back = [action for held in (params, configs, *entries, *whole.layer_dicts(self.model))
                for action in whole.restoring(held)]
        return back + whole.refilling(array for array in changed if isinstance(array, np.ndarray))

    def _fusible(self) -> bool:
        """Every part of the step is the package's own: none was overridden, and none was put in its place."""
        model = self.model
        return (type(self)._batch is Solver._batch and self._rule is _engine._RULES.get(self.update_rule)
                and getattr(type(model), "loss", None) in _OWN_LOSS and "loss" not in vars(model))

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

    def _save_checkpoint(self) -> None:
        if self.checkpoint_name is None:
            return
        state = {
            name: getattr(self, name)
            for name in (
                "model", "update_rule", "lr_decay", "optim_config", "batch_size", "num_train_samples",
                "num_val_samples", "epoch", "loss_history", "train_acc_history", "val_acc_history",
            )
        }
        path = f"{self.checkpoint_name}_epoch_{self.epoch}.pkl"
        if self.verbose:
            self._say(f'Saving checkpoint to "{path}"')
        with replacing(path) as file:
            pickle.dump(state, file)

    def check_accuracy(
        self, X: ArrayLike, y: ArrayLike, num_samples: int | None = None, batch_size: int = 100,
    ) -> float:
        """Share of samples whose highest score is at their label.

        Parameters
        ----------
        X : array, (N, d_1, ..., d_k)
            The mean image of the Solver's data, if it has one, is subtracted from uint8.
        y : array of integers, (N,)
        num_samples : int, optional
            When N is larger, the accuracy is that of so many samples, drawn with replacement.
        batch_size : int
            Samples scored at a time.

        Returns
        -------
        accuracy : float

        Raises
        ------
        ValueError
            X and y differ in length or are empty, or images of uint8 do not have the mean image's shape.

        Examples
        --------
        >>> import numpy as np
        >>> class Echo:
        ...     params = {}
        ...     def loss(self, X, y=None):
        ...         return X
        >>> X, y = np.eye(3), np.array([0, 1, 1])
        >>> data = {'X_train': X, 'y_train': y, 'X_val': X, 'y_val': y}
        >>> round(float(Solver(Echo(), data).check_accuracy(X, y)), 3)
        0.667
        """
        X, y = np.asarray(X), np.asarray(y)
        if y.shape != X.shape[:1] or X.shape[0] == 0:
            raise ValueError(
                f"check_accuracy: X has shape {X.shape} and y {y.shape}, expected one label for each of N > 0 samples"
            )
        centred = self._has_mean(X)
        if centred and X.shape[1:] != self.mean_image.shape:
            raise ValueError(
                f"check_accuracy: X has shape {X.shape}, but the mean image has shape {self.mean_image.shape}")
        batch_size = _positive("batch_size", batch_size)
        if num_samples is not None:
            num_samples = _positive("num_samples", num_samples)
        if num_samples is not None and X.shape[0] > num_samples:
            index = np.random.choice(X.shape[0], num_samples)
            X, y = X[index], y[index]
        predictions = [
            np.argmax(self.model.loss(
                self._centred(X, np.arange(start, min(start + batch_size, len(X)))) if centred
                else X[start:start + batch_size]), axis=1)
            for start in range(0, len(X), batch_size)
        ]
        accuracy: float = np.mean(np.concatenate(predictions) == y)
        return accuracy

    def _check(self) -> None:
        """Both accuracies, the best parameters, one printed line."""
        train_acc = self.check_accuracy(self.X_train, self.y_train, num_samples=self.num_train_samples)
        val_acc = self.check_accuracy(self.X_val, self.y_val, num_samples=self.num_val_samples)
        whole.commit(partial(self.train_acc_history.append, train_acc), partial(self.val_acc_history.append, val_acc))
        self._save_checkpoint()
        if self.verbose:
            self._say(
                f"(Epoch {self.epoch} / {self.num_epochs}) train acc: {train_acc:f}; val_acc: {val_acc:f}")
        # The first check always counts, so an accuracy of 0 leaves parameters too.
        if val_acc > self.best_val_acc or not self._checked:
            self._keep_best(best_val_acc=val_acc, _checked=True)

    def train(self) -> None:
        """Run the optimization, then put the best parameters back into the model.

        Batch norm's running statistics are put back with them.
        """
        if not self._checked:
            # The model may have been given other parameters since the Solver was made.
            self._keep_best()
        per_epoch = max(self.X_train.shape[0] // self.batch_size, 1)
        iterations = self.num_epochs * per_epoch
        with tqdm(total=iterations, unit="it", disable=not self.progress, dynamic_ncols=True) as bar:
            self._bar = bar if self.progress else None
            try:
                for t in range(iterations):
                    self._step()
                    bar.update()
                    if self.verbose and t % self.print_every == 0:
                        self._say(f"(Iteration {t + 1} / {iterations}) loss: {self.loss_history[-1]:f}")
                    epoch_end = (t + 1) % per_epoch == 0
                    if epoch_end:
                        # A rule that was never told a rate has put its default there.
                        # Not in place: the rate may be an array that the configurations share.
                        whole.commit(partial(setattr, self, "epoch", self.epoch + 1), *(
                            partial(operator.setitem, config, "learning_rate", config["learning_rate"] * self.lr_decay)
                            for config in self.optim_configs.values()))
                    if t == 0 or t == iterations - 1 or epoch_end:
                        self._check()
            finally:
                self._bar = None
        entries = getattr(self.model, "bn_params", None) or []
        whole.commit(partial(self.model.params.update, {name: p.copy() for name, p in self.best_params.items()}), *(
            partial(entry.update, {key: value.copy() for key, value in best.items()})
            for entry, best in zip(entries, self.best_bn_params, strict=False)))

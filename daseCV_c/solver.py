"""Solver: trains a model with an update rule on batches drawn from a data set."""

import contextlib
import math
import operator
import pickle
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from daseCV_c import _checks, _random
from daseCV_c._files import replacing
from daseCV_c._layers.batch import gather_batch
from daseCV_c._step import conv_net as _engine_cnn
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step import whole
from daseCV_c._step.clipped import ClippedStep
from daseCV_c._training import checks, divergence, hooks, signals
from daseCV_c._training import data as _data
from daseCV_c._training.averaging import Averaging
from daseCV_c._training.chance import ChanceWatch
from daseCV_c._training.clipping import Clipping
from daseCV_c._training.early_stopping import EarlyStopping
from daseCV_c._training.history import ValidationLoss
from daseCV_c._training.layer_step import by_layers
from daseCV_c._training.rates import Rates
from daseCV_c._training.weights import Weights
from daseCV_c._types import Array, ArrayLike
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet

_FLOATS = (np.float32, np.float64)
# As they are defined: a loss that somebody puts in their place is called, not passed by.
_OWN_LOSS = (FullyConnectedNet.loss, TwoLayerNet.loss, ThreeLayerConvNet.loss)
# The keywords and their defaults. Each becomes an attribute of its name.
_OPTIONS: dict[str, Any] = {
    "update_rule": "sgd", "optim_config": {}, "lr_decay": 1.0, "batch_size": 100, "num_epochs": 10,
    "num_train_samples": 1000, "num_val_samples": None, "checkpoint_name": None, "print_every": 10, "verbose": True,
    "progress": False, "callbacks": (), "monitor": None, "on_divergence": "stop",
    "schedule": None, "early_stopping": None, "clip_norm": None, "average": None, "seed": None,
}


def _positive(name: str, value: object) -> int:
    return _checks.integer("Solver", name, value, 1, wrong_type=ValueError)


def _one_of(name: str, value: Any, *known: str | None) -> Any:
    if not isinstance(value, (str, type(None))) or value not in known:
        raise ValueError(f"Solver: {name} is {value!r}, expected one of {', '.join(map(str, known))}")
    return value


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
    update_rule : {'sgd', 'sgd_momentum', 'rmsprop', 'adam', 'adagrad'}, str or callable
        Also a function of one's own, ``(w, dw, config) -> (next_w, config)``, or the name under which it was put
        into `daseCV_c.optim`.
    optim_config : dict
        Settings of the update rule, such as learning_rate. What a rule of the package does not read is an
        error; a rule of one's own may read anything.
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
    schedule : str, dict or callable, optional
        Factors on the learning rate, step by step: see `daseCV_c.schedules`. In place of lr_decay.
    early_stopping : dict, optional
        ``{'patience': 5, 'min_delta': 0.0, 'monitor': 'val_loss'}`` or some of these: ends the training when
        `patience` checks in a row, which are epochs, brought nothing better by more than `min_delta`.
        monitor : 'val_loss', 'val_acc', 'train_loss' or 'train_acc'.
    clip_norm : float, optional
        Gradients whose norm, that of all numbers together, is larger are scaled down to it.
    average : dict, optional
        ``{'decay': 0.999}`` averages the parameters of all steps, weighed by decay**age; ``{'last': 5}`` those at the
        ends of the last 5 epochs. Once there is an average, it is what is checked and what `best_params` hold.
    seed : int or numpy.random.RandomState, optional
        The samples are drawn from a generator of the Solver's own, `generator`; by default from NumPy's
        global one. A seed gives the numbers that ``np.random.seed(seed)`` gives.

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
    stop_reason : str or None
        Why early stopping has ended the last training.

    Raises
    ------
    ValueError
        Unknown keyword, update rule or key of optim_config, missing data, sizes that do not fit. From `train`:
        labels that are no class of the network, scores or gradients of a model of one's own that do not fit.
    TypeError
        The model has no params or loss, optim_config is not a dict, lr_decay not a number, or mean_image not an
        array of real numbers. From `train`: labels that are no numbers, a loss without gradients.

    Warns
    -----
    RuntimeWarning
        After the first epochs, or at the end, a network of the package has learned nothing: its loss is still
        log C and its accuracies those of guessing.

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
    update_rule: Any
    optim_config: dict[str, Any]
    lr_decay: float
    batch_size: int
    num_epochs: int
    num_train_samples: int | None
    num_val_samples: int | None
    checkpoint_name: str | None
    print_every: int
    verbose: bool
    progress: bool
    callbacks: list[Any]
    monitor: str | None
    on_divergence: str
    schedule: Any
    early_stopping: Any
    clip_norm: Any
    average: Any
    seed: Any
    stop_reason: str | None = None
    _begun: tuple[int, int, int]
    _paused: tuple[Weights, Any] | None

    def __init__(self, model: Any, data: dict[str, Any], **kwargs: Any) -> None:
        unknown = ", ".join(f'"{name}"' for name in kwargs if name not in _OPTIONS)
        if unknown:
            raise ValueError(f"Unrecognized arguments {unknown}")
        checks.model(model)
        self.model = model
        vars(self).update(_data.splits(data))
        self.mean_image = _data.mean_image(data, self.X_train, self.X_val)
        vars(self).update(_OPTIONS | kwargs)
        # A copy: the rules write their state into the configurations made from it.
        self.optim_config = dict(_checks.dictionary("Solver", "optim_config", self.optim_config))
        self.lr_decay = _checks.real_number("Solver", "lr_decay", self.lr_decay)
        self.batch_size = _positive("batch_size", self.batch_size)
        if self.num_epochs != 0:
            self.num_epochs = _positive("num_epochs", self.num_epochs)
        for name in ("num_train_samples", "num_val_samples"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        self.print_every = _positive("print_every", self.print_every)
        _one_of("monitor", self.monitor, None, "val_acc", "val_loss")
        _one_of("on_divergence", self.on_divergence, "stop", "ignore")
        self.callbacks = hooks.checked(self.callbacks)
        self.generator = _random.generator("Solver", self.seed)
        self.update_rule, self._rule = checks.rule(self.update_rule)
        checks.settings(self.update_rule, self._rule, self.optim_config)
        self._clip = None if self.clip_norm is None else Clipping(self.clip_norm, self.on_divergence == "stop")
        self._rates = None if self.schedule is None else Rates(self.schedule, self.lr_decay)
        self._average = None if self.average is None else Averaging(self.average)
        stopping = None if self.early_stopping is None else EarlyStopping(self.early_stopping)
        # Callbacks of the Solver's own, which come before the user's.
        self._watchers = [watcher for watcher in (self._rates, self._average, stopping, ChanceWatch())
                          if watcher is not None]
        self._fused: Any = self._fused_step()
        self._hooks = hooks.Hooks(())
        self._bar = None
        self._val_loss: ValidationLoss | None = None  # while a check runs
        self._index: Array | None = None  # the samples of the last batch
        self._reset()

    def _reset(self) -> None:
        self.epoch = 0
        self.best_val_acc: float = 0
        self.best_val_loss = math.inf
        self._checked = False
        self._keep_best()
        self.loss_history: list[float] = []
        self.train_acc_history: list[float] = []
        self.val_acc_history: list[float] = []
        self.val_loss_history: list[float] = []
        self.learning_rate_history: list[float] = []
        self.seconds_history: list[float] = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}
        self._seconds = 0.0
        self._begin_run()

    def _begin_run(self) -> None:
        """A run begins here: the lengths of what grows with it."""
        self._begun = len(self.loss_history), self.epoch, len(self.val_acc_history)
        self._ended, self._paused = False, None

    @property
    def iteration(self) -> int:
        """How many steps of this run have been made."""
        return len(self.loss_history) - self._begun[0]

    @property
    def _per_epoch(self) -> int:
        return max(len(self.X_train) // self.batch_size, 1)

    @property
    def num_iterations(self) -> int:
        """How many steps this run has."""
        return self.num_epochs * self._per_epoch

    def _keep_best(self, **more: Any) -> None:
        """Copies of the parameters and of what belongs to them, all at once."""
        best = Weights.of(self.model).copy()
        vars(self).update(best_params=best.params, best_bn_params=best.statistics, **more)

    def _put_back_best(self) -> None:
        Weights(self.best_params, self.best_bn_params).copy().put_into(self.model)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            tqdm.write(line)
        else:
            print(line)

    def _step(self) -> None:
        """One batch: loss, gradients, update. What interrupts it leaves everything as before, or a step further."""
        # The numbers that np.random.choice draws, without what it does around them; int32 on some systems.
        index = _random.source(self.generator).randint(0, self.X_train.shape[0], self.batch_size)
        index = self._index = _checks.integers("Solver", "index", index)
        if self._fusible():
            mean = self.mean_image.reshape(-1) if self._has_mean(self.X_train) else None
            if self._fused(self.model, self.optim_configs, self.X_train, self.y_train, index, mean,
                           self.loss_history) is not None:
                return
        by_layers(self, index)

    def _fused_step(self) -> Any:
        """What makes a step as one kernel, or None."""
        convolves = isinstance(self.model, ThreeLayerConvNet)
        if not self._own_rule() or convolves and self._clip is not None:
            # With clipping, a convolution's layers make the step one by one: fused, it would hardly be faster.
            return None
        if self._clip is not None:
            return ClippedStep(self.update_rule, self._clip)
        return (_engine_cnn.ConvStep if convolves else _engine.FusedStep)(self.update_rule)

    def _fusible(self) -> bool:
        """Every part of the step is the package's own: none was overridden, and none was put in its place."""
        return (self._fused is not None and type(self)._batch is Solver._batch and self._own_loss()
                and self._own_rule())

    def _own_rule(self) -> bool:
        return isinstance(self.update_rule, str) and self._rule is _engine._RULES.get(self.update_rule)

    def _own_loss(self) -> bool:
        return getattr(type(self.model), "loss", None) in _OWN_LOSS and "loss" not in vars(self.model)

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
            index: Array = _random.source(self.generator).choice(X.shape[0], num_samples)
            X, y = X[index], y[index]
        predictions = []
        for start in range(0, len(X), batch_size):
            part = slice(start, start + batch_size)
            batch = self._centred(X, np.arange(len(X))[part]) if centred else X[part]
            scores = checks.scores(self.model, self.model.loss(batch), len(batch))
            if self._val_loss is not None:
                self._val_loss.add(batch, scores, y[part])
            predictions.append(np.argmax(scores, axis=1))
        accuracy: float = np.mean(np.concatenate(predictions) == y)
        return accuracy

    def _check(self) -> None:
        """Both accuracies, the best parameters, one printed line."""
        with contextlib.nullcontext() if self._average is None else self._average.applied(self.model):
            train_acc, val_acc = self._look()
        self._save_checkpoint()
        if self.verbose:
            self._say(
                f"(Epoch {self.epoch} / {self.num_epochs}) train acc: {train_acc:f}; val_acc: {val_acc:f}")

    def _look(self) -> tuple[float, float]:
        """Both accuracies of the parameters that the model holds, which are kept if they are the best."""
        train_acc = self.check_accuracy(self.X_train, self.y_train, num_samples=self.num_train_samples)
        monitors = {self.monitor, *(getattr(watcher, "monitor", None) for watcher in self._watchers)}
        self._val_loss = found = ValidationLoss(self.model, self._own_loss(), "val_loss" in monitors)
        try:
            val_acc = self.check_accuracy(self.X_val, self.y_val, num_samples=self.num_val_samples)
        finally:
            self._val_loss = None
        val_loss = found.mean
        whole.commit(*(partial(history.append, value) for history, value in (
            (self.train_acc_history, train_acc), (self.val_acc_history, val_acc), (self.val_loss_history, val_loss),
            (self.seconds_history, self._seconds_now()))))
        # Where an accuracy says nothing, what lowers the validation loss is better.
        by_accuracy = self.monitor == "val_acc" or self.monitor is None and found.classes
        better = val_acc > self.best_val_acc if by_accuracy else val_loss < self.best_val_loss
        # The first check always counts, so an accuracy of 0 leaves parameters too; so does the first of an average.
        first = not self._checked or self._average is not None and self._average.begins
        if (better or first) and not divergence.not_finite(self.model.params):
            self._keep_best(best_val_acc=val_acc, _checked=True,
                            best_val_loss=math.inf if math.isnan(val_loss) else val_loss)
        return train_acc, val_acc

    def _seconds_now(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self._clock

    def train(self) -> None:
        """Run the optimization, then put the best parameters back into the model.

        Batch norm's running statistics are put back with them.
        """
        checks.labels(self.y_train, self.y_val, checks.classes(self.model) if self._own_loss() else None)
        if self._ended:
            self._begin_run()
        if self._paused is not None:
            # Where it was: the best parameters were put into the model when it stopped.
            weights, random = self._paused
            weights.put_into(self.model)
            np.random.set_state(random)
            self._paused = None
        if not self._checked:
            # The model may have been given other parameters since the Solver was made.
            self._keep_best()
        with self._looked_at() as (asked, bar):
            try:
                self._run(asked, bar)
                self._ended = self.iteration >= self.num_iterations
                if not self._ended:
                    self._paused = Weights.of(self.model), np.random.get_state()
                self._put_back_best()
            except divergence.DivergenceError:
                self._ended = True
                self._put_back_best()
                raise
        if asked.signal:
            raise signals.stopped(asked.signal, f"training stopped after iteration {self.iteration} of "
                                                f"{self.num_iterations}; train() goes on from there")

    @contextlib.contextmanager
    def _looked_at(self) -> Iterator[tuple[signals.Asked, Any]]:
        """Around a run: signals, the clock, the progress bar, and callbacks, which hear of its end in any case."""
        self._hooks = hooks.Hooks([*self._watchers, *self.callbacks])
        self._clock = time.perf_counter() - self._seconds
        with signals.deferred() as asked, tqdm(total=self.num_iterations, initial=self.iteration, unit="it",
                                               disable=not self.progress, dynamic_ncols=True) as bar:
            self._bar = bar if self.progress else None
            try:
                yield asked, bar
            finally:
                self._bar = None
                self._seconds = self._seconds_now()
                self._hooks.tell("on_train_end", self)

    def _run(self, asked: signals.Asked, bar: Any) -> None:
        """Steps until the end, or until somebody has asked to stop."""
        stop, watched = self._hooks.tell("on_train_begin", self), self.on_divergence == "stop"
        per_epoch, iterations = self._per_epoch, self.num_iterations
        watch, on_step_end = divergence.Watch(), self._hooks.of["on_step_end"]
        if self.iteration:
            stop = self._after_step(self.iteration) or stop  # what an interruption has left undone
        for t in range(self.iteration, iterations):
            if stop or asked.signal:
                break
            if self._rates is not None:
                self._rates.set(self, t)
            self._step()
            self._note_rate()
            bar.update()
            loss = self.loss_history[-1]
            if watched and not loss <= watch.limit:
                watch.look(self)
            if self.verbose and t % self.print_every == 0:
                self._say(f"(Iteration {t + 1} / {iterations}) loss: {loss:f}")
            if on_step_end:
                stop = self._hooks.tell("on_step_end", self)
            if t == 0 or (t + 1) % per_epoch == 0:
                stop = self._after_step(t + 1) or stop

    def _note_rate(self) -> None:
        rates, losses = self.learning_rate_history, self.loss_history
        if len(rates) < len(losses) - 1:  # steps that somebody has made without train()
            rates.extend([math.nan] * (len(losses) - 1 - len(rates)))
        for config in self.optim_configs.values():  # one speaks for all
            rates.append(config.get("learning_rate", math.nan))
            break

    def _after_step(self, done: int) -> bool:
        """What is due after `done` steps of this run: the end of an epoch, a check. True: somebody asks to stop."""
        stop, (epochs, first) = False, divmod(done, self._per_epoch)
        if self.epoch - self._begun[1] < epochs:
            # A rule that was never told a rate has put its default there. Not in place: the rate may be an array
            # that the configurations share.
            whole.commit(partial(setattr, self, "epoch", self.epoch + 1), *(
                partial(operator.setitem, config, "learning_rate", config["learning_rate"] * self.lr_decay)
                for config in self.optim_configs.values() if "learning_rate" in config))
            if self._average is not None:
                self._average.after_epoch(self.model, self.num_epochs - epochs)
        if len(self.val_acc_history) - self._begun[2] < epochs + (self._per_epoch > 1):
            self._check()
            stop = self._hooks.tell("on_check", self)
            if not first:
                stop = self._hooks.tell("on_epoch_end", self) or stop
        return stop

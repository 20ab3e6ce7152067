"""Solver: trains a model with an update rule on batches drawn from a data set."""

import math
import os
import time
from typing import Any, Self

import numpy as np

from daseCV_c import _random, _tables
from daseCV_c._network import Network
from daseCV_c._runtime import backend as _backend
from daseCV_c._step import prediction as _prediction
from daseCV_c._training import archive, checks, snapshot
from daseCV_c._training import data as _data
from daseCV_c._training.averaging import Averaging
from daseCV_c._training.bar import Bar
from daseCV_c._training.chance import ChanceWatch
from daseCV_c._training.clipping import Clipping
from daseCV_c._training.early_stopping import EarlyStopping
from daseCV_c._training.history import ValidationLoss
from daseCV_c._training.options import positive
from daseCV_c._training.rates import Rates
from daseCV_c._training.run import Run
from daseCV_c._training.steps import Steps
from daseCV_c._training.summary import html_of
from daseCV_c._training.weights import Weights
from daseCV_c._types import Array, ArrayLike


class Solver(Steps):
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
    update_rule : {'sgd', 'sgd_momentum', 'nesterov', 'rmsprop', 'adagrad', 'adam', 'adamw'}, str or callable
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
        After each check the checkpoint ``<name>_epoch_<k>.npz`` is written, which `resume` goes on from.
    print_every : int
    verbose : bool
    progress : bool
        A progress bar: `callbacks.ProgressBar`.
    callbacks : list, optional
        Objects that look in while training runs, see `daseCV_c.callbacks`.
    monitor : {'val_acc', 'val_loss', 'last'}, optional
        What makes parameters the best ones; 'last': those of the last check. Default: the accuracy, or for
        a model whose scores are no classes the loss.
    on_divergence : {'stop', 'ignore'}
        What to do when the loss is NaN or infinite.
    checkpoint_path : str or path, optional
        One checkpoint, written anew after epochs, now and then in between, and when training stops.
    checkpoint_every : float
        Seconds between two of those in between.
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
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that train this network together: each makes the same Solver of the same data and calls `train`,
        and computes with its share of every batch. They begin with the state of rank 0, which alone prints,
        calls callbacks and writes checkpoints; all end with the same parameters. See docs/scale.md.

    Attributes
    ----------
    loss_history, learning_rate_history : list of float
        One number a step: the loss, and the rate that the step was made with.
    train_acc_history, val_acc_history, val_loss_history, seconds_history : list of float
        One number a check. The validation loss is the softmax loss, without penalty, of the scores that
        the accuracy is computed from. A model of another `loss` is asked for it only where `monitor`
        needs it, else it is NaN. Seconds are those of training until then.
    check_iterations : list of int
        After which step each check was made, counted from the first of all.
    best_val_acc, best_val_loss : float
    best_params : dict
        Copies of the parameters at the best check; always finite if there ever were finite ones.
    best_bn_params : list of dict
        The running statistics that belong to them.
    epoch, iteration, num_iterations : int
        Epochs completed; steps made in this run, and how many it has.
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
        The model has no params or loss, optim_config is not a dict, lr_decay not a number, mean_image not an
        array of real numbers, or a callback has none of the methods of one. From `train`: labels that are no
        numbers, a loss without gradients.
    OSError
        No file can be made where checkpoint_name or checkpoint_path says.

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

    best_params: dict[str, Array]
    best_bn_params: list[dict[str, Array]]
    _sharing = False  # while a check runs on several ranks
    stop_reason: str | None = None
    _begun: tuple[int, int, int]
    _paused: tuple[Weights | None, Any] | None

    def __init__(self, model: Any, data: dict[str, Any], **kwargs: Any) -> None:
        self._join(kwargs)
        self._take_options(kwargs)
        checks.model(model)
        self.model = model
        vars(self).update(_data.splits(
            data, isinstance(model, Network), getattr(model, "loss_function", None) == "softmax"))
        self.mean_image = _data.mean_image(data, self.X_train, self.X_val)
        self._clip = None if self.clip_norm is None else Clipping(self.clip_norm, self.on_divergence == "stop")
        self._rates = None if self.schedule is None else Rates(self.schedule, self.lr_decay)
        self._average = None if self.average is None else Averaging(self.average)
        stopping = None if self.early_stopping is None else EarlyStopping(self.early_stopping)
        # Callbacks of the Solver's own, which come before the user's.
        first = self._team is None or self._team.rank == 0  # which alone speaks
        watchers = self._rates, self._average, stopping, ChanceWatch() if first else None
        self._watchers: list[Any] = [watcher for watcher in watchers if watcher is not None]
        self._fused: Any = self._fused_step()
        self._bar: Bar | None = None  # while one is shown
        self._val_loss: ValidationLoss | None = None  # while a check runs
        self._reset()

    def _join(self, kwargs: dict[str, Any]) -> None:
        """Become one of several ranks; on all but the first, nothing is printed, written or called back."""
        if kwargs.get("comm") is None:
            return
        from daseCV_c._parallel import solving
        self._team = solving.joined(kwargs)

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
        self.check_iterations: list[int] = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}
        self._seconds = 0.0
        self._clock: float | None = None  # when training would have begun, were it without breaks; None between runs
        self._begin_run()

    def _begin_run(self) -> None:
        """A run begins here: the lengths of what grows with it."""
        self._begun = len(self.loss_history), self.epoch, len(self.val_acc_history)
        self._ended = self._stop = False
        self._paused, self._lost = None, ""

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

    def plot(self, *, figure: Any = None) -> tuple[Any, ...]:
        """Draw loss with its running mean, accuracies and learning rate: `daseCV_c.plots.plot`.

        Parameters
        ----------
        figure : matplotlib.figure.Figure, optional
            Where to draw; default: a new one.

        Returns
        -------
        figure, axes
            As of `daseCV_c.plots.plot`.

        Raises
        ------
        ImportError
            matplotlib is not installed: ``pip install "daseCV_c[plot]"``.
        """
        from daseCV_c import plots
        return plots.plot(self, figure=figure)

    def _repr_html_(self) -> str:
        return html_of(self)

    def _keep_best(self, **more: Any) -> None:
        """Copies of the parameters and of what belongs to them, all at once."""
        best = Weights.of(self.model).copy()
        vars(self).update(best_params=best.params, best_bn_params=best.statistics, **more)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.say(line)
        else:
            print(line)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: all that `resume` needs to go on with the same numbers.

        It holds the parameters, the running statistics, the update rule's state, the settings, the place
        in the run, the histories, the best parameters, the state of NumPy's generator and that of
        callbacks. It is one .npz without pickles, which `numpy.load` opens, written beside `path` and
        renamed when it is on the disk: there is always a whole one.

        Parameters
        ----------
        path : str or path
            Written as it is: no suffix is added.

        Raises
        ------
        TypeError
            A state holds something else than numbers, texts and containers of them; the message says where.
        ValueError
            The training diverged.
        OSError
            The file cannot be written; what was there before is still there.

        Examples
        --------
        >>> import os, tempfile
        >>> from daseCV_c.datasets import load_digits_images
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> data, options = load_digits_images(), {'update_rule': 'adam', 'num_epochs': 1, 'verbose': False}
        >>> solver = Solver(TwoLayerNet(64, 20, 10), data, **options)
        >>> solver.train()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, 'checkpoint.npz')
        ...     solver.save(path)
        ...     longer = Solver.resume(path, TwoLayerNet(64, 20, 10), data, num_epochs=3)
        >>> longer.train()
        >>> solver.epoch, longer.epoch
        (1, 3)
        """
        if self._lost:
            raise ValueError(f"Solver.save: there is nothing to go on from: {self._lost}")
        archive.write(path, snapshot.KIND, *snapshot.document_of(self))

    @classmethod
    def resume(cls, path: str | os.PathLike[str], model: Any, data: dict[str, Any], **options: Any) -> Self:
        """A Solver that goes on where the one that wrote the checkpoint was, with the same numbers.

        Parameters
        ----------
        path : str or path
            What `save` wrote, or a Solver with `checkpoint_name` or `checkpoint_path`.
        model : object
            Made as it was made for the run. Its parameters, and the states of its layers, are replaced.
        data : dict
            The data of the run.
        **options
            What may be another: num_epochs, verbose, print_every, progress, callbacks, checkpoint_name,
            checkpoint_path, checkpoint_every, on_divergence. What a file cannot hold, such as a function,
            must be given again. The rest is the checkpoint's; to give it again does no harm.

        Returns
        -------
        solver : Solver
            Its `train()` sets NumPy's generator to the state that it had, and goes on.

        Raises
        ------
        ValueError
            The file is damaged or no checkpoint, the model or the data do not fit it, or an option
            disagrees with it: then nothing was changed.
        OSError
            The file cannot be read.

        Examples
        --------
        >>> import os, tempfile
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> from daseCV_c.datasets import load_digits_images
        >>> data = load_digits_images()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, 'checkpoint.npz')
        ...     Solver(TwoLayerNet(64, 20, 10), data, num_epochs=1, verbose=False, checkpoint_path=path).train()
        ...     solver = Solver.resume(path, TwoLayerNet(64, 20, 10), data, num_epochs=2)
        >>> solver.epoch
        1
        """
        solver: Self = snapshot.resumed(cls, path, model, data, options)
        return solver

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
            Samples scored at a time, by the kernels of the package's own networks at least 1000.

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
        X = _tables.samples("check_accuracy", "X", X, strict=isinstance(self.model, Network))
        y = _tables.labels("check_accuracy", "y", y)
        if y.shape != X.shape[:1] or X.shape[0] == 0:
            raise ValueError(
                f"check_accuracy: X has shape {X.shape} and y {y.shape}, expected one label for each of N > 0 samples"
            )
        centred = self._has_mean(X)
        if centred and X.shape[1:] != self.mean_image.shape:
            raise ValueError(
                f"check_accuracy: X has shape {X.shape}, but the mean image has shape {self.mean_image.shape}")
        batch_size = positive("batch_size", batch_size)
        if num_samples is not None:
            num_samples = positive("num_samples", num_samples)
        if num_samples is not None and X.shape[0] > num_samples:
            index: Array = _random.source(self.generator).choice(X.shape[0], num_samples)
            X, y = X[index], y[index]
        predictions = []
        own = self._own_loss()
        if own and self.model.loss_function != "softmax":
            raise ValueError(f"check_accuracy: the network's loss is {self.model.loss_function!r}, but the class of "
                             "the highest score is held against y, which is for 'softmax'")
        if own and _backend.get_backend() == "compiled":
            # The kernel takes any number in as little memory, and the mean image from those of uint8.
            batch_size = max(batch_size, 1000)
        shared: Array | None = None
        if self._sharing and own and len(X) >= self._team.size:
            from daseCV_c._parallel import solving
            shared = solving.scores(self, X, self.mean_image if centred else None, batch_size)
        for start in range(0, len(X), batch_size):
            part = slice(start, start + batch_size)
            if shared is not None:
                batch, scores = X[part], shared[part]
            elif own:
                batch = self.model._samples(f"{type(self.model).__name__}.loss", X[part])
                scores = _prediction.scores(self.model, batch, self.mean_image if centred else None)
            else:
                batch = self._centred(X, np.arange(len(X))[part]) if centred else X[part]
                scores = checks.scores(self.model, self.model.loss(batch), len(batch))
            if self._val_loss is not None:
                self._val_loss.add(batch, scores, y[part])
            predictions.append(np.argmax(scores, axis=1))
        accuracy: float = np.mean(np.concatenate(predictions) == y)
        return accuracy

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those of a resumed run included."""
        return self._seconds if self._clock is None else time.perf_counter() - self._clock

    def train(self) -> None:
        """Run the optimization, then put the best parameters back into the model.

        Batch norm's running statistics are put back with them. After an interruption, `train` again goes on.

        Raises
        ------
        ValueError, TypeError
            Labels, scores or gradients do not fit the network: see `Solver`.
        FloatingPointError
            The loss is NaN or infinite, and on_divergence is 'stop'.
        KeyboardInterrupt, SystemExit
            After Ctrl-C and SIGTERM, once the step under way is made and the best parameters are in the model.

        Examples
        --------
        >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
        >>> from daseCV_c.datasets import load_digits_images
        >>> solver = Solver(TwoLayerNet(64, 20, 10), load_digits_images(), num_epochs=1, verbose=False)
        >>> solver.train()
        >>> solver.epoch, len(solver.loss_history) == solver.num_iterations
        (1, True)
        """
        checks.labels(self.y_train, self.y_val, checks.classes(self.model) if self._own_loss() else None)
        if isinstance(self.model, Network):
            self.model._chosen.look()
        if self._ended:
            self._begin_run()
        Run(self).go()

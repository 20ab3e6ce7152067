"""FullyConnectedClassifier and FullyConnectedRegressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from daseCV_c._types import Array
from daseCV_c.sklearn import _estimator_data as _data
from daseCV_c.sklearn._estimator_base import FullyConnected
from daseCV_c.sklearn._estimator_hooks import managed
from daseCV_c.sklearn._estimator_training import Samples, accuracy, explained, output


class FullyConnectedClassifier(ClassifierMixin, FullyConnected):
    """A FullyConnectedNet for classes, trained by a Solver, in scikit-learn's manner.

    {affine - [batch or layer norm] - ReLU - [dropout]} x L - affine - softmax. The loss of a batch is
    ``sum_i w_i (-log p_i) / sum_i w_i + 0.5 * reg * sum(W**2)``, with the probability p_i of sample i's class and
    its weight w_i; batch norm's statistics count samples, whatever they weigh. An epoch is every sample once, in a
    new order, in batches of nearly equal size.

    Samples are taken as they are: scale them before, as in ``make_pipeline(StandardScaler(), ...)``.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers.
    normalization : {None, 'batchnorm', 'layernorm'}
    dropout_keep_ratio : float
        The probability of keeping a unit, in (0, 1]; 1 means no dropout.
    update_rule : {'sgd', 'sgd_momentum', 'nesterov', 'rmsprop', 'adagrad', 'adam', 'adamw'} or callable
    learning_rate : float
    optim_config : dict, optional
        Further settings of the update rule, such as ``{'beta1': 0.8}``.
    schedule : str, dict or callable, optional
        Factors on the learning rate: see `daseCV_c.schedules`.
    reg : float
        Strength of the L2 penalty on the weights.
    weight_scale : 'he', 'glorot' or float
        Standard deviation of the initial weights.
    batch_size : int
        At most so many samples make a batch.
    num_epochs : int
    early_stopping : bool or dict
        True is ``{'patience': 10, 'min_delta': 0.0, 'monitor': 'val_loss'}``, of which a dict may change some. Where
        'val_loss' or 'val_acc' is looked at, also by the schedule 'plateau', `validation_fraction` of the samples, of
        each class the same share, are held out, and the parameters of the best epoch are kept; else the last ones.
    validation_fraction : float
    clip_norm : float, optional
        The largest norm that all gradients together may have.
    average : dict, optional
        ``{'decay': 0.999}`` or ``{'last': 5}``: an average of the parameters, see `daseCV_c.solver.Solver`.
    callbacks : list, optional
        Objects of `daseCV_c.callbacks`, given the Solver. scikit-learn's own callbacks are set by `set_callbacks`.
    class_weight : dict or 'balanced', optional
        A factor on the weight of each class's samples. 'balanced': all classes weigh the same.
    dtype : {None, 'float32', 'float64'}
        Of parameters and arithmetic. None: float32 where X is, else float64, which takes about twice as long.
    checkpoint_path : str or path, optional
        A file that is written while `fit` runs, as the Solver writes it.
    resume : bool
        `fit` goes on from that file, if it is there, with the same numbers; settings and data must be the same,
        but for a larger `num_epochs`.
    warm_start : bool
        A second `fit` begins with the parameters of the one before, of the same classes and features.
    random_state : int, numpy.random.RandomState or None
        Initial weights, order of samples and dropout are drawn from a generator of its own: NumPy's global one is
        not touched. None: another one each time.
    verbose : bool
        A line at the end of each epoch.

    Attributes
    ----------
    classes_ : array, (C,)
        The labels that y holds, of whatever type, sorted.
    network_ : daseCV_c.classifiers.fc_net.FullyConnectedNet
        For `daseCV_c.models.save_model`, `daseCV_c.exchange` and the like.
    n_features_in_ : int
    feature_names_in_ : array of str
        Only where X has names.
    loss_curve_ : list of float
        The mean loss of each epoch's batches.
    n_iter_ : int
        Epochs, those of earlier calls that this one went on from included.
    validation_scores_, validation_loss_curve_ : list of float or None
        Accuracy and loss of the samples held out, after each epoch.
    stop_reason_ : str or None
        Why early stopping has ended the training.

    Raises
    ------
    ValueError, TypeError
        From `fit`: X, y or weights do not fit, hold what is no number (the message says in which row and column) or
        nothing; a parameter is none of those above.
    FloatingPointError
        From `fit`: the loss became NaN or infinite.

    See Also
    --------
    MLPClassifier : scikit-learn's own, faster: with its parameters and the same answers.

    References
    ----------
    scikit-learn, "Developing scikit-learn estimators", https://scikit-learn.org/stable/developers/develop.html

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from daseCV_c.sklearn import FullyConnectedClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> net = FullyConnectedClassifier([60], normalization='batchnorm', learning_rate=1e-2, random_state=0)
    >>> model = make_pipeline(StandardScaler(), net)
    >>> bool(cross_val_score(model, X, y, cv=3).mean() > 0.95)
    True
    """

    classes_: Array
    _score_of = staticmethod(accuracy)
    _monitors = ("val_loss", "val_acc", "train_loss")

    def __init__(
        self, hidden_dims: Any = (100,), *, normalization: Any = None, dropout_keep_ratio: Any = 1.0,
        update_rule: Any = "adam", learning_rate: Any = 1e-3, optim_config: Any = None, schedule: Any = None,
        reg: Any = 1e-4, weight_scale: Any = "he", batch_size: Any = 200, num_epochs: Any = 200,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1, clip_norm: Any = None, average: Any = None, callbacks: Any = None,
        class_weight: Any = None, dtype: Any = None, checkpoint_path: Any = None, resume: Any = False,
        warm_start: Any = False, random_state: Any = None, verbose: Any = False,
    ) -> None:
        self.hidden_dims = hidden_dims
        self.normalization = normalization
        self.dropout_keep_ratio = dropout_keep_ratio
        self.update_rule = update_rule
        self.learning_rate = learning_rate
        self.optim_config = optim_config
        self.schedule = schedule
        self.reg = reg
        self.weight_scale = weight_scale
        self.batch_size = batch_size
        self.num_epochs = num_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.clip_norm = clip_norm
        self.average = average
        self.callbacks = callbacks
        self.class_weight = class_weight
        self.dtype = dtype
        self.checkpoint_path = checkpoint_path
        self.resume = resume
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _loss_name(self) -> str:
        return "softmax"

    def _class_weight(self) -> Any:
        return self.class_weight

    def _outputs(self, y: Array) -> int:
        return len(self.classes_)

    def _take_targets(self, function: str, y: Any, X: Array, classes: Any, reset: bool) -> tuple[Array, Array | None]:
        if not reset:
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(
                    f"{function}: classes is {classes!r}, but the calls before had {self.classes_.tolist()}")
            numbers = _data.numbers_of(function, y, self.classes_)
        elif classes is not None:
            self.classes_ = np.unique(classes)
            numbers = _data.numbers_of(function, y, self.classes_)
        else:
            self.classes_, numbers = _data.classes_and_numbers(function, y)
        return numbers, numbers

    @managed
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network, or with `warm_start` the one that there is.

        Parameters
        ----------
        X : array or frame, (N, D)
        y : array or column, (N,)
            Labels of any type that can be sorted.
        sample_weight : array, (N,), optional
            A weight of zero is as good as no sample.

        Returns
        -------
        self
        """
        self._learn("fit", X, y, sample_weight)
        return self

    @managed
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, and keep the update rule's state for the next call.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. Of y's classes some may be lacking.
        classes : array, (C,)
            All classes there are; needed in the first call, where they are not those of y.

        Returns
        -------
        self
        """
        self._learn("partial_fit", X, y, sample_weight, classes)
        return self

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample, (N,), of the type of `classes_`."""
        scores = self._scores("predict", X)
        found: Array = self.classes_[scores.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class of `classes_`, (N, C)."""
        return output(self._scores("predict_proba", X), "softmax")

    def predict_log_proba(self, X: Any) -> Array:
        """Its logarithm, which is finite where the probability underflows to 0."""
        scores = self._scores("predict_log_proba", X)
        scores = scores - scores.max(axis=1, keepdims=True)
        found: Array = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return found


class FullyConnectedRegressor(RegressorMixin, FullyConnected):
    """A FullyConnectedNet for numbers, trained by a Solver, in scikit-learn's manner.

    {affine - [batch or layer norm] - ReLU - [dropout]} x L - affine. The loss of a batch is
    ``sum_i w_i loss_i / sum_i w_i + 0.5 * reg * sum(W**2)`` with the weight w_i of sample i. An epoch is every sample
    once, in a new order, in batches of nearly equal size.

    Samples are taken as they are: scale them before, as in ``make_pipeline(StandardScaler(), ...)``. So are targets,
    but that the last bias begins with their mean; `sklearn.compose.TransformedTargetRegressor` scales them.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers.
    loss : {'squared', 'poisson'}
        'squared': ``0.5 * sum_k (f_k - y_k)**2``. 'poisson': ``sum_k (y_k log(y_k / exp(f_k)) - y_k + exp(f_k))``, for
        targets that are not negative; `predict` gives ``exp(f)``.
    normalization, dropout_keep_ratio, update_rule, learning_rate, optim_config, schedule, reg, weight_scale
        As of `FullyConnectedClassifier`.
    batch_size, num_epochs, early_stopping, validation_fraction, clip_norm, average, callbacks, dtype
        Likewise; the monitor may be 'val_loss' or 'train_loss'.
    checkpoint_path, resume, warm_start, random_state, verbose
        Likewise.

    Attributes
    ----------
    network_ : daseCV_c.classifiers.fc_net.FullyConnectedNet
        Its scores are f.
    n_features_in_, feature_names_in_, loss_curve_, n_iter_, stop_reason_
        As of `FullyConnectedClassifier`.
    validation_scores_, validation_loss_curve_ : list of float or None
        R^2 and loss of the samples held out, after each epoch.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As of `FullyConnectedClassifier`.

    See Also
    --------
    MLPRegressor : scikit-learn's own, faster: with its parameters and the same answers.

    References
    ----------
    scikit-learn, "Developing scikit-learn estimators", https://scikit-learn.org/stable/developers/develop.html

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.sklearn import FullyConnectedRegressor
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> model = FullyConnectedRegressor([40], learning_rate=1e-2, batch_size=20, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.98)
    True
    """

    _score_of = staticmethod(explained)
    _monitors = ("val_loss", "train_loss")

    def __init__(
        self, hidden_dims: Any = (100,), *, loss: Any = "squared", normalization: Any = None,
        dropout_keep_ratio: Any = 1.0, update_rule: Any = "adam", learning_rate: Any = 1e-3, optim_config: Any = None,
        schedule: Any = None, reg: Any = 1e-4, weight_scale: Any = "he", batch_size: Any = 200, num_epochs: Any = 200,
        early_stopping: Any = False, validation_fraction: Any = 0.1, clip_norm: Any = None, average: Any = None,
        callbacks: Any = None, dtype: Any = None, checkpoint_path: Any = None, resume: Any = False,
        warm_start: Any = False, random_state: Any = None, verbose: Any = False,
    ) -> None:
        self.hidden_dims = hidden_dims
        self.loss = loss
        self.normalization = normalization
        self.dropout_keep_ratio = dropout_keep_ratio
        self.update_rule = update_rule
        self.learning_rate = learning_rate
        self.optim_config = optim_config
        self.schedule = schedule
        self.reg = reg
        self.weight_scale = weight_scale
        self.batch_size = batch_size
        self.num_epochs = num_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.clip_norm = clip_norm
        self.average = average
        self.callbacks = callbacks
        self.dtype = dtype
        self.checkpoint_path = checkpoint_path
        self.resume = resume
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # what scikit-learn before 1.6 asks for
        return {"multioutput": True}

    def _loss_name(self) -> str:
        if not isinstance(self.loss, str) or self.loss not in ("squared", "poisson"):
            raise ValueError(f"{type(self).__name__}: loss is {self.loss!r}, expected 'squared' or 'poisson'")
        return self.loss

    def _outputs(self, y: Array) -> int:
        return y.shape[1] if y.ndim == 2 else 1

    def _take_targets(self, function: str, y: Any, X: Array, classes: Any, reset: bool) -> tuple[Array, Array | None]:
        y = _data.targets(function, y, X.dtype, self._loss_name())
        shape = y.shape[1:]
        if reset:
            self._target_shape = shape
        elif shape != self._target_shape:
            raise ValueError(
                f"{function}: y has shape {y.shape}, but the calls before had {('N', *self._target_shape)}")
        return y, None

    def _start(self, net: Any, samples: Samples) -> None:
        mean = np.average(samples.y, axis=0, weights=samples.weight)
        if self.loss == "poisson":
            mean = np.log(np.where(mean > 0, mean, 1))
        net.params[f"b{net.num_layers}"][:] = mean

    @managed
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network, or with `warm_start` the one that there is.

        Parameters
        ----------
        X : array or frame, (N, D)
        y : array, column or frame, (N,) or (N, K)
        sample_weight : array, (N,), optional
            A weight of zero is as good as no sample.

        Returns
        -------
        self
        """
        self._learn("fit", X, y, sample_weight)
        return self

    @managed
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, and keep the update rule's state for the next call.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        self._learn("partial_fit", X, y, sample_weight)
        return self

    def predict(self, X: Any) -> Array:
        """The number of each sample, (N,), or with several targets (N, K)."""
        found = output(self._scores("predict", X), self._loss_name())
        return found[:, 0] if self._target_shape == () else found

"""Fully-connected networks."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks, _random, layer_utils, layers
from daseCV_c._initial import spread
from daseCV_c._layers.chosen import Chosen
from daseCV_c._layers.losses import _output_loss
from daseCV_c._network import Network
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step import prediction as _prediction
from daseCV_c._types import Array, ArrayLike
from daseCV_c.layer_utils import *  # noqa: F403
from daseCV_c.layers import *  # noqa: F403

# A notebook's `from daseCV.classifiers.fc_net import *` also expects the layers.
__all__ = ["FullyConnectedNet", "TwoLayerNet", *layers.__all__, *layer_utils.__all__]

_CHOSEN = Chosen(__name__, "daseCV_c.layer_utils", "daseCV_c.layers")
_SANDWICHES = {None: "affine_relu", "batchnorm": "affine_bn_relu", "layernorm": "affine_ln_relu"}
_NORMALIZATIONS = {
    None: None,
    "batchnorm": "batchnorm", "batch_norm": "batchnorm",
    "layernorm": "layernorm", "layer_norm": "layernorm",
}


def _normalization(name: str, value: object) -> str | None:
    """None, 'batchnorm' or 'layernorm', whichever way it is spelled."""
    if value is not None and (not isinstance(value, str) or value not in _NORMALIZATIONS):
        raise ValueError(f"{name}: normalization is {value!r}, expected None, 'batchnorm' or 'layernorm'")
    return _NORMALIZATIONS[value]


def _shape(name: str, what: str, w: ArrayLike, ndim: int) -> tuple[int, ...]:
    """The shape of a parameter of so many dimensions; in place it may have got any."""
    shape = np.shape(w)
    if len(shape) != ndim:
        raise ValueError(f"{name}: {what} has shape {shape}, expected {ndim} dimensions")
    return shape


def _images(name: str, X: ArrayLike, W1: Array) -> Array:
    """X checked against the first layer."""
    features = W1.shape[0] if isinstance(W1, np.ndarray) and W1.ndim == 2 else _shape(name, "W1", W1, 2)[0]
    X = _checks.as_array(name, "X", X)
    if X.ndim < 2:
        raise ValueError(f"{name}: X has {X.ndim} dimensions (shape {X.shape}), expected (N, d_1, ..., d_k)" + (
            ": X.reshape(1, -1) is one sample, X.reshape(-1, 1) N of one feature" if X.ndim else ""))
    width = math.prod(X.shape[1:])
    if width != features:
        raise ValueError(
            f"{name}: X has {width} features per sample (shape {X.shape}), but W1 has {features} rows")
    return X


def _labels(name: str, y: ArrayLike, X: Array, w: Array) -> Array:
    """y as one label per sample of X, below the number of columns of w."""
    if X.shape[0] == 0:
        raise ValueError(f"{name}: X has shape {X.shape}, expected at least one sample")
    return _checks.labels(name, y, X.shape[0], _shape(name, "the last weight matrix", w, 2)[1])


def _positive(name: str, argument: str, value: object) -> int:
    return _checks.integer(name, argument, value, 1, 2**31 - 1, ValueError)


def _kept(name: str, dropout: object, keep_ratio: object, old: bool) -> float:
    """The probability of keeping a unit. `old`: `dropout` is meant as in editions before 2018."""
    if keep_ratio is not None:
        keep = _checks.real_number(name, "dropout_keep_ratio", keep_ratio)
        if not 0 < keep <= 1:
            raise ValueError(f"{name}: dropout_keep_ratio is {keep}, expected a probability of keeping in (0, 1]")
        return keep
    share = _checks.real_number(name, "dropout", dropout)
    if not 0 <= share <= 1:
        raise ValueError(f"{name}: dropout is {share}, expected a probability of keeping in (0, 1]; editions before "
                         "2018 mean the share that is dropped, and 0 is no dropout in both meanings")
    if share in (0, 1) and old or share == 1:
        return 1.0
    if old:
        warnings.warn(
            f"{name}: beside use_batchnorm, dropout={share} is the share that is dropped, as in editions of the course "
            f"before 2018; dropout_keep_ratio={1 - share:g} says the same in any edition", UserWarning, stacklevel=3)
        return 1 - share
    if share == 0:
        warnings.warn(
            f"{name}: dropout=0 is taken as no dropout. Editions of the course before 2018 write it, whose dropout is "
            "the share that is dropped; here it is the share that is kept. dropout_keep_ratio=1 - share says which one "
            "is meant", UserWarning, stacklevel=3)
        return 1.0
    return share


def _of_old_edition(name: str, normalization: str | None, use_batchnorm: object) -> str | None:
    if not isinstance(use_batchnorm, (bool, np.bool_, int)):
        raise TypeError(f"{name}: use_batchnorm is {use_batchnorm!r}, expected True or False")
    if _normalization(name, normalization) not in (None, "batchnorm" if use_batchnorm else None):
        raise ValueError(f"{name}: use_batchnorm={use_batchnorm!r} and normalization={normalization!r} contradict "
                         "each other")
    return "batchnorm" if use_batchnorm else None


class TwoLayerNet(Network):
    """affine - ReLU - affine - softmax, in float64.

    The loss is the softmax loss plus ``0.5 * reg * (sum(W1**2) + sum(W2**2))``.

    Parameters
    ----------
    input_dim, hidden_dim, num_classes : int
    weight_scale : float, 'he' or 'glorot'
        Standard deviation of the initial weights, drawn W1 first. 'he' is ``sqrt(2 / fan_in)`` and 'glorot'
        ``sqrt(2 / (fan_in + fan_out))``, layer by layer: the same numbers, scaled otherwise.
    reg : float
        Strength of the L2 penalty on the weights.
    seed : int or numpy.random.RandomState, optional
        The weights are drawn from a generator of their own, by default from NumPy's global one. A seed
        gives the numbers that ``np.random.seed(seed)`` gives.

    Attributes
    ----------
    params : dict
        W1 (D, H), b1 (H,), W2 (H, C), b2 (C,).
    reg, dtype
        May be changed between calls.
    input_dim : int
    mean_image : array or None
    class_names : list of str or None
        None at first. What belongs to a model file, see `daseCV_c.models.save_model`.

    Raises
    ------
    ValueError
        A size is not a positive integer, or seed is out of range.
    TypeError
        reg is not a number, weight_scale neither a number nor one of the names, or seed none of its kinds.

    References
    ----------
    CS231n, "Neural Networks Part 1", https://cs231n.github.io/neural-networks-1/

    He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10, https://arxiv.org/abs/1502.01852

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 12

    Examples
    --------
    >>> import numpy as np
    >>> net = TwoLayerNet(input_dim=4, hidden_dim=5, num_classes=3)
    >>> net.loss(np.ones((2, 4))).shape
    (2, 3)
    >>> loss, grads = net.loss(np.ones((2, 4)), np.array([0, 2]))
    >>> sorted(grads)
    ['W1', 'W2', 'b1', 'b2']
    """

    # What FullyConnectedNet lets a user choose.
    num_layers, normalization, use_dropout, reg_last_layer = 2, None, False, True
    dtype: Any = np.float64  # also of a network that the course pickled, which has none
    _chosen = _CHOSEN

    def __init__(
        self, input_dim: int = 3 * 32 * 32, hidden_dim: int = 100, num_classes: int = 10,
        weight_scale: float | str = 1e-3, reg: float = 0.0, *, seed: int | _random.Generator | None = None,
    ) -> None:
        sizes = [_positive("TwoLayerNet", name, value) for name, value in (
            ("input_dim", input_dim), ("hidden_dim", hidden_dim), ("num_classes", num_classes))]
        scale = spread("TwoLayerNet", weight_scale)
        self.reg = _checks.real_number("TwoLayerNet", "reg", reg)
        random = _random.source(_random.generator("TwoLayerNet", seed))
        self.input_dim = sizes[0]
        self.dtype = np.float64
        self.params = {}
        for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
            self.params[f"W{i}"] = scale(fan_in, fan_out) * random.randn(fan_in, fan_out)
            self.params[f"b{i}"] = np.zeros(fan_out)

    def _samples(self, function: str, X: ArrayLike) -> Array:
        return _images(function, X, self.params["W1"])

    def _score(self, X: Array) -> Array:
        """Scores of samples in the network's dtype, layer by layer."""
        hidden, _ = _CHOSEN.forward("affine_relu")(X, self.params["W1"], self.params["b1"])
        scores: Array = _CHOSEN.forward("affine")(hidden, self.params["W2"], self.params["b2"])[0]
        return scores

    def loss(self, X: ArrayLike, y: ArrayLike | None = None) -> Any:
        """Scores of X, or with labels the loss and the gradients of every parameter.

        Parameters
        ----------
        X : array, (N, d_1, ..., d_k)
        y : array of integers, (N,), optional

        Returns
        -------
        scores : array, (N, C)
            When y is None.
        loss, grads : float, dict
            Otherwise; grads has the keys of `params`.

        Raises
        ------
        ValueError, TypeError
            X does not fit W1, or y is not one label per sample.

        Examples
        --------
        >>> import numpy as np
        >>> TwoLayerNet(4, 5, 3).loss(np.ones((2, 4))).shape
        (2, 3)
        """
        params = self.params
        X = self._samples("TwoLayerNet.loss", X)
        if y is None:
            return _prediction.scores(self, X)
        fused = _engine.gradients(self, X, y)
        if fused is not None:
            return fused
        y = _labels("TwoLayerNet.loss", y, X, params["W2"])
        X = X.astype(self.dtype, copy=False)
        hidden, cache1 = _CHOSEN.forward("affine_relu")(X, params["W1"], params["b1"])
        scores, cache2 = _CHOSEN.forward("affine")(hidden, params["W2"], params["b2"])
        loss, dscores = _CHOSEN.loss()(scores, y)
        loss += _engine.penalty(self.reg, (params["W1"], params["W2"]))
        grads = {}
        dhidden, grads["W2"], grads["b2"] = _CHOSEN.backward("affine")(dscores, cache2)
        _, grads["W1"], grads["b1"] = _CHOSEN.backward("affine_relu")(dhidden, cache1, need_dx=False)
        for name in ("W1", "W2"):
            grads[name] += self.reg * params[name]
        return loss, grads

    _own_loss = loss


class FullyConnectedNet(Network):
    """{affine - [batch or layer norm] - ReLU - [dropout]} x (L - 1) - affine - softmax.

    The loss is the softmax loss plus ``0.5 * reg`` times the sum of squares of every W; biases,
    gamma and beta are free.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers.
    input_dim, num_classes : int
    dropout : float
        The probability of keeping a unit, in (0, 1]; 1 means no dropout. So does 0, with a warning: editions
        of the course before 2018 write it, and mean the share that is dropped. With `use_batchnorm` it
        is that share, in [0, 1).
    normalization : {None, 'batchnorm', 'layernorm'}
        'batch_norm' and 'layer_norm' mean the same. True and False are `use_batchnorm`, which stood here.
    reg : float
        Strength of the L2 penalty on the weights.
    weight_scale : float, 'he' or 'glorot'
        Standard deviation of the initial weights, drawn W1, W2, ... and then cast. 'he' is
        ``sqrt(2 / fan_in)`` and 'glorot' ``sqrt(2 / (fan_in + fan_out))``, layer by layer: the same
        numbers, scaled otherwise. Deep networks without a normalization need one of them to learn.
    dtype : dtype
        float32 or float64: parameters and arithmetic.
    seed : int or numpy.random.RandomState, optional
        An integer means what it means in the course: dropout gives it to ``np.random.seed`` and draws
        the same mask at each call. A RandomState is a generator of the network's own, from which the
        initial weights and every mask are drawn. By default all are drawn from NumPy's global generator.
    dropout_keep_ratio : float, optional
        The probability of keeping a unit, in (0, 1], in any edition: it counts instead of `dropout`.
    use_batchnorm : bool, optional
        As editions before 2018 write it: batch norm or no normalization. `dropout` then means what it means
        in those, the share that is dropped.
    loss : {'softmax', 'logistic', 'squared', 'poisson'}
        Of the scores s, whose number is `num_classes`; the mean over the samples, whatever is here summed
        over the outputs k.

        - 'softmax': ``log(sum_k exp(s_k)) - s_y`` of a label y;
        - 'logistic': ``sum_k log(1 + exp(s_k)) - y_k s_k``, each y_k from 0 to 1: two classes with one output,
          or any number of labels that do not exclude each other;
        - 'squared': ``0.5 * sum_k (s_k - y_k)**2``;
        - 'poisson': ``sum_k exp(s_k) - y_k + y_k log(y_k / exp(s_k))``, half of the deviance, each y_k >= 0.

    Attributes
    ----------
    params : dict
        W1, b1, ..., and gamma1, beta1, ... with a normalization.
    bn_params : list of dict
        One per hidden layer with a normalization: mode and running statistics of batch norm.
    dropout_param : dict
    use_dropout, normalization, num_layers, reg, dtype
        May be changed between calls.
    input_dim : int
    generator : numpy.random.RandomState or None
        The one that `seed` gave.
    mean_image : array or None
    class_names : list of str or None
        None at first. What belongs to a model file, see `daseCV_c.models.save_model`.
    loss_function : str
        The `loss` that was given.
    reg_last_layer : bool
        True. False leaves the last layer's weights out of the penalty and its gradient; the
        course's printed loss of 5.940411485412347 for reg = 3.14 was computed that way, where
        the definition gives 7.052114776533016.

    Raises
    ------
    ValueError
        A size is not a positive integer, p outside (0, 1], an unknown normalization, loss or dtype, or
        `use_batchnorm` beside another normalization.
    TypeError
        dropout or reg is not a number, weight_scale neither a number nor one of the names, or seed is a
        numpy.random.Generator.

    References
    ----------
    CS231n, "Neural Networks Part 2", https://cs231n.github.io/neural-networks-2/

    He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10, https://arxiv.org/abs/1502.01852

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 12

    Examples
    --------
    >>> import numpy as np
    >>> net = FullyConnectedNet([5, 6], input_dim=4, num_classes=3, normalization='batchnorm')
    >>> sorted(net.params)
    ['W1', 'W2', 'W3', 'b1', 'b2', 'b3', 'beta1', 'beta2', 'gamma1', 'gamma2']
    >>> net.loss(np.ones((2, 4))).shape
    (2, 3)
    >>> FullyConnectedNet([5], 4, 3, dropout=0.0, use_batchnorm=True).normalization
    'batchnorm'
    """

    # Also of networks that the course pickled, which have none.
    reg_last_layer = True
    _chosen = _CHOSEN

    def __init__(
        self, hidden_dims: Sequence[int], input_dim: int = 3 * 32 * 32, num_classes: int = 10, dropout: float = 1,
        normalization: str | bool | None = None, reg: float = 0.0, weight_scale: float | str = 1e-2,
        dtype: DTypeLike = np.float32, seed: int | _random.Generator | None = None, *,
        dropout_keep_ratio: float | None = None, use_batchnorm: bool | None = None, loss: str = "softmax",
    ) -> None:
        name = "FullyConnectedNet"
        if not isinstance(loss, str) or loss not in _checks.LOSSES:
            raise ValueError(f"{name}: loss is {loss!r}, expected one of {', '.join(map(repr, _checks.LOSSES))}")
        if loss != "softmax":
            self.loss_function = loss
        if isinstance(normalization, (bool, np.bool_)):  # editions before 2018 have use_batchnorm in its place
            normalization, use_batchnorm = None, bool(normalization)
        keep = _kept(name, dropout, dropout_keep_ratio, use_batchnorm is not None)
        if use_batchnorm is not None:
            normalization = _of_old_edition(name, normalization, use_batchnorm)
        self.dtype = np.dtype(dtype).type
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name}: dtype is {np.dtype(dtype)}, expected float32 or float64")
        if isinstance(hidden_dims, (int, np.integer)):
            raise ValueError(f"{name}: hidden_dims is {hidden_dims!r}, expected a sequence of widths")
        hidden = [_positive(name, "a width in hidden_dims", width) for width in hidden_dims]
        classes = _positive(name, "num_classes", num_classes)
        sizes = [_positive(name, "input_dim", input_dim), *hidden, classes]
        scale = spread(name, weight_scale)
        # An integer is the course's: it says which masks are drawn, not which weights.
        own = _random.generator(name, seed) if isinstance(seed, (_random.Generator, np.random.Generator)) else None
        random = _random.source(own)
        self.reg = _checks.real_number(name, "reg", reg)
        self.input_dim = sizes[0]
        self.normalization = _normalization(name, normalization)
        self.use_dropout = keep != 1
        self.num_layers = len(sizes) - 1
        self.params = {}
        for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
            self.params[f"W{i}"] = (scale(fan_in, fan_out) * random.randn(fan_in, fan_out)).astype(self.dtype)
            self.params[f"b{i}"] = np.zeros(fan_out, self.dtype)
            if self.normalization and i < self.num_layers:
                self.params[f"gamma{i}"] = np.ones(fan_out, self.dtype)
                self.params[f"beta{i}"] = np.zeros(fan_out, self.dtype)
        self.dropout_param = {}
        if self.use_dropout:
            self.dropout_param = {"mode": "train", "p": keep}
            if seed is not None:
                self.dropout_param["seed" if own is None else "generator"] = seed
        self.bn_params = []
        if self.normalization == "batchnorm":
            self.bn_params = [{"mode": "train"} for _ in hidden]
        elif self.normalization == "layernorm":
            self.bn_params = [{} for _ in hidden]

    def _samples(self, function: str, X: ArrayLike) -> Array:
        _normalization(function, self.normalization)
        return _images(function, X, self.params["W1"])

    def _score(self, X: Array) -> Array:
        """Scores of samples in the network's dtype, layer by layer; dicts of the layers stay as they are."""
        params, last = self.params, self.num_layers
        normalization = _normalization(type(self).__name__, self.normalization)
        forward = _CHOSEN.forward(_SANDWICHES[normalization])
        own_dropout = _CHOSEN.replaced().get("dropout_forward") if self.use_dropout else None
        for i in range(1, last):
            arguments: list[Any] = [X, params[f"W{i}"], params[f"b{i}"]]
            if normalization:
                arguments += [params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[i - 1] | {"mode": "test"}]
            X, _ = forward(*arguments)
            if own_dropout:
                X, _ = own_dropout(X, self.dropout_param | {"mode": "test"})
        scores: Array = _CHOSEN.forward("affine")(X, params[f"W{last}"], params[f"b{last}"])[0]
        return scores

    def loss(
        self, X: ArrayLike, y: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Scores of X in test mode, or with labels the training loss and the gradients.

        Without labels nothing of the network changes. With labels batch norm updates its running
        statistics and dropout draws its masks.

        Parameters
        ----------
        X : array, (N, d_1, ..., d_k)
            Cast to the network's dtype.
        y : array of integers, (N,), optional
            Of another loss than softmax the targets, (N, K), or with one output (N,).
        sample_weight : array, (N,), optional
            The loss is ``sum_i weight_i loss_i / sum_i weight_i``, and the penalty as ever. Batch norm's statistics
            know no weights.

        Returns
        -------
        scores : array, (N, C)
            When y is None.
        loss, grads : float, dict
            Otherwise; grads has the keys of `params`.

        Raises
        ------
        ValueError, TypeError
            X does not fit W1, y is not one label per sample or not a target of this loss, weights that sum
            to 0, an unknown normalization was set, or batch norm is to be trained by one sample.

        Examples
        --------
        >>> import numpy as np
        >>> net = FullyConnectedNet([5], input_dim=4, num_classes=3)
        >>> loss, grads = net.loss(np.ones((2, 4)), np.array([0, 2]))
        >>> sorted(grads)
        ['W1', 'W2', 'b1', 'b2']
        >>> line = FullyConnectedNet([], input_dim=1, num_classes=1, loss='squared', dtype=np.float64)
        >>> line.params['W1'][...] = 2
        >>> loss, grads = line.loss([[1.], [3.]], [1., 6.], sample_weight=[1., 3.])
        >>> loss, grads['W1'].tolist()
        (0.125, [[0.25]])
        """
        name, params, last = "FullyConnectedNet.loss", self.params, self.num_layers
        X = self._samples(name, X)
        if y is None:
            return _prediction.scores(self, X)
        normalization = _normalization(name, self.normalization)
        kind, dtype = self.loss_function, np.dtype(self.dtype)
        weight = None if sample_weight is None else _checks.sample_weights(name, sample_weight, len(X), dtype)
        if kind != "softmax":
            y = _checks.targets(name, y, len(X), np.shape(params[f"W{last}"])[1], kind, dtype)
        fused = _engine.gradients(self, X, y, weight) if normalization == self.normalization else None
        if fused is not None:
            return fused
        # Before batch norm's statistics move.
        if kind == "softmax":
            y = _labels(name, y, X, params[f"W{last}"])
        if normalization == "batchnorm" and last > 1 and len(X) == 1:
            raise ValueError(f"{name}: X is a batch of one sample (shape {X.shape}), but batch norm in training needs "
                             "at least two: one is its own mean, and nothing would be learned")
        X = X.astype(self.dtype, copy=False)
        if self.use_dropout:
            self.dropout_param["mode"] = "train"
        if normalization == "batchnorm":
            for bn_param in self.bn_params:
                bn_param["mode"] = "train"

        forward, backward = (choose(_SANDWICHES[normalization]) for choose in (_CHOSEN.forward, _CHOSEN.backward))
        out, caches, masks = X, [], []
        for i in range(1, last):
            arguments: list[Any] = [out, params[f"W{i}"], params[f"b{i}"]]
            if normalization:
                arguments += [params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[i - 1]]
            out, cache = forward(*arguments)
            caches.append(cache)
            if self.use_dropout:
                out, mask = _CHOSEN.forward("dropout")(out, self.dropout_param)
                masks.append(mask)
        scores, cache = _CHOSEN.forward("affine")(out, params[f"W{last}"], params[f"b{last}"])

        if kind == "softmax" and weight is None:
            loss, dout = _CHOSEN.loss()(scores, y)
        else:
            loss, dout = _output_loss(scores, np.asarray(y), kind, weight)
        grads = {}
        dout, grads[f"W{last}"], grads[f"b{last}"] = _CHOSEN.backward("affine")(dout, cache, need_dx=last > 1)
        for i in range(last - 1, 0, -1):
            if self.use_dropout:
                dout = _CHOSEN.backward("dropout")(dout, masks.pop())
            # Nobody asks for the gradient of the images.
            dout, grads[f"W{i}"], grads[f"b{i}"], *rest = backward(dout, caches.pop(), need_dx=i > 1)
            if normalization:
                grads[f"gamma{i}"], grads[f"beta{i}"] = rest
        penalized = [f"W{i}" for i in range(1, last + bool(self.reg_last_layer))]
        loss += _engine.penalty(self.reg, [params[w] for w in penalized])
        for w in penalized:
            grads[w] += float(self.reg) * params[w]
        return loss, grads

    _own_loss = loss

"""Fully-connected networks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks, _random, layer_utils, layers
from daseCV_c._initial import spread
from daseCV_c._layers.affine import _affine_backward
from daseCV_c._layers.sandwich import (
    _affine_bn_relu_backward,
    _affine_ln_relu_backward,
    _affine_relu_backward,
    _affine_relu_forward,
)
from daseCV_c._network import Network
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step import prediction as _prediction
from daseCV_c._types import Array, ArrayLike, Cache
from daseCV_c.layer_utils import *  # noqa: F403
from daseCV_c.layers import *  # noqa: F403
from daseCV_c.layers import affine_forward, dropout_backward, dropout_forward, softmax_loss

# A notebook's `from daseCV.classifiers.fc_net import *` also expects the layers.
__all__ = ["FullyConnectedNet", "TwoLayerNet", *layers.__all__, *layer_utils.__all__]

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


def _images(name: str, X: ArrayLike, W1: Array) -> Array:
    """X checked against the first layer."""
    features = W1.shape[0] if isinstance(W1, np.ndarray) and W1.ndim else np.shape(W1)[0]
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
    return _checks.labels(name, y, X.shape[0], np.shape(w)[1])


def _positive(name: str, argument: str, value: object) -> int:
    return _checks.integer(name, argument, value, 1, 2**31 - 1, ValueError)


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
        hidden, _ = _affine_relu_forward(X, self.params["W1"], self.params["b1"])
        return affine_forward(hidden, self.params["W2"], self.params["b2"])[0]

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
        hidden, cache1 = _affine_relu_forward(X, params["W1"], params["b1"])
        scores, cache2 = affine_forward(hidden, params["W2"], params["b2"])
        loss, dscores = softmax_loss(scores, y)
        loss += _engine.penalty(self.reg, (params["W1"], params["W2"]))
        grads = {}
        dhidden, grads["W2"], grads["b2"] = _affine_backward(dscores, cache2)
        _, grads["W1"], grads["b1"] = _affine_relu_backward(dhidden, cache1, need_dx=False)
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
        The probability of keeping a unit, in (0, 1]; 1 means no dropout.
    normalization : {None, 'batchnorm', 'layernorm'}
        'batch_norm' and 'layer_norm' mean the same.
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
        Another name for `dropout`.

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
    reg_last_layer : bool
        True. False leaves the last layer's weights out of the penalty and its gradient; the
        course's printed loss of 5.940411485412347 for reg = 3.14 was computed that way, where
        the definition gives 7.052114776533016.

    Raises
    ------
    ValueError
        A size is not a positive integer, p outside (0, 1], an unknown normalization or dtype.
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
    """

    # Also of networks that the course pickled, which have none.
    reg_last_layer = True

    def __init__(
        self, hidden_dims: Sequence[int], input_dim: int = 3 * 32 * 32, num_classes: int = 10, dropout: float = 1,
        normalization: str | None = None, reg: float = 0.0, weight_scale: float | str = 1e-2,
        dtype: DTypeLike = np.float32, seed: int | _random.Generator | None = None, *,
        dropout_keep_ratio: float | None = None,
    ) -> None:
        name = "FullyConnectedNet"
        keep = dropout if dropout_keep_ratio is None else dropout_keep_ratio
        keep = _checks.real_number(name, "dropout", keep)
        if not 0 < keep <= 1:
            raise ValueError(f"{name}: dropout is {keep}, expected a probability of keeping in (0, 1]")
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
        for i in range(1, last):
            arguments: list[Any] = [X, params[f"W{i}"], params[f"b{i}"]]
            if normalization:
                arguments += [params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[i - 1] | {"mode": "test"}]
            X, _ = _FORWARD[normalization](*arguments)
        return affine_forward(X, params[f"W{last}"], params[f"b{last}"])[0]

    def loss(self, X: ArrayLike, y: ArrayLike | None = None) -> Any:
        """Scores of X in test mode, or with labels the training loss and the gradients.

        Without labels nothing of the network changes. With labels batch norm updates its running
        statistics and dropout draws its masks.

        Parameters
        ----------
        X : array, (N, d_1, ..., d_k)
            Cast to the network's dtype.
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
            X does not fit W1, y is not one label per sample, an unknown normalization was set, or batch
            norm is to be trained by one sample.

        Examples
        --------
        >>> import numpy as np
        >>> net = FullyConnectedNet([5], input_dim=4, num_classes=3)
        >>> loss, grads = net.loss(np.ones((2, 4)), np.array([0, 2]))
        >>> sorted(grads)
        ['W1', 'W2', 'b1', 'b2']
        """
        name, params, last = "FullyConnectedNet.loss", self.params, self.num_layers
        X = self._samples(name, X)
        if y is None:
            return _prediction.scores(self, X)
        normalization = _normalization(name, self.normalization)
        fused = _engine.gradients(self, X, y) if normalization == self.normalization else None
        if fused is not None:
            return fused
        # Before batch norm's statistics move.
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

        out, caches, masks = X, [], []
        for i in range(1, last):
            arguments: list[Any] = [out, params[f"W{i}"], params[f"b{i}"]]
            if normalization:
                arguments += [params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[i - 1]]
            out, cache = _FORWARD[normalization](*arguments)
            caches.append(cache)
            if self.use_dropout:
                out, mask = dropout_forward(out, self.dropout_param)
                masks.append(mask)
        scores, cache = affine_forward(out, params[f"W{last}"], params[f"b{last}"])

        loss, dout = softmax_loss(scores, y)
        grads = {}
        dout, grads[f"W{last}"], grads[f"b{last}"] = _affine_backward(dout, cache, need_dx=last > 1)
        for i in range(last - 1, 0, -1):
            if self.use_dropout:
                dout = dropout_backward(dout, masks.pop())
            # Nobody asks for the gradient of the images.
            dout, grads[f"W{i}"], grads[f"b{i}"], *rest = _BACKWARD[normalization](
                dout, caches.pop(), need_dx=i > 1)
            if normalization:
                grads[f"gamma{i}"], grads[f"beta{i}"] = rest
        penalized = [f"W{i}" for i in range(1, last + bool(self.reg_last_layer))]
        loss += _engine.penalty(self.reg, [params[w] for w in penalized])
        for w in penalized:
            grads[w] += float(self.reg) * params[w]
        return loss, grads

    _own_loss = loss


_FORWARD: dict[str | None, Callable[..., tuple[Array, Cache]]] = {
    None: _affine_relu_forward,
    "batchnorm": layer_utils.affine_bn_relu_forward,
    "layernorm": layer_utils.affine_ln_relu_forward,
}
_BACKWARD: dict[str | None, Callable[..., tuple[Any, ...]]] = {
    None: _affine_relu_backward, "batchnorm": _affine_bn_relu_backward, "layernorm": _affine_ln_relu_backward,
}

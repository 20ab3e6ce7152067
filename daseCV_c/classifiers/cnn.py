"""Convolutional networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks, _random, fast_layers, layer_utils, layers
from daseCV_c._initial import spread
from daseCV_c._layers.chosen import Chosen
from daseCV_c._network import Network
from daseCV_c._step import prediction as _prediction
from daseCV_c._step.fully_connected import penalty
from daseCV_c._types import Array, ArrayLike
from daseCV_c.classifiers.fc_net import _labels, _positive, _shape
from daseCV_c.fast_layers import *  # noqa: F403
from daseCV_c.layer_utils import *  # noqa: F403
from daseCV_c.layers import *  # noqa: F403

# A notebook's `from daseCV.classifiers.cnn import *` also expects the layers.
__all__ = ["ThreeLayerConvNet", *layers.__all__, *layer_utils.__all__, *fast_layers.__all__]
__all__ = list(dict.fromkeys(__all__))

_CHOSEN = Chosen(__name__, "daseCV_c.layer_utils", "daseCV_c.fast_layers", "daseCV_c.layers")
_POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


def _image_shape(name: str, input_dim: object) -> tuple[int, int, int]:
    """(C, H, W) as three positive integers, with an image that 2 x 2 windows fit into."""
    if not isinstance(input_dim, Sequence) or isinstance(input_dim, (str, bytes)) or len(input_dim) != 3:
        raise ValueError(f"{name}: input_dim is {input_dim!r}, expected (C, H, W)")
    channels, height, width = (_positive(name, "a size in input_dim", size) for size in input_dim)
    if min(height, width) < 2:
        raise ValueError(f"{name}: input_dim is {input_dim!r}, expected a height and width of at least 2")
    return channels, height, width


class ThreeLayerConvNet(Network):
    """conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax.

    The convolution has stride 1 and ``pad = (filter_size - 1) // 2``, so that it keeps the height
    and width of the images. The loss is the softmax loss plus ``0.5 * reg`` times the sum of
    squares of W1, W2 and W3.

    Parameters
    ----------
    input_dim : tuple of int, (C, H, W)
    num_filters, filter_size, hidden_dim, num_classes : int
        filter_size is odd.
    weight_scale : float, 'he' or 'glorot'
        Standard deviation of the initial weights, drawn W1, W2, W3 and then cast. 'he' is
        ``sqrt(2 / fan_in)`` and 'glorot' ``sqrt(2 / (fan_in + fan_out))``, layer by layer: the same
        numbers, scaled otherwise. The fans of the convolution are C * HH * WW and F * HH * WW.
    reg : float
        Strength of the L2 penalty on the weights.
    dtype : dtype
        float32 or float64: parameters and arithmetic.
    seed : int or numpy.random.RandomState, optional
        The weights are drawn from a generator of their own, by default from NumPy's global one. A seed
        gives the numbers that ``np.random.seed(seed)`` gives.

    Attributes
    ----------
    params : dict
        W1 (F, C, HH, WW), b1 (F,), W2 (F * H/2 * W/2, hidden_dim), b2, W3 (hidden_dim, num_classes), b3.
    reg, dtype
        May be changed between calls.
    input_dim : tuple of int, (C, H, W)
    mean_image : array or None
    class_names : list of str or None
        None at first. What belongs to a model file, see `daseCV_c.models.save_model`.

    Raises
    ------
    ValueError
        A size is not a positive integer, an even filter_size, an unknown dtype, or seed is out of range.
    TypeError
        reg is not a number, weight_scale neither a number nor one of the names, or seed none of its kinds.

    References
    ----------
    CS231n, "Convolutional Networks", https://cs231n.github.io/convolutional-networks/

    He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10, https://arxiv.org/abs/1502.01852

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 12

    Examples
    --------
    >>> import numpy as np
    >>> net = ThreeLayerConvNet((3, 4, 4), num_filters=2, filter_size=3, hidden_dim=5, num_classes=3)
    >>> net.params['W1'].shape, net.params['W2'].shape
    ((2, 3, 3, 3), (8, 5))
    >>> net.loss(np.ones((2, 3, 4, 4))).shape
    (2, 3)
    """

    _chosen = _CHOSEN

    def __init__(
        self, input_dim: Sequence[int] = (3, 32, 32), num_filters: int = 32, filter_size: int = 7,
        hidden_dim: int = 100, num_classes: int = 10, weight_scale: float | str = 1e-3, reg: float = 0.0,
        dtype: DTypeLike = np.float32, *, seed: int | _random.Generator | None = None,
    ) -> None:
        name = "ThreeLayerConvNet"
        C, H, W = _image_shape(name, input_dim)
        F, HH, hidden, classes = (_positive(name, argument, value) for argument, value in (
            ("num_filters", num_filters), ("filter_size", filter_size), ("hidden_dim", hidden_dim),
            ("num_classes", num_classes)))
        if HH % 2 == 0:
            raise ValueError(f"{name}: filter_size is {HH}, expected an odd number, which keeps the size of the images")
        scale = spread(name, weight_scale)
        random = _random.source(_random.generator(name, seed))
        self.reg = _checks.real_number(name, "reg", reg)
        self.dtype = np.dtype(dtype).type
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name}: dtype is {np.dtype(dtype)}, expected float32 or float64")
        self.input_dim = (C, H, W)
        self.params = {}
        for i, shape in enumerate([(F, C, HH, HH), (F * (H // 2) * (W // 2), hidden), (hidden, classes)], 1):
            outputs = F if i == 1 else shape[1]
            fans = (C * HH * HH, F * HH * HH) if i == 1 else shape
            self.params[f"W{i}"] = (scale(*fans) * random.randn(*shape)).astype(self.dtype)
            self.params[f"b{i}"] = np.zeros(outputs, self.dtype)

    def _samples(self, name: str, X: ArrayLike) -> Array:
        filters, channels, _, _ = _shape(name, "W1", self.params["W1"], 4)
        rows, _ = _shape(name, "W2", self.params["W2"], 2)
        X = _checks.as_array(name, "X", X)
        if X.ndim != 4:
            raise ValueError(f"{name}: X has {X.ndim} dimensions (shape {X.shape}), expected (N, C, H, W)")
        if X.shape[1] != channels:
            raise ValueError(f"{name}: X has {X.shape[1]} channels (shape {X.shape}), but W1 has {channels}")
        features = filters * (X.shape[2] // 2) * (X.shape[3] // 2)
        if features != rows:
            raise ValueError(f"{name}: X of shape {X.shape} gives {features} features after pooling, "
                             f"but W2 has {rows} rows")
        return X

    def _score(self, X: Array) -> Array:
        """Scores of images in the network's dtype, layer by layer."""
        params = self.params
        conv_param = {"stride": 1, "pad": (np.shape(params["W1"])[2] - 1) // 2}
        out, _ = _CHOSEN.forward("conv_relu_pool")(X, params["W1"], params["b1"], conv_param, _POOL)
        out, _ = _CHOSEN.forward("affine_relu")(out, params["W2"], params["b2"])
        scores: Array = _CHOSEN.forward("affine")(out, params["W3"], params["b3"])[0]
        return scores

    def loss(self, X: ArrayLike, y: ArrayLike | None = None) -> Any:
        """Scores of X, or with labels the loss and the gradients of every parameter.

        Parameters
        ----------
        X : array, (N, C, H, W)
            Cast to the network's dtype.
        y : array of integers, (N,), optional

        Returns
        -------
        scores : array, (N, num_classes)
            When y is None.
        loss, grads : float, dict
            Otherwise; grads has the keys of `params`.

        Raises
        ------
        ValueError, TypeError
            X does not fit W1 and W2, or y is not one label per sample.

        Examples
        --------
        >>> import numpy as np
        >>> net = ThreeLayerConvNet((3, 4, 4), num_filters=2, filter_size=3, hidden_dim=5, num_classes=3)
        >>> loss, grads = net.loss(np.ones((2, 3, 4, 4)), np.array([0, 2]))
        >>> sorted(grads)
        ['W1', 'W2', 'W3', 'b1', 'b2', 'b3']
        """
        params = self.params
        X = self._samples("ThreeLayerConvNet.loss", X)
        if y is None:
            return _prediction.scores(self, X)
        y = _labels("ThreeLayerConvNet.loss", y, X, params["W3"])
        X = X.astype(self.dtype, copy=False)
        conv_param = {"stride": 1, "pad": (np.shape(params["W1"])[2] - 1) // 2}
        out, cache1 = _CHOSEN.forward("conv_relu_pool")(X, params["W1"], params["b1"], conv_param, _POOL)
        out, cache2 = _CHOSEN.forward("affine_relu")(out, params["W2"], params["b2"])
        scores, cache3 = _CHOSEN.forward("affine")(out, params["W3"], params["b3"])
        loss, dout = _CHOSEN.loss()(scores, y)
        grads = {}
        dout, grads["W3"], grads["b3"] = _CHOSEN.backward("affine")(dout, cache3)
        dout, grads["W2"], grads["b2"] = _CHOSEN.backward("affine_relu")(dout, cache2)
        # Nobody asks for the gradient of the images.
        _, grads["W1"], grads["b1"] = _CHOSEN.backward("conv_relu_pool")(dout, cache1, need_dx=False)
        loss += penalty(self.reg, [params[w] for w in ("W1", "W2", "W3")])
        for w in ("W1", "W2", "W3"):
            grads[w] += float(self.reg) * params[w]
        return loss, grads

    _own_loss = loss

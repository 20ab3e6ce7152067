"""A network as it is now, laid out for prediction."""

from __future__ import annotations

import copy
from typing import Any

from daseCV_c._network import Network
from daseCV_c._step import prediction as _prediction
from daseCV_c._types import Array, ArrayLike


class Predictor:
    """A network as it is now, laid out for prediction: for few samples at a time, and beside training.

    It has the network's parameters, statistics and `mean_image` of the moment in memory of its own; the
    weights lie there as the products read them, with batch norm folded into them. So a call for few samples of a
    large network takes less time, and what later happens to the network does not show: another
    thread may train it, and every prediction is by the parameters of one moment. The bits are those
    that the network's own `predict` and `predict_proba` give. Any number of threads may use one.

    Where the layers compute (without kernels, with products in bfloat16, or with layers of one's
    own), it is a copy of the network, no faster than the network.

    Parameters
    ----------
    model : TwoLayerNet, FullyConnectedNet or ThreeLayerConvNet
        Copied, which takes its memory twice more.

    Raises
    ------
    TypeError
        The model is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> from daseCV_c.models import Predictor
    >>> net = TwoLayerNet(2, 2, 2)
    >>> net.params.update(W1=np.eye(2), W2=np.eye(2))
    >>> predictor = Predictor(net)
    >>> net.params['W2'] = -np.eye(2)
    >>> predictor.predict([[3., 1.], [0., 2.]]).tolist(), net.predict([[3., 1.], [0., 2.]]).tolist()
    ([0, 1], [1, 0])
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model, Network):
            raise TypeError(f"Predictor: model is a {type(model).__name__}, expected one of the package's networks")
        self._model = copy.deepcopy(model)
        self._model._packed = _prediction.packed(self._model)

    def __reduce__(self) -> tuple[Any, ...]:
        model = copy.copy(self._model)  # what is packed belongs to this process
        vars(model).pop("_packed")
        return type(self), (model,)

    def predict(
        self, X: ArrayLike, batch_size: int | None = None, *, mean_image: ArrayLike | None = None,
    ) -> Array:
        """As the network's `predict` when the predictor was made.

        Parameters
        ----------
        X, batch_size, mean_image
            As for the network's `predict`.

        Returns
        -------
        classes : array
            As from the network's `predict`.

        Raises
        ------
        ValueError, TypeError
            As the network's `predict`.

        Examples
        --------
        >>> from daseCV_c.classifiers.fc_net import FullyConnectedNet
        >>> from daseCV_c.models import Predictor
        >>> net = FullyConnectedNet([5], input_dim=4, num_classes=3)
        >>> Predictor(net).predict([[0., 0., 0., 0.]]).tolist()
        [0]
        """
        return self._model.predict(X, batch_size, mean_image=mean_image)

    def predict_proba(
        self, X: ArrayLike, batch_size: int | None = None, *, mean_image: ArrayLike | None = None,
    ) -> Array:
        """As the network's `predict_proba` when the predictor was made.

        Parameters
        ----------
        X, batch_size, mean_image
            As for the network's `predict_proba`.

        Returns
        -------
        probabilities : array, (N, C)
            As from the network's `predict_proba`.

        Raises
        ------
        ValueError, TypeError
            As the network's `predict_proba`.

        Examples
        --------
        >>> from daseCV_c.classifiers.fc_net import FullyConnectedNet
        >>> from daseCV_c.models import Predictor
        >>> net = FullyConnectedNet([5], input_dim=4, num_classes=2)
        >>> Predictor(net).predict_proba([[0., 0., 0., 0.]]).tolist()
        [[0.5, 0.5]]
        """
        return self._model.predict_proba(X, batch_size, mean_image=mean_image)

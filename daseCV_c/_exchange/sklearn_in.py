"""A classifier of scikit-learn as a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._exchange.network import library
from daseCV_c._training import networks
from daseCV_c._types import Array

_FUNCTION = "from_sklearn"


def from_sklearn(mlp: Any) -> Any:
    """A fitted `sklearn.neural_network.MLPClassifier` as a network, with equal probabilities.

    ``softmax(net.loss(X))`` is ``mlp.predict_proba(X)``. A classifier of two classes has one output z there,
    and the probability ``1 / (1 + exp(-z))`` of the second class; here it has the two scores -z/2 and z/2.

    Parameters
    ----------
    mlp : MLPClassifier
        Fitted, with ``activation='relu'`` or without hidden layers. What scaled its samples stays the user's
        to apply. In a Pipeline it is ``pipeline[-1]``.

    Returns
    -------
    model : FullyConnectedNet
        In the dtype of ``mlp.coefs_``, with copies of the arrays. ``class_names`` are the texts of ``mlp.classes_``:
        class k here is ``mlp.classes_[k]``. ``reg`` is 0; for a penalty as scikit-learn's set it to
        ``mlp.alpha`` divided by the batch size.

    Raises
    ------
    TypeError
        Not an MLPClassifier.
    ValueError
        It is not fitted, its activation is another than 'relu', or it tells no classes apart that exclude each
        other: several labels per sample, or a single class.
    ImportError
        scikit-learn is not installed: ``pip install "daseCV_c[sklearn]"``.

    References
    ----------
    https://scikit-learn.org/stable/modules/neural_networks_supervised.html

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = np.array([[0., 1.], [1., 0.], [1., 1.], [0., 0.]]), ['odd', 'odd', 'even', 'even']
    >>> mlp = MLPClassifier([8], solver='lbfgs', random_state=0).fit(X, y)
    >>> net = from_sklearn(mlp)
    >>> [net.class_names[k] for k in net.loss(X).argmax(axis=1)]
    ['odd', 'odd', 'even', 'even']
    """
    kind = library(_FUNCTION, "sklearn.neural_network", "sklearn").MLPClassifier
    if not isinstance(mlp, kind):
        hint = ", which is pipeline[-1] of a Pipeline that ends with one" if hasattr(mlp, "steps") else ""
        raise TypeError(f"{_FUNCTION}: mlp is a {type(mlp).__name__}, expected an MLPClassifier{hint}")
    if not hasattr(mlp, "coefs_"):
        raise ValueError(f"{_FUNCTION}: mlp is not fitted: call its fit first")
    if mlp.activation != "relu" and len(mlp.coefs_) > 1:
        raise ValueError(
            f"{_FUNCTION}: mlp has the activation {mlp.activation!r}, expected 'relu': no network here has another")
    binary = mlp.out_activation_ == "logistic" and mlp.n_outputs_ == 1
    if mlp.out_activation_ != "softmax" and not (binary and len(mlp.classes_) == 2):
        what = "learned a single class" if binary else f"gives {mlp.n_outputs_} labels to a sample"
        raise ValueError(f"{_FUNCTION}: mlp {what}, expected classes of which a sample has one")
    weights, biases = [[np.array(w, order="C") for w in kept] for kept in (mlp.coefs_, mlp.intercepts_)]
    if binary:
        weights[-1] = np.concatenate([-weights[-1], weights[-1]], axis=1) / 2
        biases[-1] = np.concatenate([-biases[-1], biases[-1]]) / 2
    arrays: dict[str, Array] = {}
    for i, (W, b) in enumerate(zip(weights, biases, strict=True), 1):
        arrays |= {f"W{i}": W, f"b{i}": b}
    document = {
        "class": "FullyConnectedNet", "dtype": weights[0].dtype.name, "reg": 0.0, "input_dim": weights[0].shape[0],
        "hidden_dims": [W.shape[1] for W in weights[:-1]], "num_classes": weights[-1].shape[1], "normalization": None,
        "reg_last_layer": True, "class_names": [str(name) for name in mlp.classes_]}
    return networks.rebuild(_FUNCTION, document, arrays)

"""scikit-learn's multi-layer perceptrons, trained and evaluated by the kernels."""

from __future__ import annotations

import warnings

import sklearn
from sklearn import neural_network

from daseCV_c.sklearn import _surface

_DIFFERENCE = _surface.difference()
if _DIFFERENCE is not None:
    warnings.warn(
        f"daseCV_c.sklearn: scikit-learn {sklearn.__version__} is not built like the versions that this was compared "
        f"with ({_DIFFERENCE}): MLPClassifier and MLPRegressor train as scikit-learn's own, without the kernels",
        RuntimeWarning, stacklevel=2)

if _DIFFERENCE is None:
    from daseCV_c.sklearn._by_kernels import ByKernels  # it needs the parts that were just looked at
else:
    class ByKernels:  # type: ignore[no-redef]
        """Nothing: scikit-learn's classes do it all."""


class MLPClassifier(ByKernels, neural_network.MLPClassifier):
    """`sklearn.neural_network.MLPClassifier`, trained and evaluated by the kernels.

    Constructor, attributes, methods, warnings and errors are scikit-learn's. With the same ``random_state`` it
    draws the same weights and batches, and the solvers 'sgd' and 'adam' end with the same ``coefs_`` and
    ``loss_curve_`` to rounding. An epoch is one call of a kernel for

    ``sum_i w_i loss_i / sum_i w_i + alpha / 2 * sum(W**2) / sum_i w_i``

    of each batch, with softmax cross entropy or the logistic loss. What the kernels do not take (solver 'lbfgs',
    sparse samples, a subclass with a ``_backprop`` of its own) scikit-learn does: ``trained_by_`` and
    `daseCV_c.sklearn.usage` say so. Samples of float32 are trained on in float32, others in float64.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, ... :
        All of scikit-learn's, with its defaults.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ... :
        All of scikit-learn's.
    trained_by_ : str
        'kernel', or 'scikit-learn: ' and why.

    Raises
    ------
    ValueError, TypeError
        scikit-learn's own.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPClassifier.html

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.RandomState(0).randn(200, 5)
    >>> y = np.where(X[:, 0] > X[:, 1], "first", "second")
    >>> mlp = MLPClassifier([20], random_state=0, learning_rate_init=0.02, tol=1e-3).fit(X, y)
    >>> bool(mlp.score(X, y) > 0.98), mlp.trained_by_
    (True, 'kernel')
    """


class MLPRegressor(ByKernels, neural_network.MLPRegressor):
    """`sklearn.neural_network.MLPRegressor`, trained and evaluated by the kernels.

    As `MLPClassifier`, with scikit-learn's losses for regression: half the squared error, of one output or the mean
    of several, and half the Poisson deviance.

    Parameters
    ----------
    loss, hidden_layer_sizes, activation, solver, ... :
        All of scikit-learn's, with its defaults.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ... :
        All of scikit-learn's.
    trained_by_ : str
        'kernel', or 'scikit-learn: ' and why.

    Raises
    ------
    ValueError, TypeError
        scikit-learn's own.

    References
    ----------
    https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPRegressor.html

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.RandomState(0).randn(200, 5)
    >>> y = np.abs(X[:, 0])
    >>> mlp = MLPRegressor(hidden_layer_sizes=[20], random_state=0, learning_rate_init=0.02, tol=1e-3).fit(X, y)
    >>> bool(mlp.score(X, y) > 0.98), mlp.trained_by_
    (True, 'kernel')
    """


for _class in (MLPClassifier, MLPRegressor):
    _class.__module__ = "daseCV_c.sklearn"  # where pickles look for it

"""Classifiers of scikit-learn become networks with equal probabilities, or there is an error that says why not."""

import doctest
import warnings

import numpy as np
import pytest
from exchanging import DTYPES, TOLERANCE, digits, softmax

neural_network = pytest.importorskip(
    "sklearn.neural_network", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from daseCV_c._exchange import sklearn_in  # noqa: E402
from daseCV_c.exchange import from_sklearn  # noqa: E402

pytestmark = pytest.mark.once

MLPClassifier = neural_network.MLPClassifier


def fitted(y, dtype=np.float64, hidden=(12, 9), **settings):
    X = digits(dtype, len(y))[0].reshape(len(y), -1)
    mlp = MLPClassifier(hidden, **{"random_state": 0, "max_iter": 15} | settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, which is not asked here
        return mlp.fit(X, y), X


def labels(n=120):
    return digits(np.float64, n)[1]


def test_examples():
    assert doctest.testmod(sklearn_in) == (0, 6)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("hidden", [(), (12,), (12, 9)], ids=str)
@pytest.mark.parametrize("kind", ["ten", "two", "two texts"])
def test_probabilities(kind, hidden, dtype):
    y = {"ten": labels(), "two": labels() > 4, "two texts": np.where(labels() > 4, "high", "low")}[kind]
    mlp, X = fitted(y, dtype, hidden)
    drawn = np.random.get_state()[2]
    net = from_sklearn(mlp)
    assert np.random.get_state()[2] == drawn
    assert net.dtype == dtype and net.class_names == [str(name) for name in mlp.classes_]
    expected = mlp.predict_proba(X)
    found = softmax(net.loss(X))
    assert found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE[np.dtype(dtype)]
    assert np.array_equal(mlp.classes_[net.loss(X).argmax(axis=1)], mlp.predict(X))
    for array in mlp.coefs_ + mlp.intercepts_:
        array[:] = 0
    assert np.array_equal(softmax(net.loss(X)), found), "the arrays are the network's own"
    loss, grads = net.loss(X, np.zeros(len(X), int))
    assert np.isfinite(loss) and grads.keys() == net.params.keys(), "it can be trained"


def test_no_hidden_layer_has_no_activation():
    mlp, X = fitted(labels(), hidden=(), activation="tanh")
    assert np.abs(softmax(from_sklearn(mlp).loss(X)) - mlp.predict_proba(X)).max() <= 1e-12


def test_what_becomes_no_network():
    y = labels()
    several = np.stack([y > 4, y % 2 == 0], axis=1).astype(int)
    for mlp, message in (
            (MLPClassifier(), "mlp is not fitted"),
            (fitted(y, activation="tanh")[0], "mlp has the activation 'tanh', expected 'relu'"),
            (fitted(several)[0], "mlp gives 2 labels to a sample"),
            (fitted(np.ones(20, int))[0], "mlp learned a single class")):
        with pytest.raises(ValueError, match=f"^from_sklearn: {message}"):
            from_sklearn(mlp)
    for other, message in (
            (neural_network.MLPRegressor(), "mlp is a MLPRegressor, expected an MLPClassifier$"),
            (LogisticRegression(), "mlp is a LogisticRegression"),
            (make_pipeline(StandardScaler(), MLPClassifier()), r"which is pipeline\[-1\]")):
        with pytest.raises(TypeError, match=f"^from_sklearn: .*{message}"):
            from_sklearn(other)


def test_the_last_step_of_a_pipeline():
    y = labels()
    pipeline = make_pipeline(StandardScaler(), MLPClassifier([12], solver="lbfgs", random_state=0))
    X = digits(np.float64, len(y))[0].reshape(len(y), -1)
    pipeline.fit(X, y)
    found = softmax(from_sklearn(pipeline[-1]).loss(pipeline[0].transform(X)))
    assert np.abs(found - pipeline.predict_proba(X)).max() <= 1e-12

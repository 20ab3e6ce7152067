"""FullyConnectedClassifier and FullyConnectedRegressor keep to scikit-learn's manners, with its tools around them."""

import doctest
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')

import joblib  # noqa: E402
import sklearn  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import daseCV_c  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet  # noqa: E402
from daseCV_c.sklearn import FullyConnectedClassifier, FullyConnectedRegressor, _estimators  # noqa: E402

pytestmark = pytest.mark.once
BOTH = pytest.mark.parametrize("kind", [FullyConnectedClassifier, FullyConnectedRegressor])


def wine(scaled=True):
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X) if scaled else X, y


def small(kind=FullyConnectedClassifier, **settings):
    return kind(**{"hidden_dims": (12,), "num_epochs": 40, "learning_rate": 1e-2, "random_state": 0} | settings)


def equal_networks(*estimators):
    first, *others = ([each.network_.params[name] for name in each.network_.params] for each in estimators)
    return all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_examples():
    assert doctest.testmod(_estimators).failed == 0


CHECK = """
import warnings
warnings.simplefilter("ignore")
import sklearn
from sklearn.utils.estimator_checks import check_estimator
from daseCV_c.sklearn import FullyConnectedClassifier, FullyConnectedRegressor
for kind in (FullyConnectedClassifier, FullyConnectedRegressor):
    if sklearn.__version__ < "1.6":
        check_estimator(kind())  # it raises, and says nothing else
        continue
    found = check_estimator(kind(), on_skip=None, on_fail=None)
    assert len(found) > 50
    bad = [(each["check_name"], each["status"], each["exception"]) for each in found if each["status"] != "passed"]
    assert not bad, bad
"""


def test_check_estimator_passes_and_skips_nothing(script):
    # One of its checks needs SciPy to be imported with this variable.
    script(CHECK, SCIPY_ARRAY_API="1")


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_the_defaults_learn(load):
    X, y = load(return_X_y=True)
    model = make_pipeline(StandardScaler(), FullyConnectedClassifier(random_state=0))
    assert cross_val_score(model, X, y, cv=3).min() > 0.94


@pytest.mark.parametrize(("loss", "least"), [("squared", 0.4), ("poisson", 0.3)])
def test_the_defaults_learn_numbers(loss, least):
    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), FullyConnectedRegressor(loss=loss, random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > least


@BOTH
def test_parameters(kind):
    model = kind((5, 6), num_epochs=3, normalization="layernorm")
    assert model.get_params()["hidden_dims"] == (5, 6)
    assert clone(model).set_params(reg=0.5).get_params() == model.get_params() | {"reg": 0.5}
    assert "normalization='layernorm'" in repr(model) and "reg" not in repr(model)


@pytest.mark.parametrize(("labels", "dtype"), [
    (["low", "mid", "top"], "<U3"), ([-7, 2, 40], np.int64), ([0.0, 1.0, 2.0], np.float64),
    (np.array(["low", "mid", "top"], object), object), ([1, 2, 3], np.uint8),
])
def test_labels_of_any_type(labels, dtype):
    X, y = wine()
    labels = np.array(labels, dtype)
    model = small().fit(X, labels[y])
    assert model.classes_.dtype == labels.dtype and model.classes_.tolist() == labels.tolist()
    assert model.predict(X).dtype == labels.dtype and model.score(X, labels[y]) > 0.95
    assert equal_networks(model, small().fit(X, y))


def test_two_classes_by_bools():
    X, y = wine()
    model = small().fit(X, y == 1)
    assert model.classes_.tolist() == [False, True] and model.score(X, y == 1) > 0.95
    with pytest.raises(TypeError, match="fit: y holds labels of the types int and str, which cannot be sorted"):
        small().fit(X[:4], np.array([1, "a", 2, "b"], object))


def test_probabilities():
    X, y = wine()
    model = small(num_epochs=200, learning_rate=0.1).fit(X, y)
    p, log_p = model.predict_proba(1000 * X), model.predict_log_proba(1000 * X)
    assert np.allclose(p.sum(axis=1), 1) and (p == 0).any() and np.isfinite(log_p).all()
    assert np.allclose(np.exp(log_p), p) and np.array_equal(model.predict(1000 * X), p.argmax(axis=1))


@BOTH
@pytest.mark.parametrize(("given", "asked", "expected"), [
    (np.float64, None, np.float64), (np.float32, None, np.float32), (np.uint8, None, np.float64),
    (np.float64, "float32", np.float32), (np.float32, np.float64, np.float64),
])
def test_dtypes(kind, given, asked, expected):
    X, y = (wine()[0] * 10 + 50).astype(given), wine()[1]
    model = small(kind, dtype=asked, num_epochs=2).fit(X, y)
    assert model.network_.dtype == expected
    assert (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(X).dtype == expected


@BOTH
def test_a_generator_of_its_own(kind):
    X, y = wine()
    settings = {"dropout_keep_ratio": 0.7, "batch_size": 50, "early_stopping": True, "num_epochs": 3}
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one, two = (small(kind, **settings).fit(X, y) for _ in range(2))
    assert equal_networks(one, two)
    assert not equal_networks(one, small(kind, **settings, **{"random_state": 1}).fit(X, y))
    free = [small(kind, **settings | {"random_state": None}).fit(X, y) for _ in range(2)]
    assert not equal_networks(*free)
    state = np.random.RandomState(0)
    shared = [small(kind, **settings | {"random_state": state}).fit(X, y) for _ in range(2)]
    assert equal_networks(shared[0], one) and not equal_networks(*shared)
    assert np.array_equal(np.random.get_state()[1], before)


@BOTH
def test_copies(kind, here):
    X, y = wine()
    model = small(kind, normalization="batchnorm", dropout_keep_ratio=0.8, batch_size=60).fit(X, y)
    joblib.dump(model, "model.joblib")
    for other in (pickle.loads(pickle.dumps(model)), joblib.load("model.joblib"),
                  joblib.load("model.joblib", mmap_mode="r")):
        assert np.array_equal(other.predict(X), model.predict(X))
        other.partial_fit(X, y)
    fresh = clone(model)
    assert not hasattr(fresh, "network_") and equal_networks(fresh.fit(X, y), model)


def test_the_network_is_one_of_the_package(here):
    X, y = wine()
    model = small(normalization="layernorm").fit(X, y)
    daseCV_c_models = pytest.importorskip("daseCV_c.models")
    daseCV_c_models.save_model(model.network_, "wine.npz", class_names=list(map(str, model.classes_)))
    loaded = daseCV_c_models.load_model("wine.npz")
    assert isinstance(loaded, FullyConnectedNet) and np.allclose(loaded.predict_proba(X), model.predict_proba(X))


# Around it.

def threads_of(estimator, X, y):
    """A scorer that tells how many threads the process may use."""
    return daseCV_c.get_num_threads()


def test_grid_search_in_two_processes(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    X, y = wine(scaled=False)
    model = make_pipeline(StandardScaler(), small(batch_size=60))
    grid = {"fullyconnectedclassifier__hidden_dims": [(5,), (20,)], "fullyconnectedclassifier__normalization": [
        None, "batchnorm"]}
    searches = [GridSearchCV(model, grid, cv=2, n_jobs=n, refit="accuracy",
                             scoring={"accuracy": "accuracy", "threads": threads_of}).fit(X, y) for n in (1, 2)]
    one, two = (search.cv_results_["mean_test_accuracy"] for search in searches)
    assert np.array_equal(one, two) and searches[1].best_score_ > 0.9
    share = max(joblib.cpu_count() // 2, 1)
    assert (searches[1].cv_results_["mean_test_threads"] <= share).all()


def test_calibration_and_cross_validation():
    X, y = wine()
    weight = np.where(y == 0, 2.0, 1.0)
    calibrated = CalibratedClassifierCV(small(), cv=3).fit(X, y, sample_weight=weight)
    assert calibrated.score(X, y) > 0.95
    assert np.mean(cross_val_score(small(FullyConnectedRegressor), X, y, cv=3)) != 0


def test_metadata_is_routed():
    X, y = wine()
    weight = np.where(y == 0, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        found = cross_validate(model, X, y, cv=3, params={"sample_weight": weight}, return_estimator=True)
    # It has learned of the first class alone.
    assert all((each.predict(X) == 0).mean() > 0.8 for each in found["estimator"])

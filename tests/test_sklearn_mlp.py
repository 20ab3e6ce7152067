"""The drop-in perceptrons learn what scikit-learn's learn, say what they say, and leave to them what is theirs."""

import copy
import doctest
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from commands import program_environment

own = pytest.importorskip(
    "sklearn.neural_network", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')

import sklearn_grid  # noqa: E402
from sklearn.base import clone  # noqa: E402

import daseCV_c  # noqa: E402
from daseCV_c.sklearn import MLPClassifier, MLPRegressor, _mlp, _surface, _training, usage  # noqa: E402

pytestmark = pytest.mark.once

KINDS = [(own.MLPClassifier, MLPClassifier), (own.MLPRegressor, MLPRegressor)]
WEIGHTED = _surface.weighted()


def data(n=60):
    rng = np.random.RandomState(2)
    X = rng.randn(n, 5)
    return X, (X[:, 0] > X[:, 1]).astype(int)


def quiet(mlp, *data, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlp.fit(*data, **more)


def same(a, b, tolerance=1e-12):
    assert len(a.coefs_) == len(b.coefs_)
    for x, y in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        assert x.dtype == y.dtype and np.abs(x - y).max() <= tolerance
    assert np.allclose(a.loss_curve_, b.loss_curve_, 0, tolerance)


def test_examples():
    assert doctest.testmod(_mlp).failed == 0
    found = [len(test.examples) for test in doctest.DocTestFinder().find(_mlp, globs={})]
    assert sum(found) == 0, "they are found in the public module"
    for kind in (MLPClassifier, MLPRegressor):
        runner = doctest.DocTestRunner()
        for test in doctest.DocTestFinder().find(kind, kind.__name__, module=False, globs={kind.__name__: kind}):
            runner.run(test)
        assert runner.summarize() == (0, 5)


CHECK = """
import warnings
warnings.simplefilter("ignore")
import sklearn
from sklearn import neural_network as own
from sklearn.utils.estimator_checks import check_estimator
from daseCV_c import sklearn as ours
for name in ("MLPClassifier", "MLPRegressor"):
    kinds = [getattr(module, name)(max_iter=50) for module in (ours, own)]
    if sklearn.__version__ < "1.6":
        check_estimator(kinds[0])  # it raises, and says nothing else
        continue
    found, expected = (
        [(each["check_name"], each["status"]) for each in check_estimator(kind, on_skip=None, on_fail=None)]
        for kind in kinds)
    assert len(found) > 50 and found == expected, set(found) ^ set(expected)
"""


def test_check_estimator_says_what_it_says_of_the_other_classes(script):
    script(CHECK, SCIPY_ARRAY_API="1")


@pytest.mark.parametrize("point", list(sklearn_grid.settings(30, WEIGHTED, seed=1)), ids=lambda point: point["loss"])
def test_grid(point):
    usage(reset=True)
    worst = sklearn_grid.compare(point, 15)
    assert max(worst) <= sklearn_grid.TOLERANCE[point["dtype"]]
    assert usage()["training: kernel"] == 1 + point["warm_start"] and "scikit-learn" not in str(usage())


@pytest.mark.parametrize("kinds", KINDS, ids=["classifier", "regressor"])
@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "early_stopping": True, "learning_rate": "adaptive"}],
                         ids=["adam", "sgd"])
def test_same_estimator(kinds, settings, capsys):
    """Parameters, attributes, printed lines and warnings."""
    X, y = data()
    seen = []
    for kind in kinds:
        mlp = kind(hidden_layer_sizes=[6], random_state=0, max_iter=12, verbose=True, batch_size=300, tol=0.5,
                   n_iter_no_change=2, **settings)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mlp.fit(X, y)
        names = {name for name in dir(mlp) if name in vars(mlp) or not name.startswith("_")} - {"trained_by_"}
        seen.append((mlp.get_params(), names, capsys.readouterr().out, [
            (str(one.message), one.category, one.filename) for one in caught], repr(mlp), mlp._optimizer.learning_rate))
    assert seen[0] == seen[1] and "Iteration 3, loss = " in seen[0][2] and "clipped" in seen[0][3][0][0]
    assert mlp.trained_by_ == "kernel"
    assert repr(clone(mlp)) == repr(mlp) and not hasattr(clone(mlp), "coefs_")


@pytest.mark.parametrize("kinds", KINDS, ids=["classifier", "regressor"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("first", [0, 1], ids=["scikit-learn first", "scikit-learn last"])
def test_going_on(kinds, solver, first):
    """A training that one class has begun goes on in the other, through a pickle, as if there were only one."""
    X, y = data()
    settings = {"hidden_layer_sizes": [6], "random_state": 0, "solver": solver, "max_iter": 4, "batch_size": 25,
                "learning_rate": "invscaling"}
    whole = quiet(kinds[0](**settings), X, y)
    begun = pickle.loads(pickle.dumps(quiet(kinds[first](**settings), X, y)))
    other = kinds[1 - first](**settings)
    vars(other).update(vars(begun))
    for _ in range(3):
        whole.partial_fit(X, y)
        other.partial_fit(X, y)
    same(whole, other)
    assert other.n_iter_ == whole.n_iter_ and other.t_ == whole.t_
    assert vars(other._optimizer).keys() == vars(whole._optimizer).keys()
    assert getattr(other._optimizer, "t", 0) == getattr(whole._optimizer, "t", 0)
    copied = pickle.loads(pickle.dumps(other))
    assert np.array_equal(copied.predict(X), other.predict(X))


@pytest.mark.parametrize("kinds", KINDS, ids=["classifier", "regressor"])
def test_ctrl_c(kinds):
    """It ends the training with a warning, and what was trained until then is kept."""
    X, y = data()
    ended = []
    for kind in kinds:
        class Interrupted(kind):
            def _update_no_improvement_count(self, *arguments):
                super()._update_no_improvement_count(*arguments)
                if self.n_iter_ == 3:
                    raise KeyboardInterrupt

        mlp = Interrupted(hidden_layer_sizes=[6], random_state=0, batch_size=25)
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            ended.append(mlp.fit(X, y))
    same(*ended)
    assert ended[1].n_iter_ == 3 and ended[1]._optimizer.t == ended[0]._optimizer.t == 9


def test_ctrl_c_within_an_epoch(monkeypatch):
    """The optimizer has counted the steps that were made."""
    whole = _training._passes.train_batches

    def half(x_nd, targets, index_n, *rest, **settings):
        whole(x_nd, targets, index_n[:50], *rest, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(_training._passes, "train_batches", half)
    mlp = MLPClassifier([6], random_state=0, batch_size=25)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(*data())
    assert mlp._optimizer.t == 2 and mlp.n_iter_ == 0 and mlp.loss_curve_ == []
    monkeypatch.undo()
    assert quiet(mlp, *data()).n_iter_ == 200


class OwnGradient:
    def _compute_loss_grad(self, *arguments):
        return super()._compute_loss_grad(*arguments)


def fortran(mlp):
    mlp.coefs_ = [np.asfortranarray(w) for w in mlp.coefs_]


def wide(mlp):
    mlp.coefs_ = [w.astype(np.float64) for w in mlp.coefs_]


def own_optimizer(mlp):
    mlp._optimizer = type("Own", (type(mlp._optimizer),), {})([*mlp.coefs_, *mlp.intercepts_])


REFUSED = {
    "solver lbfgs": ({"solver": "lbfgs"}, None),
    "parameters in another order of memory, or read-only": ({}, fortran),
    "parameters of several dtypes, or of one that is no float": ({}, wide),
    "an optimizer of its own": ({}, own_optimizer),
}


@pytest.mark.parametrize("why", REFUSED)
def test_left_to_scikit_learn(why):
    """The answers are the same, and the reason is told and counted."""
    settings, change = REFUSED[why]
    X, y = data()
    X = X.astype(np.float32)
    ended = []
    for kind in KINDS[0]:
        mlp = quiet(kind(hidden_layer_sizes=[6], random_state=0, max_iter=4, **settings), X, y)
        usage(reset=True)
        if change:
            change(mlp)
            mlp.partial_fit(X, y)
        else:
            quiet(mlp, X, y)
        ended.append(mlp)
    assert ended[1].trained_by_ == f"scikit-learn: {why}"
    assert usage()[f"training: scikit-learn, {why}"] == 1
    for a, b in zip(ended[0].coefs_, ended[1].coefs_, strict=True):
        assert np.allclose(a, b, 0, 1e-5)


def test_sparse_samples():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    X = sparse.csr_matrix(X)
    ended = [quiet(kind(hidden_layer_sizes=[6], random_state=0, max_iter=4), X, y) for kind in KINDS[0]]
    same(*ended, 0)
    assert ended[1].trained_by_ == "scikit-learn: sparse samples"
    assert np.allclose(ended[1].predict_proba(X), ended[0].predict_proba(X.toarray()), 0, 1e-12)


def test_what_somebody_has_replaced(monkeypatch):
    """Own methods and own functions in scikit-learn's tables take part, as there."""
    X, y = data()

    def ramp(values):
        np.clip(values, 0, 1, out=values)

    for kinds, changed in [([type("Own", (OwnGradient, kind), {}) for kind in KINDS[0]], None), (KINDS[0], ramp)]:
        if changed:
            monkeypatch.setitem(_surface._mlp.ACTIVATIONS, "tanh", ramp)
        ended = [quiet(kind([6], "tanh", random_state=0, max_iter=4), X, y) for kind in kinds]
        same(*ended, 0)
        assert ended[1].trained_by_.startswith("scikit-learn: own ")
        assert np.allclose(ended[0].predict_proba(X), ended[1].predict_proba(X), 0, 1e-12)


def test_without_kernels():
    X, y = data()
    daseCV_c.use_backend("numpy")
    ended = [quiet(kind([6], random_state=0, max_iter=4), X, y) for kind in KINDS[0]]
    assert ended[1].trained_by_ == "scikit-learn: no compiled kernels"
    same(*ended, 0)
    assert np.array_equal(ended[0].predict_proba(X), ended[1].predict_proba(X))


def test_order_of_memory():
    """Frames hand over columns."""
    X, y = data()
    ended = [quiet(kind([6], random_state=0, max_iter=4, batch_size=25), np.asfortranarray(X), y)
             for kind in KINDS[0]]
    same(*ended)
    assert ended[1].trained_by_ == "kernel" and X.flags.c_contiguous


@pytest.mark.parametrize("kinds", KINDS, ids=["classifier", "regressor"])
def test_weights_of_zero(kinds):
    X, y = data()
    weight = np.ones(len(X))
    weight[:30] = 0
    for kind in kinds:
        if not WEIGHTED:  # before 1.7
            with pytest.raises(TypeError, match="sample_weight"):
                kind().fit(X, y, sample_weight=weight)
            continue
        quiet(kind(hidden_layer_sizes=[6], max_iter=4, batch_size=40), X, y, sample_weight=weight)
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
            kind(hidden_layer_sizes=[6], max_iter=4, batch_size=1, shuffle=False).fit(X, y, sample_weight=weight)


def test_same_bits():
    """Whatever the number of threads, and whatever samples are beside one."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(900, 40).astype(np.float32), rng.randint(0, 4, 900)
    ended = []
    for threads in (1, 2, 3):
        with daseCV_c.num_threads(threads):
            mlp = quiet(MLPClassifier([70, 30], random_state=0, max_iter=3), X, y)
            ended.append((mlp, mlp.predict_proba(X)))
    order = rng.permutation(900)
    for mlp, probabilities in ended:
        same(mlp, ended[0][0], 0)
        assert np.array_equal(probabilities, ended[0][1])
    assert np.array_equal(mlp.predict_proba(X[order]), probabilities[order])
    assert np.array_equal(mlp.predict_proba(X[5:6]), probabilities[5:6])


CHANGES = {
    "renamed": ("del Base._fit_stochastic", "_fit_stochastic is missing"),
    "another argument": ("Base._backprop = lambda self, X, y, way: None", "_backprop takes (self, X, y, way)"),
    "other state": ("old = optimizers.AdamOptimizer.__init__\n"
                    "def new(self, params):\n"
                    "    old(self, params)\n"
                    "    self.memory = 1\n"
                    "optimizers.AdamOptimizer.__init__ = new", "AdamOptimizer has the attributes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_version(change):
    """A scikit-learn whose private parts are others gets one warning, and trains by itself."""
    lines, words = CHANGES[change]
    code = f"""
import warnings
import numpy as np
from sklearn.neural_network import _stochastic_optimizers as optimizers
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron as Base
{lines}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from daseCV_c.sklearn import MLPClassifier, MLPRegressor
    import daseCV_c.sklearn
    MLPClassifier(), MLPRegressor()
assert len(caught) == 1, [str(one.message) for one in caught]
assert {words!r} in str(caught[0].message), caught[0].message
from sklearn import neural_network
assert MLPClassifier.__mro__[2:] == neural_network.MLPClassifier.__mro__
assert not any(name.startswith("_f") for name in vars(MLPClassifier.__mro__[1]))
"""
    run = subprocess.run([sys.executable, "-c", code], env=program_environment(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_copies_are_their_own():
    """A deep copy is trained on without the first."""
    X, y = data()
    mlp = quiet(MLPRegressor(hidden_layer_sizes=[6], random_state=0, max_iter=4), X, y)
    before = [w.copy() for w in mlp.coefs_]
    copy.deepcopy(mlp).partial_fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, mlp.coefs_, strict=True))

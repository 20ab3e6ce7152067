"""What FullyConnectedClassifier and FullyConnectedRegressor train: epochs, weights, what is held out, checkpoints."""

import copy
import os
import signal

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')

import sklearn  # noqa: E402
from sklearn.datasets import load_wine  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from daseCV_c.callbacks import Callback  # noqa: E402
from daseCV_c.sklearn import FullyConnectedClassifier, FullyConnectedRegressor  # noqa: E402
from daseCV_c.sklearn._estimator_training import Training  # noqa: E402

pytestmark = pytest.mark.once
BOTH = pytest.mark.parametrize("kind", [FullyConnectedClassifier, FullyConnectedRegressor])
VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
X, Y = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(X)


def small(kind=FullyConnectedClassifier, **settings):
    return kind(**{"hidden_dims": (12,), "num_epochs": 20, "learning_rate": 1e-2, "random_state": 0} | settings)


def params_of(model):
    return [model.network_.params[name] for name in sorted(model.network_.params)]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(params_of(one), params_of(two), strict=True))


def close(one, two, rtol=1e-9):
    return all(np.allclose(a, b, rtol, 1e-9) for a, b in zip(params_of(one), params_of(two), strict=True))


class Seen(Callback):
    """The rows of each batch."""

    def __init__(self):
        self.batches, self.steps = [], 0

    def on_step_end(self, solver):
        self.batches.append(solver._index.copy())


@BOTH
@pytest.mark.parametrize(("batch_size", "sizes"), [
    (50, {44, 45}), (60, {59, 60}), (177, {89}), (178, {178}), (900, {178})])
def test_an_epoch_is_every_sample_once_in_batches_of_nearly_one_size(kind, batch_size, sizes):
    seen = Seen()
    model = small(kind, batch_size=batch_size, num_epochs=3, callbacks=[seen]).fit(X, Y)
    steps = -(-178 // batch_size)
    assert len(seen.batches) == 3 * steps and {len(batch) for batch in seen.batches} == sizes
    epochs = [np.concatenate(seen.batches[i:i + steps]) for i in range(0, 3 * steps, steps)]
    assert all(np.array_equal(np.sort(epoch), np.arange(178)) for epoch in epochs)
    assert steps == 1 or not np.array_equal(epochs[0], epochs[1])
    assert model.n_iter_ == len(model.loss_curve_) == 3


@BOTH
@pytest.mark.parametrize("settings", [{}, {"normalization": "layernorm", "hidden_dims": (9, 8)}])
def test_weights_are_repetitions(kind, settings):
    """Where all samples are one batch; a weight of 0 is no sample, wherever."""
    weight = np.random.RandomState(0).randint(0, 4, len(X))
    repeated = small(kind, batch_size=1000, **settings).fit(X.repeat(weight, axis=0), Y.repeat(weight))
    assert close(small(kind, batch_size=1000, **settings).fit(X, Y, sample_weight=weight), repeated, 1e-6)
    some = weight > 0
    without = small(kind, batch_size=50, **settings).fit(X[some], Y[some], sample_weight=weight[some])
    assert same(small(kind, batch_size=50, **settings).fit(X, Y, sample_weight=weight), without)
    alike = small(kind, **settings).fit(X, Y, sample_weight=np.full(len(X), 3.0))
    assert same(alike, small(kind, **settings).fit(X, Y))


@BOTH
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.5}, {"average": {"decay": 0.9}}, {"batch_size": 5000}])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_layers_train_as_the_step_does(kind, settings, weighted, monkeypatch):
    times = 25 if "batch_size" in settings else 1
    data = {"X": np.tile(X, (times, 1)), "y": np.tile(Y, times)}
    if weighted:
        data["sample_weight"] = np.linspace(0.5, 1, len(data["y"]))
    settings = {"normalization": "batchnorm", "num_epochs": 3, **settings}
    found = small(kind, **settings).fit(**data)
    monkeypatch.setattr(Training, "_fusible", lambda solver: False)
    assert close(found, small(kind, **settings).fit(**data), 1e-6)


def test_class_weights():
    counts = np.bincount(Y)
    balanced = small(class_weight="balanced").fit(X, Y)
    by_hand = small(class_weight={k: len(Y) / (3 * counts[k]) for k in range(3)}).fit(X, Y)
    as_samples = small().fit(X, Y, sample_weight=(len(Y) / (3 * counts))[Y])
    assert close(balanced, by_hand) and close(balanced, as_samples) and not close(balanced, small().fit(X, Y))
    weight = np.random.RandomState(0).randint(0, 3, len(X))
    assert close(small(class_weight="balanced").fit(X, Y, weight),
                 small(class_weight="balanced").fit(X.repeat(weight, axis=0), Y.repeat(weight)), 1e-6)
    names = np.array(["a", "b", "c"])[Y]
    assert (small(class_weight={"b": 0}, num_epochs=200).fit(X, names).predict(X) == "b").mean() < 0.05
    for bad, message in (({"d": 1}, r"class_weight has the class 'd', expected some of \['a', 'b', 'c'\]"),
                         ({"a": -1}, "expected weights that are not negative"), ("equal", "expected None, 'balanced'"),
                         (dict.fromkeys("abc", 0), "weight of every sample zero")):
        with pytest.raises(ValueError, match=f"FullyConnectedClassifier.fit: .*{message}"):
            small(class_weight=bad).fit(X, names)


@BOTH
@pytest.mark.parametrize(("weight", "message"), [
    (np.zeros(178), "sample_weight is zero for every sample"), (-np.ones(178), "sample_weight holds -1 in row 0"),
    (np.where(np.arange(178) == 9, np.nan, 1), "sample_weight holds NaN in row 9"),
])
def test_weights_that_are_none(kind, weight, message):
    with pytest.raises(ValueError, match=f"{kind.__name__}.fit: {message}"):
        small(kind).fit(X, Y, sample_weight=weight)


def test_several_targets():
    targets = np.stack([X[:, 0], X[:, 1] ** 2], axis=1)
    model = small(FullyConnectedRegressor, hidden_dims=(60,), num_epochs=200).fit(X, targets)
    assert model.predict(X).shape == (178, 2) and model.score(X, targets) > 0.9
    alone = small(FullyConnectedRegressor).fit(X, targets[:, 0])
    assert alone.predict(X).shape == (178,)
    with pytest.raises(ValueError, match=r"partial_fit: y has shape \(178,\), but the calls before had \('N', 2\)"):
        model.partial_fit(X, targets[:, 0])


def test_poisson_targets():
    counts = np.random.RandomState(0).poisson(np.exp(0.5 * X[:, 0]))
    model = small(FullyConnectedRegressor, loss="poisson").fit(X, counts)
    assert (model.predict(X) > 0).all() and model.score(X, counts) > 0.2
    with pytest.raises(ValueError, match="y holds -1, but with loss='poisson' no target is negative"):
        model.fit(X, np.where(np.arange(178) == 3, -1, counts))
    with pytest.raises(ValueError, match="loss is 'huber', expected 'squared' or 'poisson'"):
        small(FullyConnectedRegressor, loss="huber").fit(X, counts)


# What is held out.

@BOTH
def test_early_stopping(kind, capsys):
    model = small(kind, num_epochs=500, early_stopping={"patience": 4}, verbose=True, batch_size=40).fit(X, Y)
    assert model.n_iter_ < 500 and "val_loss was best after epoch" in model.stop_reason_
    losses = model.validation_loss_curve_
    assert len(losses) == len(model.validation_scores_) == model.n_iter_
    assert np.argmin(losses) == len(losses) - 5
    assert "Stopped early" in capsys.readouterr().out
    # The parameters of the best epoch are those that are kept.
    best = small(kind, num_epochs=len(losses) - 4, early_stopping={"patience": 400}, batch_size=40).fit(X, Y)
    assert same(model, best)


def test_samples_held_out_are_of_all_classes_and_leave_some_of_each():
    y = np.array([0] * 100 + [1] * 77 + [2])  # one sample of the last class
    seen = Seen()
    model = small(early_stopping={"monitor": "val_acc"}, callbacks=[seen], num_epochs=1).fit(X, y)
    assert model.predict_proba(X).shape == (178, 3) and sum(map(len, seen.batches)) == 178 - 18
    with pytest.raises(ValueError, match="fit: there is nothing to validate with"):
        small(early_stopping=True).fit(X[:3], [0, 1, 2])
    with pytest.raises(ValueError, match="validation_fraction is 1.5"):
        small(early_stopping=True, validation_fraction=1.5).fit(X, Y)


def test_nothing_is_held_out_where_nobody_looks():
    for settings in ({}, {"early_stopping": {"monitor": "train_loss"}}, {"schedule": "cosine"},
                     {"schedule": {"name": "plateau", "monitor": "train_loss"}}):
        seen = Seen()
        model = small(num_epochs=1, callbacks=[seen], **settings).fit(X, Y)
        assert sum(map(len, seen.batches)) == 178 and model.validation_scores_ is None
    model = small(num_epochs=3, schedule="plateau").fit(X, Y)
    assert len(model.validation_loss_curve_) == 3
    for bad in ({"monitor": "train_acc"}, {"monitor": "r2"}):
        with pytest.raises(ValueError, match="early_stopping: monitor is"):
            small(early_stopping=bad).fit(X, Y)


def test_the_last_parameters_are_kept_and_not_the_best():
    """Without samples held out nothing says which are the best."""
    model = small(num_epochs=12, batch_size=60).fit(X, Y)
    after = []

    class Last(Callback):
        def on_step_end(self, solver):
            after[:] = [copy.deepcopy(solver.model.params)]

    other = small(num_epochs=12, batch_size=60, callbacks=[Last()]).fit(X, Y)
    assert same(model, other) and all(np.array_equal(w, other.network_.params[name]) for name, w in after[0].items())


# More than one call.

@BOTH
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit_is_an_epoch(kind, weighted):
    """The update rule goes on: epoch by epoch the result is that of one fit."""
    weight = np.linspace(0.5, 1, len(X)) if weighted else None
    whole = small(kind, num_epochs=5, dropout_keep_ratio=0.8, normalization="batchnorm").fit(X, Y, sample_weight=weight)
    parts = small(kind, dropout_keep_ratio=0.8, normalization="batchnorm")
    for _ in range(5):
        parts.partial_fit(X, Y, sample_weight=weight)
    assert same(whole, parts) and parts.n_iter_ == 5 and np.allclose(whole.loss_curve_, parts.loss_curve_)


def test_partial_fit_of_classes_that_a_part_lacks():
    model = small().partial_fit(X[Y < 2], Y[Y < 2], classes=[0, 1, 2])
    for _ in range(60):
        model.partial_fit(X[Y > 0], Y[Y > 0]).partial_fit(X[Y < 2], Y[Y < 2])
    assert model.score(X, Y) > 0.9
    with pytest.raises(ValueError, match=r"partial_fit: y holds 3, expected one of the classes \[0, 1, 2\]"):
        model.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match=r"partial_fit: classes is \[0, 1\], but the calls before had \[0, 1, 2\]"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match="partial_fit: early_stopping is True, but one epoch"):
        small(early_stopping=True).partial_fit(X, Y)


@BOTH
def test_warm_start(kind):
    model = small(kind, warm_start=True, num_epochs=3).fit(X, Y)
    first = copy.deepcopy(params_of(model))
    model.set_params(learning_rate=1e-12).fit(X, Y)
    assert all(np.allclose(a, b, atol=1e-9) for a, b in zip(first, params_of(model), strict=True))
    assert model.n_iter_ == 6 == len(model.loss_curve_)
    with pytest.raises(ValueError, match="fit: warm_start goes on with a network of"):
        model.set_params(hidden_dims=(7,)).fit(X, Y)
    assert model.set_params(warm_start=False).fit(X, Y).n_iter_ == 3


class Interrupt(Callback):
    """Ctrl-C in a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, solver):
        if len(solver.loss_history) == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@BOTH
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_that_was_interrupted_goes_on_with_the_same_numbers(kind, weighted, here):
    weight = np.linspace(0.5, 1, len(X)) if weighted else None
    settings = {"dropout_keep_ratio": 0.8, "normalization": "batchnorm", "batch_size": 50, "num_epochs": 6,
                "schedule": "cosine", "early_stopping": {"patience": 100}}
    expected = small(kind, **settings).fit(X, Y, sample_weight=weight)
    stopped = small(kind, **settings, checkpoint_path="fit.npz", callbacks=[Interrupt(10)])
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, Y, sample_weight=weight)
    assert not hasattr(stopped, "network_")
    before = np.random.get_state()[1].copy()
    resumed = small(kind, **settings, checkpoint_path="fit.npz", resume=True).fit(X, Y, sample_weight=weight)
    assert same(resumed, expected) and resumed.loss_curve_ == expected.loss_curve_
    assert np.array_equal(np.random.get_state()[1], before)
    settings |= {"checkpoint_path": "fit.npz", "resume": True}
    for change, data, message in (
        ({"batch_size": 60}, (X, Y, weight), "batch_size is 60, but the run of"),
        ({}, (X + 1, Y, weight), "hold other numbers than those of the run"),
        ({}, (X, Y, np.linspace(1, 2, 178)), "the weights of the run were others"),
        ({"checkpoint_path": None}, (X, Y, weight), "resume is True without a checkpoint_path"),
    ):
        with pytest.raises(ValueError, match=message):
            small(kind, **settings | change).fit(*data)


def test_a_diverging_fit_says_so_and_leaves_no_network():
    with pytest.raises(FloatingPointError, match="learning rate"), np.errstate(all="ignore"):
        small(learning_rate=1e300, update_rule="sgd", num_epochs=50).fit(X, Y)


def test_settings_that_are_none():
    for settings, message in (({"dropout_keep_ratio": 0}, "dropout"), ({"batch_size": 0}, "batch_size is 0"),
                              ({"num_epochs": 0}, "num_epochs is 0"), ({"normalization": "instance"}, "normalization"),
                              ({"dtype": "float16"}, "dtype is 'float16'"), ({"update_rule": "adamm"}, "update_rule"),
                              ({"hidden_dims": 5}, "hidden_dims"), ({"optim_config": {"rate": 1}}, "rate")):
        with pytest.raises((ValueError, TypeError), match=message):
            small(**settings).fit(X, Y)
    with pytest.raises(ValueError, match=r"n_samples = 1\), but batch norm needs at least two"):
        small(normalization="batchnorm").fit(X[:1], [0])


# scikit-learn's own callbacks.

needs_callbacks = pytest.mark.skipif(VERSION < (1, 9), reason="this version of scikit-learn has no callbacks")


@needs_callbacks
@BOTH
def test_scikit_learns_callbacks(kind):
    from sklearn.callback import ScoringMonitor
    monitor = ScoringMonitor(scoring="r2" if kind is FullyConnectedRegressor else "accuracy")
    model = small(kind, num_epochs=4, batch_size=50).set_callbacks(monitor).fit(X, Y)
    rows = monitor.get_logs().data
    scores = [row.get("r2", row.get("accuracy")) for row in rows if row["task_name"] == "epoch"]
    assert len(scores) == 4 and len(rows) == 5
    assert scores[-1] == model.score(X, Y) and scores[0] < scores[-1]
    assert same(model, small(kind, num_epochs=4, batch_size=50).fit(X, Y))


@needs_callbacks
def test_a_callback_of_scikit_learn_ends_the_fit_and_is_torn_down():
    events = []

    class Stop:
        def setup(self, estimator, context):
            events.append("setup")

        def teardown(self, estimator, context):
            events.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            events.append(f"begin {context.task_name} {context.task_id}")

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            events.append(f"end {context.task_name} {context.task_id}")
            return context.task_name == "epoch" and fitted_estimator.score(X, Y) > 0 and context.task_id == 1

    model = small(num_epochs=9).set_callbacks(Stop()).fit(X, Y)
    assert model.n_iter_ == 2
    assert events == ["setup", "begin fit 0", "begin epoch 0", "end epoch 0", "begin epoch 1", "end epoch 1",
                      "end fit 0", "teardown"]
    events.clear()
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        small(learning_rate=1e300, update_rule="sgd").set_callbacks(Stop()).fit(X, Y)
    assert events[-1] == "teardown"

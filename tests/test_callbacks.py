"""What looks in while a training runs, and what it finds in the histories."""

import math

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.layers import affine_backward, affine_forward, softmax_loss
from daseCV_c.solver import Solver

EVENTS = ("on_train_begin", "on_step_end", "on_check", "on_epoch_end", "on_train_end")


def data_of(n=30):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n + 11, 8)), rng.integers(0, 4, n + 11)
    return {"X_train": X[:n], "y_train": y[:n], "X_val": X[n:], "y_val": y[n:]}


def solver_of(seed=3, data=None, net=None, **options):
    np.random.seed(seed)
    net = net or FullyConnectedNet([9], 8, 4, normalization="batchnorm", dropout=0.7, weight_scale=0.3,
                                   dtype=np.float64)
    options = {"batch_size": 10, "num_epochs": 3, "update_rule": "adam", "verbose": False} | options
    return Solver(net, data or data_of(), **options)


class Notes(Callback):
    """Writes down what it hears."""

    def __init__(self, stop_at=None, answer=True):
        self.heard, self.stop_at, self.answer = [], stop_at, answer

    def note(self, event, solver):
        self.heard.append((event, solver.iteration, solver.epoch, len(solver.val_acc_history)))
        return self.answer if (event, solver.iteration) == self.stop_at else None

    def on_train_begin(self, solver):
        return self.note("on_train_begin", solver)

    def on_step_end(self, solver):
        return self.note("on_step_end", solver)

    def on_check(self, solver):
        return self.note("on_check", solver)

    def on_epoch_end(self, solver):
        return self.note("on_epoch_end", solver)

    def on_train_end(self, solver):
        return self.note("on_train_end", solver)


def test_order_of_the_events():
    solver_of(callbacks=[notes := Notes()], num_epochs=2).train()
    assert notes.heard == [
        ("on_train_begin", 0, 0, 0),
        ("on_step_end", 1, 0, 0), ("on_check", 1, 0, 1),
        ("on_step_end", 2, 0, 1),
        ("on_step_end", 3, 0, 1), ("on_check", 3, 1, 2), ("on_epoch_end", 3, 1, 2),
        ("on_step_end", 4, 1, 2),
        ("on_step_end", 5, 1, 2),
        ("on_step_end", 6, 1, 2), ("on_check", 6, 2, 3), ("on_epoch_end", 6, 2, 3),
        ("on_train_end", 6, 2, 3),
    ]


@pytest.mark.parametrize(("event", "iteration"), [
    ("on_train_begin", 0), ("on_step_end", 2), ("on_check", 1), ("on_check", 3), ("on_epoch_end", 3)])
@pytest.mark.parametrize("answer", [True, np.True_], ids=["bool", "numpy"])
def test_true_stops_and_train_goes_on(event, iteration, answer):
    alone = solver_of()
    alone.train()
    solver = solver_of(callbacks=[notes := Notes((event, iteration), answer), others := Notes()])
    solver.train()
    assert solver.iteration == iteration and solver.num_iterations == 9
    assert notes.heard == others.heard, "all are told of what has happened"
    assert notes.heard[-1][0] == "on_train_end"
    assert frozen(solver.model.params) == frozen(solver.best_params)
    notes.stop_at = None
    np.random.rand(5)
    solver.train()
    for name in ("loss_history", "train_acc_history", "val_acc_history", "val_loss_history", "learning_rate_history",
                 "best_params", "best_bn_params", "best_val_acc", "optim_configs"):
        assert frozen(getattr(solver, name)) == frozen(getattr(alone, name)), name
    assert frozen([solver.model.params, solver.model.bn_params]) == frozen([alone.model.params, alone.model.bn_params])


@pytest.mark.parametrize("answer", [None, False, 1, "yes", [True]], ids=str)
def test_only_true_stops(answer):
    solver = solver_of(callbacks=[Notes(("on_step_end", 2), answer)])
    solver.train()
    assert solver.iteration == 9


def test_a_second_training_is_a_run_of_its_own():
    solver = solver_of(callbacks=[notes := Notes()], num_epochs=1)
    solver.train()
    solver.train()
    half = len(notes.heard) // 2
    assert [event[:2] for event in notes.heard[:half]] == [event[:2] for event in notes.heard[half:]]
    assert solver.epoch == 2 and len(solver.loss_history) == 6 and len(solver.val_acc_history) == 4


def test_an_error_is_passed_on_and_the_end_is_told():
    class Broken(Callback):
        def on_check(self, solver):
            raise ZeroDivisionError("mine")

    solver = solver_of(callbacks=[Broken(), notes := Notes()])
    with pytest.raises(ZeroDivisionError, match="mine"):
        solver.train()
    assert notes.heard[-1][0] == "on_train_end"
    solver.callbacks = []
    solver.train()
    assert solver.iteration == 9 and len(solver.val_acc_history) == 4


@pytest.mark.parametrize(("callbacks", "message"), [
    (5, "callbacks is a int, expected a list of callbacks"),
    ([print], r"callbacks\[0\] is a builtin_function_or_method, expected an object with one of on_train_begin"),
    ([Notes(), Notes], r"callbacks\[1\] is the class Notes"),
    ([object()], r"callbacks\[0\] is a object"),
])
def test_what_is_no_callback(callbacks, message):
    with pytest.raises(TypeError, match=f"^Solver: {message}"):
        solver_of(callbacks=callbacks)


def test_an_object_with_one_of_the_methods_is_enough():
    class Counts:
        steps = 0

        def on_step_end(self, solver):
            self.steps += 1

    solver_of(callbacks=(counts := Counts(),)).train()
    assert counts.steps == 9


# Histories.

@pytest.mark.parametrize("samples", [None, 5, 100])
def test_validation_loss_rate_and_seconds(backend, samples):
    seen = []

    class Sees(Callback):
        def on_check(self, solver):
            random = np.random.get_state()
            scores = solver.model.loss(solver.X_val)
            np.random.set_state(random)
            seen.append(softmax_loss(scores, solver.y_val)[0])

    solver = solver_of(callbacks=[Sees()], lr_decay=0.5, num_val_samples=samples)
    solver.train()
    assert len(solver.val_loss_history) == len(solver.val_acc_history) == len(solver.seconds_history) == 4
    if samples != 5:
        np.testing.assert_allclose(solver.val_loss_history, seen, rtol=1e-12)
    assert solver.learning_rate_history == [1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 3
    assert 0 <= solver.seconds_history[0] and solver.seconds_history == sorted(solver.seconds_history)


def test_labels_that_are_no_class_have_no_validation_loss():
    class Relabel(Callback):
        def on_train_begin(self, solver):  # before it, such labels are an error
            solver.y_val = solver.y_val + 3

    solver = solver_of(callbacks=[Relabel()])
    solver.train()
    assert np.isnan(solver.val_loss_history).all() and len(solver.val_acc_history) == 4


class Line:
    """Regression: scores are no classes. It draws and has a layer's state, which a check must not change."""

    def __init__(self):
        self.params = {"W": np.zeros((3, 1)), "b": np.zeros(1)}
        self.layer = {"mode": "train", "calls": 0}

    def loss(self, X, y=None):
        out, cache = affine_forward(X, self.params["W"], self.params["b"])
        if y is None:
            return out
        self.layer["calls"] += 1
        error = out[:, 0] - y + 1e-3 * np.random.randn(len(y))
        _, dw, db = affine_backward(2 * error[:, None] / len(y), cache)
        return float((error ** 2).mean()), {"W": dw, "b": db}


def line_data():
    X = np.random.default_rng(0).standard_normal((200, 3))
    y = X @ [1.0, 2.0, 3.0] + 0.5
    return {"X_train": X, "y_train": y, "X_val": X[:50], "y_val": y[:50]}


@pytest.mark.parametrize("monitor", [None, "val_loss"])
def test_a_model_without_classes_keeps_what_lowers_the_validation_loss(monitor):
    solver = solver_of(data=line_data(), net=Line(), monitor=monitor, num_epochs=30, batch_size=20,
                       update_rule="sgd", optim_config={"learning_rate": 0.05})
    solver.train()
    assert solver.model.loss(solver.X_val, solver.y_val)[0] < 0.01
    assert solver.best_val_loss == min(solver.val_loss_history) < 0.01
    assert solver.model.layer["calls"] == 301, "a check leaves no trace"


def test_the_validation_loss_of_a_model_that_draws_changes_no_draw():
    class Blind(Solver):
        def check_accuracy(self, X, y, **options):
            return 0.0

    np.random.seed(3)
    blind = Blind(Line(), line_data(), verbose=False, batch_size=20)
    blind.train()
    solver = solver_of(data=line_data(), net=Line(), update_rule="sgd", num_epochs=10, batch_size=20)
    solver.train()
    assert solver.loss_history == blind.loss_history
    assert np.isnan(blind.val_loss_history).all() and np.isfinite(solver.val_loss_history).all()


def test_accuracy_may_be_asked_for():
    solver = solver_of(data=line_data(), net=Line(), monitor="val_acc", batch_size=20)
    solver.train()
    assert frozen(solver.model.params) != frozen(solver_of(data=line_data(), net=Line(), batch_size=20).best_params)
    assert solver.best_val_acc == 0 and math.isnan(solver.val_loss_history[0]) is False


def test_the_lowest_validation_loss_of_classes():
    solver = solver_of(monitor="val_loss", num_epochs=8, optim_config={"learning_rate": 0.3})
    kept = {}

    class Keeps(Callback):
        def on_check(self, solver):
            kept[solver.val_loss_history[-1]] = frozen(solver.model.params)

    solver.callbacks = [Keeps()]
    solver.train()
    assert min(kept) != solver.val_loss_history[-1]
    assert frozen(solver.model.params) == kept[min(kept)] and solver.best_val_loss == min(kept)


def test_the_last_parameters_are_the_best_where_that_is_asked_for():
    after = []

    class Last(Callback):
        def on_step_end(self, solver):
            after[:] = [{name: w.copy() for name, w in solver.model.params.items()}]

    solver = solver_of(monitor="last", num_epochs=4, optim_config={"learning_rate": 0.3}, callbacks=[Last()])
    solver.train()
    assert all(np.array_equal(w, after[0][name]) for name, w in solver.model.params.items())


def test_errors_of_options():
    with pytest.raises(ValueError, match="Solver: monitor is 'acc', expected one of None, val_acc, val_loss"):
        solver_of(monitor="acc")
    with pytest.raises(ValueError, match="Solver: on_divergence is 3, expected one of stop, ignore"):
        solver_of(on_divergence=3)

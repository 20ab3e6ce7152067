"""Ctrl-C, SIGTERM and losses that are no number: what train() does, and what it says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adversarial import frozen

import daseCV_c
from daseCV_c._training import signals
from daseCV_c._training.divergence import DivergenceError
from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver


def data_of(n=30):
    X, y = np.random.default_rng(5).standard_normal((n + 9, 8)), np.arange(n + 9) % 4
    return {"X_train": X[:n], "y_train": y[:n], "X_val": X[n:], "y_val": y[n:]}


def solver_of(data=None, **options):
    np.random.seed(3)
    options = {"batch_size": 10, "num_epochs": 3, "update_rule": "adam", "verbose": False} | options
    net = FullyConnectedNet([9, 9], 8, 4, normalization="batchnorm", weight_scale=0.3, dtype=np.float64)
    return Solver(net, data or data_of(), **options)


class At(Callback):
    """Does something after step `iteration`."""

    def __init__(self, iteration, action):
        self.iteration, self.action = iteration, action

    def on_step_end(self, solver):
        if solver.iteration == self.iteration:
            self.action()


def test_the_second_signal_stops_at_once():
    solver = solver_of(callbacks=[At(4, lambda: signal.raise_signal(signal.SIGINT)),
                                  At(4, lambda: signal.raise_signal(signal.SIGINT)), At(4, pytest.fail)])
    former = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as error:
        solver.train()
    assert str(error.value) == "" and solver.iteration == 4
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == former
    solver.callbacks = []
    solver.train()
    alone = solver_of()
    alone.train()
    assert frozen([solver.loss_history, solver.model.params]) == frozen([alone.loss_history, alone.model.params])


def test_a_handler_of_the_users_own_stays():
    heard = []
    former = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        solver = solver_of(callbacks=[At(4, lambda: signal.raise_signal(signal.SIGINT))])
        solver.train()
    finally:
        signal.signal(signal.SIGINT, former)
    assert heard == [signal.SIGINT] and solver.iteration == 9


def test_one_that_comes_with_the_last_step_is_not_lost():
    solver = solver_of(callbacks=[At(9, lambda: signal.raise_signal(signal.SIGINT))])
    with pytest.raises(KeyboardInterrupt, match="after iteration 9 of 9"):
        solver.train()
    assert frozen(solver.model.params) == frozen(solver.best_params)


def test_handlers_are_put_back_whatever_is_raised():
    former = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), signals.deferred():
        assert signal.getsignal(signal.SIGINT) is not former[0]
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == former


PROGRAM = """
import atexit, os, signal, sys
import numpy as np
from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

class Sends(Callback):
    def on_step_end(self, solver):
        if solver.iteration == 4:
            for _ in range(COUNT):
                os.kill(os.getpid(), signal.NAME)

atexit.register(print, "cleaned up")
X, y = np.random.randn(30, 8), np.arange(30) % 4
Solver(FullyConnectedNet([9], 8, 4), {"X_train": X, "y_train": y, "X_val": X, "y_val": y}, batch_size=10,
       num_epochs=3, callbacks=[Sends()], checkpoint_path="it.npz", print_every=100).train()
print("unreachable")
"""

if sys.platform != "win32":
    @pytest.mark.parametrize(("name", "count", "code"), [
        ("SIGINT", 1, -signal.SIGINT), ("SIGTERM", 1, 128 + signal.SIGTERM), ("SIGTERM", 2, -signal.SIGTERM)])
    def test_programs_end_as_by_the_signal(here, name, count, code):
        program = PROGRAM.replace("NAME", name).replace("COUNT", str(count))
        root = str(Path(daseCV_c.__file__).resolve().parents[1])
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False,
                              env=os.environ | {"PYTHONPATH": root})
        assert done.returncode == code, done.stderr
        assert "unreachable" not in done.stdout
        if count == 1:
            message = ('training stopped after iteration 4 of 9; train() goes on from there, and in another process '
                       'Solver.resume("it.npz", ...).train()')
            assert done.stdout.splitlines()[-2:] == [message, "cleaned up"]
            assert os.listdir() == ["it.npz"]
        if name == "SIGINT":
            assert done.stderr.splitlines()[-1] == f"KeyboardInterrupt: {message}"


# Divergence.

def spoiled(name, place, value):
    data = data_of()
    data[name] = data[name].copy()
    data[name][place] = value
    return data


@pytest.mark.parametrize(("options", "message"), [
    ({"data": spoiled("X_train", (7, 3), np.nan)}, r"the loss is nan at iteration . of 9: X_train\[7, 3\] is nan"),
    ({"data": spoiled("X_train", (7, 3), -np.inf)}, r"X_train\[7, 3\] is -inf"),
    ({"optim_config": {"learning_rate": 1e300}},
     r"the loss is nan at iteration 2 of 9; the first parameter with a NaN or an infinity is W1 of layer 1 \(9 of 10 "
     r"have one now\). The learning rate of 1e\+300 is probably too high: try a tenth of it"),
])
def test_what_a_loss_of_nan_says(here, options, message):
    solver = solver_of(**options, num_train_samples=5, checkpoint_path="it.npz")
    began = frozen(solver.model.params)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match=f"^Solver.train: .*{message}"):
        solver.train()
    assert isinstance(DivergenceError(), FloatingPointError)
    assert np.isnan(solver.loss_history[-1]) and frozen(solver.model.params) == frozen(solver.best_params)
    if not solver.val_acc_history:
        assert frozen(solver.model.params) == began
    assert all(np.isfinite(array).all() for array in solver.model.params.values())


def test_parameters_that_were_never_finite():
    solver = solver_of()
    solver.model.params["W2"][3, 4] = np.nan
    solver._reset()
    with pytest.raises(DivergenceError, match="W2 of layer 2 held a NaN or an infinity before training"):
        solver.train()


def test_data_too_large_for_the_dtype():
    data = data_of()
    data["X_train"][7, 3] = 1e300
    np.random.seed(3)
    solver = Solver(FullyConnectedNet([9], 8, 4), data, batch_size=30, verbose=False)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match=r"X_train\[7, 3\] is 1e\+300, which is too "
                                                                         "large for float32"):
        solver.train()


class Explodes:
    """The loss grows by a factor of 10 each step; one parameter after the other is lost on the way."""

    def __init__(self):
        self.params = {name: np.ones(2) for name in ("a", "W1", "W2")}
        self.steps = 0

    def loss(self, X, y=None):
        if y is None:
            return np.eye(4)[np.zeros(len(X), int)]
        self.steps += 1
        grads = {name: np.zeros(2) for name in self.params}
        if self.steps == 6:
            grads["W1"][1] = np.inf
        if self.steps > 8:
            grads = {name: np.full(2, np.nan) for name in self.params}
        return 10.0 ** self.steps if self.steps < 9 else np.nan, grads


def test_the_first_parameter_to_go_is_found_before_all_are_gone():
    solver = Solver(Explodes(), data_of(), num_epochs=9, verbose=False)
    message = r"at iteration 9 of 9; the first parameter .* is W1 of layer 1 \(1 of 3 have one after iteration 6\)"
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match=message):
        solver.train()
    assert frozen(solver.best_params) == frozen(Explodes().params)


def test_parameters_that_are_not_finite_are_not_the_best():
    """Also where the scores do not show it."""
    class Better(Explodes):
        def loss(self, X, y=None):
            if y is None:
                return np.eye(4)[np.arange(len(X)) % 4 if np.isinf(self.params["W1"]).any() else np.zeros(len(X), int)]
            found = super().loss(X, y)
            return 1.0, found[1]

    data = data_of()
    data["y_val"] = np.arange(9) % 4
    solver = Solver(Better(), data, num_epochs=8, verbose=False)
    solver.train()
    assert solver.val_acc_history == [3 / 9] * 5 + [1.0] * 3
    assert solver.best_val_acc == 3 / 9 and frozen(solver.model.params) == frozen(Explodes().params)


def test_a_loss_of_its_own_making():
    class Divides(Explodes):
        def loss(self, X, y=None):
            found = super().loss(X, y)
            return found if y is None else (np.float64(np.inf), {name: np.zeros(2) for name in self.params})

    message = "the loss is inf at iteration 1 of 3, with all parameters finite: the loss itself divides by 0"
    with pytest.raises(DivergenceError, match=message):
        Solver(Divides(), data_of(), num_epochs=3, verbose=False).train()


def test_ignored_on_request():
    solver = solver_of(optim_config={"learning_rate": 1e300}, on_divergence="ignore")
    with np.errstate(all="ignore"):
        solver.train()
    assert solver.iteration == 9 and np.isnan(solver.loss_history[-1])
    assert all(np.isfinite(array).all() for array in solver.model.params.values())


def test_after_a_divergence_a_new_run_begins():
    solver = solver_of(optim_config={"learning_rate": 1e300})
    with np.errstate(all="ignore"), pytest.raises(DivergenceError):
        solver.train()
    solver.optim_configs = {name: {"learning_rate": 1e-3} for name in solver.model.params}
    solver.train()
    assert solver.iteration == 9 and np.isfinite(solver.loss_history[-9:]).all()


def test_a_signal_below_that_of_ctrl_c_ends_the_program():
    assert signals.stopped(1, "").code == 129

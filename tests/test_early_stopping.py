"""Early stopping: when it stops, what it says, and that it goes on from its state."""

import json
import math

import numpy as np
import pytest
from fusing import solver_of

from daseCV_c._training.early_stopping import EarlyStopping

pytestmark = pytest.mark.once


class Still:
    """A model that learns nothing."""

    def __init__(self):
        self.params = {"w": np.zeros(1)}

    def loss(self, X, y=None):
        return np.zeros((len(X), 4)) if y is None else (1.5, {"w": np.zeros(1)})


def stops_after(stopping, values):
    """The number of checks after which there is a reason, or None."""
    for i, value in enumerate(values, 1):
        stopping.check(value, i - 1)
        if stopping.reason:
            return i
    return None


@pytest.mark.parametrize("settings, values, expected", [
    ({"patience": 2}, [1, .9, .9, .9, .1], 4),
    ({"patience": 2}, [1, .9, .95, .8, .85, .7], None),
    ({"patience": 1}, [1, 1], 2),
    ({"patience": 2, "min_delta": .1}, [1, .95, .92], 3),  # less each time, but not by enough
    ({"patience": 2, "min_delta": .1}, [1, .95, .85, .8, .8], 5),
    ({"patience": 2, "monitor": "val_acc"}, [.1, .2, .3, .3, .2], 5),
    ({"patience": 2, "monitor": "train_acc"}, [.3, .2, .1], 3),
    ({"patience": 3}, [1, math.nan, math.inf, -math.inf], 4),
    ({"patience": 3}, [math.nan] * 3, 3),
    ({}, [1] * 6, 6),
])
def test_it_stops_after_patience_checks_without_a_better_value(settings, values, expected):
    assert stops_after(EarlyStopping(settings), values) == expected


def test_the_reason_is_one_line():
    stopping = EarlyStopping({"patience": 2, "monitor": "val_acc"})
    stops_after(stopping, [.1, .25, .2, .2])
    assert stopping.reason == "val_acc was best after epoch 1: 0.25; 2 checks since then brought nothing better"
    stopping = EarlyStopping({"patience": 1})
    stops_after(stopping, [math.nan])
    assert stopping.reason == "val_loss never was finite; 1 check since then brought nothing better"


def test_it_goes_on_from_its_state():
    values = [1, .8, .9, .7, .9, .9, .9]
    expected = stops_after(EarlyStopping({"patience": 3}), values)
    for split in range(expected):
        first, second = EarlyStopping({"patience": 3}), EarlyStopping({"patience": 3})
        assert stops_after(first, values[:split]) is None
        second.load_state(json.loads(json.dumps(first.state())))
        for epoch, value in enumerate(values[split:], split):
            second.check(value, epoch)
            if second.reason:
                break
        assert epoch == expected - 1 and "epoch 3: 0.7; 3 checks" in second.reason


def test_a_state_that_is_none_changes_nothing():
    stopping = EarlyStopping({})
    before = stopping.state()
    for state in ({}, before | {"waited": "2"}, before | {"best_epoch": -1}):
        with pytest.raises((TypeError, ValueError), match="state"):
            stopping.load_state(state)
        assert stopping.state() == before


@pytest.mark.parametrize("settings, error, message", [
    (5, TypeError, "Solver: early_stopping is a int, expected a dict"),
    ({"patiense": 5}, ValueError, "no setting 'patiense', expected some of patience, min_delta, monitor"),
    ({"patience": 0}, ValueError, "early_stopping: patience is 0"),
    ({"patience": 2.5}, TypeError, "early_stopping: patience is 2.5"),
    ({"min_delta": -1}, ValueError, "early_stopping: min_delta is -1"),
    ({"min_delta": math.inf}, ValueError, "early_stopping: min_delta is inf"),
    ({"monitor": "accuracy"}, ValueError, "early_stopping: monitor is 'accuracy', expected one of val_loss, val_acc"),
    ({"monitor": ["val_acc"]}, ValueError, "early_stopping: monitor is"),
])
def test_settings_that_are_none(settings, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(settings)


# ---- in the Solver

def test_training_ends_and_says_why(capsys, backend):
    solver = solver_of("sgd", Still(), early_stopping={"patience": 3}, num_epochs=20)
    solver.verbose = True
    solver.train()
    out = capsys.readouterr().out.splitlines()
    reason = "val_loss was best after epoch 0: 1.5; 3 checks since then brought nothing better"
    assert solver.epoch == 3 and solver.iteration == 9 and solver.stop_reason == reason
    assert out[-1] == f"Stopped early: {reason}" and out[-2].startswith("(Epoch 3 / 20)")
    assert sum("Stopped" in line for line in out) == 1


@pytest.mark.parametrize("monitor", ["val_loss", "val_acc", "train_loss", "train_acc"])
def test_the_best_parameters_are_put_back(monitor, backend):
    # A rate that is far too high: it becomes worse after a while.
    np.random.seed(1)
    solver = solver_of("sgd", early_stopping={"patience": 2, "monitor": monitor}, num_epochs=60, lr_decay=1.1,
                       optim_config={"learning_rate": 0.5})
    solver.train()
    assert solver.stop_reason.startswith(monitor) and solver.epoch < 60
    assert solver.check_accuracy(solver.X_val, solver.y_val) == solver.best_val_acc == max(solver.val_acc_history)
    if monitor != "train_loss":
        history = getattr(solver, f"{monitor}_history")
        best = min(history) if monitor.endswith("loss") else max(history)
        assert len(history) - 1 - history.index(best) == 2


def test_a_training_that_goes_well_is_not_stopped(backend):
    solver = solver_of(early_stopping={})
    solver.train()
    assert solver.stop_reason is None and solver.iteration == solver.num_iterations


def test_a_second_training_counts_anew(backend):
    solver = solver_of("sgd", Still(), early_stopping={"patience": 3}, num_epochs=3)
    solver.train()
    assert solver.stop_reason and solver.iteration == 9
    solver.train()
    assert solver.stop_reason and len(solver.loss_history) == 18

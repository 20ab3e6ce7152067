"""Schedules against formulas of the papers and numbers that PyTorch 2 gives for the same settings."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
from fusing import record, solver_of
from stepping import RULES

from daseCV_c import schedules
from daseCV_c.callbacks import Callback
from daseCV_c.schedules import SCHEDULES, Cosine, OneCycle, Plateau, StepDecay, WarmupCosine, factor_of, make

pytestmark = pytest.mark.once

# (schedule, factors in the steps from 0), each from torch.optim.lr_scheduler with a rate of 1.
PYTORCH = {
    "StepLR(3, 0.2)": (StepDecay(3, 0.2), [1, 1, 1, .2, .2, .2, .04, .04, .04, .008]),
    "CosineAnnealingLR(9, 0.1)": (Cosine(0.1, 9), [
        1, .972861679354, .894719999404, .775, .62814167995, .47185832005, .325, .205280000596, .127138320646, .1]),
    "OneCycleLR(total_steps=10)": (OneCycle(steps=10), [
        .04, .52, 1, .950484632013, .81174565395, .611262021936, .388741978064, .18825834605, .0495193679865, 4e-6]),
    "OneCycleLR(total_steps=10, anneal_strategy='linear')": (OneCycle(anneal="linear", steps=10), [
        .04, .52, 1, .857143428571, .714286857143, .571430285714, .428573714286, .285717142857, .142860571429, 4e-6]),
    "OneCycleLR(total_steps=8, pct_start=.5, div_factor=10, final_div_factor=100)": (
        OneCycle(peak_at=0.5, start=0.1, final=0.001, steps=8),
        [.1, .325, .775, 1, .853699837203, .5005, .147300162797, .001]),
    "SequentialLR([LinearLR(1 / 4, total_iters=3), CosineAnnealingLR(8, 0.05)], [4])": (WarmupCosine(4, 0.05, 12), [
        .25, .5, .75, 1, 1, .963842777943, .860875721064, .706774630373, .525, .343225369627, .189124278936,
        .0861572220571]),
}


@pytest.mark.parametrize("name", PYTORCH)
def test_factors_are_pytorchs(name):
    schedule, expected = PYTORCH[name]
    np.testing.assert_allclose([schedule(step) for step in range(len(expected))], expected, rtol=1e-11, atol=1e-16)


def test_the_cosine_is_equation_5_of_sgdr():
    low, steps = 0.02, 50
    for step in range(steps + 1):
        assert math.isclose(Cosine(low, steps)(step), low + 0.5 * (1 - low) * (1 + math.cos(step / steps * math.pi)))


def test_the_last_factor_stays():
    for schedule in (Cosine(0.25, 9), WarmupCosine(2, 0.25, 9), OneCycle(final=0.25, steps=9)):
        assert schedule(9) == schedule(10) == schedule(10**6) == 0.25


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_short_trainings_have_a_factor_in_every_step(name, steps):
    schedule = make(name).of_training(steps, 1)
    assert all(0 <= factor_of(schedule, step) <= 1 for step in range(steps + 2))


def test_lengths_follow_the_training():
    assert StepDecay().of_training(100, 7).every == 34
    assert Cosine().of_training(100, 7) == Cosine(steps=100)
    assert WarmupCosine().of_training(100, 7) == WarmupCosine(warmup=5, steps=100)
    assert OneCycle().of_training(100, 7) == OneCycle(steps=100)
    assert StepDecay(every=30).of_training(100, 7) == StepDecay(every=30)


def test_lengths_in_epochs():
    assert StepDecay(every=2, unit="epoch").of_training(100, 7) == StepDecay(every=14)
    assert WarmupCosine(warmup=0.5, unit="epoch").of_training(100, 7) == WarmupCosine(warmup=4, steps=100)
    assert Cosine(steps=3, unit="epoch").of_training(100, 7) == Cosine(steps=21)


@pytest.mark.parametrize("schedule", [StepDecay(3), Cosine(), WarmupCosine(unit="epoch"), OneCycle(), Plateau()])
def test_settings_make_the_same_schedule_again(schedule):
    assert make(json.loads(json.dumps(schedule.settings()))) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == copy.deepcopy(schedule) == schedule


def drops(schedule, values):
    factors = []
    for value in values:
        schedule.check(value)
        factors.append(schedule(0))
    return factors


# ReduceLROnPlateau(factor=.5, patience=2, threshold=.01, threshold_mode='abs', cooldown=cooldown, min_lr=.1)
@pytest.mark.parametrize("cooldown, expected", [
    (0, [1, 1, 1, 1, .5, .5, .5, .25, .25, .25, .25, .25, .125, .125, .125, .1, .1]),
    (2, [1, 1, 1, 1, .5, .5, .5, .5, .5, .5, .5, .5, .25, .25, .25, .25, .25]),
])
def test_plateau_drops_where_pytorchs_does(cooldown, expected):
    losses = [1, .9, .895, .91, .9, .92, .95, .9, .9, .7, .8, .75, .7, .7, .71, .7, .69]
    assert drops(Plateau(0.5, 3, 0.01, cooldown=cooldown, final=0.1), losses) == expected


def test_plateau_of_an_accuracy_wants_more():
    assert drops(Plateau(0.5, 2, 0.0, "val_acc"), [.1, .2, .3, .3, .2, .4]) == [1, 1, 1, 1, .5, .5]


def test_plateau_is_not_glad_of_what_is_not_finite():
    assert drops(Plateau(0.5, 2), [math.nan, -math.inf, 1.0, math.inf, math.nan]) == [1, .5, .5, .5, .25]


def test_plateau_goes_on_from_its_state():
    rng = np.random.default_rng(0)
    losses = rng.random(40).tolist()
    whole = Plateau(0.5, 2, cooldown=1)
    expected = drops(whole, losses)
    first, second = Plateau(0.5, 2, cooldown=1), Plateau(0.5, 2, cooldown=1)
    found = drops(first, losses[:17])
    second.load_state(json.loads(json.dumps(first.state())))
    assert found + drops(second, losses[17:]) == expected


def test_a_state_that_is_none_changes_nothing():
    schedule = Plateau()
    before = schedule.state()
    for state in ({}, before | {"waited": -1}, before | {"drops": None}, before | {"best": "low"}):
        with pytest.raises((TypeError, ValueError), match="state"):
            schedule.load_state(state)
    assert schedule.state() == before


@pytest.mark.parametrize("make_it, error, message", [
    (lambda: make("cosin"), ValueError, "name is 'cosin', expected one of step, cosine, warmup_cosine"),
    (lambda: make({"final": 0.1}), ValueError, "name is None"),
    (lambda: make({"name": ["step"]}), ValueError, r"name is \['step'\]"),
    (lambda: make({"name": "step", "evry": 3}), ValueError, "no setting 'evry', expected some of every, factor, unit"),
    (lambda: make(0.1), TypeError, "schedule is a float"),
    (lambda: StepDecay(every=0), ValueError, "StepDecay: every is 0, expected a positive integer"),
    (lambda: StepDecay(every=2.5), TypeError, "StepDecay: every is 2.5"),
    (lambda: StepDecay(every=math.inf, unit="epoch"), ValueError, "every is inf, expected a positive number of epochs"),
    (lambda: StepDecay(every=3, unit="epochs"), ValueError, "unit is 'epochs', expected 'step' or 'epoch'"),
    (lambda: StepDecay(factor=2), ValueError, "factor is 2.0, expected a number from 0 to 1"),
    (lambda: Cosine(final=math.nan), ValueError, "final is nan"),
    (lambda: Cosine(final="0"), TypeError, "final is '0'"),
    (lambda: WarmupCosine(warmup=9, steps=9), ValueError, "warmup is 9 of 9 steps"),
    (lambda: WarmupCosine(warmup=9).of_training(9, 3), ValueError, "warmup is 9 of 9 steps"),
    (lambda: OneCycle(anneal="cos"), ValueError, "anneal is 'cos', expected 'cosine' or 'linear'"),
    (lambda: Plateau(patience=0), ValueError, "Plateau: patience is 0"),
    (lambda: Plateau(monitor="loss"), ValueError, "Plateau: monitor is 'loss', expected one of val_loss"),
    (lambda: Plateau(min_delta=-1), ValueError, "min_delta is -1"),
    (lambda: Plateau(cooldown=-1), ValueError, "cooldown is -1"),
    (lambda: Cosine()(3), ValueError, "Cosine: steps is not known in steps"),
    (lambda: StepDecay(3, unit="epoch")(3), ValueError, "StepDecay: every is not known in steps"),
    (lambda: factor_of(lambda step: math.nan, 7), ValueError, r"schedule\(7\) is nan"),
    (lambda: factor_of(lambda step: math.inf, 7), ValueError, r"schedule\(7\) is inf"),
    (lambda: factor_of(lambda step: -0.5, 7), ValueError, r"schedule\(7\) is -0.5, expected a number of at least 0"),
    (lambda: factor_of(lambda step: None, 7), TypeError, r"schedule\(7\) is None, expected a number"),
])
def test_what_makes_no_sense_is_said(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_factors_of_numpy_are_taken():
    for value in (np.float32(0.5), np.array(0.5), 1, np.int64(1)):
        found = factor_of(lambda step, value=value: value, 0)
        assert type(found) is float and found == value


def test_every_name_is_documented():
    assert all(f"called {name!r}" in " ".join(kind.__doc__.split()) or f"Called {name!r}" in kind.__doc__
               for name, kind in SCHEDULES.items())
    assert {kind.__name__ for kind in SCHEDULES.values()} < set(schedules.__all__)


# ---- in the Solver

def factors_of(solver, rate=1e-2):
    return np.array(solver.learning_rate_history) / rate


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - {"plateau"}))
def test_the_solver_follows_a_schedule(backend, name):
    solver = solver_of(schedule=name, lr_decay=1.0)
    solver.train()
    expected = make(name).of_training(9, 3)
    np.testing.assert_allclose(factors_of(solver), [expected(step) for step in range(9)], rtol=1e-12)
    if name != "step":
        assert len(set(solver.learning_rate_history)) > 5


@pytest.mark.compiled
@pytest.mark.parametrize("rule", RULES)
def test_the_step_stays_fused_and_is_that_of_the_rate(monkeypatch, rule):
    """The bits are those of a training whose rates somebody sets by hand."""
    taken, scheduled = record(monkeypatch), solver_of(rule, schedule=lambda step: 1 / (1 + step), lr_decay=1.0)
    by_hand = solver_of(rule, lr_decay=1.0)
    np.random.seed(1)
    scheduled.train()
    assert taken == [True] * 9
    np.random.seed(1)
    by_hand.callbacks = [Setting()]
    by_hand.train()
    assert scheduled.loss_history == by_hand.loss_history
    for name, w in by_hand.model.params.items():
        assert scheduled.model.params[name].tobytes() == w.tobytes()


class Setting(Callback):
    def on_train_begin(self, solver):
        self.on_step_end(solver)

    def on_step_end(self, solver):
        for config in solver.optim_configs.values():
            config["learning_rate"] = 1e-2 * (1 / (1 + solver.iteration))


def test_each_parameter_keeps_a_rate_of_its_own(backend):
    solver = solver_of("sgd", schedule={"name": "step", "every": 3, "factor": 0.5}, lr_decay=1.0)
    solver.optim_configs["b1"]["learning_rate"] = 0.3
    solver.train()
    assert solver.optim_configs["b1"]["learning_rate"] == 0.3 * 0.25
    assert solver.optim_configs["W1"]["learning_rate"] == 1e-2 * 0.25


def test_without_a_rate_the_rules_own_is_multiplied(backend):
    solver = solver_of("adam", schedule=lambda step: 0.5, lr_decay=1.0, optim_config={})
    solver.train()
    assert set(solver.learning_rate_history) == {1e-3 * 0.5}


def test_a_second_training_begins_the_schedule_anew(backend):
    solver = solver_of(schedule="cosine", lr_decay=1.0)
    solver.train()
    solver.train()
    history = solver.learning_rate_history
    assert len(history) == 18 and history[:9] == history[9:]


@pytest.mark.parametrize("schedule", ["one_cycle", {"name": "plateau", "patience": 1, "min_delta": 10}])
def test_a_training_that_was_stopped_goes_on_in_its_schedule(backend, schedule):
    whole, halved = (solver_of(schedule=schedule, lr_decay=1.0) for _ in range(2))
    np.random.seed(1)
    whole.train()
    halved.callbacks = [Stopping(4)]
    np.random.seed(1)
    halved.train()
    assert halved.iteration == 4
    halved.train()
    assert whole.learning_rate_history == halved.learning_rate_history and len(set(whole.learning_rate_history)) > 2
    assert whole.loss_history == halved.loss_history


class Stopping(Callback):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, solver):
        return solver.iteration == self.at


class Still:
    """A model that learns nothing."""

    def __init__(self):
        self.params = {"w": np.zeros(1)}

    def loss(self, X, y=None):
        return np.zeros((len(X), 4)) if y is None else (1.5, {"w": np.zeros(1)})


@pytest.mark.parametrize("monitor", ["val_loss", "val_acc", "train_loss", "train_acc"])
def test_plateau_looks_at_the_checks(monitor):
    plateau = Plateau(0.5, 2, monitor=monitor)
    solver = solver_of("sgd", Still(), schedule=plateau, lr_decay=1.0, num_epochs=5)
    solver.train()
    # Checks after the steps 1, 3, 6, 9, 12 and 15: the first is the best, then every second one brings a drop.
    assert factors_of(solver).tolist() == [1.0] * 6 + [0.5] * 6 + [0.25] * 3
    assert plateau == Plateau(0.5, 2, monitor=monitor) and plateau(0) == 1  # a copy counts
    solver.train()
    assert factors_of(solver)[15:].tolist() == [1.0] * 6 + [0.5] * 6 + [0.25] * 3


@pytest.mark.parametrize("options, error, message", [
    ({"schedule": "cosine", "lr_decay": 0.9}, ValueError, "Solver: lr_decay is 0.9 beside a schedule"),
    ({"schedule": "linear"}, ValueError, "Solver: the schedule's name is 'linear', expected one of step, cosine"),
    ({"schedule": 3}, TypeError, "Solver: schedule is a int"),
])
def test_what_the_solver_refuses(options, error, message):
    with pytest.raises(error, match=message):
        solver_of(**{"lr_decay": 1.0} | options)


@pytest.mark.parametrize("schedule, rate, error, message", [
    (lambda step: math.nan if step == 4 else 1.0, 0.1, ValueError, r"schedule\(4\) is nan"),
    ({"name": "warmup_cosine", "warmup": 9}, 0.1, ValueError, "warmup is 9 of 9 steps"),
    ("cosine", np.full(3, 0.1), TypeError, r"optim_config\['learning_rate'\], which a schedule multiplies"),
])
def test_what_is_found_in_training(schedule, rate, error, message):
    solver = solver_of("sgd", schedule=schedule, lr_decay=1.0, optim_config={"learning_rate": rate})
    with pytest.raises(error, match=message):
        solver.train()
    assert len(solver.loss_history) in (0, 4)


def test_a_rule_that_has_no_rate_cannot_follow_a_schedule():
    def rule(w, dw, config):
        return w - 0.1 * dw, config

    with pytest.raises(ValueError, match=r"schedule multiplies optim_config\['learning_rate'\], but there is none"):
        solver_of(rule, schedule="cosine", lr_decay=1.0, optim_config={}).train()
    solver = solver_of(rule, schedule="cosine", lr_decay=1.0)
    solver.train()
    assert len(set(solver.learning_rate_history)) == 9

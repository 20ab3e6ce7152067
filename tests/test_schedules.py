"""Schedules against formulas of the papers and numbers that PyTorch 2 gives for the same settings."""

import copy
import json
import math
import pickle

import numpy as np
import pytest

from daseCV_c import schedules
from daseCV_c.schedules import SCHEDULES, Cosine, OneCycle, Plateau, StepDecay, WarmupCosine, factor_of, make

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

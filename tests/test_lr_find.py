"""The learning rate range test, as a function and as the command lr-find."""

import csv

import numpy as np
import pytest
from adversarial import frozen
from commands import fails
from fusing import data_of, net_of

from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli.main import main
from daseCV_c.schedules import lr_range_test
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once


class Slope:
    """A loss that falls by a known amount: with w it is w, and its gradient is 1, until the rate is too high for it."""

    def __init__(self, explodes=np.inf):
        self.params, self.explodes, self.seen = {"w": np.array([1.0])}, explodes, []

    def loss(self, X, y=None):
        w = self.params["w"]
        if y is None:
            return np.zeros((len(X), 4))
        loss = float(w[0]) if w[0] > -self.explodes else np.nan
        return loss, {"w": np.ones(1)}


def test_rates_rise_from_the_lowest_to_the_highest_by_one_factor():
    found = lr_range_test(Slope(), data_of(), lowest=1e-4, highest=1.0, steps=11, batch_size=20)
    np.testing.assert_allclose(found.rates, 10.0 ** np.linspace(-4, 0, 11), rtol=1e-12)
    # The loss of a step is that of before it: all rates before were subtracted.
    np.testing.assert_allclose(found.losses, 1 - np.concatenate([[0], np.cumsum(found.rates)[:-1]]), rtol=1e-12)
    weights = 0.9 ** np.arange(11)
    expected = [np.average(found.losses[i::-1], weights=weights[:i + 1]) for i in range(11)]
    np.testing.assert_allclose(found.smoothed, expected, rtol=1e-12)
    assert not found.exploded


def test_it_is_the_training_of_a_solver(backend):
    model, data = net_of("batchnorm"), data_of()
    np.random.seed(7)
    found = lr_range_test(model, data, lowest=1e-3, highest=1e-1, steps=12, update_rule="adam", batch_size=20)
    np.random.seed(7)
    solver = Solver(model, data, update_rule="adam", batch_size=20, verbose=False)
    for rate in found.rates:
        for config in solver.optim_configs.values():
            config["learning_rate"] = float(rate)
        solver._step()
    assert found.losses.tolist() == solver.loss_history


def test_everything_stays_as_it_was(backend):
    model, data = net_of("dropout"), data_of()
    parts = [model.params, model.bn_params, model.dropout_param, data]
    before, random = frozen(parts), np.random.get_state()[1].tobytes()
    lr_range_test(model, data, batch_size=20)
    assert frozen(parts) == before and np.random.get_state()[1].tobytes() == random
    with pytest.raises(ValueError):
        lr_range_test(model, data, batch_size=0)
    assert frozen(parts) == before and np.random.get_state()[1].tobytes() == random


def test_it_ends_where_the_loss_explodes(backend):
    found = lr_range_test(net_of(), data_of(), lowest=1e-3, highest=1e6, steps=60, batch_size=20)
    assert found.exploded and len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    assert found.smoothed[-1] > 4 * found.smoothed.min() or found.smoothed[-1] < np.inf
    assert 1e-2 < found.suggestion < found.rates[np.argmin(found.smoothed)]


def test_the_suggestion_is_where_the_losses_fall_fastest():
    """A loss that is a function of the rate: flat, a valley's side, a floor, a wall."""
    model, losses = Slope(), iter(())

    def loss(X, y):
        return next(losses), {"w": np.ones(1)}

    rates = np.geomspace(1e-5, 10, 100)
    for centre in (1e-3, 3e-2):
        side = 1 / (1 + (rates / centre) ** 2)
        losses = iter(1 + side + np.where(rates > 1, rates ** 2, 0))
        model.loss = loss
        found = lr_range_test(model, data_of(), lowest=1e-5, batch_size=20)
        assert found.exploded and centre / 2 < found.suggestion < centre * 2


def test_a_loss_that_is_no_number_ends_it_without_a_row():
    found = lr_range_test(Slope(explodes=1.0), data_of(), lowest=1e-3, highest=10.0, steps=50, batch_size=20)
    assert found.exploded and np.isfinite(found.losses).all() and found.losses[-1] > -1
    with pytest.raises(ValueError, match="lr_range_test: the loss of the first batch is nan"):
        lr_range_test(Slope(explodes=-2.0), data_of(), batch_size=20)


class Steep(Slope):
    """Its gradient is infinite below zero, where the loss is still a number."""

    def loss(self, X, y=None):
        found = super().loss(X, y)
        if y is not None and found[0] < 0:
            found[1]["w"][0] = np.inf
        return found


def test_gradients_that_are_not_finite_end_it_as_a_loss_does():
    found = lr_range_test(Steep(), data_of(), lowest=1e-3, highest=10.0, steps=50, batch_size=20, clip_norm=2.0)
    assert found.exploded and np.isfinite(found.losses).all() and found.losses[-1] < 0


def test_a_generator_of_ones_own_stays_as_it_was():
    generator = np.random.RandomState(3)
    model = FullyConnectedNet([5], input_dim=12, num_classes=4, dropout=0.5, seed=generator)
    before = generator.get_state()[1].tobytes(), generator.get_state()[2]
    one, two = (lr_range_test(model, data_of(), batch_size=20, seed=generator) for _ in range(2))
    assert (generator.get_state()[1].tobytes(), generator.get_state()[2]) == before
    assert one.losses.tolist() == two.losses.tolist()


def test_no_suggestion_where_nothing_falls():
    model = Slope()
    model.loss = lambda X, y=None: (1.0, {"w": np.ones(1)})
    found = lr_range_test(model, data_of(), batch_size=20)
    assert found.suggestion is None and not found.exploded and len(found.rates) == 100


@pytest.mark.parametrize("arguments, error, message", [
    ({"lowest": 0}, ValueError, "the rates go from 0.0 to 10.0, expected 0 < lowest < highest"),
    ({"lowest": 1.0, "highest": 1.0}, ValueError, "from 1.0 to 1.0"),
    ({"highest": np.inf}, ValueError, "from 1e-06 to inf"),
    ({"lowest": "low"}, TypeError, "lowest is 'low'"),
    ({"steps": 9}, ValueError, "steps is 9, expected an integer of at least 10"),
    ({"schedule": "cosine"}, ValueError, "schedule has no place in this test"),
    ({"num_epochs": 3}, ValueError, "num_epochs has no place in this test"),
    ({"bach_size": 3}, ValueError, "Unrecognized arguments \"bach_size\""),
])
def test_arguments_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        lr_range_test(net_of(), data_of(), **arguments)


# ---- the command

QUICK = ["lr-find", "--hidden", "20", "--steps", "40"]


def test_the_command_writes_a_table_and_a_picture(here, capsys):
    assert main([*QUICK, "--min", "1e-4", "--max", "1"]) == 0
    out = capsys.readouterr().out
    with open("lr-find.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["learning_rate", "loss", "smoothed_loss"] and len(rows) == 40
    rates, losses, smoothed = np.array(rows, float).T
    assert rates[0] == 1e-4 and rates[-1] == 1 and smoothed[0] == losses[0]
    assert (here / "lr-find.png").read_bytes().startswith(b"\x89PNG")
    assert "the loss fell fastest at a learning rate of" in out
    assert out.splitlines()[-1] == "table in lr-find.csv, picture in lr-find.png"
    assert sorted(path.name for path in here.iterdir()) == ["lr-find.csv", "lr-find.png"]


def test_the_command_without_matplotlib(here, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main([*QUICK, "-o", "rates"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "table in rates (no picture: matplotlib is not installed)"


def test_the_command_takes_the_settings_of_train(here, monkeypatch):
    seen = {}

    def spy(model, data, **arguments):
        seen.update(arguments, model=model, rng=np.random.get_state()[1].tobytes())
        return lr_range_test(model, data, **arguments)

    monkeypatch.setattr("daseCV_c.cli.lr_find.lr_range_test", spy)
    options = ["--update-rule", "rmsprop", "--batch-size", "30", "--norm", "layernorm", "--clip-norm", "2"]
    assert main([*QUICK, *options]) == 0
    model = seen["model"]
    assert isinstance(model, FullyConnectedNet) and model.normalization == "layernorm"
    assert (seen["update_rule"], seen["batch_size"], seen["clip_norm"]) == ("rmsprop", 30, 2.0)


def test_what_the_command_refuses(here, capsys):
    fails(capsys, [*QUICK, "--min", "1", "--max", "1"], "expected min below max")
    fails(capsys, ["lr-find", "--steps", "5"], "at least 10 steps")
    fails(capsys, [*QUICK, "-o", "found.png"], "that is where the picture goes")
    fails(capsys, [*QUICK, "-o", "no/folder/x.csv"], "no/folder", "cannot be written")
    fails(capsys, ["lr-find", "--lr-decay", "0"], "--lr-decay")
    fails(capsys, [*QUICK, "--norm", "none", "--weight-scale", "1e30"], "loss of the first batch is nan")
    assert list(here.iterdir()) == []

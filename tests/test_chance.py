"""A training whose loss stays at log C says so; one that learns, however slowly, does not."""

import math
import warnings

import numpy as np
import pytest

from daseCV_c._training import chance
from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once


def digits():
    data = load_digits_images()
    return {key: value.reshape(len(value), -1) / 4 if key.startswith("X") else value for key, value in data.items()
            if key[2:] in ("train", "val")}


def clouds(n, classes, d=13, spread=1.5, shares=None):
    """Gaussian clouds, about as far apart as the three wines."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(range(classes), shares or [n // classes] * classes))
    X = rng.standard_normal((n, d)) + spread * rng.standard_normal((classes, d))[y]
    part = n * 4 // 5
    return {"X_train": X[:part], "y_train": y[:part], "X_val": X[part:], "y_val": y[part:]}


def said(model, data, **options):
    """The warnings of a training, and its Solver."""
    np.random.seed(0)
    solver = Solver(model, data, verbose=False, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver.train()
    return [str(w.message) for w in caught], solver, caught


def deep(scale, hidden=(100,) * 5, **more):
    return FullyConnectedNet(list(hidden), 64, 10, weight_scale=scale, seed=np.random.RandomState(0), **more)


def test_six_layers_with_the_courses_numbers():
    found, solver, caught = said(deep(1e-2), digits(), num_epochs=6, batch_size=50)
    assert len(found) == 1, "once"
    assert found[0].startswith("Solver: after 5 epochs (")
    assert "the loss is 2.30" in found[0] and "log C = 2.3026 for 10 classes. Try weight_scale='he' in" in found[0]
    assert "normalization='batchnorm', update_rule='adam'" in found[0]
    assert caught[0].category is RuntimeWarning and caught[0].filename == __file__
    assert len(solver.loss_history) == solver.num_iterations, "it is only a warning"


@pytest.mark.parametrize(("data", "classes"), [
    (clouds(177, 3), 3), (clouds(569, 2, 30, 1.0, [357, 212]), 2)], ids=["like wine", "like breast cancer"])
def test_few_samples_with_the_courses_numbers(data, classes):
    """Ten epochs are ten to forty steps: it is said when they have ended."""
    model = FullyConnectedNet([100, 100], data["X_train"].shape[1], classes, seed=np.random.RandomState(0))
    found, solver, _ = said(model, data)
    assert len(found) == 1 and f"after 10 epochs ({solver.num_iterations} steps)" in found[0]
    model = FullyConnectedNet([100, 100], data["X_train"].shape[1], classes, weight_scale="he",
                              seed=np.random.RandomState(0))
    found, solver, _ = said(model, data, num_epochs=20)
    assert found == [] and solver.best_val_acc > 0.9, "what it says helps"


@pytest.mark.parametrize(("model", "rate", "epochs"), [
    (lambda: deep("he"), 1e-3, 8),  # begins above log C and passes it
    (lambda: deep("he"), 1e-4, 8),
    (lambda: deep("glorot"), 1e-2, 8),
    (lambda: deep(1e-2, [100]), 1e-2, 8),
    (lambda: deep(1e-2, [100]), 1e-3, 12),  # its loss falls by 0.001 an epoch, but more and more samples are right
    # As many samples right as at random, but a loss that falls steadily.
    (lambda: FullyConnectedNet([], 64, 10, seed=np.random.RandomState(1)), 3e-5, 8),
    (lambda: deep(1e-2, normalization="batchnorm"), 1e-3, 6),
    (lambda: deep("he", reg=0.1), 1e-3, 8),
], ids=["he", "he, slower", "glorot", "two layers", "two layers, slower", "one layer", "batchnorm", "penalty"])
def test_what_learns_slowly_is_left_alone(model, rate, epochs):
    found, solver, _ = said(model(), digits(), optim_config={"learning_rate": rate}, num_epochs=epochs, batch_size=50)
    assert found == []
    losses = np.reshape(solver.loss_history, (epochs, -1)).mean(1)
    assert losses[-1] < losses[0] and solver.val_acc_history[-1] < 0.9, "slowly, but it does"


def test_a_plateau_that_ends_in_time():
    """Three layers from 1e-2 sit at log C for about 150 steps."""
    found, solver, _ = said(deep(1e-2, [100, 100]), digits(), optim_config={"learning_rate": 0.3}, num_epochs=8,
                            batch_size=50)
    assert found == [] and solver.best_val_acc > 0.5
    assert abs(np.mean(solver.loss_history[:20]) - math.log(10)) < 0.01


def test_the_penalty_is_no_loss():
    found, solver, _ = said(deep(1e-2, reg=0.5), digits(), num_epochs=5, batch_size=50)
    assert solver.loss_history[-1] > 2.35 and len(found) == 1 and "the loss is 2.30" in found[0]


def test_frequent_classes():
    """95 of 100 samples are of one class: a loss far below log C, and an accuracy of 0.95, without having learned."""
    data = clouds(600, 2, spread=0.0, shares=[570, 30])
    found, _, _ = said(TwoLayerNet(13, 20, 2), data, num_epochs=10, batch_size=50,
                       optim_config={"learning_rate": 1e-3})
    assert len(found) == 1, "the loss has not moved yet"
    assert said(TwoLayerNet(13, 20, 2), data, num_epochs=10, batch_size=50,
                optim_config={"learning_rate": 0.1})[0] == []


def test_too_short_to_say():
    data = digits()
    assert said(deep(1e-2), data, num_epochs=1, batch_size=50)[0] == []
    few = {**data, "X_train": data["X_train"][:90], "y_train": data["y_train"][:90]}
    assert said(deep(1e-2), few, num_epochs=9)[0] == []
    assert said(deep(1e-2), data, num_epochs=0)[0] == []


def test_each_run_says_it():
    data = digits()
    found, solver, _ = said(deep(1e-2), data, num_epochs=5, batch_size=200)
    assert len(found) == 1
    with pytest.warns(RuntimeWarning, match="still that of guessing"):
        solver.train()


@pytest.mark.parametrize("begin", [2.3, 2.6])
def test_a_run_that_goes_on(begin):
    """Where its former epochs were elsewhere, it has only come by."""
    class Stop(Callback):
        def on_epoch_end(self, solver):
            return solver.epoch == 3

    _, solver, _ = said(deep(1e-2), digits(), num_epochs=6, batch_size=50, callbacks=[Stop()])
    assert solver.iteration < solver.num_iterations
    solver.loss_history[:solver.iteration // 3] = [begin] * (solver.iteration // 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver.train()
    assert solver.iteration == solver.num_iterations and len(caught) == (begin == 2.3)


def test_models_of_ones_own_are_not_judged():
    """Their loss may be another one, for which log C means nothing."""
    class Own(FullyConnectedNet):
        def loss(self, X, y=None):
            return super().loss(X, y)

    model = Own([100] * 5, 64, 10, seed=np.random.RandomState(0))
    assert said(model, digits(), num_epochs=5, batch_size=50)[0] == []


def test_many_steps_are_enough_in_two_epochs(monkeypatch):
    monkeypatch.setattr(chance, "_MANY_STEPS", 50)
    found, _, _ = said(deep(1e-2), digits(), num_epochs=4, batch_size=50)
    assert len(found) == 1 and "after 2 epochs" in found[0]


@pytest.mark.filterwarnings("always:Solver. after 5 epochs")  # as it is where warnings are no errors
def test_a_command_says_it_in_one_line(here, capsys):
    from daseCV_c.cli.main import main
    shown = warnings.showwarning
    assert main(["train", "--hidden", *["100"] * 5, "--norm", "none", "--update-rule", "sgd", "--lr",
                 "0.01", "--weight-scale", "0.01", "--epochs", "6"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1 and said[0].startswith("dasecv: warning: Solver: after 5 epochs ")
    assert warnings.showwarning is shown

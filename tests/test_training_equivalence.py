"""The same seed on both backends: the same losses, from the first step to the fortieth."""

import itertools

import numpy as np
import pytest
from stepping import RULES

import daseCV_c
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

RATES = dict.fromkeys(RULES, 1e-2) | dict.fromkeys(("rmsprop", "adam", "adamw"), 1e-3)


def data_of(dtype=np.float64):
    """Images whose class is a noisy linear function of them, so that there is something to learn."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((220, 3, 4, 4))
    y = np.argmax(X.reshape(220, -1) @ rng.standard_normal((48, 7)) + rng.standard_normal((220, 7)), axis=1)
    X = X.astype(dtype)
    return {"X_train": X[:200], "y_train": y[:200], "X_val": X[200:], "y_val": y[200:]}


def trained(backend, make, rule, dtype=np.float64, rate=None):
    np.random.seed(231)
    with daseCV_c.use_backend(backend):
        model = make()
        solver = Solver(model, data_of(dtype), update_rule=rule, optim_config={"learning_rate": rate or RATES[rule]},
                        batch_size=20, num_epochs=4, lr_decay=0.9, verbose=False)
        solver.train()
    assert len(solver.loss_history) == 40
    return solver


def small_net(normalization, dropout, dtype=np.float64):
    return FullyConnectedNet([23, 17], input_dim=48, num_classes=7, normalization=normalization, dropout=dropout,
                             reg=1e-2, weight_scale=0.2, dtype=dtype)


@pytest.mark.compiled
@pytest.mark.parametrize(("rule", "normalization", "dropout"),
                         list(itertools.product(RATES, (None, "batchnorm", "layernorm"), (1, 0.6))))
def test_forty_losses(rule, normalization, dropout):
    compiled, twin = (trained(b, lambda: small_net(normalization, dropout), rule) for b in ("compiled", "numpy"))
    np.testing.assert_allclose(compiled.loss_history, twin.loss_history, rtol=0, atol=1e-9)
    assert compiled.train_acc_history == twin.train_acc_history
    assert compiled.val_acc_history == twin.val_acc_history
    assert sorted(compiled.model.params) == sorted(twin.model.params)
    for name, value in twin.model.params.items():
        np.testing.assert_allclose(compiled.model.params[name], value, rtol=0, atol=1e-7)
    for mine, other in zip(compiled.model.bn_params, twin.model.bn_params, strict=True):
        assert list(mine) == list(other)
        for key in {"running_mean", "running_var"} & set(other):
            np.testing.assert_allclose(mine[key], other[key], rtol=0, atol=1e-7)
    assert compiled.loss_history[-1] < compiled.loss_history[0], "nothing was learnt, so little was tested"


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:Solver. after 4 epochs")  # sgd has learnt nothing by then
@pytest.mark.parametrize("rule", RATES)
def test_two_layer_net(rule):
    def make():
        return TwoLayerNet(input_dim=48, hidden_dim=19, num_classes=7, weight_scale=0.1, reg=0.01)

    compiled, twin = (trained(b, make, rule) for b in ("compiled", "numpy"))
    np.testing.assert_allclose(compiled.loss_history, twin.loss_history, rtol=0, atol=1e-9)


@pytest.mark.compiled
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_float32_follows_float64(normalization):
    """One figure of agreement less than float32 has, over the first steps."""
    single = trained("compiled", lambda: small_net(normalization, 1, np.float32), "sgd", np.float32)
    double = trained("compiled", lambda: small_net(normalization, 1), "sgd")
    assert all(p.dtype == np.float32 for p in single.model.params.values())
    np.testing.assert_allclose(single.loss_history, double.loss_history, rtol=1e-4)


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_a_run_repeats_itself(backend, dtype, normalization):
    """Nothing is left over from the run before: no scratch, no state."""
    first, second = (trained(backend, lambda: small_net(normalization, 0.6, dtype), "adam", dtype) for _ in range(2))
    assert first.loss_history == second.loss_history
    for name, value in first.model.params.items():
        assert value.tobytes() == second.model.params[name].tobytes()


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_two_networks_in_turn_do_not_disturb_each_other(backend, normalization):
    """Scratch that is kept between steps belongs to nobody."""
    X, y = data_of()["X_train"][:20], data_of()["y_train"][:20]
    np.random.seed(1)
    one, two = small_net(normalization, 1), small_net(normalization, 1)
    loss, grads = one.loss(X, y)
    kept = {name: grad.copy() for name, grad in grads.items()}
    scores = one.loss(X)
    kept_scores = scores.copy()
    two.loss(X + 1, y)
    two.loss(X - 1)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, kept[name])
    np.testing.assert_array_equal(scores, kept_scores)
    assert np.isfinite(loss)


def test_gradients_do_not_alias_parameters(backend):
    """A caller may scale or clip gradients in place."""
    net = small_net("batchnorm", 0.6)
    X, y = data_of()["X_train"][:20], data_of()["y_train"][:20]
    _, grads = net.loss(X, y)
    for grad in grads.values():
        for p in net.params.values():
            assert not np.shares_memory(grad, p)
    for name, grad in grads.items():
        for other, another in grads.items():
            assert name == other or not np.shares_memory(grad, another)

"""The training step of the fully-connected networks in bfloat16: the numbers of the layers, in one kernel."""

import numpy as np
import pytest
from adversarial import frozen
from bf16_kernels import V4, where_available
from comparing import same_bits
from stepping import RULES

import daseCV_c
from daseCV_c._step import fully_connected as _engine
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

KINDS = {
    "plain": {},
    "batchnorm": {"normalization": "batchnorm"},
    "layernorm": {"normalization": "layernorm"},
    "dropout": {"dropout": 0.7},
    "batchnorm_dropout": {"normalization": "batchnorm", "dropout": 0.7},
    "layernorm_dropout": {"normalization": "layernorm", "dropout": 0.7},
}
# Samples, features, hidden layers, classes: odd ends, one panel and several, one block of the inner
# dimension and several, the split first product, columns for every thread, one row of tiles.
SIZES = [
    (1, 1, [1], 2), (2, 3, [17], 3), (37, 63, [40, 33], 10), (13, 50, [16, 49, 5], 20), (300, 100, [], 10),
    (61, 1100, [70], 10), (130, 601, [1537], 33), (256, 96, [1024, 1024], 40), (9, 2000, [530], 10),
]
PLACES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "beyond bfloat16": 3.4e38}


def net_of(sizes, kind, dtype=np.float32):
    n, features, hidden, classes = sizes
    np.random.seed(3)
    net = FullyConnectedNet(hidden, input_dim=features, num_classes=classes, weight_scale=0.1, reg=0.3, dtype=dtype,
                            **KINDS[kind])
    for name in net.params:
        if name[0] == "b" and name[1] != "e":
            # Far from zero: a difference in the last bit switches few ReLUs.
            net.params[name] += np.random.choice([-1, 1], net.params[name].shape)
    return net, np.random.randn(n, features).astype(dtype), np.random.randint(classes, size=n)


def by_step(net, X, y, threads=1):
    np.random.seed(7)
    with daseCV_c.num_threads(threads):
        found = _engine.gradients(net, X, y.astype(np.int64))
    assert found is not None, "the step left it to the layers"
    return found


def by_layers(net, X, y):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_engine, "gradients", lambda *args: None)
        np.random.seed(7)
        return net.loss(X, y)


def distance(one, other):
    return np.linalg.norm(one.astype(np.float64) - other)


@where_available
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_steps_numbers_are_the_layers(bfloat16, sizes, kind):
    net, X, y = net_of(sizes, kind)
    if len(X) == 1 and net.normalization == "batchnorm":
        assert _engine.gradients(net, X, y) is None  # a batch norm of one sample learns nothing, and the layers say so
        return
    before = frozen([X, *net.params.values()])
    loss, grads = by_step(net, X, y)
    expected_loss, expected = by_layers(net, X, y)
    with daseCV_c.set_matmul_precision("highest"):
        exact_loss, exact = by_step(net, X, y)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert grads.keys() == expected.keys()
    # Gradients that cancel are measured by the largest one.
    largest = max(np.linalg.norm(g) for g in expected.values())
    for name, grad in grads.items():
        assert grad.dtype == np.float32
        assert distance(grad, expected[name]) <= 1e-3 * np.linalg.norm(expected[name]) + 1e-6 * largest, name
        if name[0] == "W" and sizes[0] > 2:
            assert distance(grad, expected[name]) < 0.1 * distance(exact[name], expected[name]), name
    assert frozen([X, *net.params.values()]) == before


@where_available
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES[2:], ids=str)
def test_same_bits_for_any_number_of_threads(bfloat16, sizes, kind):
    net, X, y = net_of(sizes, kind)
    one = by_step(net, X, y)
    for threads in (2, 3, 5, 16):
        same_bits([*by_step(net, X, y, threads)], [*one])


@where_available
@pytest.mark.parametrize("kind", KINDS)
def test_float64_and_the_default_are_as_they_were(bfloat16, kind):
    single, double = net_of(SIZES[3], kind), net_of(SIZES[3], kind, np.float64)
    reduced = [by_step(*single), by_step(*double)]
    daseCV_c.set_matmul_precision("highest")
    full = [by_step(*single), by_step(*double)]
    same_bits([*reduced[1]], [*full[1]])
    assert not np.array_equal(reduced[0][1]["W1"], full[0][1]["W1"])


@where_available
@pytest.mark.parametrize("kind", ["plain", "batchnorm", "layernorm"])
@pytest.mark.parametrize("value", PLACES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_numbers_pass(bfloat16, kind, value):
    net, X, y = net_of((37, 45, [40, 33], 10), kind)
    X[36, 44] = PLACES[value]
    (loss, grads), (expected_loss, expected) = by_step(net, X, y), by_layers(net, X, y)
    assert np.isnan(loss) == np.isnan(expected_loss)
    for name in grads:
        np.testing.assert_array_equal(np.isnan(grads[name]), np.isnan(expected[name]), name)
    assert any(np.isnan(grad).any() for grad in grads.values())


@where_available
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sizes", [(61, 1100, [70], 10), (13, 50, [16, 49, 5], 20)], ids=str)
def test_nothing_is_read_of_what_a_step_left_behind(bfloat16, sizes, kind, threads):
    """Scratch is kept: behind the ends of rows and panels stands what the step before had there."""
    net, X, y = net_of(sizes, kind)
    expected = by_step(net, X, y)
    bad = {name: np.full_like(w, np.nan) for name, w in net.params.items()}
    net.params, good = bad, net.params
    with np.errstate(all="ignore"):
        by_step(net, np.full_like(X, np.nan), y, threads)
    net.params = good
    same_bits([*by_step(net, X, y, threads)], [*expected])


def stepped(rule, threads):
    """A Solver after some steps on a network whose layers are shared out in every way."""
    net, X, y = net_of((200, 150, [1060, 35], 10), "batchnorm")
    data = {"X_train": X, "y_train": y, "X_val": X[:50], "y_val": y[:50]}
    np.random.seed(5)
    solver = Solver(net, data, update_rule=rule, optim_config={"learning_rate": 1e-3}, batch_size=101, verbose=False)
    with daseCV_c.num_threads(threads):
        for _ in range(4):
            solver._step()
    return solver


@where_available
@pytest.mark.parametrize("rule", RULES)
def test_update_is_that_of_the_gradients(bfloat16, monkeypatch, rule):
    calls = []
    monkeypatch.setattr(_engine, "_run", lambda *args, run=_engine._run: calls.append(args[-1]) or run(*args))
    one = stepped(rule, 1)
    assert calls == [rule] * 4
    monkeypatch.setattr(_engine.FusedStep, "__call__", lambda *args, **kwargs: None)
    other = stepped(rule, 1)
    assert calls[4:] == [None] * 4  # gradients of the step, update by the rule's own kernel
    same_bits(one.loss_history, other.loss_history)
    same_bits(one.model.params, other.model.params)


@where_available
def test_updates_have_the_same_bits_for_any_number_of_threads(bfloat16):
    one = stepped("adam", 1)
    for threads in (2, 3):
        again = stepped("adam", threads)
        same_bits([again.loss_history, again.model.params], [one.loss_history, one.model.params])


def arguments(dtype):
    net, X, y = net_of((5, 6, [], 3), "plain", dtype)
    arrays = [(w, np.full_like(w, 77), None) for w in net.params.values()]
    layer = (*arrays, None, None, None, None, None, None, 0.0, None, None)
    return [X, None, None, y.astype(np.int64), [layer], None, None, 1, True], arrays


@where_available
def test_float64_weights_are_refused():
    args, arrays = arguments(np.float64)
    with pytest.raises(TypeError, match="train_step: weights have dtype float64, expected float32"):
        V4.step.train_step(*args)
    assert all((grad == 77).all() for _, grad, _ in arrays)


def test_a_level_without_the_kernels_refuses(kernels):
    args, arrays = arguments(np.float32)
    if hasattr(kernels, "affine_bf16") and kernels.affine_bf16.built():
        assert kernels.step.train_step(*args[:-1], False) > 0
        return
    with pytest.raises(RuntimeError, match="train_step: this module was built without bfloat16 kernels"):
        kernels.step.train_step(*args)
    assert all((grad == 77).all() for _, grad, _ in arrays)

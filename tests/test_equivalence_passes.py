"""A pass over the training data: the kernel against its twin, the twin against differences, and wrong calls."""

import inspect
import itertools
import sys
import threading

import numpy as np
import pytest
from adversarial import frozen, rng_of
from comparing import close
from scarce import ROOM, limited

import daseCV_c
from daseCV_c import optim
from daseCV_c._step import passes
from daseCV_c.reference import losses as twin_losses
from daseCV_c.reference import passes as twin

ACTIVATIONS, LOSSES = passes.ACTIVATIONS, passes.LOSSES


class Net:
    """Random arguments of a pass."""

    def __init__(self, widths=(19, 33, 5, 3), samples=53, rows=47, activation="tanh", loss="softmax", rule="adam",
                 weighted=False, dtype=np.float64, index=True, alpha=0.1, batch_size=10):
        rng = rng_of("net", widths, samples, loss)
        self.x = rng.standard_normal((samples, widths[0])).astype(dtype)
        self.index = rng.integers(0, samples, rows) if index else None
        outputs = widths[-1]
        self.targets = {
            "softmax": lambda: rng.integers(0, outputs, samples),
            "logistic": lambda: rng.integers(0, 2, (samples, outputs)).astype(dtype),
            "squared": lambda: rng.standard_normal((samples, outputs)).astype(dtype),
            "poisson": lambda: rng.poisson(1.0, (samples, outputs)).astype(dtype)}[loss]()
        self.weights = [(rng.standard_normal((d, m)) / np.sqrt(d)).astype(dtype) for d, m in itertools.pairwise(widths)]
        self.biases = [(0.3 * rng.standard_normal(m)).astype(dtype) for m in widths[1:]]
        self.states = [tuple(np.zeros_like(p) for _ in optim.STATES[rule]) for p in (*self.weights, *self.biases)]
        self.batch_size = batch_size
        self.options = {
            "activation": activation, "loss": loss, "rule": rule, "numbers": dict(optim.SETTINGS[rule]),
            "alpha": alpha, "t": 2, "sample_weight": rng.uniform(0.1, 2, samples).astype(dtype) if weighted else None}

    def positional(self):
        return [self.x, self.targets, self.index, self.batch_size, self.weights, self.biases, self.states]

    def parameters(self):
        return [*self.weights, *self.biases, *itertools.chain(*self.states)]

    def train(self, **changed):
        return passes.train_batches(*self.positional(), **{**self.options, **changed})


def pair(**settings):
    """The losses and parameters after a pass by the kernel, and by the twin in float64."""
    mine, other = Net(**settings), Net(**settings)
    losses = mine.train()
    for name in ("x", "weights", "biases", "states"):
        value = getattr(other, name)
        setattr(other, name, value.astype(np.float64) if name == "x" else [
            tuple(s.astype(np.float64) for s in v) if isinstance(v, tuple) else v.astype(np.float64) for v in value])
    if other.targets.dtype.kind == "f":
        other.targets = other.targets.astype(np.float64)
    if other.options["sample_weight"] is not None:
        other.options["sample_weight"] = other.options["sample_weight"].astype(np.float64)
    with daseCV_c.use_backend("numpy"):
        expected = other.train()
    return (losses, mine), (expected, other)


def compare(**settings):
    (losses, mine), (expected, other) = pair(**settings)
    dtype = mine.x.dtype
    close(losses, expected, np.abs(expected) + 1, 3000, working=dtype)
    for value, wanted in zip(mine.parameters(), other.parameters(), strict=True):
        close(value, wanted.astype(dtype), np.abs(wanted).max() + 1, 3000)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kernel_against_twin(level, dtype, activation, loss, weighted):
    # Rules that do not divide by the root of a square: a rounding error stays one.
    compare(activation=activation, loss=loss, weighted=weighted, dtype=dtype, rule="nesterov")


@pytest.mark.parametrize("rule", optim.SETTINGS)
def test_every_rule(level, rule):
    compare(rule=rule, loss="logistic")


@pytest.mark.parametrize("widths", [(1, 1), (7, 4), (3, 16, 1), (40, 17, 2), (1100, 20, 4), (5, 130, 70, 9)], ids=str)
@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_shapes(level, dtype, activation, widths):
    """Also the first product in parts, and no hidden layer."""
    for loss in ("softmax", "squared"):
        compare(widths=widths, activation=activation, loss=loss, dtype=dtype, rule="sgd_momentum", weighted=True)


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 1), (1, 50), (20, 10), (21, 10), (47, 1), (47, 46), (47, 200)])
def test_batches_and_the_last_one(level, rows, batch_size):
    compare(rows=rows, batch_size=batch_size, rule="sgd")
    assert Net(rows=rows, batch_size=batch_size).train().shape == (-(-rows // batch_size),)


@pytest.mark.parametrize("loss", ["softmax", "poisson"])
def test_rows_in_order_are_those_of_an_index(backend, loss):
    plain, drawn = Net(index=False, loss=loss, weighted=True), Net(index=False, loss=loss, weighted=True)
    drawn.index = np.arange(len(drawn.x))
    assert frozen(plain.train()) == frozen(drawn.train())
    assert frozen(plain.parameters()) == frozen(drawn.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_pass_is_its_steps_one_by_one(backend, loss):
    together, apart = Net(loss=loss, weighted=True), Net(loss=loss, weighted=True)
    losses, whole, t = together.train(uncorrected_epsilon=True), apart.index, 2
    for b in range(5):
        apart.index = whole[10 * b:10 * (b + 1)]
        assert apart.train(t=t, uncorrected_epsilon=True).tolist() == [losses[b]]
        t += 1
    assert frozen(together.parameters()) == frozen(apart.parameters())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_same_bits_for_any_number_of_threads(level, dtype, activation):
    results = []
    for threads in (1, 2, 3):
        net = Net(activation=activation, loss="logistic", weighted=True, dtype=dtype, widths=(70, 130, 65, 3))
        with daseCV_c.num_threads(threads):
            losses = net.train()
        results.append(frozen([losses, net.parameters()]))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("index", [False, True])
def test_a_long_pass_is_cut_into_calls(backend, monkeypatch, index):
    """It has the same bits, and each call's steps are counted as it happens."""
    once, often = (Net(index=index, weighted=True, samples=47) for _ in range(2))
    done = np.zeros(1, np.int64)
    losses = once.train()
    monkeypatch.setattr(passes, "_CALL", 1.0)
    assert frozen(often.train(done=done)) == frozen(losses)
    assert frozen(once.parameters()) == frozen(often.parameters())
    assert done.tolist() == [5]


@pytest.mark.once
def test_calls_are_cut_by_their_work():
    assert list(passes._calls(100, 10, 1)) == [(0, 100)]
    assert list(passes._calls(35, 10, passes._CALL)) == [(0, 10), (10, 20), (20, 30), (30, 35)]


def test_an_interruption_leaves_whole_steps(backend, monkeypatch):
    monkeypatch.setattr(passes, "_CALL", 1.0)
    done, calls = np.zeros(1, np.int64), []
    find = passes._calls

    def stopping(*arguments):
        for call in find(*arguments):
            if len(calls) == 3:
                raise KeyboardInterrupt
            calls.append(call)
            yield call

    monkeypatch.setattr(passes, "_calls", stopping)
    net, expected = Net(), Net()
    with pytest.raises(KeyboardInterrupt):
        net.train(done=done)
    assert done.tolist() == [3]
    monkeypatch.setattr(passes, "_calls", find)
    expected.index = expected.index[:30]
    expected.train()
    assert frozen(net.parameters()) == frozen(expected.parameters())


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_without_memory_nothing_is_changed(script):
    said = script(ROOM + """
import numpy as np
from daseCV_c._step.passes import train_batches

rows, widths = 50_000, (1, 512, 1)
weights = [np.ones(pair) for pair in zip(widths, widths[1:])]
biases = [np.ones(width) for width in widths[1:]]
done, x = np.zeros(1, np.int64), np.ones((rows, 1))
limit(2**26)
try:
    train_batches(x, x, None, rows, weights, biases, [()] * 4, activation="tanh", loss="squared", rule="sgd",
                  numbers={"learning_rate": 0.1}, alpha=0.0, t=0, done=done)
except MemoryError:
    print(all((array == 1).all() for array in weights + biases), done)
""")
    assert limited(said) == ["True", "[0]"]


# The twin against differences of its own loss.

@pytest.mark.once
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_the_twin(activation, loss, weighted):
    """A step of sgd is the gradient; of the squared loss K times that of the loss, which is a mean over K outputs."""
    def made():
        return Net(widths=(6, 5, 4, 3), activation=activation, loss=loss, rule="sgd", weighted=weighted, alpha=0.0,
                   rows=20, batch_size=20)

    def loss_at(parameter, at, h):
        net = made()
        [*net.weights, *net.biases][parameter].flat[at] += h
        return net.train()[0]

    with daseCV_c.use_backend("numpy"):
        net, before = made(), made()
        net.train(numbers={"learning_rate": 1.0})
        for parameter, (w, w0) in enumerate(zip(net.parameters(), before.parameters(), strict=True)):
            for at in (0, w.size - 1):
                slope = (loss_at(parameter, at, 1e-5) - loss_at(parameter, at, -1e-5)) / 2e-5
                slope *= 3 if loss == "squared" else 1
                assert w0.flat[at] - w.flat[at] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.once
def test_the_penalty_is_divided_by_the_weights():
    with daseCV_c.use_backend("numpy"):
        free, net, weight = Net(alpha=0.0, weighted=True, rows=10), Net(alpha=0.5, weighted=True, rows=10), None
        weight = net.options["sample_weight"][net.index].sum()
        squares = sum((w**2).sum() for w in net.weights)
        assert net.train()[0] - free.train()[0] == pytest.approx(0.25 * squares / weight)


def test_epsilon_outside_the_correction(backend):
    """With a second moment near zero, epsilon is what divides."""
    results = []
    for uncorrected in (False, True):
        net = Net(loss="squared", rows=10)
        net.train(uncorrected_epsilon=uncorrected, numbers={**optim.SETTINGS["adam"], "epsilon": 1e3}, t=0)
        results.append(net.biases[0] - Net(loss="squared", rows=10).biases[0])
    np.testing.assert_allclose(results[1], results[0] * np.sqrt(1 - 0.999), rtol=1e-3)


# Numbers at the ends.

@pytest.mark.parametrize("loss", ["softmax", "logistic"])
def test_printed_losses_keep_probabilities_away_from_0_and_1(backend, dtype, loss):
    eps = float(np.finfo(dtype).eps)
    net = Net(widths=(1, 2), samples=2, loss=loss, dtype=dtype, alpha=0.0, rows=2, batch_size=1, rule="sgd")
    net.index, net.x[...] = np.array([0, 1]), 1
    net.weights[0][...], net.biases[0][...] = [[2000, -2000]], 0
    net.targets = np.array([1, 0]) if loss == "softmax" else np.array([[0, 1], [1, 0]], dtype)
    wrong, right = net.train(numbers={"learning_rate": 0.0})
    each = 1 if loss == "softmax" else 2
    assert wrong == pytest.approx(-np.log(eps) * each)
    assert 0 < right == pytest.approx(eps * each, rel=0.6)


@pytest.mark.parametrize("activation", ["logistic", "tanh"])
def test_activations_at_the_ends(level, dtype, activation):
    info = np.finfo(dtype)
    x = np.concatenate([
        rng_of("x").standard_normal(300), 1e-3 * rng_of("y").standard_normal(100),
        [0.0, -0.0, 30, -30, 88, -88, 104, 709, -709, 746, -746, 1e30, -1e30, np.inf, -np.inf, info.tiny, -info.tiny,
         info.eps]]).astype(dtype)[:, None]
    eye, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
    out = passes.scores(x, [eye, eye], [zero, zero], activation=activation, output="identity")
    with np.errstate(over="ignore"):
        wide = x.astype(np.longdouble)
        exact = np.tanh(wide) if activation == "tanh" else 1 / (1 + np.exp(-wide))
    np.testing.assert_allclose(out, exact.astype(dtype), rtol=5 * info.eps, atol=info.tiny)
    assert np.abs(out).max() <= 1
    bad = passes.scores(np.full((3, 1), np.nan, dtype), [eye, eye], [zero, zero], activation=activation,
                         output="identity")
    assert np.isnan(bad).all()


@pytest.mark.parametrize("output", passes.OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_prediction_against_twin(level, dtype, activation, output):
    net = Net(dtype=dtype, widths=(19, 33, 5, 3), samples=211)
    arguments = net.x, net.weights, net.biases
    found = passes.scores(*arguments, activation=activation, output=output)
    expected = twin.scores(net.x.astype(np.float64), [w.astype(np.float64) for w in net.weights],
                            [b.astype(np.float64) for b in net.biases], activation=activation, output=output)
    close(found, expected.astype(dtype), np.abs(expected).max() + 1, 200)
    few = passes.scores(net.x[5:9], *arguments[1:], activation=activation, output=output)
    assert frozen(few) == frozen(found[5:9])


def test_prediction_of_nothing_and_of_other_layouts(backend):
    net = Net()
    options = {"activation": "tanh", "output": "softmax"}
    whole = passes.scores(net.x, net.weights, net.biases, **options)
    assert passes.scores(net.x[:0], net.weights, net.biases, **options).shape == (0, 3)
    np.testing.assert_allclose(passes.scores(np.asfortranarray(net.x), net.weights, net.biases, **options), whole)
    for wrong in (net.x[:, 1:], net.x[0], net.x.astype(str)):
        with pytest.raises((ValueError, TypeError), match="^scores: "):
            passes.scores(wrong, net.weights, net.biases, **options)
    for biases in (net.biases[:-1], [*net.biases, net.biases[-1]], []):
        with pytest.raises(ValueError, match="^scores: "):
            passes.scores(net.x, net.weights, biases, **options)


@pytest.mark.once
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_that_is_not_printed_has_this_gradient(loss):
    rng = rng_of("output", loss)
    net = Net(loss=loss, samples=7)
    x, weight = rng.standard_normal((7, 3)), rng.random(7)
    _, dx = twin_losses.output_loss(x, net.targets, loss, weight)
    for at in range(0, 21, 4):
        h = np.zeros(21)
        h[at] = 1e-6
        ahead, behind = (twin_losses.output_loss(x + s * h.reshape(7, 3), net.targets, loss, weight)[0]
                         for s in (1, -1))
        assert dx.flat[at] == pytest.approx((ahead - behind) / 2e-6, abs=1e-8)


# Wrong calls.

@pytest.mark.once
def test_signature_is_the_twins():
    for name in ("train_batches", "scores"):
        mine, other = (inspect.signature(getattr(module, name)) for module in (passes, twin))
        assert mine.parameters.keys() == other.parameters.keys()


def without_last(net, name):
    setattr(net, name, getattr(net, name)[:-1])


def read_only(array):
    array.setflags(write=False)
    return array


WRONG = {
    "index": (IndexError, lambda net: net.index.__setitem__(3, 53)),
    "negative index": (IndexError, lambda net: net.index.__setitem__(3, -1)),
    "label": (ValueError, lambda net: net.targets.__setitem__(3, 3)),
    "index dtype": (TypeError, lambda net: setattr(net, "index", net.index.astype(np.int32))),
    "x dtype": (TypeError, lambda net: setattr(net, "x", net.x.astype(np.float32))),
    "x of integers": (TypeError, lambda net: setattr(net, "x", net.x.astype(int))),
    "x layout": (ValueError, lambda net: setattr(net, "x", np.asfortranarray(net.x))),
    "targets": (ValueError, lambda net: without_last(net, "targets")),
    "biases": (ValueError, lambda net: without_last(net, "biases")),
    "a bias too many": (ValueError, lambda net: net.biases.append(net.biases[-1])),
    "states": (ValueError, lambda net: without_last(net, "states")),
    "a state": (ValueError, lambda net: net.states.__setitem__(1, net.states[1][:1])),
    "a width": (ValueError, lambda net: net.weights.__setitem__(1, net.weights[1][:-1].copy())),
    "read-only": (ValueError, lambda net: net.weights[1].setflags(write=False)),
    "bias read-only": (ValueError, lambda net: net.biases[2].setflags(write=False)),
    "state read-only": (ValueError, lambda net: net.states[5][1].setflags(write=False)),
    "states of one rule too many": (ValueError, lambda net: net.states.__setitem__(2, net.states[2] * 2)),
    "done read-only": (ValueError, lambda net: net.options.update(done=read_only(np.zeros(1, np.int64)))),
    "done of two": (ValueError, lambda net: net.options.update(done=np.zeros(2, np.int64))),
    "done of another type": (TypeError, lambda net: net.options.update(done=np.zeros(1, np.int32))),
    "negative label": (ValueError, lambda net: net.targets.__setitem__(3, -1)),
    "no layer": (ValueError, lambda net: [held.clear() for held in (net.weights, net.biases, net.states)]),
    "too many steps": (ValueError, lambda net: net.options.update(t=2**31)),
    "batch_size": (ValueError, lambda net: setattr(net, "batch_size", 0)),
    "activation": (ValueError, lambda net: net.options.update(activation="gelu")),
    "loss": (ValueError, lambda net: net.options.update(loss="hinge")),
    "rule": (ValueError, lambda net: net.options.update(rule="lbfgs")),
    "a number": (TypeError, lambda net: net.options["numbers"].update(beta1="0.9")),
    "numbers": (ValueError, lambda net: net.options["numbers"].pop("beta1")),
    "t": (ValueError, lambda net: net.options.update(t=-1)),
    "weights": (ValueError, lambda net: net.options.update(sample_weight=np.ones(52))),
    "weights of a batch": (ZeroDivisionError, lambda net: net.options.update(sample_weight=np.zeros(53))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_calls_change_nothing(backend, wrong):
    error, breaking = WRONG[wrong]
    net = Net()
    breaking(net)
    before = frozen(net.parameters())
    with pytest.raises(error, match="^train_batches: "):
        net.train()
    assert frozen(net.parameters()) == before


def test_the_largest_number_of_steps_before(backend):
    """Nothing is left of the start at zero, and the number goes on in floats."""
    net, late = Net(), Net()
    np.testing.assert_allclose(net.train(t=2**31 - 1), late.train(t=10**6))


def test_other_rules_have_no_epsilon_to_correct(backend):
    with pytest.raises(ValueError, match="uncorrected_epsilon is for adam"):
        Net(rule="sgd").train(uncorrected_epsilon=True)


def test_an_empty_pass(backend):
    net = Net()
    net.index = net.index[:0]
    assert net.train().shape == (0,)


@pytest.mark.compiled
def test_threads_train_side_by_side(level):
    """The interpreter's lock is not held: two networks at a time, each as alone."""
    alone, nets = Net(), [Net() for _ in range(4)]
    alone.train()
    threads = [threading.Thread(target=net.train) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(frozen(net.parameters()) == frozen(alone.parameters()) for net in nets)

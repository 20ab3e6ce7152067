"""Networks, the fused step and the Solver in any order of calls, against twins, layers and a plain training loop."""

import copy
import os
import tempfile

import numpy as np
import pytest
from fusing import alike, by_layers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from stepping import ADAPTIVE, RULES

import daseCV_c
from daseCV_c import optim
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

pytestmark = pytest.mark.compiled
FUZZ = settings(max_examples=int(os.environ.get("DASECV_FUZZ_EXAMPLES", 20)), deadline=None, database=None,
                derandomize=True, suppress_health_check=list(HealthCheck))
ERRORS = (TypeError, ValueError)
ODD = (None, -1, 0, 2.5, "x", True, float("nan"), [1], 2**70)


@st.composite
def networks(draw):
    """A class, its arguments, and the shape of a sample."""
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    kind = draw(st.sampled_from((TwoLayerNet, FullyConnectedNet, FullyConnectedNet, ThreeLayerConvNet)))
    classes, reg = draw(st.integers(1, 12)), draw(st.sampled_from((0.0, 0.1)))
    if kind is ThreeLayerConvNet:
        shape = draw(st.sampled_from(((1, 2, 2), (3, 4, 6), (2, 5, 5), (1, 8, 7))))
        options = {"input_dim": shape, "num_filters": draw(st.integers(1, 5)), "dtype": dtype,
                   "filter_size": draw(st.sampled_from((1, 3))), "hidden_dim": draw(st.integers(1, 9))}
    else:
        shape = draw(st.sampled_from(((1,), (4,), (17,), (2, 3), (3, 4, 4))))
        options = {"input_dim": int(np.prod(shape))}
    if kind is TwoLayerNet:
        options["hidden_dim"] = draw(st.integers(1, 20))
    if kind is FullyConnectedNet:
        options |= {"hidden_dims": draw(st.lists(st.integers(1, 20), max_size=3)), "dtype": dtype,
                    "normalization": draw(st.sampled_from((None, "batchnorm", "layernorm"))),
                    "dropout": draw(st.sampled_from((1, 0.5, 0.9))), "seed": draw(st.sampled_from((None, 3)))}
    return kind, options | {"num_classes": classes, "reg": reg, "weight_scale": 0.3}, shape


def found(backend, network, X, y):
    """(scores, loss, gradients) or the kind of error."""
    kind, options, _ = network
    np.random.seed(1)
    try:
        with daseCV_c.use_backend(backend), np.errstate(all="ignore"):
            model = kind(**options)
            loss, grads = model.loss(X, y)
            return model.loss(X), loss, grads
    except ERRORS as error:
        return type(error)


def near(one, other, eps):
    assert type(one) is type(other)
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            near(one[key], other[key], eps)
        return
    one, other = np.asarray(one), np.asarray(other)
    assert one.dtype == other.dtype and one.shape == other.shape
    finite = np.isfinite(other)
    np.testing.assert_array_equal(np.isfinite(one), finite)
    top = np.abs(other[finite]).max(initial=1)
    assert np.abs(one - other)[finite].max(initial=0) <= eps**0.7 * top


@FUZZ
@given(networks(), st.integers(0, 9), st.integers(0, 2**16), st.data())
def test_networks_of_both_backends(network, n, seed, data):
    kind, options, shape = network
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, *shape)), rng.integers(0, options["num_classes"], n)
    what = data.draw(st.sampled_from(("valid", "valid", "option", "X", "y")))
    if what == "option":
        key = data.draw(st.sampled_from(sorted(options)))
        options[key] = data.draw(st.sampled_from(ODD))
    elif what == "X":
        X = data.draw(st.sampled_from((X[..., :-1], X[0:1] if n else X, X.astype(str), X.tolist(), None, X.T)))
    elif what == "y":
        y = data.draw(st.sampled_from(
            (y[:-1], y + 1, y - 1, y * 1.0, y.astype(np.uint8), y.tolist(), y.reshape(-1, 1))))
    mine, twins = (found(backend, network, X, y) for backend in ("compiled", "numpy"))
    if isinstance(twins, type) or isinstance(mine, type):
        assert mine is twins
        return
    eps = np.finfo(twins[0].dtype).eps
    for one, other in zip(mine, twins, strict=True):
        near(one, other, eps)


@FUZZ
@given(networks(), st.sampled_from(RULES), st.integers(1, 9), st.integers(2, 11), st.integers(0, 2**16))
def test_the_fused_step_and_the_layers(network, update_rule, batch_size, n, seed):
    kind, options, shape = network
    if kind is ThreeLayerConvNet or options.get("normalization") == "batchnorm" and batch_size == 1:
        return
    options |= {} if kind is TwoLayerNet else {"dtype": np.float64}
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, *shape)), rng.integers(0, options["num_classes"], n)
    data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}

    def trained():
        np.random.seed(2)
        config = {"learning_rate": 1e-3} | ({"epsilon": 1e-2} if update_rule in ADAPTIVE else {})
        solver = Solver(kind(**options), data, update_rule=update_rule, batch_size=batch_size, num_epochs=2,
                        verbose=False, optim_config=config)
        solver.train()
        return solver

    mine = trained()
    with pytest.MonkeyPatch.context() as patch:
        by_layers(patch)
        other = trained()
    if kind is TwoLayerNet:
        np.testing.assert_allclose(mine.loss_history, other.loss_history, rtol=0, atol=1e-7)
        for name, w in other.model.params.items():
            np.testing.assert_allclose(mine.model.params[name], w, rtol=0, atol=1e-7, err_msg=name)
    else:
        alike(mine, other, atol=1e-7)


EPOCHS, BATCH = 2, 4
_rng = np.random.default_rng(5)
X, Y = _rng.standard_normal((12, 5)), _rng.integers(0, 3, 12)
DATA = {"X_train": X, "y_train": Y, "X_val": X[:7] + 0.1, "y_val": Y[:7]}


class StopAfter:
    """Asks to stop after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def on_step_end(self, solver):
        self.left -= 1
        return self.left == 0


class Plain:
    """The course's training loop, by the twins, with what the Solver adds: stopping, and going on."""

    def __init__(self, model, update_rule, config, decay):
        self.model, self.rule, self.decay = model, getattr(optim, update_rule), decay
        self.configs = {name: dict(config) for name in model.params}
        self.losses, self.best, self.best_acc, self.checked = [], None, 0.0, False
        self.iteration, self.ended, self.paused, self.per_epoch = 0, False, None, len(X) // BATCH

    def weights(self):
        return ({name: w.copy() for name, w in self.model.params.items()},
                [copy.deepcopy(param) for param in self.model.bn_params])

    def put(self, weights):
        params, statistics = weights
        self.model.params.update({name: w.copy() for name, w in params.items()})
        for mine, held in zip(self.model.bn_params, statistics, strict=True):
            mine.clear()
            mine.update(copy.deepcopy(held))

    def train(self, steps=None):
        if self.ended:
            self.iteration, self.ended, self.paused = 0, False, None
        if self.paused is not None:
            self.put(self.paused)
        if not self.checked:
            self.best = self.weights()
        total = EPOCHS * self.per_epoch
        for t in range(self.iteration, total):
            index = np.random.choice(len(X), BATCH)
            loss, grads = self.model.loss(X[index], Y[index])
            self.losses.append(loss)
            for name, w in self.model.params.items():
                self.model.params[name], self.configs[name] = self.rule(w, grads[name], self.configs[name])
            self.iteration = t + 1
            last = (t + 1) % self.per_epoch == 0
            if last:
                for config in self.configs.values():
                    config["learning_rate"] *= self.decay
            if t == 0 or last:
                self.check()
            if steps is not None:
                steps -= 1
                if steps == 0:
                    break
        self.ended, self.paused = self.iteration >= total, self.weights()
        self.put(self.best)

    def check(self):
        accuracy = np.mean(np.argmax(self.model.loss(DATA["X_val"]), axis=1) == DATA["y_val"])
        if accuracy > self.best_acc or not self.checked:
            self.best, self.best_acc, self.checked = self.weights(), accuracy, True


class Trainings(RuleBasedStateMachine):
    """A Solver and a plain loop that are told the same."""

    @initialize(update_rule=st.sampled_from(RULES), normalization=st.sampled_from((None, "batchnorm", "layernorm")),
                dropout=st.sampled_from((1, 0.6)), decay=st.sampled_from((1.0, 0.5)), seed=st.integers(0, 99))
    def begin(self, update_rule, normalization, dropout, decay, seed):
        self.options = {"hidden_dims": [6, 4], "input_dim": 5, "num_classes": 3, "normalization": normalization,
                        "dropout": dropout, "reg": 0.1, "weight_scale": 0.3, "dtype": np.float64}
        config = {"learning_rate": 1e-2} | ({"epsilon": 1e-2} if update_rule in ADAPTIVE else {})
        before = np.random.get_state()
        np.random.seed(seed)
        model = FullyConnectedNet(**self.options)
        np.random.seed(seed)
        self.plain = Plain(FullyConnectedNet(**self.options), update_rule, config, decay)
        self.random = self.plain_random = np.random.get_state()
        np.random.set_state(before)
        self.solver = Solver(model, DATA, update_rule=update_rule, optim_config=config, lr_decay=decay,
                             batch_size=BATCH, num_epochs=EPOCHS, verbose=False)

    def both(self, solver, plain):
        before = np.random.get_state()
        try:
            np.random.set_state(self.random)
            solver()
            self.random = np.random.get_state()
            np.random.set_state(self.plain_random)
            with daseCV_c.use_backend("numpy"):
                plain()
            self.plain_random = np.random.get_state()
        finally:
            np.random.set_state(before)

    @rule()
    def train(self):
        self.solver.callbacks = []
        self.both(self.solver.train, self.plain.train)

    @rule(steps=st.integers(1, 5))
    def train_some_steps(self, steps):
        self.solver.callbacks = [StopAfter(steps)]
        self.both(self.solver.train, lambda: self.plain.train(steps))
        self.solver.callbacks = []

    @rule()
    def save_and_resume(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "it.npz")
            before = np.random.get_state()
            np.random.set_state(self.random)
            self.solver.save(path)
            np.random.seed(1234)
            self.solver = Solver.resume(path, FullyConnectedNet(**self.options), DATA)
            np.random.set_state(before)
        if self.plain.paused is not None:  # the model goes on from its last parameters, not from the best
            self.plain.put(self.plain.paused)
        self.plain.paused, self.plain.ended = None, False  # a run that was at its end stays there

    @rule()
    def predict(self):
        with daseCV_c.use_backend("numpy"):
            scores = self.plain.model.loss(X)
        np.testing.assert_allclose(self.solver.model.loss(X), scores, rtol=0, atol=1e-6)
        np.testing.assert_allclose(self.solver.model.predict_proba(X).sum(axis=1), 1)
        clear = np.sort(scores, axis=1)
        clear = clear[:, -1] - clear[:, -2] > 1e-5
        np.testing.assert_array_equal(self.solver.model.predict(X)[clear], np.argmax(scores, axis=1)[clear])

    @rule(rate=st.sampled_from((0.0, 1e-3, 5e-2)))
    def set_the_rate(self, rate):
        for configs in (self.solver.optim_configs, self.plain.configs):
            for config in configs.values():
                config["learning_rate"] = rate

    @precondition(lambda self: self.plain.paused is None or self.plain.ended)
    @rule(factor=st.sampled_from((0.5, -1.0)), place=st.integers(0, 99), in_place=st.booleans())
    def change_a_parameter(self, factor, place, in_place):
        for model in (self.solver.model, self.plain.model):
            name = sorted(model.params)[place % len(model.params)]
            if in_place:
                model.params[name] *= factor
            else:
                model.params[name] = model.params[name] * factor

    @invariant()
    def they_are_alike(self):
        if not hasattr(self, "solver"):
            return
        solver, plain = self.solver, self.plain
        np.testing.assert_equal(self.random, self.plain_random)  # as many were drawn
        np.testing.assert_allclose(solver.loss_history, plain.losses, rtol=0, atol=1e-6)
        assert list(solver.model.params) == list(plain.model.params) and solver.best_val_acc == plain.best_acc
        for name, w in plain.model.params.items():
            np.testing.assert_allclose(solver.model.params[name], w, rtol=0, atol=1e-6, err_msg=name)
            one, other = solver.optim_configs[name], plain.configs[name]
            for key in set(one) & set(other):
                np.testing.assert_allclose(one[key], other[key], rtol=0, atol=1e-6, err_msg=f"{name} {key}")
        for one, other in zip(solver.model.bn_params, plain.model.bn_params, strict=True):
            assert list(one) == list(other)


def test_any_order_of_calls():
    run_state_machine_as_test(Trainings, settings=settings(FUZZ, stateful_step_count=8))

"""The Solver's step in one kernel call: copies, resuming, sharing, overriding, errors, interruptions."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from adversarial import frozen
from fusing import alike, by_layers, data_of, net_of, record, solver_of
from stepping import RULES

import daseCV_c
from daseCV_c import optim
from daseCV_c._step import fully_connected as _engine
from daseCV_c._step import whole
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

pytestmark = pytest.mark.compiled


@pytest.fixture
def calls(monkeypatch):
    return record(monkeypatch)


def test_the_dicts_that_layers_of_any_model_change():
    """Those with a mode, alone or in a list, and those of the package's own networks."""
    own, listed, plain = {"mode": "train"}, [{"mode": "train"}, {"p": 1, "mode": "test"}], {"seed": 3}
    model = SimpleNamespace(norm=own, again=own, all=listed, options=plain, names=["a", {"mode": "train"}],
                            params=[{"mode": 1.0}], bn_params=[{}], dropout_param={"p": 0.5}, reg=0.1)
    found = whole.layer_dicts(model)
    expected = [own, *listed, *model.bn_params, model.dropout_param]
    assert list(map(id, found)) == list(map(id, expected))
    assert whole.layer_dicts(object()) == []


@pytest.mark.parametrize("t", [2**31 - 1, 2**31, 2**40])
def test_a_count_of_steps_that_is_too_large(t, calls):
    solver = solver_of("adam")
    for config in solver.optim_configs.values():
        config["t"] = t
    with pytest.raises(ValueError, match="expected the number of steps taken"):
        solver._step()


@pytest.mark.parametrize("again", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("rule", RULES)
def test_a_copied_solver_goes_on_with_the_same_bits(rule, again, calls):
    def start():
        np.random.seed(9)
        solver = solver_of(rule, net_of("dropout", dtype=np.float32), data_of(np.float32))
        for _ in range(4):
            solver._step()
        return solver

    alone, copied = start(), again(start())
    after = np.random.get_state()
    for solver in (alone, copied):
        np.random.set_state(after)
        for _ in range(4):
            solver._step()
    assert all(calls) and len(calls) == 16
    assert frozen([alone.loss_history, alone.model.params, alone.optim_configs, alone.model.bn_params]) == frozen(
        [copied.loss_history, copied.model.params, copied.optim_configs, copied.model.bn_params])


@pytest.mark.parametrize("rule", RULES)
def test_resuming_with_the_states_gives_the_same_bits(rule, tmp_path, calls):
    """Two epochs, a checkpoint, and a new Solver with the states: the third epoch of an uninterrupted run."""
    def steps(solver, epochs):
        for _ in range(epochs):
            for _ in range(3):
                solver._step()
            for config in solver.optim_configs.values():
                config["learning_rate"] *= solver.lr_decay

    np.random.seed(9)
    alone = solver_of(rule, net_of("batchnorm"))
    steps(alone, 3)
    np.random.seed(9)
    first = solver_of(rule, net_of("batchnorm"))
    steps(first, 2)
    first.save(tmp_path / "c")
    np.random.seed(9)
    second = type(first).resume(tmp_path / "c", net_of("batchnorm"), data_of())
    np.random.set_state(second._paused[1])
    steps(second, 1)
    assert all(calls)
    assert alone.loss_history == second.loss_history
    assert frozen([alone.model.params, alone.optim_configs]) == frozen([second.model.params, second.optim_configs])


def test_two_solvers_on_one_model_in_turn(monkeypatch, calls):
    def in_turn():
        np.random.seed(9)
        model = net_of("batchnorm")
        solvers = [solver_of(rule, model, optim_config={"learning_rate": 1e-2}) for rule in ("sgd_momentum", "sgd")]
        for _ in range(4):
            for solver in solvers:
                solver._step()
        return solvers

    mine = in_turn()
    assert calls == [True] * 8
    by_layers(monkeypatch)
    for one, two in zip(mine, in_turn(), strict=True):
        alike(one, two)


def test_one_array_under_two_names(monkeypatch):
    def trained():
        model = FullyConnectedNet([12], input_dim=12, num_classes=12, reg=0.5, dtype=np.float64)
        model.params["W2"] = model.params["W1"] = net_of(hidden=(12,)).params["W1"]
        np.random.seed(9)
        solver = solver_of("sgd", model)
        for _ in range(4):
            solver._step()
        assert model.params["W1"] is model.params["W2"]
        return solver

    with daseCV_c.num_threads(3):
        mine = trained()
    by_layers(monkeypatch)
    alike(mine, trained())


class Doubled(FullyConnectedNet):
    def loss(self, X, y=None):
        out = super().loss(X, y)
        return out if y is None else (2 * out[0], {name: 2 * grad for name, grad in out[1].items()})


class Shifted(Solver):
    def _batch(self, index):
        return super()._batch(index) + 1


def test_what_was_overridden_or_put_in_place_is_called(monkeypatch, calls):
    np.random.seed(4)
    model = Doubled([9, 17], input_dim=12, num_classes=4, weight_scale=0.3, dtype=np.float64)
    plain, doubled = solver_of(), solver_of(model=model)
    shifted = Shifted(net_of(), data_of(), verbose=False, batch_size=20)
    for solver in (plain, doubled, shifted):
        np.random.seed(1)
        solver._step()
    assert calls == [True]
    assert doubled.loss_history[0] == pytest.approx(2 * plain.loss_history[0])
    assert shifted.loss_history[0] != plain.loss_history[0]

    seen, real = [], FullyConnectedNet.loss
    monkeypatch.setattr(FullyConnectedNet, "loss", lambda self, X, y=None: seen.append(1) or real(self, X, y))
    solver_of()._step()
    assert seen == [1]
    monkeypatch.undo()
    model = net_of()
    model.loss = lambda X, y=None: seen.append(2) or real(model, X, y)
    solver_of(model=model)._step()
    assert seen == [1, 2]
    monkeypatch.setattr(optim, "adam", lambda w, dw, config=None: seen.append(3) or (w, config))
    solver_of()._step()
    assert seen == [1, 2, *[3] * 6]


def test_other_dtypes_of_data_and_labels(monkeypatch, calls):
    for data_dtype, dtype, label in ((np.float32, np.float64, np.uint8), (np.float64, np.float32, np.int16)):
        both = []
        for patch in (False, True):
            with monkeypatch.context() as context:
                if patch:
                    by_layers(context)
                np.random.seed(9)
                data = data_of(data_dtype)
                data["y_train"] = data["y_train"].astype(label)
                both.append(solver_of("sgd", net_of("batchnorm", dtype=dtype), data, batch_size=200))
                both[-1].train()
        alike(*both, atol=1e-9 if dtype == np.float64 else 1e-5)
    assert calls == [True] * 6


def refusals():
    def wrong(name, change):
        return pytest.param(change, id=name)

    def label(value):
        def change(solver):
            solver.y_train[...] = value
        return change

    def param(name, make):
        def change(solver):
            solver.model.params[name] = make(solver.model.params[name])
        return change

    def setting(name, value):
        return lambda solver: setattr(solver.model, name, value)

    yield wrong("label too high", label(4))
    yield wrong("label below zero", label(-1))
    yield wrong("W1 too short", param("W1", lambda w: w[1:].copy()))
    yield wrong("W2 too wide", param("W2", lambda w: np.hstack([w, w])))
    yield wrong("b2 too long", param("b2", lambda w: np.append(w, 1.0)))
    yield wrong("gamma1 too short", param("gamma1", lambda w: w[1:].copy()))
    yield wrong("a matrix for a vector", param("b1", lambda w: w[:, None]))
    yield wrong("complex", param("W1", lambda w: w.astype(complex)))
    yield wrong("text", param("b1", lambda w: w.astype(str)))
    yield wrong("normalization", setting("normalization", "groupnorm"))
    yield wrong("statistics", setting("bn_params", [{"running_mean": np.zeros(3)}] * 2))
    yield wrong("eps", setting("bn_params", [{"eps": "a"}] * 2))
    yield wrong("labels of floats", lambda s: setattr(s, "y_train", s.y_train + 0.5))
    yield wrong("images", lambda s: setattr(s, "X_train", s.X_train[:, 1:].copy()))


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("change", list(refusals()))
def test_errors_are_those_of_the_layers(monkeypatch, change, after):
    said = []
    for patch in (False, True):
        with monkeypatch.context() as context:
            if patch:
                by_layers(context)
            solver = solver_of(model=net_of("batchnorm"))
            for _ in range(after):
                solver._step()
            change(solver)
            before = frozen([solver.model.params, solver.optim_configs])
            with pytest.raises((ValueError, TypeError)) as caught:
                solver._step()
            assert frozen([solver.model.params, solver.optim_configs]) == before
            assert len(solver.loss_history) == after
            said.append((caught.type, str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("make", [net_of, lambda: TwoLayerNet(12, 9, 4, weight_scale=0.3)], ids=["full", "two"])
def test_gradients_are_the_callers_own(make):
    net, data = make(), data_of()
    X, y = data["X_train"], data["y_train"]
    _, first = net.loss(X, y)
    kept = frozen(first)
    _, second = net.loss(X + 1, y)
    assert frozen(first) == kept
    for name, grad in first.items():
        assert grad.flags.writeable and grad.flags.owndata
        for other in (*second.values(), *net.params.values(), X):
            assert not np.shares_memory(grad, other), name


def test_an_interruption_is_not_swallowed(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    solver = solver_of()
    monkeypatch.setattr(_engine, "_run", interrupted)
    before = frozen([solver.model.params, solver.optim_configs])
    with pytest.raises(KeyboardInterrupt):
        solver.train()
    with pytest.raises(KeyboardInterrupt):
        solver.model.loss(solver.X_train, solver.y_train)
    assert frozen([solver.model.params, solver.optim_configs]) == before


def test_the_numpy_backend_does_without_it(calls):
    with daseCV_c.use_backend("numpy"):
        solver_of()._step()
    assert calls == [False]

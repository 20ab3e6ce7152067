"""Generators of one's own: what is drawn from them depends on nobody else."""

import copy
import pickle
import threading

import numpy as np
import pytest
from adversarial import frozen
from fusing import by_layers

from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.layers import dropout_forward
from daseCV_c.solver import Solver


def position():
    return frozen(np.random.get_state())


MAKERS = {
    "two": lambda seed: TwoLayerNet(4, 5, 3, seed=seed),
    "cnn": lambda seed: ThreeLayerConvNet((2, 4, 4), 2, 3, 5, 3, seed=seed),
    "full": lambda seed: FullyConnectedNet([5, 6], 4, 3, seed=None if seed is None else np.random.RandomState(seed)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_initial_weights(kind):
    before = position()
    net = MAKERS[kind](7)
    assert position() == before, "nothing is drawn from the global generator"
    np.random.seed(7)
    expected = MAKERS[kind](None)
    assert frozen(net.params) == frozen(expected.params), "the numbers that np.random.seed gives"
    assert frozen(MAKERS[kind](8).params) != frozen(net.params)


def test_a_generator_may_be_shared():
    own = np.random.RandomState(7)
    nets = [TwoLayerNet(4, 5, 3, seed=own) for _ in range(2)]
    assert frozen(nets[0].params) == frozen(MAKERS["two"](7).params) != frozen(nets[1].params)


def test_an_integer_stays_the_courses():
    """In FullyConnectedNet it says which masks are drawn: weights come from the global generator."""
    np.random.seed(1)
    first = FullyConnectedNet([5], 4, 3, dropout=0.5, seed=7)
    np.random.seed(1)
    second = FullyConnectedNet([5], 4, 3, dropout=0.5)
    assert frozen(first.params) == frozen(second.params)
    assert first.dropout_param["seed"] == 7 and first.generator is None


@pytest.mark.parametrize(("seed", "kind", "message"), [
    (-1, ValueError, "seed is -1"), (2**32, ValueError, "seed is 4294967296"), (1.5, TypeError, "seed is 1.5"),
    ("1", TypeError, "seed is '1'"), (True, TypeError, "seed is True"),
    (np.random.default_rng(1), TypeError, "seed is a numpy.random.Generator, expected"),
])
def test_errors(seed, kind, message):
    with pytest.raises(kind, match=f"TwoLayerNet: {message}"):
        TwoLayerNet(4, 5, 3, seed=seed)
    with pytest.raises(kind, match=f"ThreeLayerConvNet: {message}"):
        ThreeLayerConvNet(seed=seed)


def test_a_generator_of_another_kind():
    with pytest.raises(TypeError, match="FullyConnectedNet: seed is a numpy.random.Generator"):
        FullyConnectedNet([5], seed=np.random.default_rng(1))
    with pytest.raises(TypeError, match=r"dropout_forward: dropout_param\['generator'\] is 3"):
        dropout_forward(np.ones((2, 3)), {"p": 0.5, "mode": "train", "generator": 3})
    net = FullyConnectedNet([5], 4, 3, dropout=0.5)
    net.dropout_param["generator"] = 3
    with pytest.raises(TypeError, match="'generator'"):
        net.loss(np.ones((2, 4)), [0, 1])


# Dropout.

def test_masks(backend, dtype):
    x = np.ones((9, 7), dtype)
    before = position()
    param = {"p": 0.6, "mode": "train", "generator": np.random.RandomState(3), "seed": 1}
    masks = [dropout_forward(x, param)[1][1] for _ in range(2)]
    dropout_forward(x, param | {"mode": "test"})
    assert position() == before
    np.random.seed(3)
    for mask in masks:
        np.testing.assert_array_equal(mask, np.asarray((np.random.rand(9, 7) < 0.6) / 0.6, dtype))


def net_with_dropout(dtype=np.float64, normalization="batchnorm"):
    return FullyConnectedNet([6, 5], 4, 3, dropout=0.5, normalization=normalization, weight_scale=0.5, dtype=dtype,
                             seed=np.random.RandomState(3))


def test_the_fused_step_draws_what_the_layers_draw(monkeypatch, backend):
    X, y = np.random.RandomState(0).randn(8, 4), np.arange(8) % 3
    losses = []
    for patch in (False, True):
        with monkeypatch.context() as context:
            if patch:
                by_layers(context)
            net, before = net_with_dropout(), position()
            losses.append([net.loss(X, y)[0] for _ in range(3)])
            assert position() == before
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert losses[0][0] != losses[0][1], "each call draws a mask of its own"


def test_copies_go_on_alike():
    X, y = np.random.RandomState(0).randn(8, 4), np.arange(8) % 3
    net = net_with_dropout()
    net.loss(X, y)
    twins = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    losses = [net.loss(X, y)[0] for _ in range(2)]
    for twin in twins:
        assert twin.generator is twin.dropout_param["generator"] is not net.generator
        assert [twin.loss(X, y)[0] for _ in range(2)] == losses


def test_threads_do_not_disturb_each_other():
    X, y = np.random.RandomState(0).randn(8, 4), np.arange(8) % 3
    alone = [net_with_dropout().loss(X, y)[0]]
    found = {}

    def train(name):
        net = net_with_dropout()
        found[name] = [net.loss(X, y)[0] for _ in range(200)]

    train("alone")
    threads = [threading.Thread(target=train, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["alone"][:1] == alone
    assert all(found[name] == found["alone"] for name in range(3))


# Solver.

def data_of(n=40):
    X = np.random.RandomState(0).randn(n, 4)
    return {"X_train": X, "y_train": np.arange(n) % 3, "X_val": X[:20], "y_val": np.arange(20) % 3}


def solver_of(model=None, seed=5, **more):
    return Solver(net_with_dropout() if model is None else model, data_of(), seed=seed, num_epochs=3, batch_size=8,
                  num_train_samples=10, num_val_samples=7, verbose=False, **more)


def histories(solver):
    return solver.loss_history, solver.train_acc_history, solver.val_acc_history, frozen(solver.model.params)


def test_a_training_draws_nothing_from_the_global_generator(backend):
    before, found = position(), []
    for _ in range(2):
        solver = solver_of()
        solver.train()
        found.append(histories(solver))
    assert position() == before and found[0] == found[1]
    other = solver_of(seed=6)
    other.train()
    assert histories(other) != found[0]


@pytest.mark.filterwarnings("ignore:Solver. after 3 epochs")  # it has learnt nothing by then
def test_the_numbers_of_the_global_generator(backend):
    """A seed gives what np.random.seed gives: the same samples, in the same order."""
    two = [TwoLayerNet(4, 5, 3, weight_scale=0.1, seed=1) for _ in range(2)]
    with_own, with_global = solver_of(two[0], seed=5), solver_of(two[1], seed=None)
    with_own.train()
    np.random.seed(5)
    with_global.train()
    assert histories(with_own) == histories(with_global) and with_global.generator is None


@pytest.mark.filterwarnings("ignore:Solver. after 3 epochs")  # it has learnt nothing by then
def test_the_network_and_the_solver_may_share_a_generator():
    found = []
    for _ in range(2):
        own = np.random.RandomState(3)
        solver = solver_of(FullyConnectedNet([6], 4, 3, dropout=0.5, seed=own), seed=own)
        assert solver.generator is solver.model.generator is own
        solver.train()
        found.append(histories(solver))
    assert found[0] == found[1]


def test_trainings_in_threads(backend):
    def train():
        solver = solver_of(update_rule="adam")
        solver.train()
        return histories(solver)

    alone, found = train(), {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: train()})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == [alone] * 4


def test_a_copied_solver_goes_on_alike():
    solver = solver_of()
    for _ in range(2):
        solver._step()
    twins = copy.deepcopy(solver), pickle.loads(pickle.dumps(solver))
    for each in (solver, *twins):
        for _ in range(3):
            each._step()
    assert frozen(twins[0].loss_history) == frozen(twins[1].loss_history) == frozen(solver.loss_history)


def test_errors_of_the_solvers_seed():
    with pytest.raises(ValueError, match="Solver: seed is -1"):
        solver_of(seed=-1)
    with pytest.raises(TypeError, match="Solver: seed is a numpy.random.Generator, expected"):
        solver_of(seed=np.random.default_rng(1))

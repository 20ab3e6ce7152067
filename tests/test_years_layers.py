"""A layer that somebody puts into the modules is what the networks compute with."""

import importlib
from types import ModuleType

import numpy as np
import pytest

import daseCV.classifiers.cnn
import daseCV.classifiers.fc_net
from daseCV_c import fast_layers, layer_utils, layers
from daseCV_c._layers import chosen
from daseCV_c.classifiers import cnn, fc_net
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

pytestmark = pytest.mark.usefixtures("backend")
X, Y = np.random.RandomState(1).randn(6, 1, 4, 4), np.array([0, 1, 2, 0, 1, 2])
NETWORKS = {
    "two": lambda: TwoLayerNet(16, 5, 3, reg=0.1),
    "deep": lambda: FullyConnectedNet([5, 4], 16, 3, reg=0.1, dtype=np.float64, seed=7),
    "dropout": lambda: FullyConnectedNet([5, 4], 16, 3, reg=0.1, dropout=0.5, dtype=np.float64, seed=7),
    "batchnorm": lambda: FullyConnectedNet([5, 4], 16, 3, normalization="batchnorm", dtype=np.float64, dropout=0.5),
    "layernorm": lambda: FullyConnectedNet([5, 4], 16, 3, normalization="layernorm", dtype=np.float64),
    "cnn": lambda: ThreeLayerConvNet((1, 4, 4), 2, 3, 5, 3, reg=0.1, dtype=np.float64),
}
# Of each network the layers of its own, and its sandwiches.
FULLY = ["affine", "relu", "affine_relu"]
USED = {
    "two": FULLY, "deep": FULLY, "dropout": [*FULLY, "dropout"],
    "batchnorm": ["affine", "relu", "batchnorm", "affine_bn_relu", "dropout"],
    "layernorm": ["affine", "relu", "layernorm", "affine_ln_relu"],
    "cnn": [*FULLY, "conv_relu_pool"],
}
SCORED = [(net, kind) for net, kinds in USED.items() for kind in kinds]


def counted(function, calls):
    def mine(*args, **kwargs):
        calls.append(function.__name__)
        return function(*args, **kwargs)
    return mine


def trained(model):
    np.random.seed(3)
    Solver(model, {"X_train": X, "y_train": Y, "X_val": X, "y_val": Y}, update_rule="adam", batch_size=4, num_epochs=2,
           verbose=False).train()
    return model.params


def home(kind):
    """The module that a course has it in."""
    return layer_utils if kind not in ("conv", "max_pool") and "_" in kind else layers


@pytest.mark.parametrize(("net", "kind"), SCORED)
@pytest.mark.parametrize("where", ["where it is", "the network's module"])
def test_used_in_scores_gradients_and_training(monkeypatch, net, kind, where):
    model = NETWORKS[net]()
    usual = model.loss(X), trained(NETWORKS[net]())
    module = home(kind) if where == "where it is" else importlib.import_module(type(model).__module__)
    calls = []
    for way in ("forward", "backward"):
        name = f"{kind}_{way}"
        monkeypatch.setattr(module, name, counted(getattr(module, name), calls))
    assert f"{kind}_forward" in type(model)._chosen.replaced()
    np.random.seed(5)
    scores = model.loss(X)
    assert calls and set(calls) == {f"{kind}_forward"}
    np.testing.assert_allclose(scores, usual[0], rtol=1e-12)
    calls.clear()
    model.predict(X)
    assert calls
    calls.clear()
    model.loss(X, Y)
    assert set(calls) == {f"{kind}_forward", f"{kind}_backward"}
    calls.clear()
    np.random.seed(231)
    model = NETWORKS[net]()
    params = trained(model)
    # Four steps of two epochs each call it, and the checks between them.
    assert calls.count(f"{kind}_backward") >= 2
    monkeypatch.undo()
    np.random.seed(231)
    expected = trained(NETWORKS[net]())
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("module", "name"), [
    (fast_layers, "conv_{}_fast"), (fast_layers, "max_pool_{}_fast"), (layers, "conv_{}_naive"),
    (layers, "max_pool_{}_naive"), (cnn, "conv_{}_fast")])
def test_layers_of_images(monkeypatch, module, name):
    model, calls = NETWORKS["cnn"](), []
    loss, grads = model.loss(X, Y)
    for way in ("forward", "backward"):
        monkeypatch.setattr(module, name.format(way), counted(getattr(module, name.format(way)), calls))
    found, mine = model.loss(X, Y)
    assert set(calls) == {name.format("forward"), name.format("backward")}
    assert found == pytest.approx(loss, rel=1e-12)
    for key in grads:
        np.testing.assert_allclose(mine[key], grads[key], rtol=1e-9, atol=1e-14)


def test_wrong_layers_give_wrong_numbers(monkeypatch):
    """What comes out is what they gave, not what the kernels would have."""
    model = NETWORKS["deep"]()
    loss, grads = model.loss(X, Y)
    monkeypatch.setattr(layers, "relu_backward", lambda dout, cache: np.zeros_like(dout))
    assert model.loss(X, Y)[0] == pytest.approx(loss)
    np.testing.assert_allclose(model.loss(X, Y)[1]["W3"], grads["W3"])
    np.testing.assert_allclose(model.loss(X, Y)[1]["W1"], 0.1 * model.params["W1"])
    monkeypatch.setattr(fc_net, "softmax_loss", lambda x, y: (1.5, np.zeros_like(x)))
    model.reg = 0
    assert model.loss(X, Y)[0] == 1.5


def test_batchnorm_backward_by_either_name(monkeypatch):
    for name in ("batchnorm_backward", "batchnorm_backward_alt"):
        calls = []
        with monkeypatch.context() as patch:
            patch.setattr(layers, name, counted(getattr(layers, name), calls))
            NETWORKS["batchnorm"]().loss(X, Y)
        assert calls == [name] * 2


def test_the_networks_own_module_comes_first(monkeypatch):
    for module, value in ((layers, 1.0), (fc_net, 2.0)):
        monkeypatch.setattr(module, "softmax_loss", lambda x, y, value=value: (value, np.zeros_like(x)))
    assert TwoLayerNet(16, 5, 3).loss(X, Y)[0] == 2.0
    assert NETWORKS["cnn"]().loss(X, Y)[0] > 1.0  # with the penalty: those of `layers`
    assert ThreeLayerConvNet((1, 4, 4), 2, 3, 5, 3).loss(X, Y)[0] == 1.0


def test_a_class_made_from_ours(monkeypatch):
    """Its own `loss` calls its own layer; that of ours, called by it, keeps to what is in the modules."""
    calls = []

    class Mine(TwoLayerNet):
        def loss(self, X, y=None):
            calls.append("mine")
            hidden, _ = layer_utils.affine_relu_forward(X, self.params["W1"], self.params["b1"])
            scores, _ = layers.affine_forward(hidden, self.params["W2"], self.params["b2"])
            return scores if y is None else super().loss(X, y)

    model = Mine(16, 5, 3)
    np.testing.assert_allclose(model.loss(X), model._score(X))
    monkeypatch.setattr(layers, "relu_backward", counted(layers.relu_backward, calls))
    trained(model)
    assert calls.count("relu_backward") == 2 and calls.count("mine") >= 4
    model.predict(X)
    assert calls[-1] == "mine"


def test_put_back_and_loaded_again():
    model = NETWORKS["deep"]()
    ours, loss = layers.affine_forward, model.loss(X, Y)[0]
    layers.affine_forward = lambda x, w, b: (np.zeros((len(x), w.shape[1])), (x, w, b))
    assert model.loss(X, Y)[0] != loss
    importlib.reload(daseCV.layers)
    assert layers.affine_forward is ours and not model._chosen.changed() and model.loss(X, Y)[0] == loss
    del layers.affine_forward
    assert model.loss(X, Y)[0] == pytest.approx(loss)
    layers.affine_forward = ours
    assert model.loss(X, Y)[0] == loss and not model._chosen.replaced()


def test_a_module_changed_by_its_dict_is_noticed_by_training(monkeypatch):
    calls = []
    with monkeypatch.context() as patch:
        patch.setitem(vars(layers), "affine_backward", counted(layers.affine_backward, calls))
        trained(NETWORKS["two"]())
    assert calls
    TwoLayerNet._chosen.look()
    assert not TwoLayerNet._chosen.changed()


def test_a_module_is_preferred_once(monkeypatch):
    monkeypatch.setattr(chosen, "_preferred", [])
    module = ModuleType("mine")
    module.affine_forward = lambda x, w, b: (x, None)
    assert chosen.prefer(module) == ["affine_forward"] and chosen.prefer(module) == []

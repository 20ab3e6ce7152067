"""Wrong arguments: the type of the error, what it names, and that nothing was changed before it."""

import re

import numpy as np
import pytest
import stepping
from adversarial import frozen

from daseCV_c import fast_layers, layer_utils, layers, optim
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import gather_batch
from daseCV_c.solver import Solver

RULES = [getattr(optim, rule) for rule in stepping.RULES]
OBJECTS = {
    "object": lambda *shape: np.full(shape, None, dtype=object),
    "complex": lambda *shape: np.ones(shape, complex),
    "string": lambda *shape: np.full(shape, "a"),
    "datetime": lambda *shape: np.zeros(shape, "datetime64[s]"),
}
if np.dtype(np.longdouble).itemsize > 8:
    OBJECTS["longdouble"] = lambda *shape: np.ones(shape, np.longdouble)


def ones(*shape):
    return np.ones(shape)


def read_only(*shape):
    array = np.ones(shape)
    array.setflags(write=False)
    return array


def bn(**more):
    return {"mode": "train"} | more


def train(p=0.5, **more):
    return {"p": p, "mode": "train"} | more


def bn_cache(mode="train"):
    param = {"mode": mode, "running_mean": np.zeros(4), "running_var": np.ones(4)}
    return layers.batchnorm_forward(np.arange(12.0).reshape(3, 4), ones(4), ones(4), param)[1]


def ln_cache():
    return layers.layernorm_forward(np.arange(12.0).reshape(3, 4), ones(4), ones(4), {})[1]


def conv(stride=1, pad=1):
    return {"stride": stride, "pad": pad}


def conv_cache(**more):
    """Of four images of 3 x 5 x 5 and two filters of 3 x 3 x 3."""
    held = {"x": ones(4, 3, 5, 5), "w": ones(2, 3, 3, 3), "b": ones(2), "conv_param": conv()} | more
    return tuple(held.values())


L, U = layers, layer_utils
CONV_FORWARD = (L.conv_forward_naive, fast_layers.conv_forward_fast, U.conv_relu_forward)
CONV_BACKWARD = (L.conv_backward_naive, fast_layers.conv_backward_fast)
# function, a maker of arguments, the error, what its message names
CASES = [
    (L.affine_forward, lambda: (ones(2, 3), ones(4, 5), ones(5)), ValueError, "x"),
    (L.affine_forward, lambda: (ones(2, 4, 5, 6), ones(100, 5), ones(5)), ValueError, "x"),
    (L.affine_forward, lambda: (ones(2, 3), ones(3), ones(5)), ValueError, "w"),
    (L.affine_forward, lambda: (ones(2, 3), ones(3, 5, 1), ones(5)), ValueError, "w"),
    (L.affine_forward, lambda: (ones(2, 3), ones(3, 5), ones(4)), ValueError, "b"),
    (L.affine_forward, lambda: (ones(2, 3), ones(3, 5), ones(1)), ValueError, "b"),
    (L.affine_forward, lambda: (ones(2, 3), ones(3, 5), ones(5, 1)), ValueError, "b"),
    (L.affine_forward, lambda: (1.0, ones(3, 5), ones(5)), ValueError, "x"),
    (L.affine_forward, lambda: ([[1.0], [1.0, 2.0]], ones(3, 5), ones(5)), ValueError, "x"),
    (L.affine_forward, lambda: (None, ones(3, 5), ones(5)), TypeError, "x"),
    (L.affine_backward, lambda: (ones(3, 5), (ones(2, 3), ones(3, 5), ones(5))), ValueError, "dout"),
    (L.affine_backward, lambda: (ones(2, 1), (ones(2, 3), ones(3, 5), ones(5))), ValueError, "dout"),
    (L.affine_backward, lambda: (ones(5), (ones(2, 3), ones(3, 5), ones(5))), ValueError, "dout"),
    (L.affine_backward, lambda: (ones(2, 5), (ones(2, 3), ones(3, 5))), ValueError, "cache"),
    (L.affine_backward, lambda: (ones(2, 5), None), ValueError, "cache"),
    (L.affine_backward, lambda: (ones(2, 5), (ones(2, 4), ones(3, 5), ones(5))), ValueError, "x"),
    (L.relu_backward, lambda: (ones(2, 5), ones(5, 2)), ValueError, "dout"),
    (L.relu_backward, lambda: (ones(2, 5), ones(10)), ValueError, "dout"),
    (L.relu_backward, lambda: (ones(5), ones(2, 5)), ValueError, "dout"),
    (L.relu_backward, lambda: (ones(2, 5), None), TypeError, "cache"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), {}), ValueError, "mode"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), {"mode": "training"}), ValueError, "mode"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), {"mode": None}), ValueError, "mode"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), {"mode": ["train"]}), ValueError, "mode"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), None), TypeError, "bn_param"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(3), ones(4), bn()), ValueError, "gamma"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(1), bn()), ValueError, "beta"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(1, 4), ones(4), bn()), ValueError, "gamma"),
    (L.batchnorm_forward, lambda: (ones(4), ones(4), ones(4), bn()), ValueError, "x"),
    (L.batchnorm_forward, lambda: (ones(3, 2, 2), ones(4), ones(4), bn()), ValueError, "x"),
    (L.batchnorm_forward, lambda: (ones(0, 4), ones(4), ones(4), bn()), ValueError, "x"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(running_mean=ones(3))), ValueError, "running_mean"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(running_var=ones(4, 1))), ValueError,
     "running_var"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(running_var="a")), TypeError, "running_var"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(eps="small")), TypeError, "eps"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(eps=-1.0)), ValueError, "eps"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(momentum=None)), TypeError, "momentum"),
    (L.batchnorm_forward, lambda: (ones(3, 4), ones(4), ones(4), bn(momentum=1j)), TypeError, "momentum"),
    (L.layernorm_forward, lambda: (ones(3, 4), ones(4), ones(4), None), TypeError, "ln_param"),
    (L.layernorm_forward, lambda: (ones(3, 4), ones(4), ones(4), {"eps": "a"}), TypeError, "eps"),
    (L.layernorm_forward, lambda: (ones(3, 4), ones(3), ones(4), {}), ValueError, "gamma"),
    (L.layernorm_forward, lambda: (ones(3, 4), ones(4), ones(3), {}), ValueError, "beta"),
    (L.layernorm_forward, lambda: (ones(4), ones(4), ones(4), {}), ValueError, "x"),
    (L.layernorm_forward, lambda: (ones(3, 0), ones(0), ones(0), {}), ValueError, "x"),
    *[(function, lambda: (ones(3, 5), bn_cache()), ValueError, "dout")
      for function in (L.batchnorm_backward, L.batchnorm_backward_alt)],
    *[(function, lambda: (ones(12), bn_cache("test")), ValueError, "dout")
      for function in (L.batchnorm_backward, L.batchnorm_backward_alt)],
    *[(function, lambda: (ones(3, 4), bn_cache()[:2]), ValueError, "cache")
      for function in (L.batchnorm_backward, L.batchnorm_backward_alt)],
    *[(function, lambda: (ones(3, 4), None), ValueError, "cache")
      for function in (L.batchnorm_backward, L.batchnorm_backward_alt, L.layernorm_backward)],
    *[(function, lambda: (ones(3, 4), (ones(3, 4), ones(3, 4), ones(4), ones(4))), ValueError, "cache")
      for function in (L.batchnorm_backward, L.batchnorm_backward_alt)],
    (L.layernorm_backward, lambda: (ones(4, 3), ln_cache()), ValueError, "dout"),
    (L.layernorm_backward, lambda: (ones(12), ln_cache()), ValueError, "dout"),
    (L.layernorm_backward, lambda: (ones(3, 4), ln_cache()[:1]), ValueError, "cache"),
    *[(L.dropout_forward, lambda p=p, mode=mode: (ones(3, 4), {"p": p, "mode": mode}), ValueError, "p")
      for p in (0, 0.0, -0.1, 1.0001, 2, np.nan, np.inf) for mode in ("train", "test")],
    (L.dropout_forward, lambda: (ones(3, 4), train(p="half")), TypeError, "p"),
    (L.dropout_forward, lambda: (ones(3, 4), train(p=None)), TypeError, "p"),
    (L.dropout_forward, lambda: (ones(3, 4), {"mode": "train"}), ValueError, "p"),
    (L.dropout_forward, lambda: (ones(3, 4), {"p": 0.5}), ValueError, "mode"),
    (L.dropout_forward, lambda: (ones(3, 4), {"p": 0.5, "mode": "eval"}), ValueError, "mode"),
    (L.dropout_forward, lambda: (ones(3, 4), 0.5), TypeError, "dropout_param"),
    (L.dropout_backward, lambda: (ones(4, 3), L.dropout_forward(ones(3, 4), train())[1]), ValueError, "dout"),
    (L.dropout_backward, lambda: (ones(12), L.dropout_forward(ones(3, 4), train())[1]), ValueError, "dout"),
    (L.dropout_backward, lambda: (ones(3, 4), None), ValueError, "cache"),
    (L.dropout_backward, lambda: (ones(3, 4), (train(),)), ValueError, "cache"),
    *[(function, lambda y=y: (ones(3, 5), np.array(y)), ValueError, "y")
      for function in (L.svm_loss, L.softmax_loss)
      for y in ([0, -1, 2], [0, 5, 2], [0, 1], [0, 1, 2, 3], [[0], [1], [2]], 1, [0, 2**40, 1], [-2**63, 0, 0])],
    *[(function, lambda y=y: (ones(3, 5), np.array(y)), TypeError, "y")
      for function in (L.svm_loss, L.softmax_loss)
      for y in ([0.0, 1.0, 2.0], [True, False, True], ["a", "b", "c"], [None] * 3, [1j] * 3)],
    *[(function, lambda: (ones(3, 5), np.array([0, 2**64 - 1, 0], np.uint64)), ValueError, "y")
      for function in (L.svm_loss, L.softmax_loss)],
    *[(function, lambda shape=shape: (ones(*shape), np.zeros(shape[0], int)), ValueError, "x")
      for function in (L.svm_loss, L.softmax_loss) for shape in ((0, 5), (3, 0), (3,), (3, 2, 2))],
    (optim.sgd, lambda: (read_only(3), ones(3)), ValueError, "w"),
    (optim.sgd, lambda: ([1.0, 2.0], ones(2)), TypeError, "w"),
    (optim.sgd, lambda: (np.arange(3), ones(3)), TypeError, "w"),
    *[(function, lambda: (ones(3), ones(4)), ValueError, "dw")
      for function in RULES],
    *[(function, lambda: (ones(3, 2), ones(2)), ValueError, "dw")
      for function in RULES],
    *[(function, lambda: (ones(3), ones(3), [1e-2]), TypeError, "config")
      for function in RULES],
    *[(function, lambda: (ones(3), ones(3), {"learning_rate": "1e-2"}), TypeError, "learning_rate")
      for function in RULES],
    (optim.sgd_momentum, lambda: (ones(3), ones(3), {"velocity": ones(1)}), ValueError, "velocity"),
    (optim.sgd_momentum, lambda: (ones(3), ones(3), {"momentum": None}), TypeError, "momentum"),
    (optim.rmsprop, lambda: (ones(3), ones(3), {"cache": ones(3, 1)}), ValueError, "cache"),
    (optim.rmsprop, lambda: (ones(3), ones(3), {"epsilon": "a"}), TypeError, "epsilon"),
    (optim.adagrad, lambda: (ones(3), ones(3), {"cache": ones(3, 1)}), ValueError, "cache"),
    (optim.adam, lambda: (ones(3), ones(3), {"m": ones(2)}), ValueError, "m"),
    (optim.adam, lambda: (ones(3), ones(3), {"v": ones(4)}), ValueError, "v"),
    (optim.adam, lambda: (ones(3), ones(3), {"t": -1}), ValueError, "t"),
    (optim.adam, lambda: (ones(3), ones(3), {"t": 1.5}), ValueError, "t"),
    (optim.adam, lambda: (ones(3), ones(3), {"t": "one"}), TypeError, "t"),
    (optim.adam, lambda: (ones(3), ones(3), {"beta1": [0.9]}), TypeError, "beta1"),
    (gather_batch, lambda: (ones(3, 2), [3]), IndexError, "index"),
    (gather_batch, lambda: (ones(3, 2), [0, -1]), IndexError, "index"),
    (gather_batch, lambda: (ones(3, 2), [2**40]), IndexError, "index"),
    (gather_batch, lambda: (ones(3, 2), np.array([2**64 - 1], np.uint64)), IndexError, "index"),
    (gather_batch, lambda: (ones(0, 2), [0]), IndexError, "index"),
    (gather_batch, lambda: (ones(3, 2), [[0]]), TypeError, "index"),
    (gather_batch, lambda: (ones(3, 2), [0.0]), TypeError, "index"),
    (gather_batch, lambda: (ones(3, 2), [True, False, True]), TypeError, "index"),
    (gather_batch, lambda: (ones(3, 2), [0], ones(3)), ValueError, "mean"),
    (gather_batch, lambda: (ones(3, 2), [0], 10**4000), ValueError, "mean"),  # no float holds it
    (gather_batch, lambda: (ones(3, 2), [0], 1j * ones(2)), TypeError, "mean"),
    (gather_batch, lambda: (ones(3, 2), [0], None, np.int32), ValueError, "dtype"),
    (gather_batch, lambda: (np.ones((3, 2), complex), [0]), TypeError, "X"),
    *[(function, lambda more=more: conv_cache(**more), error, argument) for function in CONV_FORWARD
      for more, error, argument in (
          ({"x": ones(3, 5, 5)}, ValueError, "x"), ({"x": ones(4, 2, 5, 5)}, ValueError, "x"),
          ({"x": 1.0}, ValueError, "x"), ({"x": None}, TypeError, "x"),
          ({"w": ones(2, 3, 3)}, ValueError, "w"), ({"w": ones(2, 4, 3, 3)}, ValueError, "w"),
          ({"w": ones(2, 3, 0, 3)}, ValueError, "w"), ({"w": ones(2, 3, 8, 3)}, ValueError, "w"),
          ({"w": ones(2, 3, 3, 8)}, ValueError, "w"), ({"x": ones(4, 3, 0, 5)}, ValueError, "w"),
          ({"b": ones(3)}, ValueError, "b"), ({"b": ones(2, 1)}, ValueError, "b"),
          ({"conv_param": None}, TypeError, "conv_param"), ({"conv_param": [1, 1]}, TypeError, "conv_param"),
          ({"conv_param": {"pad": 1}}, ValueError, "stride"), ({"conv_param": {"stride": 1}}, ValueError, "pad"),
          *(({"conv_param": conv(stride=s)}, ValueError, "stride") for s in (0, -1, 2**40)),
          *(({"conv_param": conv(pad=p)}, ValueError, "pad") for p in (-1, 2**40)),
          *(({"conv_param": conv(stride=s)}, TypeError, "stride") for s in (1.0, "1", None, True, [1], np.True_)),
          *(({"conv_param": conv(pad=p)}, TypeError, "pad") for p in (0.5, "1", None, False)),
      )],
    *[(function, lambda dout=dout, cache=cache: (dout, cache), error, argument) for function in CONV_BACKWARD
      for dout, cache, error, argument in (
          (ones(4, 2, 5, 4), conv_cache(), ValueError, "dout"), (ones(4, 2, 25), conv_cache(), ValueError, "dout"),
          (ones(2, 4, 5, 5), conv_cache(), ValueError, "dout"), (None, conv_cache(), TypeError, "dout"),
          (ones(4, 2, 5, 5), None, ValueError, "cache"), (ones(4, 2, 5, 5), conv_cache()[:3], ValueError, "cache"),
          (ones(4, 2, 5, 5), conv_cache(x=ones(4, 2, 5, 5)), ValueError, "x"),
          (ones(4, 2, 5, 5), conv_cache(conv_param=conv(stride=0)), ValueError, "stride"),
      )],
    *[(function, lambda: (ones(4, 2, 5, 5), (1,)), ValueError, "cache")
      for function in (U.conv_relu_backward, U.conv_bn_relu_backward, U.conv_relu_pool_backward)],
    (U.affine_relu_forward, lambda: (ones(2, 3), ones(4, 5), ones(5)), ValueError, "x"),
    (U.affine_relu_backward, lambda: (ones(2, 5), None), ValueError, "cache"),
    (U.affine_bn_relu_backward, lambda: (ones(2, 5), (1, 2)), ValueError, "cache"),
    (U.affine_ln_relu_backward, lambda: (ones(2, 5), (1, 2)), ValueError, "cache"),
]
# Every array argument of every function in turn becomes something that is not an array of real numbers.
for make in OBJECTS.values():
    CASES += [
        (L.affine_forward, lambda make=make: (make(2, 3), ones(3, 5), ones(5)), TypeError, "x"),
        (L.affine_forward, lambda make=make: (ones(2, 3), make(3, 5), ones(5)), TypeError, "w"),
        (L.affine_forward, lambda make=make: (ones(2, 3), ones(3, 5), make(5)), TypeError, "b"),
        (L.affine_backward, lambda make=make: (make(2, 5), (ones(2, 3), ones(3, 5), ones(5))), TypeError, "dout"),
        (L.affine_backward, lambda make=make: (ones(2, 5), (make(2, 3), ones(3, 5), ones(5))), TypeError, "x"),
        (L.relu_forward, lambda make=make: (make(2, 3),), TypeError, "x"),
        (L.relu_backward, lambda make=make: (make(2, 3), ones(2, 3)), TypeError, "dout"),
        (L.batchnorm_forward, lambda make=make: (make(3, 4), ones(4), ones(4), bn()), TypeError, "x"),
        (L.batchnorm_forward, lambda make=make: (ones(3, 4), make(4), ones(4), bn()), TypeError, "gamma"),
        (L.batchnorm_forward, lambda make=make: (ones(3, 4), ones(4), make(4), bn()), TypeError, "beta"),
        (L.batchnorm_backward, lambda make=make: (make(3, 4), bn_cache()), TypeError, "dout"),
        (L.batchnorm_backward_alt, lambda make=make: (make(3, 4), bn_cache()), TypeError, "dout"),
        (L.layernorm_forward, lambda make=make: (make(3, 4), ones(4), ones(4), {}), TypeError, "x"),
        (L.layernorm_forward, lambda make=make: (ones(3, 4), make(4), ones(4), {}), TypeError, "gamma"),
        (L.layernorm_backward, lambda make=make: (make(3, 4), ln_cache()), TypeError, "dout"),
        (L.dropout_forward, lambda make=make: (make(3, 4), train(seed=1)), TypeError, "x"),
        (L.dropout_backward, lambda make=make: (make(3, 4), (train(), ones(3, 4))), TypeError, "dout"),
        (L.svm_loss, lambda make=make: (make(3, 4), np.zeros(3, int)), TypeError, "x"),
        (L.softmax_loss, lambda make=make: (make(3, 4), np.zeros(3, int)), TypeError, "x"),
        *[(function, lambda make=make, name=name, shape=shape: conv_cache(**{name: make(*shape)}), TypeError, name)
          for function in CONV_FORWARD for name, shape in (("x", (4, 3, 5, 5)), ("w", (2, 3, 3, 3)), ("b", (2,)))],
        *[(function, lambda make=make: (make(4, 2, 5, 5), conv_cache()), TypeError, "dout")
          for function in CONV_BACKWARD],
        (optim.sgd, lambda make=make: (make(3), ones(3)), TypeError, "w"),
        *[(rule, lambda make=make: (ones(3), make(3)), TypeError, "dw")
          for rule in RULES],
        *[(rule, lambda make=make: (make(3), ones(3)), TypeError, "w")
          for rule in RULES[1:]],
        (optim.sgd_momentum, lambda make=make: (ones(3), ones(3), {"velocity": make(3)}), TypeError, "velocity"),
        (optim.rmsprop, lambda make=make: (ones(3), ones(3), {"cache": make(3)}), TypeError, "cache"),
        (optim.adam, lambda make=make: (ones(3), ones(3), {"m": make(3)}), TypeError, "m"),
    ]


@pytest.mark.parametrize(("function", "make", "error", "argument"), CASES,
                         ids=[f"{k}-{case[0].__name__}-{case[3]}" for k, case in enumerate(CASES)])
def test_wrong_argument(backend, function, make, error, argument):
    args = make()
    before, random_state = frozen(args), frozen(np.random.get_state())
    with pytest.raises((ValueError, TypeError, IndexError)) as caught:
        function(*args)
    message = str(caught.value)
    assert caught.type is error, message
    assert message.startswith(f"{function.__name__}: "), message
    assert re.search(rf"\b{argument}\b", message.partition(": ")[2]), message
    assert frozen(args) == before
    assert frozen(np.random.get_state()) == random_state


@pytest.mark.parametrize(("name", "param"), [("affine_bn_relu", {"mode": "train"}), ("affine_ln_relu", {})])
@pytest.mark.parametrize("position", range(5))
def test_sandwich_names_one_of_its_layers(backend, name, param, position):
    args = [ones(6, 3), ones(3, 5), ones(5), ones(5), ones(5), param]
    args[position] = np.ones((4, 7, 2))
    before = frozen(args)
    argument = ("x", "w", "b", "gamma", "beta")[position]
    with pytest.raises(ValueError, match=rf"^(affine|batchnorm|layernorm)_\w*forward: .*\b{argument}\b"):
        getattr(layer_utils, f"{name}_forward")(*args)
    assert frozen(args) == before


@pytest.mark.parametrize("function", RULES)
def test_a_refused_step_adds_no_default_to_the_config(backend, function):
    w, config = ones(3), {"learning_rate": 0.5}
    with pytest.raises(ValueError):
        function(w, ones(4), config)
    assert config == {"learning_rate": 0.5} and (w == 1).all()


def test_refused_training_leaves_the_running_statistics(backend):
    param = bn(running_mean=np.full(4, 3.0), running_var=np.full(4, 5.0))
    before = frozen(param)
    for x, gamma in ((ones(0, 4), ones(4)), (ones(3, 4), ones(5)), (ones(3, 5), ones(4))):
        with pytest.raises(ValueError):
            layers.batchnorm_forward(x, gamma, ones(4), param)
        assert frozen(param) == before


@pytest.mark.parametrize("make", [
    lambda: FullyConnectedNet([5], normalization="groupnorm"),
    lambda: FullyConnectedNet([5], normalization="BatchNorm"),
    lambda: FullyConnectedNet([5], dropout_keep_ratio=0),
    lambda: FullyConnectedNet([5], dropout=1.5),
    lambda: FullyConnectedNet([5], dropout=np.nan),
    lambda: FullyConnectedNet([5], dropout_keep_ratio=-0.5),
    lambda: FullyConnectedNet([5], dtype=np.int32),
    lambda: FullyConnectedNet([0]),
    lambda: FullyConnectedNet([5.5]),
    lambda: FullyConnectedNet(5),
    lambda: FullyConnectedNet([5], num_classes=0),
    lambda: TwoLayerNet(hidden_dim=0),
    lambda: TwoLayerNet(input_dim=-3),
], ids=range(13))
def test_networks_that_cannot_be(make):
    random_state = frozen(np.random.get_state())
    with pytest.raises(ValueError, match="^(FullyConnectedNet|TwoLayerNet): "):
        make()
    assert frozen(np.random.get_state()) == random_state


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
@pytest.mark.parametrize(("X", "y"), [
    (ones(4, 7), np.zeros(4, int)), (ones(4, 6), np.zeros(3, int)), (ones(4, 6), np.array([0, 1, 2, 3])),
    (ones(4, 6), np.array([0, 1, 2, -1])), (ones(4, 6), np.zeros((4, 1), int)), (ones(0, 6), np.zeros(0, int)),
], ids=["width", "length", "high", "negative", "rank", "empty"])
def test_a_refused_batch_leaves_the_network(backend, normalization, X, y):
    net = FullyConnectedNet([5, 4], input_dim=6, num_classes=3, normalization=normalization, dropout=0.5)
    net.loss(ones(4, 6), np.zeros(4, int))
    before = frozen([net.params, net.bn_params])
    with pytest.raises(ValueError):
        net.loss(X, y)
    assert frozen([net.params, net.bn_params]) == before


def test_unknown_update_rule():
    data = {"X_train": ones(4, 6), "y_train": np.zeros(4, int), "X_val": ones(4, 6), "y_val": np.zeros(4, int)}
    for rule in ("nadam", "_checked", "np", "__all__"):
        with pytest.raises(ValueError, match=f"(?i)update.rule.*{rule}"):
            Solver(TwoLayerNet(6, 5, 3), data, update_rule=rule)
    with pytest.raises(ValueError, match="Unrecognized arguments.*learning_rat"):
        Solver(TwoLayerNet(6, 5, 3), data, learning_rat=1)

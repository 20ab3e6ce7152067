"""Each allocation of a call fails in turn: a MemoryError, nothing is changed, and the same call succeeds then."""

import sys
from pathlib import Path

import pytest
from scarce import preloaded

pytestmark = [pytest.mark.compiled, pytest.mark.once,
              pytest.mark.skipif(sys.platform != "linux", reason="a library is preloaded")]

COMMON = f"""
import ast, ctypes, hashlib, os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
import daseCV_c
from adversarial import frozen, rng_of
from daseCV_c import fast_layers, im2col_cython, layer_utils, layers, optim
from daseCV_c._runtime import precision
from daseCV_c._step.passes import train_batches
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

system = ctypes.CDLL(None)
system.fail_allocation.argtypes = [ctypes.c_long]
system.allocations.restype = ctypes.c_long


def digest(value):
    return hashlib.sha256(repr(frozen(value)).encode()).hexdigest()


def attempt(make, n):
    '''In a process without kept memory: the n-th allocation fails. What it says: whether there were so many, whether
    it mattered, whether something was changed, and the digests of the call, made anew if it failed, and of what that
    leaves.'''
    reader, writer = os.pipe()
    if os.fork() == 0:
        call, held = make()
        before, failed = digest(held()), False
        np.random.seed(5)
        system.fail_allocation(n)
        try:
            result = call()
        except (MemoryError, SystemError):  # NumPy forgets to say which in places
            failed = True
        reached = system.allocations() >= n > 0
        changed = failed and digest(held()) != before
        if failed:
            np.random.seed(5)
            result = call()
        os.write(writer, repr((reached, failed, changed, digest(result), digest(held()))).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        answer = said.read()
    assert os.wait()[1] == 0 and answer, n
    return ast.literal_eval(answer)


def each_allocation_fails(name, make):
    '''make() gives a call and what it may change, which is the same each time.'''
    *_, expected, after = attempt(make, 0)
    failures = n = 0
    while True:
        n += 1
        assert n < 3000, name
        reached, failed, changed, found, left = attempt(make, n)
        assert not changed, (name, n, "something was changed")
        assert (found, left) == (expected, after), (name, n, "its result, or that of the call after it, differs")
        if not reached:
            break
        failures += failed  # else there was another way
    print(name, n - 1, failures)
    assert failures, name


rng = rng_of("memory")
x, w, b, dout = (rng.standard_normal(s) for s in ((60, 40), (40, 30), 30, (60, 30)))
labels = rng.integers(0, 30, 60)
images, filters, some = (rng.standard_normal(s) for s in ((8, 3, 9, 9), (5, 3, 3, 3), 5))
conv, pool = {{"stride": 1, "pad": 1}}, {{"pool_height": 3, "pool_width": 3, "stride": 3}}
channels = np.ones(3), np.zeros(3)
data = {{"X_train": rng.standard_normal((90, 40)), "y_train": rng.integers(0, 7, 90),
        "X_val": rng.standard_normal((20, 40)), "y_val": rng.integers(0, 7, 20)}}
pictures = {{"X_train": rng.standard_normal((20, 2, 8, 8)), "y_train": rng.integers(0, 7, 20),
            "X_val": rng.standard_normal((5, 2, 8, 8)), "y_val": rng.integers(0, 7, 5)}}


def plain(function, *args, **more):
    return lambda: (lambda: function(*args, **more), lambda: [args, more])
"""

LAYERS = COMMON + """
cases = {"affine_forward": plain(layers.affine_forward, x, w, b),
         "affine_backward": plain(layers.affine_backward, dout, (x, w, b)),
         "softmax_loss": plain(layers.softmax_loss, dout, labels), "svm_loss": plain(layers.svm_loss, dout, labels),
         "conv_forward": plain(fast_layers.conv_forward_fast, images, filters, some, conv),
         "pool_forward": plain(fast_layers.max_pool_forward_fast, images, pool),
         "im2col": plain(im2col_cython.im2col_cython, images, 3, 3, 1, 1),
         "dropout": plain(layers.dropout_forward, x, {"p": 0.5, "mode": "train"})}
cases["conv_backward"] = plain(fast_layers.conv_backward_fast, rng.standard_normal((8, 5, 9, 9)),
                               (images, filters, some, conv))
for name, forward in {"batchnorm": layers.batchnorm_forward, "layernorm": layers.layernorm_forward}.items():
    def make(forward=forward):
        param = {"mode": "train", "running_mean": np.zeros(40), "running_var": np.ones(40)}
        return lambda: forward(x, np.ones(40), np.zeros(40), param), lambda: param
    cases[name] = make
def make():
    param = {"mode": "train", "running_mean": np.zeros(3), "running_var": np.ones(3)}
    return lambda: layers.spatial_batchnorm_forward(images, *channels, param), lambda: param
cases["spatial_batchnorm"] = make
cases["spatial_groupnorm"] = plain(layers.spatial_groupnorm_forward, images, *channels, 3, {})
for rule in ("sgd_momentum", "adam"):
    def make(rule=rule):
        config, at = {}, w.copy()
        return lambda: getattr(optim, rule)(at, w, config), lambda: [config, at]
    cases[rule] = make
for name, make in cases.items():
    each_allocation_fails(name, make)
if precision.availability().startswith("available"):
    daseCV_c.set_matmul_precision("bfloat16")
    x, w, b, dout = (array.astype(np.float32) for array in (x, w, b, dout))
    each_allocation_fails("affine_forward in bfloat16", plain(layers.affine_forward, x, w, b))
    each_allocation_fails("affine_backward in bfloat16", plain(layers.affine_backward, dout, (x, w, b)))
"""

NETWORKS = COMMON + """
many = rng.standard_normal((1000, 40))


def network(**more):
    np.random.seed(3)
    return FullyConnectedNet([33, 20], input_dim=40, num_classes=7, dtype=np.float64, **more)


def state(solver):
    return lambda: [solver.model.params, getattr(solver.model, "bn_params", None), solver.optim_configs,
                    solver.loss_history]


for norm, rule in ((None, "sgd"), ("batchnorm", "adam"), ("layernorm", "sgd_momentum")):
    def make():
        solver = Solver(network(normalization=norm, dropout=0.8), data, update_rule=rule, batch_size=20, verbose=False)
        np.random.seed(5)
        solver._step()
        return solver._step, state(solver)
    each_allocation_fails(f"a step by {rule} with {norm}", make)


def make():
    net = network(normalization="batchnorm")
    return lambda: net.loss(data["X_train"]), lambda: [net.params, net.bn_params]
each_allocation_fails("scores", make)


def make():
    net = network()
    return lambda: net.loss(many), lambda: net.params
each_allocation_fails("scores of several blocks of rows", make)


def make():
    np.random.seed(3)
    net = ThreeLayerConvNet((2, 8, 8), 3, 3, 10, 7, dtype=np.float64)
    solver = Solver(net, pictures, update_rule="adam", batch_size=9, verbose=False)
    np.random.seed(5)
    solver._step()
    return solver._step, state(solver)
each_allocation_fails("a step of the convolutional network", make)


def make():
    weights, biases = [np.full((40, 9), 0.1), np.full((9, 3), 0.1)], [np.zeros(9), np.zeros(3)]
    done, targets = np.zeros(1, np.int64), np.ones((90, 3))
    return (lambda: train_batches(data["X_train"], targets, None, 20, weights, biases, [()] * 4, activation="tanh",
                                  loss="squared", rule="sgd", numbers={"learning_rate": 0.1}, alpha=0.0, t=0,
                                  done=done), lambda: [weights, biases, done])
each_allocation_fails("a pass", make)
"""


@pytest.mark.parametrize("program", [LAYERS, NETWORKS], ids=["layers", "networks"])
def test_each_allocation_fails_in_turn(script, tmp_path, program):
    assert len(script(program, **preloaded(tmp_path)).splitlines()) >= 6

"""A workload that starts parallel regions in every family, and its result to the last bit."""
import copy
import hashlib
import os  # noqa: F401  for programs that begin with this

import numpy as np

import daseCV_c
from daseCV_c import layer_utils, layers, optim
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime.kernels import families_of
from daseCV_c._step import fully_connected as _engine
from daseCV_c.classifiers.fc_net import FullyConnectedNet

for module in families_of(_backend.level).values():
    module.share_from(2e6)  # regions of work that would not pay, too


# Made once: weights are drawn from np.random, whose lock a child of fork keeps for ever when another
# thread is drawing just then.
NET = FullyConnectedNet([130, 60], input_dim=200, normalization="batchnorm", dtype=np.float64)


def trained(x, rng, steps=3):
    """Losses and parameters of a network of its own; nothing is drawn from the generator that all share."""
    net = copy.deepcopy(NET)
    for name, w in net.params.items():
        net.params[name] = 0.1 * rng.standard_normal(w.shape)
    configs = {name: {} for name in net.params}
    step, y, losses = _engine.FusedStep("adam"), rng.integers(0, 10, len(x)), []
    for _ in range(steps):
        loss = step(net, configs, x, y, rng.integers(0, len(x), 100))
        assert loss is not None or daseCV_c.get_backend() == "numpy"
        losses.append(np.array(loss or 0.0))
    return losses + [net.params[name] for name in sorted(net.params)] + [net.loss(x)]


def work(seed=0):
    rng = np.random.default_rng(seed)
    seen = hashlib.sha256()
    x, w = rng.standard_normal((300, 200)), rng.standard_normal((200, 150))
    v = [rng.standard_normal(150) for _ in range(3)]
    dout = rng.standard_normal((300, 150))
    out, cache = layer_utils.affine_bn_relu_forward(x, w, *v, {"mode": "train"})
    found = [out, *layer_utils.affine_bn_relu_backward(dout, cache)]
    out, cache = layer_utils.affine_ln_relu_forward(x, w, *v, {})
    found += [out, *layer_utils.affine_ln_relu_backward(dout, cache)]
    loss, dx = layers.softmax_loss(out, rng.integers(0, 150, 300))
    found += [np.array(loss), dx]
    for rule in (optim.sgd_momentum, optim.rmsprop, optim.adam, optim.adagrad, optim.nesterov, optim.adamw):
        found.append(rule(x, x * 0.5)[0])
    found += trained(x, rng)
    for array in found:
        seen.update(np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()


def threads_and_work(seed):
    return daseCV_c.get_num_threads(), work(seed)

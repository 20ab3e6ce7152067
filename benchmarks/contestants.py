"""The contestants: each function takes a row and a thread count and returns a step to call.

A step draws a batch from data in memory, computes loss and gradients, and updates the parameters.
"""

import numpy as np

from benchmarks.rows import INPUT, RATES, data


def dasecv(row, threads):
    """This package: the Solver's own step."""
    import daseCV_c
    from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
    from daseCV_c.solver import Solver

    daseCV_c.set_num_threads(threads)
    images, labels = data(row)
    np.random.seed(0)
    if row.two_layer:
        model = TwoLayerNet(INPUT, row.hidden[0])
    else:
        model = FullyConnectedNet(row.hidden, normalization="batchnorm" if row.batchnorm else None,
                                  weight_scale=2e-2, dtype=np.dtype(row.dtype))
    batches = {"X_train": images, "y_train": labels, "X_val": images[:100], "y_val": labels[:100]}
    solver = Solver(model, batches, update_rule=row.rule, optim_config={"learning_rate": RATES[row.rule]},
                    batch_size=row.batch, verbose=False)
    return solver._step


def numpy(row, threads):
    """The course's way: this package's twins on NumPy's BLAS."""
    import daseCV_c

    daseCV_c.use_backend("numpy")
    return dasecv(row, threads)


def dasecv_bfloat16(row, threads):
    """This package, products from bfloat16 inputs."""
    import daseCV_c

    if not hasattr(daseCV_c, "set_matmul_precision"):
        raise NotImplementedError("no bfloat16 products")
    try:
        daseCV_c.set_matmul_precision("bfloat16")
    except (RuntimeError, ValueError) as error:
        raise NotImplementedError(str(error)) from error
    return dasecv(row, threads)


def _torch_model(row, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    dtype = getattr(torch, row.dtype)
    layers = []
    for fan_in, fan_out in zip(row.sizes[:-2], row.sizes[1:-1], strict=True):
        layers += [nn.Linear(fan_in, fan_out), *([nn.BatchNorm1d(fan_out)] if row.batchnorm else []), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(*row.sizes[-2:])).to(dtype)
    images, labels = data(row)
    rate = RATES[row.rule]
    if row.rule == "adam":
        optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
    else:
        momentum = 0.9 if row.rule == "sgd_momentum" else 0
        optimizer = torch.optim.SGD(model.parameters(), rate, momentum=momentum, fused=True)
    return torch, model, optimizer, torch.from_numpy(images), torch.from_numpy(labels)


def _torch_step(row, threads, compiled, autocast=False):
    torch, model, optimizer, images, labels = _torch_model(row, threads)

    def loss_of(X, y):
        return torch.nn.functional.cross_entropy(model(X), y)

    if compiled:
        loss_of = torch.compile(loss_of)

    def step():
        index = torch.randint(0, len(images), (row.batch,))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = loss_of(images[index], labels[index])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def torch_eager(row, threads):
    """PyTorch, eager, fused optimizer."""
    return _torch_step(row, threads, compiled=False)


def torch_compile(row, threads):
    """PyTorch, torch.compile of the loss, fused optimizer."""
    return _torch_step(row, threads, compiled=True)


def torch_bfloat16(row, threads):
    """PyTorch, eager, autocast to bfloat16."""
    return _torch_step(row, threads, compiled=False, autocast=True)


def jax(row, threads):
    """JAX, one jit over loss, gradients and update; threads follow the CPU affinity."""
    import os

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", row.dtype == "float64")
    images, labels = data(row)
    rng, rate = np.random.RandomState(0), RATES[row.rule]
    params = []
    for fan_in, fan_out in zip(row.sizes, row.sizes[1:], strict=False):
        layer = [rng.randn(fan_in, fan_out) * 0.02, np.zeros(fan_out)]
        if row.batchnorm and fan_out != row.sizes[-1]:
            layer += [np.ones(fan_out), np.zeros(fan_out)]
        params.append([jnp.asarray(p, row.dtype) for p in layer])
    state = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]

    def loss_of(params, X, y):
        for layer in params[:-1]:
            X = X @ layer[0] + layer[1]
            if row.batchnorm:
                X = (X - X.mean(0)) / jnp.sqrt(X.var(0) + 1e-5) * layer[2] + layer[3]
            X = jnp.maximum(X, 0)
        scores = X @ params[-1][0] + params[-1][1]
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(y)), y])

    def update(params, m, v, t, X, y):
        loss, grads = jax.value_and_grad(loss_of)(params, X, y)
        if row.rule == "sgd":
            return loss, jax.tree.map(lambda p, g: p - rate * g, params, grads), m, v
        if row.rule == "sgd_momentum":
            m = jax.tree.map(lambda m, g: 0.9 * m - rate * g, m, grads)
            return loss, jax.tree.map(lambda p, m: p + m, params, m), m, v
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        scale_m, scale_v = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
        new = jax.tree.map(lambda p, m, v: p - rate * m * scale_m / (jnp.sqrt(v * scale_v) + 1e-8), params, m, v)
        return loss, new, m, v

    update = jax.jit(update, donate_argnums=(0, 1, 2))
    held = {"params": params, "m": state[0], "v": state[1], "t": 0}

    def step():
        index = rng.randint(0, len(images), row.batch)
        held["t"] += 1
        loss, held["params"], held["m"], held["v"] = update(
            held["params"], held["m"], held["v"], jnp.asarray(held["t"], row.dtype), images[index], labels[index])
        return float(loss)

    return step


def sklearn(row, threads):
    """scikit-learn's MLPClassifier, one batch a call; it has no batch norm."""
    if row.batchnorm:
        raise NotImplementedError("no batch norm")
    from sklearn.neural_network import MLPClassifier

    images, labels = data(row)
    solver = {"solver": "adam"} if row.rule == "adam" else {
        "solver": "sgd", "momentum": 0.9 if row.rule == "sgd_momentum" else 0.0, "nesterovs_momentum": False}
    model = MLPClassifier(row.hidden, batch_size=row.batch, alpha=0.0, learning_rate_init=RATES[row.rule], **solver)
    rng = np.random.RandomState(0)

    def step():
        index = rng.choice(len(images), row.batch)
        model.partial_fit(images[index], labels[index], classes=np.arange(10))
        return model.loss_

    return step


CONTESTANTS = {
    "daseCV_c": (dasecv, ()),
    "NumPy": (numpy, ()),
    "PyTorch": (torch_eager, ("torch",)),
    "torch.compile": (torch_compile, ("torch",)),
    "JAX": (jax, ("jax",)),
    "scikit-learn": (sklearn, ("sklearn",)),
}
# Coarser arithmetic: only measured when asked for, and no peer of the others.
BFLOAT16 = {
    "daseCV_c bfloat16": (dasecv_bfloat16, ()),
    "PyTorch bfloat16": (torch_bfloat16, ("torch",)),
}

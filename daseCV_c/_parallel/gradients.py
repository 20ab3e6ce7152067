"""A rank's part of the loss and the gradients of a batch, layer by layer.

Parts are such that the sum over the ranks is what one rank finds for the whole batch: the means over a share count
by its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import _random
from daseCV_c._layers.activation import relu_backward, relu_forward
from daseCV_c._layers.affine import _affine_backward, affine_forward
from daseCV_c._layers.losses import softmax_loss
from daseCV_c._layers.normalization import layernorm_backward, layernorm_forward
from daseCV_c._parallel import batchnorm
from daseCV_c._parallel.errors import TeamError
from daseCV_c._parallel.team import Share, Team
from daseCV_c._step.fully_connected import Change, penalty
from daseCV_c._training import checks
from daseCV_c._types import Array, Params
from daseCV_c.classifiers.fc_net import FullyConnectedNet, _labels, _normalization


def uniform(dropout_param: Params, rows: int, width: int, share: Share) -> Array:
    """The rank's rows of the numbers that one rank would draw for the whole batch."""
    return _random.uniform(dropout_param, share.whole, width)[share.rows]


def of_network(
    model: FullyConnectedNet, X: Array, y: Any, share: Share, team: Team,
) -> tuple[float, dict[str, Array], list[Change]]:
    """(part of the loss, parts of the gradients, what is to change in the dicts of the layers)."""
    name, params, last = "FullyConnectedNet.loss", model.params, model.num_layers
    X = model._samples(name, X).astype(model.dtype, copy=False)
    norm = _normalization(name, model.normalization)
    y = _labels(name, y, X, params[f"W{last}"])
    changes: list[Change] = []
    if model.use_dropout:
        changes.append((model.dropout_param, "mode", "train"))
    out, caches = X, []
    for i in range(1, last):
        out, affine = affine_forward(out, params[f"W{i}"], params[f"b{i}"])
        normed: Any = None
        if norm is not None:
            entry = model.bn_params[i - 1]
            arguments = out, params[f"gamma{i}"], params[f"beta{i}"], entry
            if norm == "batchnorm":
                out, normed, running = batchnorm.forward(*arguments, share, team)
                changes += [(entry, "mode", "train"), *((entry, key, value) for key, value in running.items())]
            else:
                out, normed = layernorm_forward(*arguments)
        out, relu = relu_forward(out)
        mask = None
        if model.use_dropout:
            p: Any = model.dropout_param["p"]
            kept = uniform(model.dropout_param, len(X), out.shape[1], share) < p
            mask = np.divide(kept, p).astype(model.dtype)
            out = out * mask
        caches.append((affine, normed, relu, mask))
    scores, affine = affine_forward(out, params[f"W{last}"], params[f"b{last}"])
    loss, dout = softmax_loss(scores, y)
    dout *= share.weight
    grads = {}
    dout, grads[f"W{last}"], grads[f"b{last}"] = _affine_backward(dout, affine, need_dx=last > 1)
    for i in range(last - 1, 0, -1):
        affine, normed, relu, mask = caches.pop()
        dout = relu_backward(dout if mask is None else dout * mask, relu)
        if norm == "batchnorm":
            dout, grads[f"gamma{i}"], grads[f"beta{i}"] = batchnorm.backward(dout, normed, share, team)
        elif norm is not None:
            dout, grads[f"gamma{i}"], grads[f"beta{i}"] = layernorm_backward(dout, normed)
        dout, grads[f"W{i}"], grads[f"b{i}"] = _affine_backward(dout, affine, need_dx=i > 1)
    penalized = [f"W{i}" for i in range(1, last + bool(model.reg_last_layer))]
    loss += penalty(model.reg, [params[w] for w in penalized])
    for w in penalized:
        grads[w] += share.weight * float(model.reg) * params[w]
    return share.weight * loss, grads, changes


def found(solver: Any, index: Array) -> tuple[float, dict[str, Array]]:
    """The loss and the gradients of the batch `index`, the same on all ranks, as ``model.loss`` gives them."""
    team: Team = solver._team
    model, share = solver.model, team.share(len(index))
    X, y = solver._batch(index[share.rows]), solver.y_train[index[share.rows]]
    ours = isinstance(model, FullyConnectedNet) and solver._own_loss()
    if ours and model._chosen.changed() and (model.use_dropout or model.normalization is not None):
        raise TeamError("Solver: layers of your own are in place of the package's, and know nothing of other ranks: "
                        "with comm= a network of them cannot have batch norm or dropout")
    if ours and not model._chosen.changed():
        loss, grads, changes = of_network(model, X, y, share, team)
        for entry, key, value in changes:
            entry[key] = value
    else:
        whole, given = checks.loss_and_grads(model, model.loss(X, y))
        loss = share.weight * float(whole)
        grads = {name: np.multiply(given[name], share.weight) for name in model.params}
    loss = team.step_total(loss)
    summed = {name: np.array(grads[name], order="C") for name in model.params}
    for grad in summed.values():
        team.add_up(grad.reshape(-1))
    return loss, summed

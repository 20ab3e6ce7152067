"""Batch norm whose statistics are those of the whole batch, of which each rank has some rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._layers.normalization import batchnorm_backward, batchnorm_forward
from daseCV_c._parallel.team import Share, Team
from daseCV_c._types import Array, Cache, Params


def forward(
    x: Array, gamma: Array, beta: Array, bn_param: Params, share: Share, team: Team,
) -> tuple[Array, Cache, dict[str, Array]]:
    """(out, cache, the next running statistics) of the rank's own rows.

    One exchange: with m_r the mean and s_r the sum of squared deviations of the n_r rows of rank r,
    ``mean = sum n_r m_r / n`` and ``var = sum (s_r + n_r (m_r - mean)^2) / n``, in double.

    Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    own = x.mean(axis=0, dtype=np.float64)
    moments = team.gather(np.stack([own, np.square(x - own).sum(axis=0)]))
    weights = [each.weight for each in team.shares(share.whole)]
    mean, var = np.zeros_like(own), np.zeros_like(own)
    for weight, (theirs, _) in zip(weights, moments, strict=True):
        mean += weight * theirs
    for weight, (theirs, squares) in zip(weights, moments, strict=True):
        var += squares / share.whole + weight * np.square(theirs - mean)
    mean, var = mean.astype(x.dtype), var.astype(x.dtype)
    # With the statistics given, a row needs no other.
    out, cache = batchnorm_forward(
        x, gamma, beta, {"mode": "test", "eps": eps, "running_mean": mean, "running_var": var})
    running = {}
    for key, now in (("running_mean", mean), ("running_var", var)):
        before = bn_param.get(key)
        running[key] = (momentum * (0 if before is None else before) + (1 - momentum) * now).astype(x.dtype)
    return out, cache, running


def backward(dout: Array, cache: Any, share: Share, team: Team) -> tuple[Array, Array, Array]:
    """(dx, and of dgamma and dbeta the rank's own parts), where `dout` is the gradient of the whole batch's loss.

    ``dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat))``, the means over all ranks' rows.
    """
    _, xhat, gamma, inv_std = cache
    dx, dgamma, dbeta = batchnorm_backward(dout, cache)
    sums = team.total(np.stack([dbeta, dgamma]).astype(np.float64)) / share.whole
    mean, slope = sums.astype(dx.dtype)
    dx -= (gamma * inv_std) * (mean + xhat * slope)
    return dx, dgamma, dbeta

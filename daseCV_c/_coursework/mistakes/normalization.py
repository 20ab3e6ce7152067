"""Mistakes of batch, layer and group normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c import reference as layers
from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

_OUT = "out = gamma * (x - mean) / sqrt(var + eps) + beta"


def _norm(x: Any, gamma: Any, beta: Any, axis: int | tuple[int, ...], eps: float, how: str = "") -> tuple[Any, Any,
                                                                                                          Any]:
    """The normalized x, and the statistics; `how` names what is done otherwise."""
    mean = x.mean(axis=axis, keepdims=True)
    n = x.size // mean.size
    ddof = 1 if how == "unbiased" and n > 1 else 0
    var = x.var(axis=axis, keepdims=True, ddof=ddof)
    if how == "no-centre-in-var":
        var = (x**2).mean(axis=axis, keepdims=True)
    below = {"eps-outside": lambda: np.sqrt(var) + eps, "no-eps": lambda: np.sqrt(var), "no-root": lambda: var + eps,
             }.get(how, lambda: np.sqrt(var + eps))()
    xhat = (x if how == "no-centre" else x - mean) / below
    out = {"no-gamma": lambda: xhat + beta, "no-beta": lambda: gamma * xhat, "swapped": lambda: beta * xhat + gamma,
           }.get(how, lambda: gamma * xhat + beta)()
    return out, mean, var


def _batchnorm(how: str) -> Callable[..., Any]:
    def batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
        eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
        zero = np.zeros(x.shape[1])
        running = [bn_param.get("running_mean", zero), bn_param.get("running_var", zero)]
        _, mean, var = _norm(x, gamma, beta, 0, eps, how)
        if how == "axis":
            out, mean, var = _norm(x, gamma, beta, 1, eps)
            mean, var = x.mean(axis=0), x.var(axis=0)
        elif bn_param["mode"] == "train" or how == "batch-at-test":
            out, _, _ = _norm(x, gamma, beta, 0, eps, how)
        else:
            spread = np.sqrt(running[1] + (0.0 if how == "test-no-eps" else eps))
            if how in ("eps-outside", "no-eps", "no-root", "running-deviation"):
                spread = {"eps-outside": np.sqrt(running[1]) + eps, "no-eps": np.sqrt(running[1]),
                          "no-root": running[1] + eps, "running-deviation": running[1] + eps}[how]
            out = (x - running[0]) / spread
            out = out if how == "test-no-scale" else gamma * out + beta
        if bn_param["mode"] == "train" or how == "updated-at-test":
            share = 1 - momentum if how == "momentum-reversed" else momentum
            new = [mean.reshape(-1), (np.sqrt(var) if how == "running-deviation" else var).reshape(-1)]
            if how == "running-unbiased":
                new[1] = x.var(axis=0, ddof=1 if len(x) > 1 else 0)
            if how == "running-replaced":
                share = 0.0
            forgotten = {"running-not-kept": (0, 1), "running-mean-not-kept": (0,), "running-var-not-kept": (1,)}
            running = [old if i in forgotten.get(how, ()) else share * old + (1 - share) * now
                       for i, (old, now) in enumerate(zip(running, new, strict=True))]
        bn_param["running_mean"], bn_param["running_var"] = running
        return out, None
    return batchnorm_forward


def _rows(x: Any) -> Any:
    return np.asarray(x).transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def _images(rows: Any, shape: tuple[int, ...]) -> Any:
    n, c, h, w = shape
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _spatial(function: Callable[..., Any]) -> Callable[..., Any]:
    def spatial(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
        return _images(function(_rows(x), gamma, beta, bn_param)[0], x.shape), None
    return spatial


def _add(name: str, says: str, breaks: str, how: str, of: str) -> None:
    """The mistake for the functions that it can be in: b(atch), l(ayer), s(patial batch), g(roup) norm."""
    made: dict[str, Any] = {}
    if "b" in of:
        made["batchnorm_forward"] = _batchnorm(how)
    if "s" in of:
        made["spatial_batchnorm_forward"] = _spatial(_batchnorm(how))
    if "l" in of:
        made["layernorm_forward"] = lambda x, gamma, beta, param: (
            _norm(x, gamma, beta, 1, param.get("eps", 1e-5), how)[0], None)
    if "g" in of:
        made["spatial_groupnorm_forward"] = lambda x, gamma, beta, G, param: (_group(x, gamma, beta, G, param, how),
                                                                              None)
    BOOK.mistakes.append(Mistake(name, tuple(made), says, breaks, lambda function: {function: made[function]}))


def _group(x: Any, gamma: Any, beta: Any, G: int, param: Any, how: str) -> Any:
    n, c, h, w = x.shape
    one = (1, c, 1, 1)
    groups = x.reshape(n, G, -1)
    if how == "interleaved":
        groups = x.reshape(n, c // G, G, h * w).transpose(0, 2, 1, 3).reshape(n, G, -1)
    if how == "all-channels":
        groups = x.reshape(n, 1, -1)
    if how == "each-channel":
        groups = x.reshape(n, c, -1)
    if how == "over-batch":
        groups = x.reshape(n, G, -1).transpose(1, 0, 2).reshape(1, G, -1)
    plain = how in ("no-gamma", "no-beta", "swapped")
    xhat = _norm(groups, 1.0, 0.0, 2, param.get("eps", 1e-5), "" if plain else how)[0]
    if how == "interleaved":
        xhat = xhat.reshape(n, G, c // G, h * w).transpose(0, 2, 1, 3)
    if how == "over-batch":
        xhat = xhat.reshape(G, n, -1).transpose(1, 0, 2)
    xhat, g, b = xhat.reshape(x.shape), gamma.reshape(one), beta.reshape(one)
    return {"no-gamma": xhat + b, "no-beta": g * xhat, "swapped": b * xhat + g}.get(how, g * xhat + b)


_add("norm-eps-outside-root", "eps is added after the root is taken.", "sqrt(var + eps): eps belongs to the variance",
     "eps-outside", "bslg")
_add("norm-variance-unbiased", "The variance is divided by one less than the number of samples.",
     "var = mean of (x - mean)^2, over all of them", "unbiased", "bslg")
_add("norm-no-eps", "eps is missing.", _OUT, "no-eps", "bslg")
_add("norm-no-root", "It is divided by the variance, not by its root.", _OUT, "no-root", "bslg")
_add("norm-not-centred", "The mean is not taken away before x is divided.", _OUT, "no-centre", "bslg")
_add("norm-variance-not-centred", "The variance is the mean of the squares: the mean is not taken away in it.",
     "var = mean of (x - mean)^2", "no-centre-in-var", "bslg")
_add("norm-no-gamma", "gamma is missing.", _OUT, "no-gamma", "bslg")
_add("norm-no-beta", "beta is missing.", _OUT, "no-beta", "bslg")
_add("norm-gamma-beta-swapped", "gamma and beta have changed places.", _OUT, "swapped", "bslg")
_add("batchnorm-momentum-reversed", "momentum weighs the new statistics, and the rest the old ones.",
     "running = momentum * running + (1 - momentum) * new", "momentum-reversed", "bs")
_add("batchnorm-updated-at-test", "The running statistics change in test mode.",
     "test mode reads the running statistics, and leaves them", "updated-at-test", "bs")
_add("batchnorm-batch-at-test", "Test mode uses the statistics of the batch.",
     "in test mode mean and var are the running ones", "batch-at-test", "bs")
_add("batchnorm-running-not-kept", "The running statistics are not put back into bn_param.",
     "bn_param holds what the next call goes on from", "running-not-kept", "bs")
_add("batchnorm-running-mean-not-kept", "The running mean stays as it was: is its name spelled the same everywhere?",
     "running = momentum * running + (1 - momentum) * new, for both", "running-mean-not-kept", "bs")
_add("batchnorm-running-var-not-kept",
     "The running variance stays as it was: is its name spelled the same everywhere?",
     "running = momentum * running + (1 - momentum) * new, for both", "running-var-not-kept", "bs")
_add("batchnorm-running-replaced", "The running statistics are those of the last batch.",
     "running = momentum * running + (1 - momentum) * new", "running-replaced", "bs")
_add("batchnorm-running-deviation", "The running variance is made of standard deviations.",
     "running_var averages the variances", "running-deviation", "bs")
_add("batchnorm-running-unbiased", "The running variance is divided by one less than the number of samples.",
     "var = mean of (x - mean)^2, the same that training uses", "running-unbiased", "bs")
_add("batchnorm-test-no-scale", "gamma and beta are missing in test mode.", _OUT, "test-no-scale", "bs")
_add("batchnorm-test-no-eps", "eps is missing in test mode.", _OUT, "test-no-eps", "b")
_add("batchnorm-wrong-axis", "Mean and variance are taken over the features of a sample: this is layer norm.",
     "mean_d = mean over n of x_nd: which index is averaged?", "axis", "b")


@BOOK.wrong("layernorm-wrong-axis", "layernorm_forward",
            "Mean and variance are taken over the batch: this is batch norm.",
            "mean_n = mean over d of x_nd: which index is averaged?")
def _(x: Any, gamma: Any, beta: Any, param: Any) -> Any:
    return _norm(x, gamma, beta, 0, param.get("eps", 1e-5))[0], None


@BOOK.wrong("layernorm-whole-array", "layernorm_forward", "Mean and variance are taken over everything.",
            "mean_n = mean over d of x_nd: every sample has its own")
def _(x: Any, gamma: Any, beta: Any, param: Any) -> Any:
    return _norm(x, gamma, beta, (0, 1), param.get("eps", 1e-5))[0], None


@BOOK.wrong("spatial-not-transposed", "spatial_batchnorm_forward",
            "Images are made into rows without moving the channels to the end, so channels get mixed up.",
            "row (n, h, w) holds the C channels of one pixel")
def _(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
    out, cache = layers.batchnorm_forward(x.reshape(-1, x.shape[1]), gamma, beta, bn_param)
    return out.reshape(x.shape), cache


@BOOK.wrong("spatial-transposed-back", "spatial_batchnorm_forward", "The rows are made into images in another order.",
            "row (n, h, w), column c goes back to place (n, c, h, w)")
def _(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
    out, cache = layers.batchnorm_forward(_rows(x), gamma, beta, bn_param)
    return out.reshape(x.shape), cache


_add("groupnorm-interleaved", "A group takes every G-th channel, not channels that lie together.",
     "group g holds the channels g C/G to (g + 1) C/G - 1", "interleaved", "g")
_add("groupnorm-all-channels", "All channels are one group.", "each of the G groups has its own mean and variance",
     "all-channels", "g")
_add("groupnorm-each-channel", "Every channel is a group.", "each of the G groups has its own mean and variance",
     "each-channel", "g")
_add("groupnorm-over-batch", "Mean and variance are taken over the samples as well.",
     "each sample has its own mean and variance in each group", "over-batch", "g")


def _gradient(rows: Any, xhat: Any, gamma: Any, inv_std: Any, axis: int, how: str) -> Any:
    """dx of a normalization over `axis` of rows."""
    dxhat = rows if how == "dx-no-gamma" else rows * gamma
    n = xhat.shape[1 - axis] if how == "dx-other-count" else xhat.shape[axis]
    n = max(n - 1, 1) if how == "dx-unbiased" else n
    mean = 0.0 if how in ("dx-no-mean", "dx-constant") else dxhat.sum(axis=axis, keepdims=True) / (
        xhat.shape[axis] if how == "dx-unbiased" else n)
    var = 0.0 if how in ("dx-no-variance", "dx-constant") else xhat * (dxhat * xhat).sum(axis=axis, keepdims=True) / n
    if how == "dx-variance-sign":
        var = -var
    return inv_std * (dxhat - mean - var)


def _backward(how: str, kind: str) -> Callable[..., Any]:
    def backward(dout: Any, cache: Any) -> Any:
        if kind == "spatial":
            mode, xhat, gamma, inv_std = cache
            shape, rows, hats = dout.shape, _rows(dout), _rows(xhat)
            dx = _images(_gradient(rows, hats, gamma.reshape(-1), inv_std, 0, how), shape)
            dgamma, dbeta = _sums(rows, hats, gamma.reshape(-1), inv_std, how)
            return dx, dgamma, dbeta
        if kind == "group":
            G, xhat, gamma, inv_std = cache
            n, c, h, w = dout.shape
            scale = gamma.reshape(1, c, 1, 1)
            scaled = dout if how == "dx-no-gamma" else dout * scale
            dx = _gradient(scaled.reshape(n * G, -1), xhat.reshape(n * G, -1), 1.0, inv_std.reshape(-1, 1), 1, how)
            dgamma, dbeta = _sums(_rows(dout), _rows(xhat), gamma.reshape(-1), 1.0, how)
            return dx.reshape(dout.shape), dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)
        if kind == "layer":
            xhat, gamma, inv_std = cache
            if how == "dx-over-batch":
                dx = _gradient(dout, xhat, gamma, inv_std[:, None], 0, "")
            else:
                dx = _gradient(dout, xhat, gamma, inv_std[:, None], 1, how)
            return (dx, *_sums(dout, xhat, gamma, inv_std[:, None], how))
        mode, xhat, gamma, inv_std = cache
        return (_gradient(dout, xhat, gamma, inv_std, 0, how), *_sums(dout, xhat, gamma, inv_std, how))
    return backward


def _sums(dout: Any, xhat: Any, gamma: Any, inv_std: Any, how: str) -> tuple[Any, Any]:
    """dgamma and dbeta."""
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    n = len(dout)
    return {"dgamma-not-summed": lambda: (dout * xhat, dbeta), "dgamma-mean": lambda: (dgamma / n, dbeta),
            "dbeta-mean": lambda: (dgamma, dbeta / n), "sums-mean": lambda: (dgamma / n, dbeta / n),
            "dbeta-not-summed": lambda: (dgamma, dout), "dgamma-is-dbeta": lambda: (dbeta, dbeta),
            "dgamma-centred": lambda: ((dout * xhat / inv_std).sum(axis=0), dbeta),
            "dgamma-scaled": lambda: (dgamma * gamma, dbeta),
            "sums-over-features": lambda: ((dout * xhat).sum(axis=1), dout.sum(axis=1)),
            "swapped": lambda: (dbeta, dgamma)}.get(how, lambda: (dgamma, dbeta))()


_KINDS = {"batchnorm_backward": "batch", "batchnorm_backward_alt": "batch", "layernorm_backward": "layer",
          "spatial_batchnorm_backward": "spatial", "spatial_groupnorm_backward": "group"}
_ROWS = "batchnorm_backward batchnorm_backward_alt layernorm_backward"


def _back(name: str, says: str, breaks: str, how: str, functions: str = "") -> None:
    def make(function: str) -> dict[str, Any]:
        return {function: _backward(how, _KINDS[function])}
    BOOK.mistakes.append(Mistake(name, tuple(functions.split()) or tuple(_KINDS), says, breaks, make))


_ALL = "dL/dgamma = sum over samples of dL/dout dout/dgamma: gamma is in every one of them"
_back("norm-dgamma-not-summed", "dgamma is not summed over the samples.", _ALL, "dgamma-not-summed", _ROWS)
_back("norm-dbeta-not-summed", "dbeta is not summed over the samples.", _ALL.replace("gamma", "beta"),
      "dbeta-not-summed", _ROWS)
_back("norm-dgamma-mean", "dgamma is averaged over the samples.", _ALL, "dgamma-mean")
_back("norm-dbeta-mean", "dbeta is averaged over the samples.", _ALL.replace("gamma", "beta"), "dbeta-mean")
_back("norm-sums-mean", "dgamma and dbeta are averaged over the samples.", _ALL, "sums-mean")
_back("norm-dgamma-is-dbeta", "dgamma does not hold the normalized x.", "dout/dgamma = xhat", "dgamma-is-dbeta")
_back("norm-dgamma-centred", "dgamma is made with x - mean, not with the normalized x.",
      "dout/dgamma = xhat, divided by the root",
      "dgamma-centred", _ROWS)
_back("norm-dgamma-scaled", "dgamma has a gamma in it.", "out = gamma * xhat + beta is linear in gamma",
      "dgamma-scaled")
_back("norm-sums-over-features", "dgamma and dbeta are summed over the features, not over the samples.",
      "dL/dgamma_d keeps the index d: which one goes?", "sums-over-features", _ROWS)
_back("norm-dgamma-dbeta-swapped", "dgamma and dbeta have changed places.", "out = gamma * xhat + beta", "swapped")
_back("norm-dx-no-mean", "In dx the way through the mean is missing.",
      "x reaches out along three ways: itself, the mean, the variance. dx adds three terms", "dx-no-mean")
_back("norm-dx-no-variance", "In dx the way through the variance is missing.",
      "x reaches out along three ways: itself, the mean, the variance. dx adds three terms", "dx-no-variance")
_back("norm-dx-constant", "dx takes mean and variance for constants.",
      "x reaches out along three ways: itself, the mean, the variance. dx adds three terms", "dx-constant")
_back("norm-dx-no-gamma", "dx lacks gamma.", "dL/dxhat = dL/dout dout/dxhat", "dx-no-gamma")
_back("norm-dx-unbiased", "In dx the way through the variance is divided by one less than the number of samples.",
      "dvar/dx_n = (2/N) (x_n - mean)", "dx-unbiased")
_back("norm-dx-variance-sign", "The way through the variance has the wrong sign.",
      "d(var + eps)^(-1/2)/dvar is negative", "dx-variance-sign")
_back("layernorm-dx-over-batch", "dx is averaged over the batch, as in batch norm.",
      "mean_n and var_n belong to sample n: the sums of dx run over its features", "dx-over-batch",
      "layernorm_backward")
_back("norm-dx-other-count", "The sums of dx are divided by the length of the other axis.",
      "mean = (1/count) sum: count is the number of terms", "dx-other-count", _ROWS)

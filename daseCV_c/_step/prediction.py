"""Scores without labels, as one call of a kernel: nothing is kept, and nothing of the model changes.

The scores of any number of samples go through all layers block by block, in scratch memory, so that
time and memory of a sample do not grow with their number. The bits of a sample's scores depend
neither on the samples beside it nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import precision as _precision
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step import conv_net as _conv_net
from daseCV_c._step.fully_connected import _SOURCES
from daseCV_c._types import Array, DType
from daseCV_c.reference.activation import activate
from daseCV_c.reference.losses import OUTPUTS

# Samples at a time where they are laid out anew or go through layers one by one: memory does not grow with them.
ROWS = 1024
_CONV_BYTES = 2**22  # of the convolution's output at a time
_POOL = (2, 2, 2)  # height, width, stride


@cache
def _names(layers: int, normed: bool) -> list[tuple[str, ...]]:
    """The parameters of each layer: weights and bias, and gamma and beta of a hidden one with a normalization."""
    return [tuple(f"{kind}{i}" for kind in (("W", "b", "gamma", "beta") if normed and i < layers else ("W", "b")))
            for i in range(1, layers + 1)]


def _ready(X: Array) -> bool:
    """Whether a kernel takes the samples as they lie."""
    return X.dtype in _SOURCES and X.flags.c_contiguous and X.flags.aligned


def _laid_out(X: Array, dtype: DType) -> Array:
    """Samples as rows of numbers that a kernel takes; integers and the like in the network's dtype."""
    native = X.dtype.newbyteorder("=")
    X = _checks.settle(X, native if native in _SOURCES else dtype)
    return X if X.ndim == 2 else X.reshape(len(X), -1)


# Something does not fit: the layers say what, or do it.
_UNFIT = (KeyError, IndexError, AttributeError, TypeError, ValueError)


def _kernels_for(model: Any) -> Kernels | None:
    """None where the layers compute."""
    dtype = np.dtype(model.dtype)
    return None if _precision.reduced(dtype) or model._chosen.changed() else _backend.kernels_of(dtype)


def _described(model: Any) -> tuple[list[tuple[str, ...]], list[dict[str, Any]] | None, str | None]:
    """Of the affine layers: the names of their parameters, the entries of the normalization, and which it is."""
    if not hasattr(model, "num_layers"):
        return _names(3, False)[1:], None, None  # behind the convolution
    norm = model.normalization
    return _names(model.num_layers, norm is not None), None if norm is None else model.bn_params, norm


def _affine_layers(
    kernels: Kernels, model: Any, images: Array, mean: Array | None, out: Array, output: str, threads: int,
) -> None:
    """Images, or what convolution made of them, through the affine layers."""
    if model._packed is not None:
        kernels.predict.scores_packed(images, mean, model._packed, out, output, threads)
    else:
        kernels.predict.scores(images, mean, model.params, *_described(model), out, output, threads)


def packed(model: Any) -> Any:
    """The parameters of a copy that nobody changes, as the kernel reads them; None where the layers compute."""
    kernels = _kernels_for(model)
    try:
        return None if kernels is None else kernels.predict.pack(model.params, *_described(model))
    except _UNFIT:
        return None


def _by_kernel(model: Any, X: Array, mean: Array | None, output: str, batch_size: int | None) -> Array | None:
    kernels = _kernels_for(model) if len(X) else None
    if kernels is None:
        return None
    try:
        return _KERNELS[hasattr(model, "num_layers")](
            kernels, model, X, mean, output, batch_size, np.dtype(model.dtype))
    except _UNFIT:
        return None


def _fully_connected(
    kernels: Kernels, model: Any, X: Array, mean: Array | None, output: str, batch_size: int | None,
    dtype: DType,
) -> Array:
    threads, n = _threads.effective(), len(X)
    out = np.empty((n, model.params[f"b{model.num_layers}"].shape[0]), dtype)
    if batch_size is None and _ready(X):
        _affine_layers(kernels, model, X if X.ndim == 2 else X.reshape(n, -1), mean, out, output, threads)
        return out
    step = batch_size or ROWS
    for start in range(0, n, step):
        _affine_layers(kernels, model, _laid_out(X[start:start + step], dtype), mean, out[start:start + step], output,
                       threads)
    return out


def _convolutional(
    kernels: Kernels, model: Any, X: Array, mean: Array | None, output: str, batch_size: int | None,
    dtype: DType,
) -> Array:
    if not _conv_net._fits(model, X.shape[1:]):
        raise ValueError("the parameters do not fit")
    params, threads = model.params, _threads.effective()
    W1, b1 = params["W1"], params["b1"]
    (n, _, height, width), filters = X.shape, W1.shape[0]
    step = min(n, batch_size or n, max(1, _CONV_BYTES // (filters * height * width * dtype.itemsize)))
    out = np.empty((n, params["b3"].shape[0]), dtype)
    x = np.empty((step, *X.shape[1:]), dtype)
    convolved = np.empty((step, filters, height, width), dtype)
    pooled = np.empty((step, filters, height // 2, width // 2), dtype)
    place = np.empty(pooled.shape, np.uint8)
    every = np.arange(step)
    for start in range(0, n, step):
        block = X[start:start + step]
        m = len(block)
        if mean is None and block.dtype == dtype and _ready(block):
            images = block
        else:
            images = x[:m]
            kernels.batch.gather(_laid_out(block, dtype), every[:m], mean, images.reshape(m, -1), threads)
        kernels.conv.conv_forward(images, W1, b1, convolved[:m], 1, W1.shape[2] // 2, True, threads)
        kernels.pool.max_pool_forward(convolved[:m], pooled[:m], place[:m], *_POOL, threads)
        _affine_layers(kernels, model, pooled[:m].reshape(m, -1), None, out[start:start + m], output, threads)
    return out


_KERNELS: dict[bool, Callable[..., Array]] = {True: _fully_connected, False: _convolutional}


def scores(
    model: Any, X: Array, mean: Array | None = None, probabilities: bool = False, batch_size: int | None = None,
    loss: Callable[[Array], Any] | None = None,
) -> Array:
    """Scores of samples that fit the model, or what its loss makes of them. mean: subtracted from images of uint8;
    loss: what gives the scores, if not the package's own networks do."""
    if X.dtype != np.uint8:
        mean = None
    elif mean is not None:
        mean = _checks.settle(mean, _checks.FLOAT64).reshape(-1)
    output = OUTPUTS[model.loss_function] if probabilities else "identity"
    found = None if loss else _by_kernel(model, X, mean, output, batch_size)
    if found is not None:
        return found
    parts, step = [], batch_size or ROWS
    for start in range(0, max(1, len(X)), step):
        block = X[start:start + step]
        if mean is not None:
            block = block - mean.reshape(X.shape[1:])
        part: Array = np.asarray(loss(block)) if loss else model._score(block.astype(model.dtype, copy=False))
        parts.append(activate(part, output) if probabilities and len(block) else part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

"""The training step of ThreeLayerConvNet on arrays that are kept from step to step.

The convolution, ReLU and pooling run forward as kernels of their own; the two affine layers, the
loss, their gradients and their update as one, `train_step`. It also calls the kernels that take the
gradient back through the pooling to the first layer's parameters, and updates these: the first
parameter is written when nothing can fail any more, and the last one in the same call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c._runtime import precision as _precision
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step.fully_connected import Arrays, Change, Configs, FusedStep, _plain, penalty
from daseCV_c._types import Array

Call: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]
_CONV, _AFFINE = ("W1", "b1"), (("W2", "b2"), ("W3", "b3"))


def _fits(model: Any, shape: tuple[int, ...]) -> bool:
    """Every parameter is plain and of the model's dtype, and the layers fit images of `shape`."""
    params, dtype = model.params, np.dtype(model.dtype)
    if set(params) != {name for layer in (_CONV, *_AFFINE) for name in layer} or len(shape) != 3:
        return False
    W1, W2, W3 = (params[name] for name in ("W1", "W2", "W3"))
    if not all(type(w) is np.ndarray and w.ndim == ndim and w.size for w, ndim in ((W1, 4), (W2, 2), (W3, 2))):
        return False
    filters, side = W1.shape[0], W1.shape[2]
    features = filters * (shape[1] // 2) * (shape[2] // 2)
    hidden, classes = W2.shape[1], W3.shape[1]
    return side % 2 == 1 and all(_plain(params[name], dtype, expected) for name, expected in (
        ("W1", (filters, shape[0], side, side)), ("b1", (filters,)), ("W2", (features, hidden)), ("b2", (hidden,)),
        ("W3", (hidden, classes)), ("b3", (classes,))))


def _refuse(name: str, w: Array, dtype: Any, shape: tuple[int, ...]) -> NoReturn:
    if w.dtype != dtype:
        raise TypeError(f"Solver: {name} has dtype {w.dtype}, expected {dtype}, as in the step before")
    if w.shape != shape:
        raise ValueError(f"Solver: {name} has shape {w.shape}, expected {shape}, as in the step before")
    raise ValueError(f"Solver: {name} must be C-contiguous and aligned, as in the step before")


class ConvStep(FusedStep):
    """The Solver's step for ThreeLayerConvNet: see `FusedStep`."""

    _any_loss = False

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self._scratch: dict[str, Array] = {}  # name: a block of bytes that the arrays of a step lie in
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the first layer's parameters, as they were looked at

    def _shape_of(self, model: Any) -> tuple[Any, ...]:
        # Products of bfloat16 are left to the layers.
        return self._X.shape[1:], np.dtype(model.dtype), _precision.reduced(model.dtype)

    def _plan(self, model: Any) -> Any:
        return _AFFINE if _fits(model, self._X.shape[1:]) and not _precision.reduced(model.dtype) else None

    def _take_over(self, model: Any, configs: Configs) -> Any:
        self._shapes = {name: model.params[name].shape for name in _CONV}
        return super()._take_over(model, configs)

    def _again(self, kernels: Kernels, model: Any, configs: Configs) -> Any:
        """The very arrays of the step before may have got another shape or dtype since. `train_step` sees that of those
        that it is given, but the first layer's go to kernels before it."""
        numbers = super()._again(kernels, model, configs)
        if numbers is not None:
            dtype = np.dtype(model.dtype)
            for name in _CONV:
                w, shape = model.params[name], self._shapes[name]
                if not _plain(w, dtype, shape):
                    _refuse(name, w, dtype, shape)
        return numbers

    def _array(self, name: str, shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array that is not kept by anybody; the next step writes over it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        held = self._scratch.get(name)
        if held is None or held.nbytes < size + 64:
            held = self._scratch[name] = np.empty(size + 64, np.uint8)
        start = -held.ctypes.data % 64  # with a line of the cache
        return held[start:start + size].view(dtype).reshape(shape)

    def _forward(
        self, kernels: Kernels, W1: Array, b1: Array, index: Array, mean: Array | None, dW1: Array, db1: Array,
    ) -> tuple[Array, Array, list[Call]]:
        """The batch up to the pooling: (its output, room for the gradient of that, what takes this back to the first
        layer's parameters), both as rows."""
        threads, pad, dtype = _threads.effective(), W1.shape[2] // 2, W1.dtype
        n, (_, height, width), filters = index.size, self._X.shape[1:], W1.shape[0]
        x = self._array("x", (n, *self._X.shape[1:]), dtype)
        out = self._array("out", (n, filters, height, width), dtype)
        pooled = self._array("pooled", (n, filters, height // 2, width // 2), dtype)
        dpooled = self._array("dpooled", pooled.shape, dtype)
        place = self._array("place", pooled.shape, np.uint8)
        # Nobody asks for the output again when its gradient is computed, which takes its place.
        weights = x, out, dW1, db1, 1, pad, threads
        scratch = self._array("scratch", kernels.conv.conv_backward_dw_scratch(*weights), np.uint8)
        kernels.batch.gather(self._rows, index, mean, x.reshape(n, -1), threads)
        kernels.conv.conv_forward(x, W1, b1, out, 1, pad, True, threads)
        kernels.pool.max_pool_forward(out, pooled, place, 2, 2, 2, threads)
        return pooled.reshape(n, -1), dpooled.reshape(n, -1), [
            (kernels.pool.max_pool_backward, (dpooled, place, out, 2, 2, 2, threads)),
            (kernels.conv.conv_backward_dw, (*weights, scratch))]

    def _work(
        self, kernels: Kernels, model: Any, groups: list[Any], index: Array, mean: Array | None, y: Any,
        arrays: Arrays, numbers: Any, changes: list[Change], losses: list[float] | None,
    ) -> float | None:
        if type(numbers) is tuple:
            numbers = dict.fromkeys(arrays, numbers)
        W1, b1, reg = arrays["W1"][0], arrays["b1"][0], float(model.reg)
        dW1, db1 = self._array("dW1", W1.shape, W1.dtype), self._array("db1", b1.shape, W1.dtype)
        pooled, dpooled, calls = self._forward(kernels, W1, b1, index, mean, dW1, db1)
        layers = [(*group, None, None, numbers[w], numbers[b], None, None, reg, None, None)
                  for group, (w, b) in zip(groups, _AFFINE, strict=True)]
        front = [(arrays["W1"], dW1, reg * W1 if reg else None, numbers["W1"]),
                 (arrays["b1"], db1, None, numbers["b1"])]
        # From here on nothing takes memory, and nothing can be interrupted.
        try:
            return kernels.step.train_step(
                pooled, None, None, y, layers, self._rule, None, _threads.effective(), 0, dpooled,
                changes, losses, penalty(reg, [W1]) if reg else 0.0, calls, front)
        except kernels.step.LabelError:
            return None

    def _gradients(
        self, kernels: Kernels, arrays: Arrays, reg: float, groups: list[Any], index: Array, mean: Array | None, y: Any,
        grads: dict[str, Array],
    ) -> float | None:
        """The loss, or None. The gradients lie in `grads`, which are also those of the groups of the affine layers."""
        W1, b1 = arrays["W1"][0], arrays["b1"][0]
        pooled, dpooled, calls = self._forward(kernels, W1, b1, index, mean, grads["W1"], grads["b1"])
        layers = [(*group, None, None, *(None,) * 4, reg, None, None) for group in groups]
        try:
            loss = kernels.step.train_step(
                pooled, None, None, y, layers, None, None, _threads.effective(), 0, dpooled,
                None, None, penalty(reg, [W1]) if reg else 0.0, calls)
        except kernels.step.LabelError:
            return None
        if reg:
            grads["W1"] += reg * W1
        return loss

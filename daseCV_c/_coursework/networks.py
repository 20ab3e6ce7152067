"""The course's networks in plain NumPy, and the same with one thing done otherwise: what a student's is held against.

`faults` of a class are names of things that go wrong in it; the classes that know the right answers have none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import reference as layers

__all__ = ["FullyConnectedNet", "ThreeLayerConvNet", "TwoLayerNet"]

_POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


class Net:
    """What the networks share: initial weights, the penalty."""

    faults: frozenset[str] = frozenset()

    def _draw(self, sizes: list[tuple[int, ...]], weight_scale: float, dtype: Any) -> None:
        self.params: dict[str, Any] = {}
        scale = weight_scale**2 if "init-variance" in self.faults else weight_scale
        for i, shape in enumerate(sizes, 1):
            outputs = shape[0] if len(shape) == 4 else shape[1]
            uniform = "init-uniform" in self.faults
            self.params[f"W{i}"] = scale * (np.random.rand(*shape) if uniform else np.random.randn(*shape))
            self.params[f"b{i}"] = scale * np.random.randn(outputs) if "init-bias" in self.faults else np.zeros(outputs)
        self._cast(dtype)

    def _cast(self, dtype: Any) -> None:
        if "dtype" not in self.faults:
            self.params = {key: value.astype(dtype) for key, value in self.params.items()}

    def _penalize(self, loss: float, grads: dict[str, Any], reg: float, last: int) -> float:
        """The loss with half of reg times the squares of all weights; grads gets the derivative."""
        faults = self.faults
        names = [f"W{i}" for i in range(1, last + 1)]
        if "penalty-last" in faults:
            names.pop()
        if "penalty-first" in faults:
            names = names[1:]
        if "penalty-biases" in faults:
            names += [f"b{i}" for i in range(1, last + 1)]
        if "penalty-norm" in faults:
            names += [name for name in self.params if name.startswith(("gamma", "beta"))]
        if "penalty" in faults:
            names = []
        half = 1.0 if {"penalty-half", "penalty-half-loss"} & faults else 0.5
        twice = 2.0 if {"penalty-half", "penalty-twice-gradient"} & faults else 1.0
        for name in names:
            loss += half * reg * float(np.sum(self.params[name] ** 2))
            if "penalty-gradient" not in faults:
                grads[name] = grads[name] + twice * reg * self.params[name]
        return loss


class FullyConnectedNet(Net):
    """(affine - norm - ReLU - dropout) x (L - 1) - affine - softmax."""

    def __init__(self, hidden_dims: list[int], input_dim: int = 3 * 32 * 32, num_classes: int = 10,
                 dropout_keep_ratio: float = 1, normalization: str | None = None, reg: float = 0.0,
                 weight_scale: float = 1e-2, dtype: Any = np.float32, seed: int | None = None) -> None:
        sizes = [input_dim, *hidden_dims, num_classes]
        self.last, self.reg, self.dtype, self.normalization = len(sizes) - 1, reg, np.dtype(dtype), normalization
        self._draw(list(zip(sizes, sizes[1:], strict=False)), weight_scale, self.dtype)
        everywhere = "norm-last" in self.faults
        self.normed = range(1, self.last + (1 if everywhere else 0)) if normalization else range(0)
        for i in self.normed:
            start = np.zeros if "init-gamma" in self.faults else np.ones
            self.params[f"gamma{i}"], self.params[f"beta{i}"] = start(sizes[i]), np.zeros(sizes[i])
        self._cast(self.dtype)
        self.dropout_param: dict[str, Any] = {}
        if dropout_keep_ratio != 1:
            self.dropout_param = {"mode": "train", "p": dropout_keep_ratio}
            if seed is not None:
                self.dropout_param["seed"] = seed
        self.bn_params: list[dict[str, Any]] = [
            {"mode": "train"} if normalization == "batchnorm" else {} for _ in range(self.last)]

    def loss(self, X: Any, y: Any = None) -> Any:
        faults, params, last = self.faults, self.params, self.last
        mode = "test" if y is None and "norm-train-mode" not in faults else "train"
        for param in self.bn_params if self.normalization == "batchnorm" else []:
            param["mode"] = mode
        if self.dropout_param:
            self.dropout_param["mode"] = "test" if y is None and "dropout-at-test" not in faults else "train"
        out, caches, mask = np.asarray(X).astype(self.dtype), [], None
        for i in range(1, last + 1):
            out, fc = layers.affine_forward(out, params[f"W{i}"], params[f"b{i}"])
            norm = relu = drop = None
            before = i < last and "relu-before-norm" in faults
            if before:
                out, relu = layers.relu_forward(out)
            if i in self.normed:
                arguments = (out, params[f"gamma{i}"], params[f"beta{i}"], self.bn_params[
                    0 if "norm-shared" in faults else i - 1])
                out, norm = (layers.batchnorm_forward if self.normalization == "batchnorm"
                             else layers.layernorm_forward)(*arguments)
            if (i < last and not before and "no-relu" not in faults) or (i == last and "relu-last" in faults):
                out, relu = layers.relu_forward(out)
            if self.dropout_param and (i < last or "dropout-last" in faults):
                drop = mask if "dropout-shared" in faults else None
                if drop is not None and drop[1] is not None and drop[1].shape == out.shape:
                    out = out * drop[1]
                else:
                    out, drop = layers.dropout_forward(out, self.dropout_param)
                mask = drop
            caches.append((fc, norm, relu, drop))
        if y is None:
            return out
        loss, dout = layers.softmax_loss(out, y)
        grads: dict[str, Any] = {}
        for i in range(last, 0, -1):
            fc, norm, relu, drop = caches[i - 1]
            if drop is not None and "dropout-backward" not in faults:
                dout = layers.dropout_backward(dout, drop)
            if relu is not None and "relu-before-norm" not in faults and "relu-backward" not in faults:
                dout = layers.relu_backward(dout, relu)
            if norm is not None:
                back = layers.batchnorm_backward if self.normalization == "batchnorm" else layers.layernorm_backward
                dout, dgamma, dbeta = back(dout, norm)
                if "norm-gradients" not in faults:
                    grads[f"gamma{i}"], grads[f"beta{i}"] = dgamma, dbeta
            if relu is not None and "relu-before-norm" in faults:
                dout = layers.relu_backward(dout, relu)
            dout, grads[f"W{i}"], grads[f"b{i}"] = layers.affine_backward(dout, fc)
        return self._penalize(loss, grads, self.reg, last), grads


class TwoLayerNet(FullyConnectedNet):
    """affine - ReLU - affine - softmax, in float64."""

    def __init__(self, input_dim: int = 3 * 32 * 32, hidden_dim: int = 100, num_classes: int = 10,
                 weight_scale: float = 1e-3, reg: float = 0.0) -> None:
        super().__init__([hidden_dim], input_dim, num_classes, reg=reg, weight_scale=weight_scale, dtype=np.float64)


class ThreeLayerConvNet(Net):
    """conv - ReLU - 2 x 2 max pool - affine - ReLU - affine - softmax."""

    def __init__(self, input_dim: tuple[int, ...] = (3, 32, 32), num_filters: int = 32, filter_size: int = 7,
                 hidden_dim: int = 100, num_classes: int = 10, weight_scale: float = 1e-3, reg: float = 0.0,
                 dtype: Any = np.float32) -> None:
        C, H, W = input_dim
        self.reg, self.dtype = reg, np.dtype(dtype)
        pooled = num_filters * (H // 2) * (W // 2)
        self._draw([(num_filters, C, filter_size, filter_size), (pooled, hidden_dim), (hidden_dim, num_classes)],
                   weight_scale, self.dtype)

    def loss(self, X: Any, y: Any = None) -> Any:
        faults, params = self.faults, self.params
        conv_param = {"stride": 1, "pad": (params["W1"].shape[2] - 1) // 2}
        out, conv = layers.conv_forward_fast(np.asarray(X).astype(self.dtype), params["W1"], params["b1"], conv_param)
        relu1 = relu2 = None
        if "no-relu" not in faults:
            out, relu1 = layers.relu_forward(out)
        out, pool = layers.max_pool_forward_fast(out, _POOL)
        out, fc2 = layers.affine_forward(out, params["W2"], params["b2"])
        if "no-relu" not in faults:
            out, relu2 = layers.relu_forward(out)
        scores, fc3 = layers.affine_forward(out, params["W3"], params["b3"])
        relu3 = None
        if "relu-last" in faults:
            scores, relu3 = layers.relu_forward(scores)
        if y is None:
            return scores
        loss, dout = layers.softmax_loss(scores, y)
        grads: dict[str, Any] = {}
        if relu3 is not None:
            dout = layers.relu_backward(dout, relu3)
        dout, grads["W3"], grads["b3"] = layers.affine_backward(dout, fc3)
        if relu2 is not None and "relu-backward" not in faults:
            dout = layers.relu_backward(dout, relu2)
        dout, grads["W2"], grads["b2"] = layers.affine_backward(dout, fc2)
        dout = layers.max_pool_backward_fast(dout, pool)
        if relu1 is not None and "relu-backward" not in faults:
            dout = layers.relu_backward(dout, relu1)
        _, grads["W1"], grads["b1"] = layers.conv_backward_fast(dout, conv)
        return self._penalize(loss, grads, self.reg, 3), grads

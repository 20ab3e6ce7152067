"""A module of PyTorch as a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._exchange.network import library
from daseCV_c._training import networks
from daseCV_c._types import Array

_FUNCTION = "from_torch"
_FORMS = ("[Flatten], {Linear, [BatchNorm1d or LayerNorm], ReLU, [Dropout]} any number of times, Linear; or "
          "Conv2d, ReLU, MaxPool2d, Flatten, Linear, ReLU, Linear")
_KNOWN = ("Linear", "Conv2d", "BatchNorm1d", "LayerNorm", "ReLU", "Dropout", "MaxPool2d", "Flatten")


def _refuse(name: str, layer: Any, why: str) -> ValueError:
    place = f"the layer {name!r}" if name else "the module"
    return ValueError(f"{_FUNCTION}: {place} ({type(layer).__name__}) {why}")


class _Layers:
    """The layers of a module one after the other, each with its name in the state dict."""

    def __init__(self, torch: Any, module: Any) -> None:
        self.torch = torch
        self.dtype: Any = None
        self.arrays: dict[str, Array] = {}
        self.rest = list(self._leaves("", module))
        self.last = "nothing"

    def _is(self, layer: Any, kind: str) -> bool:
        """Whether it computes what PyTorch's class does; one derived from it may have a forward of its own."""
        original = getattr(self.torch.nn, kind)
        return isinstance(layer, original) and type(layer).forward is original.forward

    def _leaves(self, name: str, module: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(module, self.torch.nn.modules.lazy.LazyModuleMixin):
            raise _refuse(name, module, "has no parameters yet")
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            raise _refuse(name, module, "has a forward hook or a forward of its own, whose work would be lost")
        if self._is(module, "Sequential"):
            for key, child in module.named_children():
                yield from self._leaves(f"{name}.{key}" if name else key, child)
        elif not self._is(module, "Identity") and not (self._is(module, "Dropout") and module.p == 0):
            yield name, module

    def take(self, *kinds: str) -> tuple[str, Any] | None:
        """The next layer, if it is one of these."""
        if not self.rest or not any(self._is(self.rest[0][1], kind) for kind in kinds):
            return None
        name, layer = self.rest.pop(0)
        self.last = f"the layer {name!r} ({type(layer).__name__})"
        return name, layer

    def need(self, *kinds: str) -> tuple[str, Any]:
        found = self.take(*kinds)
        if found is None:
            wanted = " or ".join(kinds)
            if not self.rest:
                raise ValueError(f"{_FUNCTION}: the module ends after {self.last}, expected {wanted}")
            raise self.misfit(wanted)
        return found

    def misfit(self, wanted: str) -> ValueError:
        name, layer = self.rest[0]
        if self._is(layer, "Softmax") or self._is(layer, "LogSoftmax"):
            return _refuse(name, layer, "makes probabilities, but a network here ends with its scores: leave it off, "
                                        "the highest one is the same")
        if any(self._is(layer, kind) for kind in _KNOWN):
            return _refuse(name, layer, f"stands where {wanted} is expected. What fits is {_FORMS}")
        return _refuse(name, layer, f"has no counterpart here. What fits is {_FORMS}")

    def array(self, name: str, layer: Any, which: str, key: str, default: Array | None = None) -> Array:
        """One tensor as an array of our own, kept under `key`."""
        tensor = getattr(layer, which)
        if tensor is None:
            if default is None:
                raise _refuse(name, layer, f"has no {which}")
            self.arrays[key] = array = default.astype(self.dtype)
            return array
        if tensor.is_meta or tensor.layout is not self.torch.strided:
            raise _refuse(name, layer, f"has {'no numbers in its' if tensor.is_meta else 'a sparse'} {which}")
        if tensor.dtype not in (self.torch.float32, self.torch.float64):
            raise _refuse(name, layer, f"has a {which} of {tensor.dtype}, expected float32 or float64: module.float() "
                                       "makes it so")
        found = np.array(tensor.detach().cpu().numpy(), order="C")
        if self.dtype is None:
            self.dtype = found.dtype
        if found.dtype != self.dtype:
            raise _refuse(name, layer, f"has a {which} of {found.dtype}, but what comes before is {self.dtype}")
        self.arrays[key] = found
        return found

    def affine(self, name: str, layer: Any, i: int) -> tuple[int, int]:
        """(fan_in, fan_out)."""
        W = self.array(name, layer, "weight", f"W{i}")
        self.arrays[f"W{i}"] = W = np.array(W.T, order="C")
        self.array(name, layer, "bias", f"b{i}", np.zeros(W.shape[1]))
        return W.shape[0], W.shape[1]

    def normalization(self, name: str, layer: Any, i: int, width: int) -> tuple[str, dict[str, float]]:
        """(kind, settings)."""
        kind = "batchnorm" if self._is(layer, "BatchNorm1d") else "layernorm"
        settings = {"eps": float(layer.eps)}
        if kind == "batchnorm":
            if layer.running_mean is None or layer.running_var is None:
                raise _refuse(name, layer, "has no running statistics, so that its scores depend on the batch")
            if layer.momentum is None:
                raise _refuse(name, layer, "has momentum=None, an average of all batches, expected a number")
            settings["momentum"] = 1 - float(layer.momentum)
            self.array(name, layer, "running_mean", f"running_mean{i}")
            self.array(name, layer, "running_var", f"running_var{i}")
        elif tuple(layer.normalized_shape) != (width,):
            raise _refuse(name, layer, f"normalizes over {tuple(layer.normalized_shape)}, expected ({width},)")
        self.array(name, layer, "weight", f"gamma{i}", np.ones(width))
        self.array(name, layer, "bias", f"beta{i}", np.zeros(width))
        return kind, settings

    def flatten(self, name: str, layer: Any) -> None:
        if (layer.start_dim, layer.end_dim) != (1, -1):
            raise _refuse(
                name, layer, f"has start_dim={layer.start_dim} and end_dim={layer.end_dim}, expected 1 and -1")

    def alike(self, name: str, layer: Any, what: str, hidden: int, found: Any, before: Any) -> None:
        """All hidden layers of a network here have the same."""
        if hidden > 1 and found != before:
            raise _refuse(name, layer, f"is followed by {found or 'no ' + what}, but the hidden layers before it have "
                                       f"{before or 'none'}: they are all alike here")

    def end(self) -> None:
        if self.rest:
            raise self.misfit("the end")


def _fully_connected(layers: _Layers) -> dict[str, Any]:
    found = layers.take("Flatten")
    if found:
        layers.flatten(*found)
    widths: list[int] = []
    kept: list[dict[str, float]] = []
    normalization = keep = None
    for i in range(1, len(layers.rest) + 1):
        name, layer = layers.need("Linear")
        fan_in, fan_out = layers.affine(name, layer, i)
        widths += [fan_out] if widths else [fan_in, fan_out]
        if not layers.rest:
            break
        norm = layers.take("BatchNorm1d", "LayerNorm")
        kind, settings = layers.normalization(*norm, i, fan_out) if norm else (None, {})
        layers.alike(name, layer, "normalization", i, kind, normalization)
        normalization = kind
        kept.append(settings)
        name, layer = layers.need("ReLU")
        dropout = layers.take("Dropout")
        if dropout and not dropout[1].p < 1:
            raise _refuse(*dropout, f"has p={dropout[1].p}: nothing is left")
        p = dropout and dropout[1].p
        layers.alike(name, layer, "dropout", i, p and f"dropout with p={p}", keep and f"dropout with p={keep}")
        keep = p
        if not layers.rest:
            layers.need("Linear")  # says that it is missing
    else:
        layers.need("Linear")
    return {
        "class": "FullyConnectedNet", "input_dim": widths[0], "hidden_dims": widths[1:-1], "num_classes": widths[-1],
        "normalization": normalization, "reg_last_layer": True, "bn_params": kept if normalization else [],
        "dropout": {"p": 1 - float(keep), "used": True} if keep else None}


def _convolutional(layers: _Layers, input_dim: Sequence[int] | None) -> dict[str, Any]:
    name, layer = layers.need("Conv2d")
    W = layers.array(name, layer, "weight", "W1")
    layers.array(name, layer, "bias", "b1", np.zeros(W.shape[0]))
    side, pad = W.shape[2], (W.shape[2] - 1) // 2
    for setting, found, wanted in (
            ("kernel_size", layer.kernel_size, (side, side)), ("stride", layer.stride, (1, 1)),
            ("dilation", layer.dilation, (1, 1)), ("groups", layer.groups, 1),
            ("padding_mode", layer.padding_mode, "zeros"),
            ("padding", (pad, pad) if layer.padding == "same" else layer.padding, (pad, pad))):
        if found != wanted:
            raise _refuse(name, layer, f"has {setting}={found}, expected {wanted}")
    if side % 2 == 0:
        raise _refuse(name, layer, f"has filters of {side} x {side}, expected an odd number")
    layers.need("ReLU")
    name, layer = layers.need("MaxPool2d")
    for setting, wanted in (("kernel_size", 2), ("stride", 2), ("padding", 0), ("dilation", 1), ("ceil_mode", False),
                            ("return_indices", False)):
        found = getattr(layer, setting)
        if found not in (wanted, (wanted, wanted)):
            raise _refuse(name, layer, f"has {setting}={found}, expected {wanted}")
    layers.flatten(*layers.need("Flatten"))
    features, hidden = layers.affine(*layers.need("Linear"), 2)
    layers.need("ReLU")
    _, classes = layers.affine(*layers.need("Linear"), 3)
    layers.end()
    size = [W.shape[1], None, None] if input_dim is None else list(input_dim)
    return {"class": "ThreeLayerConvNet", "input_dim": size, "num_filters": W.shape[0], "filter_size": side,
            "features": features, "hidden_dim": hidden, "num_classes": classes}


def from_torch(module: Any, *, input_dim: int | Sequence[int] | None = None) -> Any:
    """A network with the layers and the numbers of a `torch.nn.Sequential`, with equal scores.

    What fits is ``[Flatten], {Linear, [BatchNorm1d or LayerNorm], ReLU, [Dropout]} x (L - 1), Linear``,
    which becomes a FullyConnectedNet, and ``Conv2d, ReLU, MaxPool2d, Flatten, Linear, ReLU, Linear``, which
    becomes a ThreeLayerConvNet. Sequentials may be nested; Identity, and dropout with p = 0, are passed over.
    A layer without bias or scale gets zeros or ones. Arrays are copied, from whatever device.

    Parameters
    ----------
    module : torch.nn.Sequential, or torch.nn.Linear alone
        Its parameters are all float32 or all float64. Scores are those of its eval mode.
    input_dim : int or (C, H, W), optional
        The size of a sample. A convolutional module does not say of which height and width its images are:
        without this the network takes every one that gives as many features.

    Returns
    -------
    model : FullyConnectedNet or ThreeLayerConvNet
        With ``reg`` 0. Nothing is drawn from any generator.

    Raises
    ------
    ValueError
        A layer that no network here has, or in another place, or with other settings; the message names it.
        An `input_dim` that does not fit.
    TypeError
        Not a module of PyTorch.
    ImportError
        PyTorch is not installed: ``pip install "daseCV_c[torch]"``.

    Examples
    --------
    >>> from torch import nn
    >>> net = from_torch(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)))
    >>> net.normalization, net.params['W1'].shape
    ('batchnorm', (4, 5))
    """
    torch = library(_FUNCTION, "torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{_FUNCTION}: module is a {type(module).__name__}, expected a torch.nn.Sequential")
    layers = _Layers(torch, module)
    if not layers.rest:
        raise ValueError(f"{_FUNCTION}: the module has no layers. What fits is {_FORMS}")
    conv = layers._is(layers.rest[0][1], "Conv2d")
    if input_dim is not None:
        sizes = input_dim if isinstance(input_dim, Sequence) and not isinstance(input_dim, str) else (input_dim,)
        sizes = [_checks.integer(_FUNCTION, "a size in input_dim", size, 1) for size in sizes]
        if conv and len(sizes) != 3:
            raise ValueError(f"{_FUNCTION}: input_dim is {input_dim!r}, expected (C, H, W)")
        input_dim = sizes
    document = _convolutional(layers, input_dim) if conv else _fully_connected(layers)
    if not conv and input_dim is not None and math.prod(input_dim) != document["input_dim"]:
        raise ValueError(f"{_FUNCTION}: input_dim is {input_dim!r}, but the first layer takes {document['input_dim']} "
                         "features")
    return networks.rebuild(_FUNCTION, document | {"dtype": str(layers.dtype), "reg": 0.0}, layers.arrays)

"""A network as a module of PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from daseCV_c._exchange.network import Layer, described, layers_of, library
from daseCV_c._types import Array


def _filled(torch: Any, kind: str, arrays: dict[str, Array], *sizes: int, **settings: Any) -> Any:
    """A module with these arrays. Its own initial weights are not drawn: nobody's random numbers move."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    module = torch.nn.utils.skip_init(
        getattr(torch.nn, kind), *sizes, **settings, dtype=tensors["weight"].dtype, device="cpu")
    with torch.no_grad():
        for name, tensor in tensors.items():
            getattr(module, name).copy_(tensor)
    return module


def _affine(torch: Any, layer: Layer) -> Any:
    W, b = layer.arrays["W"], layer.arrays["b"]
    return _filled(torch, "Linear", {"weight": W.T, "bias": b}, *W.shape)


def _conv(torch: Any, layer: Layer) -> Any:
    W, b = layer.arrays["W"], layer.arrays["b"]
    return _filled(torch, "Conv2d", {"weight": W, "bias": b}, W.shape[1], W.shape[0], W.shape[2],
                   padding=layer.settings["pad"])


def _batchnorm(torch: Any, layer: Layer) -> Any:
    arrays = {"weight": layer.arrays["gamma"], "bias": layer.arrays["beta"],
              "running_mean": layer.arrays["running_mean"], "running_var": layer.arrays["running_var"]}
    module = _filled(torch, "BatchNorm1d", arrays, len(arrays["bias"]), eps=layer.settings["eps"],
                     momentum=1 - layer.settings["momentum"])
    module.num_batches_tracked.zero_()
    return module


def _layernorm(torch: Any, layer: Layer) -> Any:
    gamma, beta = layer.arrays["gamma"], layer.arrays["beta"]
    return _filled(torch, "LayerNorm", {"weight": gamma, "bias": beta}, len(beta), eps=layer.settings["eps"])


_MODULES: dict[str, Callable[[Any, Layer], Any]] = {
    "affine": _affine, "conv": _conv, "batchnorm": _batchnorm, "layernorm": _layernorm,
    "relu": lambda torch, layer: torch.nn.ReLU(),
    "dropout": lambda torch, layer: torch.nn.Dropout(1 - layer.settings["keep"]),
    "pool": lambda torch, layer: torch.nn.MaxPool2d(2),
    "flatten": lambda torch, layer: torch.nn.Flatten(),
}


def to_torch(model: Any) -> Any:
    """The network as a `torch.nn.Sequential` in eval mode, with equal scores.

    Its layers are called after ours: flatten, affine1, batchnorm1 or layernorm1, relu1, dropout1, …;
    conv1, relu1, pool1, flatten, affine2, … Weights of `Linear` are ours transposed. Arrays are copied.
    PyTorch's dropout takes the probability of dropping, which is one minus ours, and its batch norm
    takes one minus our momentum.

    Parameters
    ----------
    model : TwoLayerNet, FullyConnectedNet or ThreeLayerConvNet

    Returns
    -------
    module : torch.nn.Sequential
        On the CPU, in the dtype of the model's scores. It takes a tensor of that dtype, in the shapes that
        ``model.loss(X)`` takes. Trained further, its running variances follow PyTorch's rule, with
        Bessel's correction; ours has none.

    Raises
    ------
    TypeError
        The model is of a class of the user's own.
    ValueError
        Parameters that do not fit each other.
    ImportError
        PyTorch is not installed: ``pip install "daseCV_c[torch]"``.

    References
    ----------
    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html

    Examples
    --------
    >>> from daseCV_c.classifiers.fc_net import FullyConnectedNet
    >>> to_torch(FullyConnectedNet([5], input_dim=4, num_classes=3, dropout=0.75))
    Sequential(
      (flatten): Flatten(start_dim=1, end_dim=-1)
      (affine1): Linear(in_features=4, out_features=5, bias=True)
      (relu1): ReLU()
      (dropout1): Dropout(p=0.25, inplace=False)
      (affine2): Linear(in_features=5, out_features=3, bias=True)
    )
    """
    torch = library("to_torch", "torch", "torch")
    layers = layers_of(*described("to_torch", model))
    return torch.nn.Sequential(OrderedDict((layer.name, _MODULES[layer.kind](torch, layer)) for layer in layers)).eval()

"""A network as its layers in order, which is how other libraries write one."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._training import networks
from daseCV_c._types import Array, DType

EPS, MOMENTUM = 1e-5, 0.9  # what the layers take where a network does not say


def library(function: str, name: str, extra: str) -> Any:
    """An optional library, imported; ImportError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{function} needs {name} ({error}): pip install "daseCV_c[{extra}]"') from error


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer: `kind` with the number of the affine or convolution that it belongs to is its name."""

    kind: str
    number: int
    arrays: dict[str, Array] = dataclasses.field(default_factory=dict)  # W, b, gamma, beta, running_mean, running_var
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.kind if self.kind == "flatten" else f"{self.kind}{self.number}"


def described(function: str, model: Any) -> tuple[dict[str, Any], dict[str, Array], DType]:
    """`networks.describe` and the dtype of the scores."""
    document, arrays = networks.describe(function, model)
    if document["dtype"] not in ("float32", "float64"):
        raise ValueError(f"{function}: the model's dtype is {document['dtype']}, expected float32 or float64")
    computing = [array for name, array in arrays.items() if not name.startswith(("running_", "mean_"))]
    return document, arrays, _checks.float_dtype(np.empty(0, document["dtype"]), *computing)


def layers_of(document: dict[str, Any], arrays: dict[str, Array], dtype: DType) -> list[Layer]:
    """The layers from the samples to the scores; their arrays are copies in `dtype`."""
    def some(i: int, *names: str) -> dict[str, Array]:
        return {name: arrays[f"{name}{i}"].astype(dtype, order="C") for name in names}

    if document["class"] == "ThreeLayerConvNet":
        return [
            Layer("conv", 1, some(1, "W", "b"), {"pad": (document["filter_size"] - 1) // 2}), Layer("relu", 1),
            Layer("pool", 1), Layer("flatten", 1), Layer("affine", 2, some(2, "W", "b")), Layer("relu", 2),
            Layer("affine", 3, some(3, "W", "b"))]
    layers, kept, last = [Layer("flatten", 1)], document["dropout"], len(document["hidden_dims"]) + 1
    for i in range(1, last):
        layers.append(Layer("affine", i, some(i, "W", "b")))
        if document["normalization"]:
            settings, more = document["bn_params"][i - 1], some(i, "gamma", "beta")
            found = {"eps": settings.get("eps", EPS)}
            if document["normalization"] == "batchnorm":
                found["momentum"] = settings.get("momentum", MOMENTUM)
                for name in ("running_mean", "running_var"):  # zeros until there was a step of training
                    more |= some(i, name) if f"{name}{i}" in arrays else {name: np.zeros_like(more["beta"])}
            layers.append(Layer(document["normalization"], i, more, found))
        layers.append(Layer("relu", i))
        if kept and kept["used"]:
            layers.append(Layer("dropout", i, settings={"keep": kept["p"]}))
    return [*layers, Layer("affine", last, some(last, "W", "b"))]

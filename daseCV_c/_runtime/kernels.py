"""The compiled entries as attributes: `Kernels` has one for each family of src, and each family its entries.

An entry of the fused type `real` exists for float32 and for float64. `specialised` takes the ones of
a dtype, once, when the modules are loaded: a call then need not find out its dtype. The signatures are
those of the stubs beside the built modules, daseCV_c/_compiled/<module>.pyi.

A new entry is listed twice: in its module's stub, and here in its family's class.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from daseCV_c._compiled import sources

if TYPE_CHECKING:
    # No modules of these names exist: one stub describes a module of every level.
    from daseCV_c._compiled import affine_bf16 as _affine_bf16
    from daseCV_c._compiled import images as _images
    from daseCV_c._compiled import layers as _layers
    from daseCV_c._compiled import networks as _networks

_C_TYPES: dict[np.dtype[Any], str] = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class _Family:
    """What the module of a family offers, with its functions of one fused type specialised to `c_type`.

    Anything else is taken over as it is, a function of two fused types among them. A module has other families too:
    which entries are a family's own, its class says to whoever checks types.
    """

    def __init__(self, module: ModuleType, c_type: str) -> None:
        for name, value in vars(module).items():
            if not name.startswith("_"):
                self.__dict__[name] = value[c_type] if c_type in getattr(value, "__signatures__", ()) else value


class Activation(_Family):
    if TYPE_CHECKING:
        relu_forward = staticmethod(_layers.relu_forward)
        relu_backward = staticmethod(_layers.relu_backward)


class Affine(_Family):
    if TYPE_CHECKING:
        affine_forward = staticmethod(_networks.affine_forward)
        affine_backward_dx = staticmethod(_networks.affine_backward_dx)
        affine_backward_dw = staticmethod(_networks.affine_backward_dw)
        matmul = staticmethod(_networks.matmul)


class AffineBf16(Affine):
    if TYPE_CHECKING:
        built = staticmethod(_affine_bf16.built)
        use_amx = staticmethod(_affine_bf16.use_amx)
        amx = staticmethod(_affine_bf16.amx)


class Batch(_Family):
    if TYPE_CHECKING:
        gather = staticmethod(_layers.gather)


class Conv(_Family):
    if TYPE_CHECKING:
        conv_forward = staticmethod(_images.conv_forward)
        conv_backward_dx = staticmethod(_images.conv_backward_dx)
        conv_backward_dw = staticmethod(_images.conv_backward_dw)
        conv_backward_dw_scratch = staticmethod(_images.conv_backward_dw_scratch)


class Dropout(_Family):
    if TYPE_CHECKING:
        dropout_forward = staticmethod(_layers.dropout_forward)
        dropout_backward = staticmethod(_layers.dropout_backward)


class Im2col(_Family):
    if TYPE_CHECKING:
        im2col = staticmethod(_images.im2col)
        col2im = staticmethod(_images.col2im)
        col2im_6d = staticmethod(_images.col2im_6d)


class Losses(_Family):
    if TYPE_CHECKING:
        svm_loss = staticmethod(_layers.svm_loss)
        softmax_loss = staticmethod(_layers.softmax_loss)


class Normalization(_Family):
    if TYPE_CHECKING:
        batchnorm_forward_train = staticmethod(_layers.batchnorm_forward_train)
        batchnorm_forward_test = staticmethod(_layers.batchnorm_forward_test)
        batchnorm_backward = staticmethod(_layers.batchnorm_backward)
        batchnorm_backward_alt = staticmethod(_layers.batchnorm_backward_alt)
        batchnorm_backward_test = staticmethod(_layers.batchnorm_backward_test)
        layernorm_forward = staticmethod(_layers.layernorm_forward)
        layernorm_backward = staticmethod(_layers.layernorm_backward)


class Optim(_Family):
    if TYPE_CHECKING:
        update = staticmethod(_layers.update)
        sum_of_squares = staticmethod(_layers.sum_of_squares)


class Pool(_Family):
    if TYPE_CHECKING:
        max_pool_forward = staticmethod(_images.max_pool_forward)
        max_pool_backward = staticmethod(_images.max_pool_backward)


class Predict(_Family):
    if TYPE_CHECKING:
        pack = staticmethod(_networks.pack)
        scores = staticmethod(_networks.scores)
        scores_packed = staticmethod(_networks.scores_packed)


class Spatial(_Family):
    if TYPE_CHECKING:
        spatial_batchnorm_forward_train = staticmethod(_images.spatial_batchnorm_forward_train)
        spatial_batchnorm_forward_test = staticmethod(_images.spatial_batchnorm_forward_test)
        spatial_batchnorm_backward = staticmethod(_images.spatial_batchnorm_backward)
        spatial_batchnorm_backward_test = staticmethod(_images.spatial_batchnorm_backward_test)
        spatial_groupnorm_forward = staticmethod(_images.spatial_groupnorm_forward)
        spatial_groupnorm_backward = staticmethod(_images.spatial_groupnorm_backward)


class Step(_Family):
    if TYPE_CHECKING:
        LabelError = _networks.LabelError
        plain_dict = staticmethod(_networks.plain_dict)
        count_up = staticmethod(_networks.count_up)
        settings_of = staticmethod(_networks.settings_of)
        train_step = staticmethod(_networks.train_step)
        train_batches = staticmethod(_networks.train_batches)


@dataclass(frozen=True, slots=True)
class Kernels:
    """The entries for one dtype, by family: ``kernels.affine.affine_forward(...)``."""

    activation: Activation
    affine: Affine
    affine_bf16: AffineBf16 | None  # no level below v4 has it
    batch: Batch
    conv: Conv
    dropout: Dropout
    im2col: Im2col
    losses: Losses
    normalization: Normalization
    optim: Optim
    pool: Pool
    predict: Predict
    spatial: Spatial
    step: Step


_CLASSES: dict[str, Callable[[ModuleType, str], Any]] = {**get_type_hints(Kernels), "affine_bf16": AffineBf16}
FAMILIES = tuple(_CLASSES)


def families_of(level: str) -> dict[str, ModuleType]:
    """The built module of each family that `level` has, imported."""
    built = {name: importlib.import_module(f"daseCV_c._compiled.{level}.{name}") for name in sources.modules_of(level)}
    return {family: module for name, module in built.items() for family in sources.MODULES[name]}


def specialised(modules: Mapping[str, ModuleType]) -> dict[np.dtype[Any], Kernels]:
    """The `Kernels` of float32 and of float64, from the module of each family of a level."""
    def of(c_type: str) -> dict[str, Any]:
        return {family: make(modules[family], c_type) if family in modules else None
                for family, make in _CLASSES.items()}

    return {dtype: Kernels(**of(c_type)) for dtype, c_type in _C_TYPES.items()}

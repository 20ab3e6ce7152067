"""The compiled entries as attributes: `Kernels` has one for each family of src, and each family its entries.

An entry of the fused type `real` exists for float32 and for float64. `specialised` takes the ones of
a dtype, once, when the modules are loaded: a call then need not find out its dtype. The signatures are
those of the stubs beside the built modules, daseCV_c/_compiled/<family>.pyi.

A new entry is listed twice: in its family's stub, and here in its family's class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

if TYPE_CHECKING:
    # No modules of these names exist: one stub describes a family's modules of every level.
    from daseCV_c._compiled import activation as _activation
    from daseCV_c._compiled import affine as _affine
    from daseCV_c._compiled import affine_bf16 as _affine_bf16
    from daseCV_c._compiled import batch as _batch
    from daseCV_c._compiled import conv as _conv
    from daseCV_c._compiled import dropout as _dropout
    from daseCV_c._compiled import im2col as _im2col
    from daseCV_c._compiled import losses as _losses
    from daseCV_c._compiled import normalization as _normalization
    from daseCV_c._compiled import optim as _optim
    from daseCV_c._compiled import pool as _pool
    from daseCV_c._compiled import predict as _predict
    from daseCV_c._compiled import spatial as _spatial
    from daseCV_c._compiled import step as _step

_C_TYPES: dict[np.dtype[Any], str] = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class _Family:
    """What a module offers, with its fused functions of one fused type specialised to `c_type`.

    Anything else is taken over as it is, a function of two fused types among them.
    """

    def __init__(self, module: ModuleType, c_type: str) -> None:
        for name, value in vars(module).items():
            if not name.startswith("_"):
                self.__dict__[name] = value[c_type] if c_type in getattr(value, "__signatures__", ()) else value


class Activation(_Family):
    if TYPE_CHECKING:
        relu_forward = staticmethod(_activation.relu_forward)
        relu_backward = staticmethod(_activation.relu_backward)


class Affine(_Family):
    if TYPE_CHECKING:
        affine_forward = staticmethod(_affine.affine_forward)
        affine_backward_dx = staticmethod(_affine.affine_backward_dx)
        affine_backward_dw = staticmethod(_affine.affine_backward_dw)
        matmul = staticmethod(_affine.matmul)


class AffineBf16(Affine):
    if TYPE_CHECKING:
        built = staticmethod(_affine_bf16.built)
        use_amx = staticmethod(_affine_bf16.use_amx)
        amx = staticmethod(_affine_bf16.amx)


class Batch(_Family):
    if TYPE_CHECKING:
        gather = staticmethod(_batch.gather)


class Conv(_Family):
    if TYPE_CHECKING:
        conv_forward = staticmethod(_conv.conv_forward)
        conv_backward_dx = staticmethod(_conv.conv_backward_dx)
        conv_backward_dw = staticmethod(_conv.conv_backward_dw)
        conv_backward_dw_scratch = staticmethod(_conv.conv_backward_dw_scratch)


class Dropout(_Family):
    if TYPE_CHECKING:
        dropout_forward = staticmethod(_dropout.dropout_forward)
        dropout_backward = staticmethod(_dropout.dropout_backward)


class Im2col(_Family):
    if TYPE_CHECKING:
        im2col = staticmethod(_im2col.im2col)
        col2im = staticmethod(_im2col.col2im)
        col2im_6d = staticmethod(_im2col.col2im_6d)


class Losses(_Family):
    if TYPE_CHECKING:
        svm_loss = staticmethod(_losses.svm_loss)
        softmax_loss = staticmethod(_losses.softmax_loss)


class Normalization(_Family):
    if TYPE_CHECKING:
        batchnorm_forward_train = staticmethod(_normalization.batchnorm_forward_train)
        batchnorm_forward_test = staticmethod(_normalization.batchnorm_forward_test)
        batchnorm_backward = staticmethod(_normalization.batchnorm_backward)
        batchnorm_backward_alt = staticmethod(_normalization.batchnorm_backward_alt)
        batchnorm_backward_test = staticmethod(_normalization.batchnorm_backward_test)
        layernorm_forward = staticmethod(_normalization.layernorm_forward)
        layernorm_backward = staticmethod(_normalization.layernorm_backward)


class Optim(_Family):
    if TYPE_CHECKING:
        update = staticmethod(_optim.update)
        sum_of_squares = staticmethod(_optim.sum_of_squares)


class Pool(_Family):
    if TYPE_CHECKING:
        max_pool_forward = staticmethod(_pool.max_pool_forward)
        max_pool_backward = staticmethod(_pool.max_pool_backward)


class Predict(_Family):
    if TYPE_CHECKING:
        pack = staticmethod(_predict.pack)
        scores = staticmethod(_predict.scores)
        scores_packed = staticmethod(_predict.scores_packed)


class Spatial(_Family):
    if TYPE_CHECKING:
        spatial_batchnorm_forward_train = staticmethod(_spatial.spatial_batchnorm_forward_train)
        spatial_batchnorm_forward_test = staticmethod(_spatial.spatial_batchnorm_forward_test)
        spatial_batchnorm_backward = staticmethod(_spatial.spatial_batchnorm_backward)
        spatial_batchnorm_backward_test = staticmethod(_spatial.spatial_batchnorm_backward_test)
        spatial_groupnorm_forward = staticmethod(_spatial.spatial_groupnorm_forward)
        spatial_groupnorm_backward = staticmethod(_spatial.spatial_groupnorm_backward)


class Step(_Family):
    if TYPE_CHECKING:
        LabelError = _step.LabelError
        plain_dict = staticmethod(_step.plain_dict)
        count_up = staticmethod(_step.count_up)
        settings_of = staticmethod(_step.settings_of)
        train_step = staticmethod(_step.train_step)
        train_batches = staticmethod(_step.train_batches)


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


def families_of(level: str) -> tuple[str, ...]:
    """The families that are built for `level`: setup.py has the same rule."""
    return tuple(family for family in FAMILIES if family != "affine_bf16" or level == "v4")


def specialised(modules: Mapping[str, ModuleType]) -> dict[np.dtype[Any], Kernels]:
    """The `Kernels` of float32 and of float64, from the module of each family of a level."""
    def of(c_type: str) -> dict[str, Any]:
        return {family: make(modules[family], c_type) if family in modules else None
                for family, make in _CLASSES.items()}

    return {dtype: Kernels(**of(c_type)) for dtype, c_type in _C_TYPES.items()}

# The entries of the families in this module, the same for every level.

from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...

# src/affine.pyx

def affine_forward(x_nd: Array, w_dm: Array, b_m: Array, out_nm: Array, relu: bool, num_threads: int) -> None: ...
def affine_backward_dx(dout_nm: Array, w_dm: Array, dx_nd: Array, num_threads: int) -> None: ...
def affine_backward_dw(x_nd: Array, dout_nm: Array, dw_dm: Array, db_m: Array, num_threads: int) -> None: ...
def matmul(a: Array, b: Array, out: Array, trans_a: bool, trans_b: bool, num_threads: int) -> None: ...

# src/predict.pyx

@disjoint_base
class Packed: ...

def pack(
    params: dict[str, Array], names: list[tuple[str, ...]], entries: list[dict[str, Any]] | None, norm: str | None,
    activation: str = "relu",
) -> Packed: ...
def scores(
    images_nd: Array, mean_d: Array | None, params: dict[str, Array], names: list[tuple[str, ...]],
    entries: list[dict[str, Any]] | None, norm: str | None, out_nc: Array, output: str, num_threads: int,
    activation: str = "relu",
) -> None: ...
def scores_packed(
    images_nd: Array, mean_d: Array | None, packed: Packed, out_nc: Array, output: str, num_threads: int,
) -> None: ...

# src/step.pyx

class LabelError(ValueError): ...
def plain_dict(mapping: object) -> bool: ...
def count_up(
    configs: dict[str, Any], arrays: dict[str, Any], changes: list[tuple[dict[str, Any], str, Any]],
) -> None: ...
def settings_of(
    params: dict[str, Any], configs: dict[str, Any], arrays: dict[str, Any], states: tuple[Any, ...],
    keys: tuple[Any, ...],
) -> dict[str, Any] | list[Any] | None: ...
def train_step(
    images_nd: Array, index_n: Array | None, mean_d: Array | None, y_n: Array, layers: list[Any], rule: str | None,
    norm: str | None, num_threads: int, bf16: int = 0, dx_nd: Array | None = None,
    changes: list[tuple[dict[str, Any], str, Any]] | None = None, losses: list[float] | None = None,
    penalty: float = 0.0, calls: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None,
    front: list[tuple[Any, ...]] | None = None, loss_of: str = "softmax", weight_n: Array | None = None,
) -> float: ...
def train_batches(
    x_nd: Array, index_n: Array | None, y: Array, weight_n: Array | None, batch_size: int, layers: list[Any],
    rule: str, activation: str, loss_of: str, numbers: tuple[float, ...], alpha: float, uncorrected_epsilon: bool,
    losses: Array, done: Array | None, num_threads: int,
) -> None: ...

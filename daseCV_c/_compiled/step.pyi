# The entries of src/step.pyx, the same for every level.

from collections.abc import Callable
from typing import Any

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
RULES: dict[str, int]
NORMS: dict[str, int]
ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
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

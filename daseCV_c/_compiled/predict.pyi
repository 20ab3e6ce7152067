# The entries of src/predict.pyx, the same for every level.

from typing import Any

from typing_extensions import disjoint_base

from daseCV_c._types import Array

NORMS: dict[str | None, int]
ACTIVATIONS: dict[str, int]
OUTPUTS: dict[str, int]

def share_from(picoseconds: float) -> float: ...
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

# The entries of src/optim.pyx, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
def update(
    rule: str, w: Array, dw: Array, first: Array | None, second: Array | None,
    next_w: Array, next_first: Array | None, next_second: Array | None,
    rate: float, keep1: float, keep2: float, eps: float, weight_decay: float, t: float, num_threads: int,
) -> None: ...
def sum_of_squares(x: Array, num_threads: int) -> float: ...

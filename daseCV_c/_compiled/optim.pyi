# The entries of src/optim.pyx, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
def sgd(w: Array, dw: Array, learning_rate: float, num_threads: int) -> None: ...
def sgd_momentum(
    w: Array, dw: Array, v: Array, learning_rate: float, momentum: float, next_w: Array, next_v: Array,
    num_threads: int,
) -> None: ...
def rmsprop(
    w: Array, dw: Array, cache: Array, learning_rate: float, decay_rate: float, epsilon: float, next_w: Array,
    next_cache: Array, num_threads: int,
) -> None: ...
def adagrad(
    w: Array, dw: Array, cache: Array, learning_rate: float, epsilon: float, next_w: Array, next_cache: Array,
    num_threads: int,
) -> None: ...
def adam(
    w: Array, dw: Array, m: Array, v: Array, learning_rate: float, beta1: float, beta2: float, epsilon: float,
    t: int, next_w: Array, next_m: Array, next_v: Array, num_threads: int,
) -> None: ...
def update(
    rule: str, w: Array, first: Array | None, second: Array | None, dw: Array, rate: float, keep1: float,
    keep2: float, eps: float, scale: float, num_threads: int,
) -> None: ...

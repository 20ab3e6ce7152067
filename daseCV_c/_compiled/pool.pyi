# The entries of src/pool.pyx, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
def max_pool_forward(
    x_nchw: Array, out_nchw: Array, arg_nchw: Array, fh: int, fw: int, stride: int, num_threads: int,
) -> None: ...
def max_pool_backward(
    dout_nchw: Array, arg_nchw: Array, dx_nchw: Array, fh: int, fw: int, stride: int, num_threads: int,
) -> None: ...

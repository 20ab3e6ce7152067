# The entries of src/conv.pyx, the same for every level.

from daseCV_c._types import Array

def conv_forward(
    x_nchw: Array, w_fchw: Array, b_f: Array, out_nfhw: Array, stride: int, pad: int, relu: bool, num_threads: int,
) -> None: ...
def conv_backward_dx(
    dout_nfhw: Array, w_fchw: Array, dx_nchw: Array, stride: int, pad: int, num_threads: int,
) -> None: ...
def conv_backward_dw(
    x_nchw: Array, dout_nfhw: Array, dw_fchw: Array, db_f: Array, stride: int, pad: int, num_threads: int,
    scratch: Array | None = None,
) -> None: ...
def conv_backward_dw_scratch(
    x_nchw: Array, dout_nfhw: Array, dw_fchw: Array, db_f: Array, stride: int, pad: int, num_threads: int,
) -> int: ...

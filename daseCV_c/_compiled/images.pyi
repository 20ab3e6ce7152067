# The entries of the families in this module, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...

# src/conv.pyx

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

# src/im2col.pyx

def im2col(x_nchw: Array, cols: Array, fh: int, fw: int, pad: int, stride: int, num_threads: int) -> None: ...
def col2im(cols: Array, x_nchw: Array, fh: int, fw: int, pad: int, stride: int, num_threads: int) -> None: ...
def col2im_6d(cols: Array, x_nchw: Array, pad: int, stride: int, num_threads: int) -> None: ...

# src/pool.pyx

def max_pool_forward(
    x_nchw: Array, out_nchw: Array, arg_nchw: Array, fh: int, fw: int, stride: int, num_threads: int,
) -> None: ...
def max_pool_backward(
    dout_nchw: Array, arg_nchw: Array, dx_nchw: Array, fh: int, fw: int, stride: int, num_threads: int,
) -> None: ...

# src/spatial.pyx

def spatial_batchnorm_forward_train(
    x_nchw: Array, gamma_c: Array, beta_c: Array, eps: float, out_nchw: Array, xhat_nchw: Array, mean_c: Array,
    var_c: Array, inv_std_c: Array, num_threads: int,
) -> None: ...
def spatial_batchnorm_forward_test(
    x_nchw: Array, gamma_c: Array, beta_c: Array, mean_c: Array, var_c: Array, eps: float, out_nchw: Array,
    xhat_nchw: Array, inv_std_c: Array, num_threads: int,
) -> None: ...
def spatial_batchnorm_backward(
    dout_nchw: Array, xhat_nchw: Array, gamma_c: Array, inv_std_c: Array, dx_nchw: Array, dgamma_c: Array,
    dbeta_c: Array, num_threads: int,
) -> None: ...
def spatial_batchnorm_backward_test(
    dout_nchw: Array, xhat_nchw: Array, gamma_c: Array, inv_std_c: Array, dx_nchw: Array, dgamma_c: Array,
    dbeta_c: Array, num_threads: int,
) -> None: ...
def spatial_groupnorm_forward(
    x_nchw: Array, gamma_c: Array, beta_c: Array, groups: int, eps: float, out_nchw: Array, xhat_nchw: Array,
    mean_ng: Array, var_ng: Array, inv_std_ng: Array, num_threads: int,
) -> None: ...
def spatial_groupnorm_backward(
    dout_nchw: Array, xhat_nchw: Array, gamma_c: Array, inv_std_ng: Array, dx_nchw: Array, dgamma_c: Array,
    dbeta_c: Array, num_threads: int,
) -> None: ...

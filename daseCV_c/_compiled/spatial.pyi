# The entries of src/spatial.pyx, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
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

# The entries of src/normalization.pyx, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...
def batchnorm_forward_train(
    x_nd: Array, gamma_d: Array, beta_d: Array, eps: float, out_nd: Array, xhat_nd: Array, mean_d: Array,
    var_d: Array, inv_std_d: Array, num_threads: int,
) -> None: ...
def batchnorm_forward_test(
    x_nd: Array, gamma_d: Array, beta_d: Array, mean_d: Array, var_d: Array, eps: float, out_nd: Array,
    xhat_nd: Array, inv_std_d: Array, num_threads: int,
) -> None: ...
def batchnorm_backward(
    dout_nd: Array, xhat_nd: Array, gamma_d: Array, inv_std_d: Array, dx_nd: Array, dgamma_d: Array,
    dbeta_d: Array, num_threads: int,
) -> None: ...
def batchnorm_backward_alt(
    dout_nd: Array, xhat_nd: Array, gamma_d: Array, inv_std_d: Array, dx_nd: Array, dgamma_d: Array,
    dbeta_d: Array, num_threads: int,
) -> None: ...
def batchnorm_backward_test(
    dout_nd: Array, xhat_nd: Array, gamma_d: Array, inv_std_d: Array, dx_nd: Array, dgamma_d: Array,
    dbeta_d: Array, num_threads: int,
) -> None: ...
def layernorm_forward(
    x_nd: Array, gamma_d: Array, beta_d: Array, eps: float, out_nd: Array, xhat_nd: Array, inv_std_n: Array,
    num_threads: int,
) -> None: ...
def layernorm_backward(
    dout_nd: Array, xhat_nd: Array, gamma_d: Array, inv_std_n: Array, dx_nd: Array, dgamma_d: Array,
    dbeta_d: Array, num_threads: int,
) -> None: ...

# The entries of the families in this module, the same for every level.

from daseCV_c._types import Array

def share_from(picoseconds: float) -> float: ...

# src/activation.pyx

def relu_forward(x: Array, out: Array, num_threads: int) -> None: ...
def relu_backward(dout: Array, x: Array, dx: Array, num_threads: int) -> None: ...

# src/batch.pyx

def gather(images_nd: Array, index_b: Array, mean_d: Array | None, out_bd: Array, num_threads: int) -> None: ...

# src/dropout.pyx

def dropout_forward(x: Array, uniform: Array, p: float, mask: Array, out: Array, num_threads: int) -> None: ...
def dropout_backward(dout: Array, mask: Array, dx: Array, num_threads: int) -> None: ...

# src/losses.pyx

def svm_loss(x_nc: Array, y_n: Array, dx_nc: Array, num_threads: int) -> float: ...
def softmax_loss(x_nc: Array, y_n: Array, dx_nc: Array, num_threads: int) -> float: ...

# src/normalization.pyx

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

# src/optim.pyx

def update(
    rule: str, w: Array, dw: Array, first: Array | None, second: Array | None,
    next_w: Array, next_first: Array | None, next_second: Array | None,
    rate: float, keep1: float, keep2: float, eps: float, weight_decay: float, t: float, num_threads: int,
) -> None: ...
def sum_of_squares(x: Array, num_threads: int) -> float: ...

# The entries of normalization.pyx: checks, then one dispatch on the element type.


cdef int _matrices(str name, int t, tuple inputs, tuple outputs, Py_ssize_t n, Py_ssize_t d) except -1:
    for label, array in inputs:
        _check(name, label, array, t, 2)
        _check_shape(name, label, array, n, d)
    for label, array in outputs:
        _check_out(name, label, array, t, 2)
        _check_shape(name, label, array, n, d)
    return 0


cdef int _vectors(str name, int t, tuple inputs, tuple outputs, Py_ssize_t size) except -1:
    for label, array in inputs:
        _check(name, label, array, t, 1)
        _check_size(name, label, array, size)
    for label, array in outputs:
        _check_out(name, label, array, t, 1)
        _check_size(name, label, array, size)
    return 0


def batchnorm_forward_train(
    cnp.ndarray x_nd not None, cnp.ndarray gamma_d not None, cnp.ndarray beta_d not None, double eps,
    cnp.ndarray out_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray mean_d not None,
    cnp.ndarray var_d not None, cnp.ndarray inv_std_d not None, int num_threads,
):
    """Normalize by the batch's statistics, which are written too."""
    cdef str name = "batchnorm_forward_train"
    cdef int t = _real_type(name, "x", x_nd)
    _check(name, "x", x_nd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(x_nd, 1)
    _matrices(name, t, (), (("out", out_nd), ("xhat", xhat_nd)), n, d)
    _vectors(name, t, (("gamma", gamma_d), ("beta", beta_d)),
             (("mean", mean_d), ("var", var_d), ("inv_std", inv_std_d)), d)
    if n == 0:
        raise ValueError(f"{name}: x has no samples, expected at least one")
    num_threads = _threads_for(x_nd, 400, num_threads)
    cdef void* x = cnp.PyArray_DATA(x_nd)
    cdef void* gamma = cnp.PyArray_DATA(gamma_d)
    cdef void* beta = cnp.PyArray_DATA(beta_d)
    cdef void* out = cnp.PyArray_DATA(out_nd)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nd)
    cdef void* mean = cnp.PyArray_DATA(mean_d)
    cdef void* var = cnp.PyArray_DATA(var_d)
    cdef void* inv = cnp.PyArray_DATA(inv_std_d)
    with nogil:
        if t == cnp.NPY_FLOAT:
            bn_train_kernel(<const float*> x, <const float*> gamma, <const float*> beta, eps, <float*> out,
                            <float*> xhat, <float*> mean, <float*> var, <float*> inv, n, d, num_threads)
        else:
            bn_train_kernel(<const double*> x, <const double*> gamma, <const double*> beta, eps, <double*> out,
                            <double*> xhat, <double*> mean, <double*> var, <double*> inv, n, d, num_threads)


def batchnorm_forward_test(
    cnp.ndarray x_nd not None, cnp.ndarray gamma_d not None, cnp.ndarray beta_d not None,
    cnp.ndarray mean_d not None, cnp.ndarray var_d not None, double eps, cnp.ndarray out_nd not None,
    cnp.ndarray xhat_nd not None, cnp.ndarray inv_std_d not None, int num_threads,
):
    """Normalize by given statistics."""
    cdef str name = "batchnorm_forward_test"
    cdef int t = _real_type(name, "x", x_nd)
    _check(name, "x", x_nd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(x_nd, 1)
    _matrices(name, t, (), (("out", out_nd), ("xhat", xhat_nd)), n, d)
    _vectors(name, t, (("gamma", gamma_d), ("beta", beta_d), ("mean", mean_d), ("var", var_d)),
             (("inv_std", inv_std_d),), d)
    num_threads = _threads_for(x_nd, 350, num_threads)
    cdef void* x = cnp.PyArray_DATA(x_nd)
    cdef void* gamma = cnp.PyArray_DATA(gamma_d)
    cdef void* beta = cnp.PyArray_DATA(beta_d)
    cdef void* out = cnp.PyArray_DATA(out_nd)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nd)
    cdef void* mean = cnp.PyArray_DATA(mean_d)
    cdef void* var = cnp.PyArray_DATA(var_d)
    cdef void* inv = cnp.PyArray_DATA(inv_std_d)
    with nogil:
        if t == cnp.NPY_FLOAT:
            bn_test_kernel(<const float*> x, <const float*> gamma, <const float*> beta, <const float*> mean,
                           <const float*> var, eps, <float*> out, <float*> xhat, <float*> inv, n, d, num_threads)
        else:
            bn_test_kernel(<const double*> x, <const double*> gamma, <const double*> beta, <const double*> mean,
                           <const double*> var, eps, <double*> out, <double*> xhat, <double*> inv, n, d, num_threads)


cdef int _bn_backward(str name, Backward kind, cnp.ndarray dout_nd, cnp.ndarray xhat_nd, cnp.ndarray gamma_d,
                      cnp.ndarray inv_std_d, cnp.ndarray dx_nd, cnp.ndarray dgamma_d, cnp.ndarray dbeta_d,
                      int num_threads) except -1:
    cdef int t = _real_type(name, "dout", dout_nd)
    _check(name, "dout", dout_nd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(dout_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(dout_nd, 1)
    _matrices(name, t, (("xhat", xhat_nd),), (("dx", dx_nd),), n, d)
    _vectors(name, t, (("gamma", gamma_d), ("inv_std", inv_std_d)), (("dgamma", dgamma_d), ("dbeta", dbeta_d)), d)
    num_threads = _threads_for(dout_nd, 400, num_threads)
    cdef void* dout = cnp.PyArray_DATA(dout_nd)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nd)
    cdef void* gamma = cnp.PyArray_DATA(gamma_d)
    cdef void* inv = cnp.PyArray_DATA(inv_std_d)
    cdef void* dx = cnp.PyArray_DATA(dx_nd)
    cdef void* dgamma = cnp.PyArray_DATA(dgamma_d)
    cdef void* dbeta = cnp.PyArray_DATA(dbeta_d)
    with nogil:
        if t == cnp.NPY_FLOAT:
            bn_backward_kernel(kind, <const float*> dout, <const float*> xhat, <const float*> gamma,
                               <const float*> inv, <float*> dx, <float*> dgamma, <float*> dbeta, n, d, num_threads)
        else:
            bn_backward_kernel(kind, <const double*> dout, <const double*> xhat, <const double*> gamma,
                               <const double*> inv, <double*> dx, <double*> dgamma, <double*> dbeta, n, d,
                               num_threads)
    return 0


def batchnorm_backward(
    cnp.ndarray dout_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray gamma_d not None,
    cnp.ndarray inv_std_d not None, cnp.ndarray dx_nd not None, cnp.ndarray dgamma_d not None,
    cnp.ndarray dbeta_d not None, int num_threads,
):
    """Gradients along the computational graph."""
    _bn_backward("batchnorm_backward", STAGED, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd, dgamma_d, dbeta_d,
                 num_threads)


def batchnorm_backward_alt(
    cnp.ndarray dout_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray gamma_d not None,
    cnp.ndarray inv_std_d not None, cnp.ndarray dx_nd not None, cnp.ndarray dgamma_d not None,
    cnp.ndarray dbeta_d not None, int num_threads,
):
    """Gradients in closed form."""
    _bn_backward("batchnorm_backward_alt", CLOSED_FORM, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd, dgamma_d,
                 dbeta_d, num_threads)


def batchnorm_backward_test(
    cnp.ndarray dout_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray gamma_d not None,
    cnp.ndarray inv_std_d not None, cnp.ndarray dx_nd not None, cnp.ndarray dgamma_d not None,
    cnp.ndarray dbeta_d not None, int num_threads,
):
    """Gradients with constant statistics."""
    _bn_backward("batchnorm_backward_test", CONSTANT_STATISTICS, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd,
                 dgamma_d, dbeta_d, num_threads)


def layernorm_forward(
    cnp.ndarray x_nd not None, cnp.ndarray gamma_d not None, cnp.ndarray beta_d not None, double eps,
    cnp.ndarray out_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray inv_std_n not None, int num_threads,
):
    """Normalize each row by its own statistics."""
    cdef str name = "layernorm_forward"
    cdef int t = _real_type(name, "x", x_nd)
    _check(name, "x", x_nd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(x_nd, 1)
    _matrices(name, t, (), (("out", out_nd), ("xhat", xhat_nd)), n, d)
    _vectors(name, t, (("gamma", gamma_d), ("beta", beta_d)), (), d)
    _vectors(name, t, (), (("inv_std", inv_std_n),), n)
    if d == 0:
        raise ValueError(f"{name}: x has no features, expected at least one")
    num_threads = _threads_for(x_nd, 350, num_threads)
    cdef void* x = cnp.PyArray_DATA(x_nd)
    cdef void* gamma = cnp.PyArray_DATA(gamma_d)
    cdef void* beta = cnp.PyArray_DATA(beta_d)
    cdef void* out = cnp.PyArray_DATA(out_nd)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nd)
    cdef void* inv = cnp.PyArray_DATA(inv_std_n)
    with nogil:
        if t == cnp.NPY_FLOAT:
            ln_forward_kernel(<const float*> x, <const float*> gamma, <const float*> beta, eps, <float*> out,
                              <float*> xhat, <float*> inv, n, d, num_threads)
        else:
            ln_forward_kernel(<const double*> x, <const double*> gamma, <const double*> beta, eps, <double*> out,
                              <double*> xhat, <double*> inv, n, d, num_threads)


def layernorm_backward(
    cnp.ndarray dout_nd not None, cnp.ndarray xhat_nd not None, cnp.ndarray gamma_d not None,
    cnp.ndarray inv_std_n not None, cnp.ndarray dx_nd not None, cnp.ndarray dgamma_d not None,
    cnp.ndarray dbeta_d not None, int num_threads,
):
    """Gradients of layer normalization."""
    cdef str name = "layernorm_backward"
    cdef int t = _real_type(name, "dout", dout_nd)
    _check(name, "dout", dout_nd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(dout_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(dout_nd, 1)
    _matrices(name, t, (("xhat", xhat_nd),), (("dx", dx_nd),), n, d)
    _vectors(name, t, (("gamma", gamma_d),), (("dgamma", dgamma_d), ("dbeta", dbeta_d)), d)
    _vectors(name, t, (("inv_std", inv_std_n),), (), n)
    num_threads = _threads_for(dout_nd, 300, num_threads)
    cdef void* dout = cnp.PyArray_DATA(dout_nd)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nd)
    cdef void* gamma = cnp.PyArray_DATA(gamma_d)
    cdef void* inv = cnp.PyArray_DATA(inv_std_n)
    cdef void* dx = cnp.PyArray_DATA(dx_nd)
    cdef void* dgamma = cnp.PyArray_DATA(dgamma_d)
    cdef void* dbeta = cnp.PyArray_DATA(dbeta_d)
    with nogil:
        if t == cnp.NPY_FLOAT:
            ln_backward_kernel(<const float*> dout, <const float*> xhat, <const float*> gamma, <const float*> inv,
                               <float*> dx, <float*> dgamma, <float*> dbeta, n, d, num_threads)
        else:
            ln_backward_kernel(<const double*> dout, <const double*> xhat, <const double*> gamma,
                               <const double*> inv, <double*> dx, <double*> dgamma, <double*> dbeta, n, d,
                               num_threads)

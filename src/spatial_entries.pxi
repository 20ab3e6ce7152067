# The entries of spatial.pyx: checks, then one dispatch on the element type.


cdef int _vectors(str name, int t, tuple inputs, tuple outputs, Py_ssize_t size) except -1:
    for label, array in inputs:
        _check(name, label, array, t, 1)
        _check_size(name, label, array, size)
    for label, array in outputs:
        _check_out(name, label, array, t, 1)
        _check_size(name, label, array, size)
    return 0


cdef int _tables(str name, int t, tuple inputs, tuple outputs, Py_ssize_t rows, Py_ssize_t columns) except -1:
    for label, array in inputs:
        _check(name, label, array, t, 2)
        _check_shape(name, label, array, rows, columns)
    for label, array in outputs:
        _check_out(name, label, array, t, 2)
        _check_shape(name, label, array, rows, columns)
    return 0


cdef int _same_images(str name, int t, cnp.ndarray x, tuple inputs, tuple outputs) except -1:
    cdef Py_ssize_t n = cnp.PyArray_DIM(x, 0), c = cnp.PyArray_DIM(x, 1)
    cdef Py_ssize_t h = cnp.PyArray_DIM(x, 2), w = cnp.PyArray_DIM(x, 3)
    for label, array in inputs:
        _check_images(name, label, array, t, n, c, h, w, False)
    for label, array in outputs:
        _check_images(name, label, array, t, n, c, h, w, True)
    return 0


cdef inline Py_ssize_t _hw(cnp.ndarray x) noexcept:
    return cnp.PyArray_DIM(x, 2) * cnp.PyArray_DIM(x, 3)


cdef int _check_groups(str name, Py_ssize_t c, Py_ssize_t groups) except -1:
    if groups < 1 or c % groups != 0:
        raise ValueError(f"{name}: {c} channels do not fall into {groups} groups")
    return 0


cdef int _forward(str name, int t, cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray beta, double eps, cnp.ndarray out,
                  cnp.ndarray xhat, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray inv, Sets s,
                  int num_threads) except -1:
    cdef void* xp = cnp.PyArray_DATA(x)
    cdef void* gp = cnp.PyArray_DATA(gamma)
    cdef void* bp = cnp.PyArray_DATA(beta)
    cdef void* op = cnp.PyArray_DATA(out)
    cdef void* hp = cnp.PyArray_DATA(xhat)
    cdef void* mp = cnp.PyArray_DATA(mean)
    cdef void* vp = cnp.PyArray_DATA(var)
    cdef void* ip = cnp.PyArray_DATA(inv)
    cdef int status
    if s.planes * s.hw == 0:
        raise ValueError(f"{name}: x has shape {(<object> x).shape}: nothing to take statistics of")
    num_threads = _threads_for(x, 150, num_threads)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = forward_kernel(<const float*> xp, <const float*> gp, <const float*> bp, eps, <float*> op,
                                    <float*> hp, <float*> mp, <float*> vp, <float*> ip, &s, num_threads)
        else:
            status = forward_kernel(<const double*> xp, <const double*> gp, <const double*> bp, eps, <double*> op,
                                    <double*> hp, <double*> mp, <double*> vp, <double*> ip, &s, num_threads)
    if status != 0:
        raise MemoryError(f"{name}: no memory for partial sums")
    return 0


cdef int _backward(str name, int t, cnp.ndarray dout, cnp.ndarray xhat, cnp.ndarray gamma, cnp.ndarray inv,
                   cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta, Sets s, bint constant_statistics,
                   int num_threads) except -1:
    cdef void* op = cnp.PyArray_DATA(dout)
    cdef void* hp = cnp.PyArray_DATA(xhat)
    cdef void* gp = cnp.PyArray_DATA(gamma)
    cdef void* ip = cnp.PyArray_DATA(inv)
    cdef void* xp = cnp.PyArray_DATA(dx)
    cdef void* dg = cnp.PyArray_DATA(dgamma)
    cdef void* db = cnp.PyArray_DATA(dbeta)
    cdef int status
    num_threads = _threads_for(dout, 150, num_threads)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = backward_kernel(<const float*> op, <const float*> hp, <const float*> gp, <const float*> ip,
                                     <float*> xp, <float*> dg, <float*> db, &s, constant_statistics, num_threads)
        else:
            status = backward_kernel(<const double*> op, <const double*> hp, <const double*> gp, <const double*> ip,
                                     <double*> xp, <double*> dg, <double*> db, &s, constant_statistics, num_threads)
    if status != 0:
        raise MemoryError(f"{name}: no memory for partial sums")
    return 0


def spatial_batchnorm_forward_train(
    cnp.ndarray x_nchw not None, cnp.ndarray gamma_c not None, cnp.ndarray beta_c not None, double eps,
    cnp.ndarray out_nchw not None, cnp.ndarray xhat_nchw not None, cnp.ndarray mean_c not None,
    cnp.ndarray var_c not None, cnp.ndarray inv_std_c not None, int num_threads,
):
    """Normalize each channel by its statistics over the batch, which are written too."""
    cdef str name = "spatial_batchnorm_forward_train"
    cdef int t = _real_type(name, "x", x_nchw)
    _check(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _same_images(name, t, x_nchw, (), (("out", out_nchw), ("xhat", xhat_nchw)))
    _vectors(name, t, (("gamma", gamma_c), ("beta", beta_c)),
             (("mean", mean_c), ("var", var_c), ("inv_std", inv_std_c)), c)
    _forward(name, t, x_nchw, gamma_c, beta_c, eps, out_nchw, xhat_nchw, mean_c, var_c, inv_std_c,
             _channels(n, c, _hw(x_nchw)), num_threads)


def spatial_batchnorm_forward_test(
    cnp.ndarray x_nchw not None, cnp.ndarray gamma_c not None, cnp.ndarray beta_c not None,
    cnp.ndarray mean_c not None, cnp.ndarray var_c not None, double eps, cnp.ndarray out_nchw not None,
    cnp.ndarray xhat_nchw not None, cnp.ndarray inv_std_c not None, int num_threads,
):
    """Normalize each channel by given statistics."""
    cdef str name = "spatial_batchnorm_forward_test"
    cdef int t = _real_type(name, "x", x_nchw)
    _check(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1), k
    _same_images(name, t, x_nchw, (), (("out", out_nchw), ("xhat", xhat_nchw)))
    _vectors(name, t, (("gamma", gamma_c), ("beta", beta_c), ("mean", mean_c), ("var", var_c)),
             (("inv_std", inv_std_c),), c)
    cdef Sets s = _channels(n, c, _hw(x_nchw))
    num_threads = _threads_for(x_nchw, 200, num_threads)
    cdef void* x = cnp.PyArray_DATA(x_nchw)
    cdef void* gamma = cnp.PyArray_DATA(gamma_c)
    cdef void* beta = cnp.PyArray_DATA(beta_c)
    cdef void* mean = cnp.PyArray_DATA(mean_c)
    cdef void* var = cnp.PyArray_DATA(var_c)
    cdef void* inv = cnp.PyArray_DATA(inv_std_c)
    cdef void* out = cnp.PyArray_DATA(out_nchw)
    cdef void* xhat = cnp.PyArray_DATA(xhat_nchw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            for k in range(c):
                (<float*> inv)[k] = <float> (1 / sqrt(<double> (<const float*> var)[k] + eps))
            apply_kernel(<const float*> x, <const float*> gamma, <const float*> beta, <const float*> mean,
                         <const float*> inv, <float*> out, <float*> xhat, &s, num_threads)
        else:
            for k in range(c):
                (<double*> inv)[k] = 1 / sqrt((<const double*> var)[k] + eps)
            apply_kernel(<const double*> x, <const double*> gamma, <const double*> beta, <const double*> mean,
                         <const double*> inv, <double*> out, <double*> xhat, &s, num_threads)


cdef int _batchnorm_backward(
    str name, cnp.ndarray dout_nchw, cnp.ndarray xhat_nchw, cnp.ndarray gamma_c, cnp.ndarray inv_std_c,
    cnp.ndarray dx_nchw, cnp.ndarray dgamma_c, cnp.ndarray dbeta_c, bint constant_statistics, int num_threads,
) except -1:
    cdef int t = _real_type(name, "dout", dout_nchw)
    _check(name, "dout", dout_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(dout_nchw, 0), c = cnp.PyArray_DIM(dout_nchw, 1)
    _same_images(name, t, dout_nchw, (("xhat", xhat_nchw),), (("dx", dx_nchw),))
    _vectors(name, t, (("gamma", gamma_c), ("inv_std", inv_std_c)), (("dgamma", dgamma_c), ("dbeta", dbeta_c)), c)
    _backward(name, t, dout_nchw, xhat_nchw, gamma_c, inv_std_c, dx_nchw, dgamma_c, dbeta_c,
              _channels(n, c, _hw(dout_nchw)), constant_statistics, num_threads)
    return 0


def spatial_batchnorm_backward(
    cnp.ndarray dout_nchw not None, cnp.ndarray xhat_nchw not None, cnp.ndarray gamma_c not None,
    cnp.ndarray inv_std_c not None, cnp.ndarray dx_nchw not None, cnp.ndarray dgamma_c not None,
    cnp.ndarray dbeta_c not None, int num_threads,
):
    """The gradient in closed form."""
    _batchnorm_backward("spatial_batchnorm_backward", dout_nchw, xhat_nchw, gamma_c, inv_std_c, dx_nchw, dgamma_c,
                        dbeta_c, False, num_threads)


def spatial_batchnorm_backward_test(
    cnp.ndarray dout_nchw not None, cnp.ndarray xhat_nchw not None, cnp.ndarray gamma_c not None,
    cnp.ndarray inv_std_c not None, cnp.ndarray dx_nchw not None, cnp.ndarray dgamma_c not None,
    cnp.ndarray dbeta_c not None, int num_threads,
):
    """The gradient where the statistics are constants."""
    _batchnorm_backward("spatial_batchnorm_backward_test", dout_nchw, xhat_nchw, gamma_c, inv_std_c, dx_nchw,
                        dgamma_c, dbeta_c, True, num_threads)


def spatial_groupnorm_forward(
    cnp.ndarray x_nchw not None, cnp.ndarray gamma_c not None, cnp.ndarray beta_c not None, Py_ssize_t groups,
    double eps, cnp.ndarray out_nchw not None, cnp.ndarray xhat_nchw not None, cnp.ndarray mean_ng not None,
    cnp.ndarray var_ng not None, cnp.ndarray inv_std_ng not None, int num_threads,
):
    """Normalize each group of channels of each image by its own statistics, which are written too."""
    cdef str name = "spatial_groupnorm_forward"
    cdef int t = _real_type(name, "x", x_nchw)
    _check(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _check_groups(name, c, groups)
    _same_images(name, t, x_nchw, (), (("out", out_nchw), ("xhat", xhat_nchw)))
    _vectors(name, t, (("gamma", gamma_c), ("beta", beta_c)), (), c)
    _tables(name, t, (), (("mean", mean_ng), ("var", var_ng), ("inv_std", inv_std_ng)), n, groups)
    _forward(name, t, x_nchw, gamma_c, beta_c, eps, out_nchw, xhat_nchw, mean_ng, var_ng, inv_std_ng,
             _groups(n, c, _hw(x_nchw), groups), num_threads)


def spatial_groupnorm_backward(
    cnp.ndarray dout_nchw not None, cnp.ndarray xhat_nchw not None, cnp.ndarray gamma_c not None,
    cnp.ndarray inv_std_ng not None, cnp.ndarray dx_nchw not None, cnp.ndarray dgamma_c not None,
    cnp.ndarray dbeta_c not None, int num_threads,
):
    """The gradient in closed form."""
    cdef str name = "spatial_groupnorm_backward"
    cdef int t = _real_type(name, "dout", dout_nchw)
    _check(name, "dout", dout_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(dout_nchw, 0), c = cnp.PyArray_DIM(dout_nchw, 1)
    _check(name, "inv_std", inv_std_ng, t, 2)
    cdef Py_ssize_t groups = cnp.PyArray_DIM(inv_std_ng, 1)
    _check_groups(name, c, groups)
    _check_shape(name, "inv_std", inv_std_ng, n, groups)
    _same_images(name, t, dout_nchw, (("xhat", xhat_nchw),), (("dx", dx_nchw),))
    _vectors(name, t, (("gamma", gamma_c),), (("dgamma", dgamma_c), ("dbeta", dbeta_c)), c)
    _backward(name, t, dout_nchw, xhat_nchw, gamma_c, inv_std_ng, dx_nchw, dgamma_c, dbeta_c,
              _groups(n, c, _hw(dout_nchw), groups), False, num_threads)

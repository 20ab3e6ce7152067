"""Drawing a batch: gather rows, cast, subtract the mean, in one pass."""

include "common.pxi"
from libc.stdint cimport int64_t, uint8_t

ctypedef fused pixel:
    uint8_t
    float
    double


cdef inline void _row(const pixel* source, const double* mean, real* target, Py_ssize_t d) noexcept nogil:
    cdef Py_ssize_t j
    if mean != NULL:
        for j in range(d):
            target[j] = <real> (<double> source[j] - mean[j])
    else:
        for j in range(d):
            target[j] = <real> source[j]


cdef void gather_kernel(
    const pixel* images_nd,  # IN
    const int64_t* index_b,  # IN
    const double* mean_d,    # IN, or NULL
    real* out_bd,            # OUT
    Py_ssize_t batch, Py_ssize_t d, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(batch, num_threads=num_threads, schedule="static"):
            _row(images_nd + index_b[i] * d, mean_d, out_bd + i * d, d)
    else:
        for i in range(batch):
            _row(images_nd + index_b[i] * d, mean_d, out_bd + i * d, d)


def gather(cnp.ndarray images_nd not None, cnp.ndarray index_b not None, cnp.ndarray mean_d,
           cnp.ndarray out_bd not None, int num_threads):
    """out[i] = images[index[i]] - mean, subtracted in double precision and cast once."""
    cdef int source = cnp.PyArray_TYPE(images_nd)
    cdef int t = _real_type("gather", "out", out_bd)
    if source != cnp.NPY_UINT8 and source != cnp.NPY_FLOAT and source != cnp.NPY_DOUBLE:
        raise TypeError(f"gather: images has dtype {images_nd.dtype}, expected uint8, float32 or float64")
    _check("gather", "images", images_nd, source, 2)
    _check("gather", "index", index_b, cnp.NPY_INT64, 1)
    _check_out("gather", "out", out_bd, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(images_nd, 0)
    cdef Py_ssize_t d = cnp.PyArray_DIM(images_nd, 1)
    cdef Py_ssize_t batch = cnp.PyArray_DIM(index_b, 0)
    cdef const double* mp = NULL
    _check_shape("gather", "out", out_bd, batch, d)
    if mean_d is not None:
        _check("gather", "mean", mean_d, cnp.NPY_DOUBLE, 1)
        _check_size("gather", "mean", mean_d, d)
        mp = <const double*> cnp.PyArray_DATA(mean_d)
    cdef const int64_t* ip = <const int64_t*> cnp.PyArray_DATA(index_b)
    cdef Py_ssize_t i
    for i in range(batch):
        if ip[i] < 0 or ip[i] >= n:
            raise IndexError(f"gather_batch: index holds {ip[i]}, but X has {n} rows")
    num_threads = _threads_for(out_bd, 150, num_threads)
    cdef void* xp = cnp.PyArray_DATA(images_nd)
    cdef void* op = cnp.PyArray_DATA(out_bd)
    with nogil:
        if t == cnp.NPY_FLOAT:
            if source == cnp.NPY_UINT8:
                gather_kernel(<const uint8_t*> xp, ip, mp, <float*> op, batch, d, num_threads)
            elif source == cnp.NPY_FLOAT:
                gather_kernel(<const float*> xp, ip, mp, <float*> op, batch, d, num_threads)
            else:
                gather_kernel(<const double*> xp, ip, mp, <float*> op, batch, d, num_threads)
        else:
            if source == cnp.NPY_UINT8:
                gather_kernel(<const uint8_t*> xp, ip, mp, <double*> op, batch, d, num_threads)
            elif source == cnp.NPY_FLOAT:
                gather_kernel(<const float*> xp, ip, mp, <double*> op, batch, d, num_threads)
            else:
                gather_kernel(<const double*> xp, ip, mp, <double*> op, batch, d, num_threads)

"""Drawing a batch: gather rows, cast, subtract the mean, in one pass."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t

from checks cimport aligned, matrix, vector, vector_start
from real cimport real
from sharing cimport threads_for

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


def gather(
    const pixel[:, ::1] images_nd not None,  # IN
    const int64_t[::1] index_b not None,     # IN
    const double[::1] mean_d,                # IN, or None
    real[:, ::1] out_bd not None,            # OUT
    int num_threads,
):
    """out[i] = images[index[i]] - mean, subtracted in double precision and cast once."""
    cdef str me = "gather"
    cdef Py_ssize_t i, n = images_nd.shape[0], d = images_nd.shape[1], batch = index_b.shape[0]
    cdef const double *mean = NULL
    if n != 0 and d != 0:
        aligned(me, "images", &images_nd[0, 0], sizeof(pixel))
    if batch != 0:
        aligned(me, "index", &index_b[0], sizeof(int64_t))
    matrix(me, "out", out_bd, batch, d)
    if mean_d is not None:
        vector(me, "mean", mean_d, d)
        mean = vector_start(mean_d)
    for i in range(batch):
        if index_b[i] < 0 or index_b[i] >= n:
            raise IndexError(f"gather_batch: index holds {index_b[i]}, but X has {n} rows")
    if d == 0:
        return
    num_threads = threads_for(batch * d * sizeof(real), 150, num_threads)
    for i in prange(batch, nogil=True, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        _row(&images_nd[index_b[i], 0], mean, &out_bd[i, 0], d)

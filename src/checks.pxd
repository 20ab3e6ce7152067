# What the type of a memoryview does not say: that shapes fit each other, and that data is aligned.
#
# The layers have checked the caller's arrays in the caller's words; these keep a wrong call of an entry
# from reading or writing where it must not. They run before anything is written.
from libc.stdint cimport uintptr_t

from real cimport real


cdef inline int aligned(str function, str name, const void *data, size_t itemsize) except -1:
    if <uintptr_t> data % itemsize != 0:
        raise ValueError(f"{function}: {name} is not aligned to its items of {itemsize} bytes")
    return 0


# Where an array begins in memory; NULL if it is empty, where a debug build refuses to look at a[0].
cdef inline real *vector_start(const real[::1] a) noexcept nogil:
    return <real *> &a[0] if a.shape[0] else NULL


cdef inline real *matrix_start(const real[:, ::1] a) noexcept nogil:
    return <real *> &a[0, 0] if a.shape[0] and a.shape[1] else NULL


cdef inline real *images_start(const real[:, :, :, ::1] a) noexcept nogil:
    return <real *> &a[0, 0, 0, 0] if a.shape[0] and a.shape[1] and a.shape[2] and a.shape[3] else NULL


cdef inline int vector(str function, str name, const real[::1] a, Py_ssize_t size) except -1:
    if a.shape[0] != size:
        raise ValueError(f"{function}: {name} has {a.shape[0]} elements, expected {size}")
    return aligned(function, name, vector_start(a), sizeof(real))


cdef inline int matrix(str function, str name, const real[:, ::1] a, Py_ssize_t rows, Py_ssize_t columns) except -1:
    if a.shape[0] != rows or a.shape[1] != columns:
        raise ValueError(f"{function}: {name} has shape ({a.shape[0]}, {a.shape[1]}), expected ({rows}, {columns})")
    return aligned(function, name, matrix_start(a), sizeof(real))


cdef inline int images(str function, str name, const real[:, :, :, ::1] a, Py_ssize_t n, Py_ssize_t c, Py_ssize_t h,
                       Py_ssize_t w) except -1:
    if a.shape[0] != n or a.shape[1] != c or a.shape[2] != h or a.shape[3] != w:
        raise ValueError(f"{function}: {name} has shape ({a.shape[0]}, {a.shape[1]}, {a.shape[2]}, {a.shape[3]}), "
                         f"expected ({n}, {c}, {h}, {w})")
    return aligned(function, name, images_start(a), sizeof(real))

# Shared by every family: the element types, and the checks that an entry makes by hand.
# Acquiring a memoryview costs more than many of these kernels; an ndarray argument and its
# data pointer cost almost nothing.
cimport numpy as cnp
from cython cimport floating as real
from cython.parallel cimport prange

cnp.import_array()

# Waking the threads of a parallel region takes 50 to 70 us where they sleep. Work that one thread
# does in less than this is not shared out.
cdef double SERIAL_PICOSECONDS = 200e6


def share_from(double picoseconds):
    """Share out work from that size on, and return what was set before: tests share out small work too."""
    global SERIAL_PICOSECONDS
    before, SERIAL_PICOSECONDS = SERIAL_PICOSECONDS, picoseconds
    return before


cdef inline int _threads_for(cnp.ndarray array, double picoseconds, int num_threads):
    """Threads for work on an array of which one thread does four bytes in so long, a half or a third of that
    for two or three regions. It never changes a result, so it may depend on anything."""
    if num_threads > 1 and cnp.PyArray_NBYTES(array) * picoseconds >= 4 * SERIAL_PICOSECONDS:
        return num_threads
    return 1


cdef int _check(str function, str name, cnp.ndarray array, int typenum, int ndim=-1) except -1:
    """C-contiguous, aligned, native, of the wanted type (and rank)."""
    if cnp.PyArray_TYPE(array) != typenum:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, which is not the one this call works in")
    if not (cnp.PyArray_IS_C_CONTIGUOUS(array) and cnp.PyArray_ISALIGNED(array)
            and not cnp.PyArray_ISBYTESWAPPED(array)):
        raise ValueError(f"{function}: {name} must be C-contiguous, aligned and of native byte order")
    if ndim >= 0 and cnp.PyArray_NDIM(array) != ndim:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_NDIM(array)} dimensions, expected {ndim}")
    return 0


cdef int _check_out(str function, str name, cnp.ndarray array, int typenum, int ndim=-1) except -1:
    _check(function, name, array, typenum, ndim)
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{function}: {name} is read-only, but it is written to")
    return 0


cdef int _check_size(str function, str name, cnp.ndarray array, Py_ssize_t size) except -1:
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_SIZE(array)} elements, expected {size}")
    return 0


cdef int _check_shape(str function, str name, cnp.ndarray array, Py_ssize_t rows, Py_ssize_t columns) except -1:
    if cnp.PyArray_DIM(array, 0) != rows or cnp.PyArray_DIM(array, 1) != columns:
        raise ValueError(
            f"{function}: {name} has shape ({cnp.PyArray_DIM(array, 0)}, {cnp.PyArray_DIM(array, 1)}), "
            f"expected ({rows}, {columns})")
    return 0


cdef int _real_type(str function, str name, cnp.ndarray array) except -1:
    """NPY_FLOAT or NPY_DOUBLE: the type that all arrays of the call must have."""
    cdef int typenum = cnp.PyArray_TYPE(array)
    if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, expected float32 or float64")
    return typenum

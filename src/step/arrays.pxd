# The checks of the step's arrays, by hand: a step takes dozens of them, and acquiring a memoryview of each
# would cost more than a small step.
cimport numpy as cnp


cdef inline int check(str function, str name, cnp.ndarray array, int typenum, int ndim=-1) except -1:
    """C-contiguous, aligned, native, of the wanted type (and rank)."""
    if cnp.PyArray_TYPE(array) != typenum:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, which is not the one this call works in")
    if not (cnp.PyArray_IS_C_CONTIGUOUS(array) and cnp.PyArray_ISALIGNED(array)
            and not cnp.PyArray_ISBYTESWAPPED(array)):
        raise ValueError(f"{function}: {name} must be C-contiguous, aligned and of native byte order")
    if ndim >= 0 and cnp.PyArray_NDIM(array) != ndim:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_NDIM(array)} dimensions, expected {ndim}")
    return 0


cdef inline int check_out(str function, str name, cnp.ndarray array, int typenum, int ndim=-1) except -1:
    check(function, name, array, typenum, ndim)
    if not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{function}: {name} is read-only, but it is written to")
    return 0


cdef inline int check_size(str function, str name, cnp.ndarray array, Py_ssize_t size) except -1:
    if cnp.PyArray_SIZE(array) != size:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_SIZE(array)} elements, expected {size}")
    return 0


cdef inline int check_shape(str function, str name, cnp.ndarray array, Py_ssize_t rows, Py_ssize_t columns) except -1:
    if cnp.PyArray_DIM(array, 0) != rows or cnp.PyArray_DIM(array, 1) != columns:
        raise ValueError(
            f"{function}: {name} has shape ({cnp.PyArray_DIM(array, 0)}, {cnp.PyArray_DIM(array, 1)}), "
            f"expected ({rows}, {columns})")
    return 0


cdef inline int real_type(str function, str name, cnp.ndarray array) except -1:
    """NPY_FLOAT or NPY_DOUBLE: the type that all arrays of the call must have."""
    cdef int typenum = cnp.PyArray_TYPE(array)
    if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, expected float32 or float64")
    return typenum

# Whole numbers: rounding up, and sharing out evenly. Sums: their parts, added in one order.


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded up; neither is negative."""
    return (a + b - 1) // b


cdef inline Py_ssize_t part_start(Py_ssize_t count, Py_ssize_t parts, Py_ssize_t part) noexcept nogil:
    """Where part begins when `count` things are shared out evenly: the first parts get one more."""
    cdef Py_ssize_t rest = count % parts
    return count // parts * part + (part if part < rest else rest)


cdef enum:
    LANES = 16  # partial sums side by side, which compilers turn into vectors


cdef inline double lane_total(const double *lanes) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(LANES):
        total += lanes[k]
    return total

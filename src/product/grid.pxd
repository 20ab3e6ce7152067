# The result of a matrix product, cut into rectangles for threads: a grid of rows by columns.
#
# A thread reads its rows of A and its columns of B, and mostly packs them too. So tall and flat
# rectangles cost more than square ones: with sixteen threads and 256 rows, cut by rows alone, each
# would pack all of B for 16 rows. How the result is cut changes no bit.
from arithmetic cimport ceil_div, part_start

cdef enum:
    GRID_ROWS = 4    # fewer rows do not fill the multiplier
    GRID_BESIDE = 8  # a column of B costs as much as so many rows of C in that column, and so do rows of A

cdef struct Grid:
    int rows, cols

cdef struct Area:            # rows i0..i1 and columns j0..j1
    Py_ssize_t i0, i1, j0, j1


cdef inline Grid grid_of(Py_ssize_t m, Py_ssize_t n, Py_ssize_t unit, int parts) noexcept nogil:
    """The grid of at most `parts` rectangles whose largest costs least. Columns are cut between units of `unit`."""
    cdef Py_ssize_t units = ceil_div(n, unit), high, wide
    cdef double cost, least = -1
    cdef int rows, cols
    cdef Grid best
    best.rows = best.cols = 1
    if parts <= 1:
        return best
    for rows in range(1, <int>max(<Py_ssize_t>1, min(<Py_ssize_t>parts, ceil_div(m, GRID_ROWS))) + 1):
        cols = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>(parts // rows), units))
        high = max(<Py_ssize_t>GRID_ROWS, ceil_div(m, rows))
        wide = min(n, ceil_div(units, cols) * unit)
        cost = <double>high * wide + GRID_BESIDE * <double>(high + wide)
        if least < 0 or cost < least:
            least = cost
            best.rows, best.cols = rows, cols
    return best


cdef inline Area area_of(Grid grid, Py_ssize_t m, Py_ssize_t n, Py_ssize_t unit, int part) noexcept nogil:
    """What a thread has of m x n; nothing where there are more threads than rectangles."""
    cdef int row = part // grid.cols, col = part % grid.cols
    cdef Py_ssize_t units = ceil_div(n, unit)
    cdef Area area
    if row >= grid.rows:
        area.i0 = area.i1 = m
        area.j0 = area.j1 = n
        return area
    area.i0, area.i1 = part_start(m, grid.rows, row), part_start(m, grid.rows, row + 1)
    area.j0 = part_start(units, grid.cols, col) * unit
    area.j1 = min(n, part_start(units, grid.cols, col + 1) * unit)
    return area

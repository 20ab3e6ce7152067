# What the C of this folder computes: tiles of C in registers, and the packing that needs vectors.
#
# The numbers are of the type of the pointer that takes the place of `c` or `b`: see each_type.h.
from libc.string cimport memset

from real cimport real

cdef extern from "product/microkernel.h" nogil:
    enum:
        VECTOR_BYTES
        MR            # rows of a tile
        TILE_ADD      # add what is there: partial sums of earlier blocks of k
        TILE_BIAS     # add the bias of the column
        TILE_RELU
        TILE_MASK     # times the scale where the mask is positive, else 0
        TILE_GAIN     # with TILE_BIAS: times the gain of the column before its bias is added
    ctypedef struct prefetch_list:
        int count
    ctypedef struct tile_args:
        const void *a
        Py_ssize_t rs, cs, chunk, jump
        const void *b
        Py_ssize_t ldb, bvs
        Py_ssize_t ldc, cvs
        const void *bias
        const void *mask
        double scale
        int flags
        const prefetch_list *prefetch
        const void *gain
    # C(rows x cols) = A B over kc steps of k; 1 <= rows <= MR, 1 <= cols <= two vectors.
    void tile_product(const tile_args *args, void *c, int rows, int cols, Py_ssize_t kc) noexcept

cdef extern from "product/prefetch.h" nogil:
    void prefetch_range(prefetch_list *lines, const void *first, Py_ssize_t bytes) noexcept
    # Rows first..past of `bytes` bytes each, `stride` bytes apart.
    void prefetch_rows(prefetch_list *lines, const void *start, Py_ssize_t stride, Py_ssize_t bytes,
                       Py_ssize_t first, Py_ssize_t past) noexcept
    void PREFETCH_NEAR(const void *line) noexcept

cdef extern from "product/packing.h" nogil:
    # A panel of B from its rows, and from the rows of its transpose.
    void pack_rows(Py_ssize_t kc, int cols, const void *b, Py_ssize_t ldb, void *panel) noexcept
    void pack_columns(Py_ssize_t kc, int cols, const void *b, Py_ssize_t ldb, void *panel) noexcept

cdef extern from "product/leftover.h" nogil:
    enum:
        HAVE_LEFTOVER
    void leftover_product(const tile_args *args, void *c, int rows, int cols, Py_ssize_t kc) noexcept

cdef extern from "product/narrow.h" nogil:
    enum:
        HAVE_SHUFFLES   # there is narrow_product then
    void narrow_product(const tile_args *args, void *c, int rows, int cols, Py_ssize_t kc) noexcept


cdef inline void pack_leftover(Py_ssize_t kc, int cols, const real *b, Py_ssize_t ks, Py_ssize_t cs,
                               real *packed) noexcept nogil:
    """packed[k / 4][column][k % 4] from B(k, column) = b[k * ks + column * cs]; zeros where there is none."""
    cdef int lanes = VECTOR_BYTES // <int> sizeof(real), c, q
    cdef Py_ssize_t step, k
    for step in range((kc + 3) // 4):
        k = 4 * step
        if cols == lanes // 4 and kc - k >= 4:
            for c in range(lanes // 4):
                for q in range(4):
                    packed[4 * c + q] = b[(k + q) * ks + c * cs]
        else:
            memset(packed, 0, lanes * sizeof(real))
            for c in range(cols):
                for q in range(<int> min(<Py_ssize_t> 4, kc - k)):
                    packed[4 * c + q] = b[(k + q) * ks + c * cs]
        packed += lanes

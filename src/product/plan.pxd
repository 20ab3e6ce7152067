# What is multiplied, and how: blocks of k, what is packed, which parts threads get. See README.md.
from arithmetic cimport ceil_div
from product.grid cimport Grid, grid_of
from product.tiles cimport HAVE_LEFTOVER, HAVE_SHUFFLES, MR, VECTOR_BYTES

cdef enum:
    KC = 512                  # longer blocks of k pass over C less often
    ROW_TILES = 22            # tiles of a block of rows: the block of A stays near the second-level cache
    COLUMNS = 1024            # columns whose packed panels serve several blocks of rows
    STRIP = 8                 # panels of a strip: they stay in the second-level cache
    STRIP_BYTES = 131072      # of B, from which strips pay
    STRIP_TILES = 2           # of rows; more are worth packing
    PLAIN_TILES = 20          # fewer tiles of rows read a panel of B where it lies: packing would not pay
    PAD = 16                  # keeps the packed tiles, written side by side, out of one set of the cache
    SERIAL_CYCLES = 30000     # below it a second thread costs more than it brings

cdef struct Product:          # A(m x k) B(k x n), each as it lies in memory (row-major) or transposed
    Py_ssize_t m, n, k
    bint trans_a, trans_b
    Py_ssize_t lda, ldb, ldc  # elements from one stored row to the next
    int flags                 # TILE_BIAS, TILE_RELU, TILE_GAIN

cdef struct Plan:             # how it is computed
    Py_ssize_t kc             # length of a block of k: follows from k alone
    Py_ssize_t leftover       # so many of the last columns are computed by leftover.h
    Py_ssize_t narrow         # or by narrow.h
    bint pack_a, pack_b
    Py_ssize_t strip          # columns of B that are packed together; 0: panel after panel
    Grid grid                 # parts of C handed to threads
    size_t scratch_a, scratch  # elements that a part needs: for its block of A, and in all


cdef inline Product product_of(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint trans_a, bint trans_b,
                               int flags) noexcept nogil:
    """The product of whole matrices."""
    cdef Product p
    p.m, p.n, p.k = m, n, k
    p.trans_a, p.trans_b = trans_a, trans_b
    p.lda = m if trans_a else k
    p.ldb = k if trans_b else n
    p.ldc = n
    p.flags = flags
    return p


cdef inline Py_ssize_t packed_stride(Py_ssize_t kc, Py_ssize_t itemsize) noexcept nogil:
    """Elements from one packed row of A to the next: an odd number of cache lines."""
    cdef Py_ssize_t line = 64 // itemsize
    return ((ceil_div(kc, line) + 1) | 1) * line


cdef inline void plan_product(const Product *p, Plan *plan, Py_ssize_t itemsize, int num_threads) noexcept nogil:
    """Choose packing, blocks of k and parts of C."""
    cdef Py_ssize_t lanes = VECTOR_BYTES // itemsize, width = 2 * lanes, line = 64 // itemsize
    cdef Py_ssize_t stride = p.lda * itemsize, blocks = max(<Py_ssize_t>1, ceil_div(p.k, KC))
    # Columns that leave lanes empty; all of them lie in one panel.
    cdef Py_ssize_t last = p.n if p.n <= min(width, <Py_ssize_t>(2 * MR)) else p.n % width
    cdef Py_ssize_t tiles, kept
    cdef double cycles = 2 if VECTOR_BYTES == 16 else 1           # without a fused multiply-add
    plan.kc = max(<Py_ssize_t>1, ceil_div(ceil_div(p.k, blocks), 16) * 16)
    # Rows that are a multiple of a large power of two apart fall into few sets of the cache.
    if p.trans_a:
        plan.pack_a = stride % 512 == 0 or stride >= 2048
    else:
        plan.pack_a = stride % 2048 == 0 and p.m > 4
    plan.leftover = plan.narrow = 0
    # Along a row of A four neighbours in k are read at once: they must lie side by side.
    if HAVE_LEFTOVER and not p.trans_a and p.n % lanes <= lanes // 4:
        plan.leftover = p.n % lanes
    # The rows of C fill vectors where the last columns would not; A is not read again from afar for that.
    if (HAVE_SHUFFLES and p.trans_a and last <= 2 * MR and (last == p.n or not plan.pack_a)
            and 20 * last < 9 * ceil_div(2 * last, lanes) * lanes):
        plan.narrow = last
    if plan.narrow == p.n:
        cycles *= <double>p.k * p.m * p.n / lanes
    else:
        cycles *= 0.5 * p.k * p.m * ceil_div(2 * p.n, lanes)
    plan.grid = grid_of(p.m, p.n, width, 1 if cycles < SERIAL_CYCLES else num_threads)
    tiles = ceil_div(ceil_div(p.m, plan.grid.rows), MR)
    # B is packed when enough tiles read it; a transposed B always.
    plan.pack_b = p.trans_b or tiles > PLAIN_TILES or (tiles > 2 and p.ldb * itemsize % 1024 == 0)
    # Measured where vectors have 32 bytes: there a panel of a long block of k fills the first-level cache.
    plan.strip = 0
    if VECTOR_BYTES == 32 and p.k * p.n * itemsize >= STRIP_BYTES and (plan.pack_b or tiles > STRIP_TILES):
        plan.pack_b = True
        plan.strip = COLUMNS if tiles > ROW_TILES else STRIP * width
    # Panels of B: those of a strip, or all that several blocks of rows read; else two, one packed while the other is
    # multiplied, and no fewer where the smaller parts of C are one block of rows.
    kept = ceil_div(ceil_div(p.n, width), plan.grid.cols) if plan.strip or tiles > ROW_TILES else 2
    kept = max(<Py_ssize_t>2, min(kept, (plan.strip if plan.strip else <Py_ssize_t>COLUMNS) // width))
    tiles = min(tiles, ROW_TILES)
    plan.scratch_a = 0
    if plan.pack_a and plan.narrow < p.n:
        plan.scratch_a = tiles * (MR * plan.kc + PAD if p.trans_a else MR * packed_stride(plan.kc, itemsize))
    plan.scratch_a = ceil_div(plan.scratch_a, line) * line  # what follows stays aligned
    plan.scratch = plan.scratch_a + ceil_div(kept * width * plan.kc, line) * line


cdef inline void plan_packed(const Product *p, Plan *plan, Py_ssize_t itemsize, int num_threads) noexcept nogil:
    """The same where all of B is packed already: see pack_whole."""
    cdef Py_ssize_t width = 2 * (VECTOR_BYTES // itemsize)
    plan_product(p, plan, itemsize, num_threads)
    plan.pack_b = True
    plan.strip = width * (STRIP if VECTOR_BYTES == 32 else 1)
    plan.scratch = plan.scratch_a


cdef inline Py_ssize_t packed_columns(const Product *p, Py_ssize_t itemsize) noexcept nogil:
    """Columns of B when all of it is packed: whole panels."""
    cdef Py_ssize_t width = 2 * (VECTOR_BYTES // itemsize)
    return ceil_div(p.n, width) * width

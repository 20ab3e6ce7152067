# What a product of the step multiplies, and where a tile of it lies: for the products from float32 or float64
# (products.pxd) and from bfloat16 (bf16/step.pxd).
from arithmetic cimport part_start
from bf16.rounding cimport rounded_panels
from product.tiles cimport prefetch_list, prefetch_rows, tile_args
from real cimport real
from step.layout cimport PANEL, image_source, lanes_of
from step.panels cimport prefetch_images

# C = A B for some samples and columns. A lies in panels, B in rows (or, transposed, in columns). C lies in
# panels, or in rows. The numbers are of the type of the step.
cdef struct step_product:
    const void *a
    Py_ssize_t stride                # of the panels of A and C
    const void *b
    Py_ssize_t ldb                   # from row to row (column to column) of B
    bint transposed
    void *c
    bint c_panels
    Py_ssize_t cols                  # of C
    const void *bias
    const void *mask                 # laid out as C
    double scale                     # factor where the mask is positive
    int flags
    const image_source *next_images  # whose features next_j0..next_j1 are gathered next, or NULL
    Py_ssize_t next_j0, next_j1
    const rounded_panels *rounded    # A in bfloat16, or NULL: B is rounded too then


cdef inline step_product product_of(const void *a, Py_ssize_t stride, const void *b, Py_ssize_t ldb, bint transposed,
                                    void *c, bint c_panels, Py_ssize_t cols,
                                     const rounded_panels *rounded) noexcept nogil:
    """Nothing but the product: no bias, no mask."""
    cdef step_product p
    p.a, p.stride, p.b, p.ldb, p.transposed = a, stride, b, ldb, transposed
    p.c, p.c_panels, p.cols, p.rounded = c, c_panels, cols, rounded
    p.bias = p.mask = NULL
    p.scale, p.flags = 1, 0
    p.next_images, p.next_j0, p.next_j1 = NULL, 0, 0
    return p


cdef inline real *tile_of(tile_args *args, const step_product *p, Py_ssize_t i, Py_ssize_t j, real *c) noexcept nogil:
    """Where the tile of C lies whose first element is (i, j), c being where C begins; sets what goes with it."""
    cdef Py_ssize_t at, lanes = lanes_of(sizeof(real))
    if p.c_panels:
        at = j // PANEL * p.stride + i * PANEL + j % PANEL
        args.ldc = PANEL
        args.cvs = p.stride if lanes >= PANEL else lanes
    else:
        at = i * p.cols + j
        args.ldc = p.cols
        args.cvs = lanes
    args.mask = args.bias = args.gain = NULL
    if p.mask != NULL:
        args.mask = <const real *> p.mask + at
    if p.bias != NULL:
        args.bias = <const real *> p.bias + j
    return c + at


cdef inline void prefetch_panel(prefetch_list *lines, const step_product *p, const real *b, Py_ssize_t j, Py_ssize_t j1,
                                Py_ssize_t k, Py_ssize_t depth, int tiles, int t) noexcept nogil:
    """Part t of the panel of B that begins at (k, j), which is multiplied next: its rows lie pages apart, where
    the processor does not look ahead by itself."""
    cdef Py_ssize_t cols = min(j1 - j, 2 * lanes_of(sizeof(real)))
    # Columns of a transposed panel are rows of the matrix, `depth` long.
    cdef Py_ssize_t pieces = cols if p.transposed else depth, length = depth if p.transposed else cols
    prefetch_rows(lines, b + (j * p.ldb + k if p.transposed else k * p.ldb + j), p.ldb * <Py_ssize_t> sizeof(real),
                  length * <Py_ssize_t> sizeof(real), part_start(pieces, tiles, t), part_start(pieces, tiles, t + 1))


cdef inline void prefetch_next_images(prefetch_list *lines, const step_product *p, Py_ssize_t i0, Py_ssize_t rows,
                                      Py_ssize_t tiles, Py_ssize_t tile) noexcept nogil:
    """An even share of the next images' lines at one of all the tiles of rows i0..i0+rows."""
    if p.next_images != NULL:
        prefetch_images(p.next_images, lines, i0 + part_start(rows, tiles, tile),
                        i0 + part_start(rows, tiles, tile + 1), p.next_j0, p.next_j1)

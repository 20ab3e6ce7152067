# Matrix product C = A B with optional transposes, bias and ReLU: see product/product.h.
#
# A result does not depend on who computes which part: threads get rectangles of C, and any number
# of them gives the same bits.

cdef extern from "product/product.h" nogil:
    enum:
        TILE_ADD
        TILE_BIAS
        TILE_RELU
    # What is multiplied: A(m x k) B(k x n), each as it lies in memory (row-major) or transposed.
    ctypedef struct Product "product_args":
        Py_ssize_t m, n, k
        bint trans_a, trans_b
        Py_ssize_t lda, ldb       # elements from one stored row to the next
        int flags                 # TILE_BIAS, TILE_RELU
    int gemm_float(const Product *p, const float *a, const float *b, float *c, const float *bias, float *db_m,
                        int num_threads) noexcept
    int gemm_double(const Product *p, const double *a, const double *b, double *c, const double *bias, double *db_m,
                         int num_threads) noexcept
    void column_sums_float(const float *dout_nm, Py_ssize_t n_rows, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                                float *db_m) noexcept
    Py_ssize_t ceil_div "ceil_div"(Py_ssize_t a, Py_ssize_t b) noexcept
    Py_ssize_t part_start "part_start"(Py_ssize_t count, Py_ssize_t parts, Py_ssize_t part) noexcept

cdef extern from "product/grid.h" nogil:
    ctypedef struct Grid "grid":
        int rows, cols
    ctypedef struct Area "area":
        Py_ssize_t i0, i1, j0, j1
    Grid grid_of "grid_of"(Py_ssize_t m, Py_ssize_t n, Py_ssize_t unit, int parts) noexcept
    Area area_of "area_of"(Grid grid, Py_ssize_t m, Py_ssize_t n, Py_ssize_t unit, int part) noexcept

cdef extern from "threads/scratch.h" nogil:
    void *dase_scratch_take(size_t size) noexcept
    void dase_scratch_give(void *scratch) noexcept

ctypedef fused real:
    float
    double


cdef int gemm(Product *p, const real *a, const real *b, real *c, const real *bias, real *db_m,
              int num_threads) noexcept nogil:
    """Run the product; bias is read when p.flags has TILE_BIAS, db_m may be NULL. -1: out of memory."""
    if real is float:
        return gemm_float(p, a, b, c, bias, db_m, num_threads)
    else:
        return gemm_double(p, a, b, c, bias, db_m, num_threads)

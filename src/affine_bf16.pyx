"""Affine layer and matrix product with bfloat16 inputs and float32 sums: entries for float32.

The names and arguments are those of affine.pyx. The two factors of each product are rounded to
bfloat16; biases, sums and results stay float32. Only for CPUs with AVX512_BF16, and only where
built() is true. Legend: N samples, D input features, M output features. Outputs must not overlap the
inputs. The bits of a result do not depend on num_threads.
"""

from bf16.product cimport multiply
from bf16.rounding cimport HAVE_AMX, HAVE_BF16
from checks cimport matrix, matrix_start, vector, vector_start
from product.plan cimport Product, product_of
from product.tiles cimport TILE_BIAS, TILE_RELU


def built():
    """Whether this module holds the kernels: level v4 and a compiler that knows AVX512_BF16."""
    return bool(HAVE_BF16)


cdef bint _amx = False  # read once a call: a change meanwhile is the next call's


def use_amx(bint on):
    """Compute the products of this process by AMX from now on, or no longer; returns what it was.

    Only where runtime.has_amx() is true; a module that was built without these kernels stays at False.
    Bits are not those of AVX512_BF16: pairs are added in another order.
    """
    global _amx
    former = _amx
    _amx = on and HAVE_AMX
    return former


def amx():
    """Whether products are computed by AMX now."""
    return _amx


cdef int _multiply(str function, const Product *p, const float[:, ::1] a, const float[:, ::1] b, float[:, ::1] c,
                   const float *bias, float *column_sums, int num_threads) except -1:
    cdef int status
    cdef bint by_amx = _amx
    if not HAVE_BF16:
        raise RuntimeError(f"{function}: this module was built without bfloat16 kernels")
    with nogil:
        status = multiply(p, matrix_start(a), matrix_start(b), matrix_start(c), bias, column_sums, num_threads, by_amx)
    if status != 0:
        raise MemoryError("matrix product: no memory for packed blocks")
    return 0


def affine_forward(
    const float[:, ::1] x_nd not None,  # IN
    const float[:, ::1] w_dm not None,  # IN
    const float[::1] b_m not None,      # IN
    float[:, ::1] out_nm not None,      # OUT
    bint relu,
    int num_threads,
):
    """out = x w + b, or max(0, x w + b) when relu is true; NaN stays NaN."""
    cdef str me = "affine_forward"
    cdef Py_ssize_t n = x_nd.shape[0], d = x_nd.shape[1], m = w_dm.shape[1]
    cdef Product p = product_of(n, m, d, False, False, TILE_BIAS | (TILE_RELU if relu else 0))
    matrix(me, "x_nd", x_nd, n, d)
    matrix(me, "w_dm", w_dm, d, m)
    vector(me, "b_m", b_m, m)
    matrix(me, "out_nm", out_nm, n, m)
    _multiply(me, &p, x_nd, w_dm, out_nm, vector_start(b_m), NULL, num_threads)


def affine_backward_dx(
    const float[:, ::1] dout_nm not None,  # IN
    const float[:, ::1] w_dm not None,     # IN
    float[:, ::1] dx_nd not None,          # OUT
    int num_threads,
):
    """dx = dout w^T."""
    cdef str me = "affine_backward_dx"
    cdef Py_ssize_t n = dout_nm.shape[0], m = dout_nm.shape[1], d = w_dm.shape[0]
    cdef Product p = product_of(n, d, m, False, True, 0)
    matrix(me, "dout_nm", dout_nm, n, m)
    matrix(me, "w_dm", w_dm, d, m)
    matrix(me, "dx_nd", dx_nd, n, d)
    _multiply(me, &p, dout_nm, w_dm, dx_nd, NULL, NULL, num_threads)


def affine_backward_dw(
    const float[:, ::1] x_nd not None,     # IN
    const float[:, ::1] dout_nm not None,  # IN
    float[:, ::1] dw_dm not None,          # OUT
    float[::1] db_m not None,              # OUT
    int num_threads,
):
    """dw = x^T dout, db = the column sums of dout as it came, not rounded."""
    cdef str me = "affine_backward_dw"
    cdef Py_ssize_t n = x_nd.shape[0], d = x_nd.shape[1], m = dout_nm.shape[1]
    cdef Product p = product_of(d, m, n, True, False, 0)
    matrix(me, "x_nd", x_nd, n, d)
    matrix(me, "dout_nm", dout_nm, n, m)
    matrix(me, "dw_dm", dw_dm, d, m)
    vector(me, "db_m", db_m, m)
    _multiply(me, &p, x_nd, dout_nm, dw_dm, NULL, vector_start(db_m), num_threads)


def matmul(
    const float[:, ::1] a not None,  # IN
    const float[:, ::1] b not None,  # IN
    float[:, ::1] out not None,      # OUT
    bint trans_a,
    bint trans_b,
    int num_threads,
):
    """out = A B, where A is a or its transpose, and B is b or its transpose."""
    cdef str me = "matmul"
    cdef Py_ssize_t m = a.shape[1 if trans_a else 0], k = a.shape[0 if trans_a else 1]
    cdef Py_ssize_t n = b.shape[0 if trans_b else 1]
    cdef Product p = product_of(m, n, k, trans_a, trans_b, 0)
    matrix(me, "a", a, a.shape[0], a.shape[1])
    if trans_b:
        matrix(me, "b", b, n, k)
    else:
        matrix(me, "b", b, k, n)
    matrix(me, "out", out, m, n)
    _multiply(me, &p, a, b, out, NULL, NULL, num_threads)

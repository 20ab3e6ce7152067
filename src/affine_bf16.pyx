"""Affine layer and matrix product with bfloat16 inputs and float32 sums: entries for float32.

The names and arguments are those of affine.pyx. The two factors of each product are rounded to
bfloat16; biases, sums and results stay float32. Only for CPUs with AVX512_BF16, and only where
built() is true. Legend: N samples, D input features, M output features. Arrays are C-contiguous,
aligned, in native byte order; outputs must not overlap the inputs. The bits of a result do not
depend on num_threads.
"""

cimport numpy as cnp
from cython.parallel cimport prange

cnp.import_array()

include "product/product.pxi"
include "bf16/product.pxi"


def built():
    """Whether this module holds the kernels: level v4 and a compiler that knows AVX512_BF16."""
    return bool(bf16_built())


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


cdef int _check(str function, str name, cnp.ndarray array, Py_ssize_t rows, Py_ssize_t cols,
                bint output) except -1:
    """Raise unless array is what a kernel may touch; cols < 0 asks for one dimension."""
    cdef int ndim = 1 if cols < 0 else 2
    if not bf16_built():
        raise RuntimeError(f"{function}: this module was built without bfloat16 kernels")
    if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT32:
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, expected float32")
    if cnp.PyArray_NDIM(array) != ndim:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_NDIM(array)} dimensions, expected {ndim}")
    if cnp.PyArray_DIM(array, 0) != rows or (ndim == 2 and cnp.PyArray_DIM(array, 1) != cols):
        expected = f"({rows},)" if ndim == 1 else f"({rows}, {cols})"
        raise ValueError(f"{function}: {name} has shape {(<object>array).shape}, expected {expected}")
    if not cnp.PyArray_ISCARRAY_RO(array):
        raise ValueError(f"{function}: {name} must be C-contiguous, aligned and in native byte order")
    if output and not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{function}: {name} is read-only")
    return 0


cdef int _check_matrix(str function, str name, cnp.ndarray array) except -1:
    if cnp.PyArray_NDIM(array) != 2:
        raise ValueError(f"{function}: {name} has {cnp.PyArray_NDIM(array)} dimensions, expected 2")
    return 0


cdef int _run(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, bint trans_a, bint trans_b, int flags,
              cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, void *bias, void *db, int num_threads) except -1:
    cdef int status
    cdef bint tiles = _amx
    cdef const float *pa = <const float *>cnp.PyArray_DATA(a)
    cdef const float *pb = <const float *>cnp.PyArray_DATA(b)
    cdef float *pc = <float *>cnp.PyArray_DATA(c)
    cdef Product p
    p.m, p.n, p.k = m, n, k
    p.trans_a, p.trans_b = trans_a, trans_b
    p.lda = m if trans_a else k
    p.ldb = k if trans_b else n
    p.flags = flags
    with nogil:
        status = gemm_bf16(&p, pa, pb, pc, <const float *>bias, <float *>db, num_threads, tiles)
    if status != 0:
        raise MemoryError("matrix product: no memory for packed blocks")
    return 0


def affine_forward(
    cnp.ndarray x_nd not None,    # IN
    cnp.ndarray w_dm not None,    # IN
    cnp.ndarray b_m not None,     # IN
    cnp.ndarray out_nm not None,  # OUT
    bint relu,
    int num_threads,
):
    """out = x w + b, or max(0, x w + b) when relu is true; NaN stays NaN."""
    cdef str me = "affine_forward"
    cdef Py_ssize_t n, d, m
    _check_matrix(me, "x_nd", x_nd)
    _check_matrix(me, "w_dm", w_dm)
    n, d, m = cnp.PyArray_DIM(x_nd, 0), cnp.PyArray_DIM(x_nd, 1), cnp.PyArray_DIM(w_dm, 1)
    _check(me, "x_nd", x_nd, n, d, False)
    _check(me, "w_dm", w_dm, d, m, False)
    _check(me, "b_m", b_m, m, -1, False)
    _check(me, "out_nm", out_nm, n, m, True)
    _run(n, m, d, False, False, TILE_BIAS | (TILE_RELU if relu else 0),
         x_nd, w_dm, out_nm, cnp.PyArray_DATA(b_m), NULL, num_threads)


def affine_backward_dx(
    cnp.ndarray dout_nm not None,  # IN
    cnp.ndarray w_dm not None,     # IN
    cnp.ndarray dx_nd not None,    # OUT
    int num_threads,
):
    """dx = dout w^T."""
    cdef str me = "affine_backward_dx"
    cdef Py_ssize_t n, d, m
    _check_matrix(me, "dout_nm", dout_nm)
    _check_matrix(me, "w_dm", w_dm)
    n, m, d = cnp.PyArray_DIM(dout_nm, 0), cnp.PyArray_DIM(dout_nm, 1), cnp.PyArray_DIM(w_dm, 0)
    _check(me, "dout_nm", dout_nm, n, m, False)
    _check(me, "w_dm", w_dm, d, m, False)
    _check(me, "dx_nd", dx_nd, n, d, True)
    _run(n, d, m, False, True, 0, dout_nm, w_dm, dx_nd, NULL, NULL, num_threads)


def affine_backward_dw(
    cnp.ndarray x_nd not None,     # IN
    cnp.ndarray dout_nm not None,  # IN
    cnp.ndarray dw_dm not None,    # OUT
    cnp.ndarray db_m not None,     # OUT
    int num_threads,
):
    """dw = x^T dout, db = the column sums of dout as it came, not rounded."""
    cdef str me = "affine_backward_dw"
    cdef Py_ssize_t n, d, m
    _check_matrix(me, "x_nd", x_nd)
    _check_matrix(me, "dout_nm", dout_nm)
    n, d, m = cnp.PyArray_DIM(x_nd, 0), cnp.PyArray_DIM(x_nd, 1), cnp.PyArray_DIM(dout_nm, 1)
    _check(me, "x_nd", x_nd, n, d, False)
    _check(me, "dout_nm", dout_nm, n, m, False)
    _check(me, "dw_dm", dw_dm, d, m, True)
    _check(me, "db_m", db_m, m, -1, True)
    _run(d, m, n, True, False, 0, x_nd, dout_nm, dw_dm, NULL, cnp.PyArray_DATA(db_m), num_threads)


def matmul(
    cnp.ndarray a not None,    # IN
    cnp.ndarray b not None,    # IN
    cnp.ndarray out not None,  # OUT
    bint trans_a,
    bint trans_b,
    int num_threads,
):
    """out = A B, where A is a or its transpose, and B is b or its transpose."""
    cdef str me = "matmul"
    cdef Py_ssize_t m, n, k
    _check_matrix(me, "a", a)
    _check_matrix(me, "b", b)
    m, k = cnp.PyArray_DIM(a, 1 if trans_a else 0), cnp.PyArray_DIM(a, 0 if trans_a else 1)
    n = cnp.PyArray_DIM(b, 0 if trans_b else 1)
    _check(me, "a", a, cnp.PyArray_DIM(a, 0), cnp.PyArray_DIM(a, 1), False)
    if trans_b:
        _check(me, "b", b, n, k, False)
    else:
        _check(me, "b", b, k, n, False)
    _check(me, "out", out, m, n, True)
    _run(m, n, k, trans_a, trans_b, 0, a, b, out, NULL, NULL, num_threads)

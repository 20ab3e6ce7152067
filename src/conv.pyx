"""Convolution: entries for float32 and float64.

Legend: N images, C channels, H x W pixels; F filters of HH x WW; outputs of H' x W' with
H' = (H + 2 pad - HH) // stride + 1. Outputs are allocated by the caller and must not overlap the
inputs. The bits of a result do not depend on num_threads.
"""

from checks cimport images, images_start, vector, vector_start
from conv.correlation cimport convolve_backward_dx, convolve_forward
from conv.layout cimport Shape
from conv.weights cimport backward_dw_scratch, convolve_backward_dw
from real cimport real


cdef Shape _shape(str function, str x_name, const real[:, :, :, ::1] x_nchw, str w_name,
                  const real[:, :, :, ::1] w_fchw, str out_name, const real[:, :, :, ::1] out_nfhw,
                  Py_ssize_t stride, Py_ssize_t pad) except *:
    """The sizes of a call, after its images, filters and outputs were held against each other."""
    cdef Shape s
    if stride < 1 or stride > 1 << 30 or pad < 0 or pad > 1 << 30:
        raise ValueError(f"{function}: stride is {stride} and pad {pad}, expected at least 1 and at least 0")
    s.n, s.c, s.h, s.w = x_nchw.shape[0], x_nchw.shape[1], x_nchw.shape[2], x_nchw.shape[3]
    s.f, s.fh, s.fw = w_fchw.shape[0], w_fchw.shape[2], w_fchw.shape[3]
    s.stride, s.pad = stride, pad
    if s.h < 1 or s.w < 1 or s.fh < 1 or s.fw < 1 or s.h + 2 * pad < s.fh or s.w + 2 * pad < s.fw:
        raise ValueError(f"{function}: {w_name} with filters of {s.fh} x {s.fw} does not fit into "
                         f"{x_name} with images of {s.h} x {s.w} and pad {pad}")
    s.oh, s.ow = (s.h + 2 * pad - s.fh) // stride + 1, (s.w + 2 * pad - s.fw) // stride + 1
    images(function, x_name, x_nchw, s.n, s.c, s.h, s.w)
    images(function, w_name, w_fchw, s.f, s.c, s.fh, s.fw)
    images(function, out_name, out_nfhw, s.n, s.f, s.oh, s.ow)
    return s


def conv_forward(
    const real[:, :, :, ::1] x_nchw not None,   # IN
    const real[:, :, :, ::1] w_fchw not None,   # IN
    const real[::1] b_f not None,               # IN
    real[:, :, :, ::1] out_nfhw not None,       # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    bint relu,
    int num_threads,
):
    """out[n, f] = b[f] + sum over c of x[n, c] correlated with w[f, c]; max(0, out) when relu is true."""
    cdef Shape s = _shape("conv_forward", "x_nchw", x_nchw, "w_fchw", w_fchw, "out_nfhw", out_nfhw, stride, pad)
    cdef int status
    vector("conv_forward", "b_f", b_f, s.f)
    with nogil:
        status = convolve_forward(&s, images_start(x_nchw), images_start(w_fchw), vector_start(b_f),
                                  images_start(out_nfhw), relu, num_threads)
    if status != 0:
        raise MemoryError("conv_forward: no memory for the layout of an image")


def conv_backward_dx(
    const real[:, :, :, ::1] dout_nfhw not None,    # IN
    const real[:, :, :, ::1] w_fchw not None,       # IN
    real[:, :, :, ::1] dx_nchw not None,            # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    int num_threads,
):
    """dx: what each pixel gets back from all outputs that it went into."""
    cdef Shape s = _shape("conv_backward_dx", "dx_nchw", dx_nchw, "w_fchw", w_fchw, "dout_nfhw", dout_nfhw, stride, pad)
    cdef int status
    with nogil:
        status = convolve_backward_dx(&s, images_start(dout_nfhw), images_start(w_fchw), images_start(dx_nchw),
                                      num_threads)
    if status != 0:
        raise MemoryError("conv_backward_dx: no memory for the layout of an image")


def conv_backward_dw(
    const real[:, :, :, ::1] x_nchw not None,       # IN
    const real[:, :, :, ::1] dout_nfhw not None,    # IN
    real[:, :, :, ::1] dw_fchw not None,            # OUT
    real[::1] db_f not None,                        # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    int num_threads,
    unsigned char[::1] scratch=None,                # INOUT: bytes of the caller's; with them no memory is taken
):
    """dw[f, c, i, j] = sum of dout[n, f] times the pixels under tap (i, j); db[f] = sum of dout[:, f]."""
    cdef Shape s = _shape("conv_backward_dw", "x_nchw", x_nchw, "dw_fchw", dw_fchw, "dout_nfhw", dout_nfhw, stride, pad)
    cdef Py_ssize_t needed
    cdef char *given = NULL
    cdef int status
    vector("conv_backward_dw", "db_f", db_f, s.f)
    if s.n == 0:
        dw_fchw[...] = 0
        db_f[...] = 0
        return
    if scratch is not None:
        needed = backward_dw_scratch(&s, sizeof(real), num_threads)
        if scratch.shape[0] < needed or <size_t>&scratch[0] % 64:
            raise ValueError(f"conv_backward_dw: scratch has {scratch.shape[0]} bytes, expected {needed} that begin "
                             "with a line of the cache")
        given = <char *>&scratch[0]
    with nogil:
        status = convolve_backward_dw(&s, images_start(x_nchw), images_start(dout_nfhw), images_start(dw_fchw),
                                      vector_start(db_f), num_threads, given)
    if status != 0:
        raise MemoryError("conv_backward_dw: no memory for partial sums")


def conv_backward_dw_scratch(
    const real[:, :, :, ::1] x_nchw not None,
    const real[:, :, :, ::1] dout_nfhw not None,
    const real[:, :, :, ::1] dw_fchw not None,
    const real[::1] db_f not None,
    Py_ssize_t stride, Py_ssize_t pad,
    int num_threads,
):
    """Bytes of scratch that `conv_backward_dw` takes for these arguments."""
    cdef Shape s = _shape("conv_backward_dw_scratch", "x_nchw", x_nchw, "dw_fchw", dw_fchw, "dout_nfhw", dout_nfhw,
                          stride, pad)
    vector("conv_backward_dw_scratch", "db_f", db_f, s.f)
    return backward_dw_scratch(&s, sizeof(real), num_threads) if s.n else 0

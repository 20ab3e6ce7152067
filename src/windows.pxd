# Windows of fh x fw, `stride` apart, on images of h x w with `pad` zeros around them.

cdef struct Windows:
    Py_ssize_t h, w, fh, fw, pad, stride
    Py_ssize_t oh, ow    # how many fit, down and across


cdef inline int set_windows(Windows *p, str function, Py_ssize_t h, Py_ssize_t w, Py_ssize_t fh, Py_ssize_t fw,
                            Py_ssize_t pad, Py_ssize_t stride) except -1:
    cdef Py_ssize_t most = 1 << 30    # far from an overflow of any product below
    if not (1 <= fh <= most and 1 <= fw <= most and 0 <= pad <= most and 1 <= stride <= most):
        raise ValueError(f"{function}: no windows of {fh} x {fw}, pad {pad}, stride {stride}")
    if fh > h + 2 * pad or fw > w + 2 * pad:
        raise ValueError(f"{function}: the window of {fh} x {fw} is larger than the image of {h} x {w}, pad {pad}")
    p.h, p.w, p.fh, p.fw, p.pad, p.stride = h, w, fh, fw, pad, stride
    p.oh = (h + 2 * pad - fh) // stride + 1
    p.ow = (w + 2 * pad - fw) // stride + 1
    return 0

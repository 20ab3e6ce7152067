# Activations other than ReLU, which the products do on their way to memory: a thread's own part of a layer.
from activations cimport IDENTITY, activate, times_derivative
from arithmetic cimport ceil_div
from product.grid cimport Area
from real cimport real
from step.layout cimport PANEL, panel_stride, step_state
from step.panels cimport features_in


cdef inline void activate_area(const step_state *s, Area own, Py_ssize_t d, real *h) noexcept nogil:
    """Samples and features of a layer of d features, in place. Beyond the last feature panels keep their zeros."""
    cdef Py_ssize_t stride = panel_stride(s.source.n), p, i
    cdef int features
    for p in range(own.j0 // PANEL, ceil_div(own.j1, PANEL)):
        features = features_in(d, p)
        if features == PANEL:
            activate(s.activation, h + p * stride + own.i0 * PANEL, (own.i1 - own.i0) * PANEL)
        else:
            for i in range(own.i0, own.i1):
                activate(s.activation, h + p * stride + i * PANEL, features)


cdef inline void activate_area_backward(const step_state *s, Area own, Py_ssize_t d, const real *h,
                                        real *dout) noexcept nogil:
    """The gradient of the same through the activation, in place."""
    cdef Py_ssize_t stride = panel_stride(s.source.n), p, i
    cdef int features
    if s.activation == IDENTITY:
        return
    for p in range(own.j0 // PANEL, ceil_div(own.j1, PANEL)):
        features = features_in(d, p)
        if features == PANEL:
            i = p * stride + own.i0 * PANEL
            times_derivative(s.activation, h + i, dout + i, (own.i1 - own.i0) * PANEL)
        else:
            for i in range(own.i0, own.i1):
                times_derivative(s.activation, h + p * stride + i * PANEL, dout + p * stride + i * PANEL, features)

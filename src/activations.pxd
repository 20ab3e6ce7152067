# Activations of a layer's outputs, in place: see activations.h.
cdef extern from "activations.h" nogil:
    enum:
        IDENTITY
        LOGISTIC
        TANH
        RELU
        EXP
        SOFTMAX
    void activate(int activation, void *x, Py_ssize_t n) noexcept
    # exp(x - top); none is above top.
    void exp_below(void *x, Py_ssize_t n, double top) noexcept
    # x times the derivative, of an activation whose output is `out`.
    void times_derivative(int activation, const void *out, void *x, Py_ssize_t n) noexcept


cdef inline dict hidden_activations():
    """{name: number} of those that hidden layers have."""
    return {"identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH, "relu": RELU}

# The element type of the kernels: every loop is written once and compiled for both.
ctypedef fused real:
    float
    double

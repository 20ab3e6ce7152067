# Normalizations of hidden layers, as a training step and a prediction know them.
cdef enum:
    NO_NORM
    BATCH_NORM
    LAYER_NORM


cdef inline dict norms_by_name():
    """{name: number} of each, None among the names."""
    return {None: NO_NORM, "batchnorm": BATCH_NORM, "layernorm": LAYER_NORM}

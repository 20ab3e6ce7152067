"""Built extension modules: `runtime`, and one folder of kernels per instruction-set level."""

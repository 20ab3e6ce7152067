"""The functions of the course's compiled module of this name; the layout is that of `daseCV_c.im2col`."""

from daseCV_c._layers.im2col import col2im_6d_cython, col2im_cython, im2col_cython

__all__ = ["col2im_6d_cython", "col2im_cython", "im2col_cython"]

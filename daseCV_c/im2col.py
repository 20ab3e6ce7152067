"""Windows of images as columns of a matrix, and the sums that lead back."""

from daseCV_c._layers.im2col import col2im_indices, get_im2col_indices, im2col_indices

__all__ = ["col2im_indices", "get_im2col_indices", "im2col_indices"]

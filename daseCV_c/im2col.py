"""Windows of images as columns of a matrix, and the sums that lead back.

Row ``c * field_height * field_width + ii * field_width + jj`` of the matrix holds one element of
every window; its column ``(yy * out_w + xx) * N + n`` is the window at row yy, column xx of image
n: the sample index runs fastest. Rows and columns that no whole window reaches are left out.
"""

import numpy as np

from daseCV_c._layers.im2col import geometry, to_columns, to_images

__all__ = ["col2im_indices", "get_im2col_indices", "im2col_indices"]


def get_im2col_indices(x_shape, field_height, field_width, padding=1, stride=1):
    """Where each element of each window lies in the padded image.

    ``cols = padded[:, k, i, j]`` takes all windows of all images.

    Parameters
    ----------
    x_shape : tuple
        (N, C, H, W).
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side.
    stride : int

    Returns
    -------
    k : array of int, (C * field_height * field_width, 1)
        Channels.
    i, j : array of int, (C * field_height * field_width, out_h * out_w)
        Rows and columns of the padded image.

    Raises
    ------
    ValueError
        x_shape is not of length 4, a number is too small, the window is larger than the padded image.
    TypeError
        A number is not an integer.

    Examples
    --------
    >>> k, i, j = get_im2col_indices((1, 1, 2, 3), 1, 2, padding=0)
    >>> k.tolist(), i.tolist(), j.tolist()
    ([[0], [0]], [[0, 0, 1, 1], [0, 0, 1, 1]], [[0, 1, 0, 1], [1, 2, 1, 2]])
    """
    (_, C, _, _), (fh, fw, _, stride), (out_h, out_w) = geometry(
        "get_im2col_indices", x_shape, field_height, field_width, padding, stride
    )
    k, ii, jj = (axis.reshape(C * fh * fw, 1) for axis in np.indices((C, fh, fw)))
    yy, xx = (axis.reshape(1, out_h * out_w) for axis in np.indices((out_h, out_w)))
    return k, stride * yy + ii, stride * xx + jj


def im2col_indices(x, field_height, field_width, padding=1, stride=1):
    """Windows of images as columns.

    Parameters
    ----------
    x : array, (N, C, H, W)
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side.
    stride : int

    Returns
    -------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        x is not of rank 4, a number is too small, the window is larger than the padded image.
    TypeError
        x is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> im2col_indices([[[[1., 2., 3.]]]], 1, 2, padding=0).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    return to_columns("im2col_indices", x, field_height, field_width, padding, stride)


def col2im_indices(cols, x_shape, field_height=3, field_width=3, padding=1, stride=1):
    """Each element of cols added where `im2col_indices` takes it from: its gradient.

    What meets at one place is added in the order of the rows of cols.

    Parameters
    ----------
    cols : array, (C * field_height * field_width, out_h * out_w * N)
    x_shape : tuple
        (N, C, H, W).
    field_height, field_width : int
        Size of a window.
    padding : int
        Zeros around the image, on each side; what falls on them is dropped.
    stride : int

    Returns
    -------
    x : array, (N, C, H, W)
        float32 for float32, else float64.

    Raises
    ------
    ValueError
        Shapes that do not fit, a number is too small, the window is larger than the padded image.
    TypeError
        cols is not an array of real numbers, a number is not an integer.

    Examples
    --------
    >>> col2im_indices([[1., 2.], [10., 20.]], (1, 1, 1, 3), 1, 2, padding=0).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    return to_images("col2im_indices", cols, x_shape, field_height, field_width, padding, stride)

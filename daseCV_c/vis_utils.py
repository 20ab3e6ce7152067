"""Images laid out in a grid."""

import math
from collections.abc import Sequence

import numpy as np

from daseCV_c import _checks
from daseCV_c._types import Array, ArrayLike

__all__ = ["vis_grid", "vis_nn", "visualize_grid"]


def _stretched(image: ArrayLike, ubound: float) -> Array:
    # float64 first: 255 - 0 fits no signed byte.
    image = np.asarray(image, np.float64)
    low, high = np.min(image), np.max(image)
    # A flat image has nothing to stretch: it is shown dark.
    return np.zeros(image.shape) if high == low else ubound * (image - low) / (high - low)


def _images(function: str, Xs: ArrayLike) -> Array:
    Xs = np.asarray(Xs)
    if Xs.ndim != 4 or 0 in Xs.shape:
        raise ValueError(f"{function}: Xs has shape {Xs.shape}, expected (N, H, W, C) with no empty side")
    return Xs


def visualize_grid(Xs: ArrayLike, ubound: float = 255.0, padding: int = 1) -> Array:
    """Lay N images out in a square grid, each stretched to the range 0 to `ubound`.

    Parameters
    ----------
    Xs : array, (N, H, W, C)
    ubound : float
    padding : int
        Blank pixels between images.

    Returns
    -------
    grid : array, (R * (H + padding) - padding, R * (W + padding) - padding, C)
        R is the square root of N, rounded up.

    Raises
    ------
    ValueError
        Xs is not a batch of images, or padding is negative.

    References
    ----------
    CS231n, "Understanding CNNs", https://cs231n.github.io/understanding-cnn/

    Examples
    --------
    >>> import numpy as np
    >>> visualize_grid(np.zeros((3, 4, 4, 1))).shape
    (9, 9, 1)
    """
    Xs = _images("visualize_grid", Xs)
    padding = _checks.integer("visualize_grid", "padding", padding, 0, 2**20, ValueError)
    n, height, width, channels = Xs.shape
    side = math.isqrt(n - 1) + 1
    grid = np.zeros((side * (height + padding) - padding, side * (width + padding) - padding, channels))
    for k, image in enumerate(Xs):
        top, left = k // side * (height + padding), k % side * (width + padding)
        grid[top:top + height, left:left + width] = _stretched(image, ubound)
    return grid


def vis_grid(Xs: ArrayLike) -> Array:
    """Lay N images out in a square grid with one-pixel lines, stretched together to 0 to 1.

    Parameters
    ----------
    Xs : array, (N, H, W, C)

    Returns
    -------
    grid : array, (R * H + R, R * W + R, C)

    Raises
    ------
    ValueError
        Xs is not a batch of images.

    References
    ----------
    CS231n, "Understanding CNNs", https://cs231n.github.io/understanding-cnn/

    Examples
    --------
    >>> import numpy as np
    >>> vis_grid(np.arange(8.).reshape(2, 2, 2, 1)).shape
    (6, 6, 1)
    """
    Xs = _images("vis_grid", Xs)
    n, height, width, channels = Xs.shape
    side = math.isqrt(n - 1) + 1
    grid = np.full((side * height + side, side * width + side, channels), np.min(Xs), dtype=float)
    for k, image in enumerate(Xs):
        top, left = k // side * (height + 1), k % side * (width + 1)
        grid[top:top + height, left:left + width] = image
    return _stretched(grid, 1.0)


def vis_nn(rows: Sequence[Sequence[ArrayLike]]) -> Array:
    """Lay rows of images out with one-pixel lines, stretched together to 0 to 1.

    The lines hold the value 1 before the stretch: white between images in 0 to 1, dark between
    images in 0 to 255.

    Parameters
    ----------
    rows : sequence of sequences of arrays, (H, W, C)
        Rows of equal length; images of one shape.

    Returns
    -------
    grid : array, (n * (H + 1), m * (W + 1), C)

    Raises
    ------
    ValueError
        Rows differ in length, or images in shape.

    References
    ----------
    CS231n, "Image Classification", https://cs231n.github.io/classification/

    Examples
    --------
    >>> import numpy as np
    >>> vis_nn([[np.zeros((2, 2, 1)), np.ones((2, 2, 1))]]).shape
    (3, 6, 1)
    """
    table = [[np.asarray(image) for image in row] for row in rows]
    if not table or not table[0] or any(len(row) != len(table[0]) for row in table):
        lengths = [len(row) for row in table]
        raise ValueError(f"vis_nn: rows have lengths {lengths}, expected equal ones above 0")
    shapes = {image.shape for row in table for image in row}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"vis_nn: images have shapes {sorted(shapes)}, expected one shape (H, W, C)")
    height, width, channels = table[0][0].shape
    grid = np.ones((len(table) * (height + 1), len(table[0]) * (width + 1), channels))
    for i, row in enumerate(table):
        for j, image in enumerate(row):
            top, left = i * (height + 1), j * (width + 1)
            grid[top:top + height, left:left + width] = image
    return _stretched(grid, 1.0)

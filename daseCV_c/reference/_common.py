"""What the twins share: the settling of dtypes."""

import numpy as np

from daseCV_c._types import Array, ArrayLike


def as_float(*arrays: ArrayLike) -> list[Array]:
    """Arrays of one floating dtype: integers, booleans and float16 become float64, the rest is promoted."""
    found = [np.asarray(a) for a in arrays]
    single = all(a.dtype.kind == "f" and a.dtype.itemsize == 4 for a in found)
    dtype = np.float32 if single else np.float64
    return [a.astype(dtype, copy=False) for a in found]

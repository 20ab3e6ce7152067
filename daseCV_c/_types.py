"""Types that annotations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
"""An array of numbers; which dtypes a function takes and returns, its docstring says."""

Params: TypeAlias = dict[str, Any]
"""A dict of settings and state: conv_param, bn_param, the config of an update rule."""

Cache: TypeAlias = tuple[Any, ...]
"""What a forward pass leaves for its backward pass. Opaque, but for those that api docs name."""

DType: TypeAlias = np.dtype[Any]

Entry: TypeAlias = Callable[..., None]
"""A compiled function that writes into arrays which its caller allocates."""

__all__ = ["Array", "ArrayLike", "Cache", "DType", "Entry", "Params"]

"""Read by editors; Python takes `daseCV_c.im2col_cython`: see daseCV/__init__.py."""

import daseCV_c as _whole  # noqa: F401  first: another thread may be importing it
from daseCV_c._course.names import take as _take
from daseCV_c.im2col_cython import *

_take(__name__)

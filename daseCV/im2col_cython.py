"""Read by editors; Python takes `daseCV_c.im2col_cython`: see daseCV/__init__.py."""

from daseCV_c.im2col_cython import *

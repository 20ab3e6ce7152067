"""Read by editors; Python takes `daseCV_c.fast_layers`: see daseCV/__init__.py."""

from daseCV_c.fast_layers import *

"""Read by editors; Python takes `daseCV_c.layers`: see daseCV/__init__.py."""

from daseCV_c.layers import *

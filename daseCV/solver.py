"""Read by editors; Python takes `daseCV_c.solver`: see daseCV/__init__.py."""

from daseCV_c.solver import *

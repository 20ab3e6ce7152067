"""Read by editors; Python takes `daseCV_c.plots`: see daseCV/__init__.py."""

from daseCV_c.plots import *

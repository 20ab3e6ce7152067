"""Read by editors; Python takes `daseCV_c.datasets`: see daseCV/__init__.py."""

from daseCV_c.datasets import *

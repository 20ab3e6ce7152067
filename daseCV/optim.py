"""Read by editors; Python takes `daseCV_c.optim`: see daseCV/__init__.py."""

from daseCV_c.optim import *

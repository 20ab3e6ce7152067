"""Read by editors; Python takes `daseCV_c.callbacks`: see daseCV/__init__.py."""

from daseCV_c.callbacks import *

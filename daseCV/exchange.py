"""Read by editors; Python takes `daseCV_c.exchange`: see daseCV/__init__.py."""

from daseCV_c.exchange import *

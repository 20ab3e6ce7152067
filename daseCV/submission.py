"""Read by editors; Python takes `daseCV_c.submission`: see daseCV/__init__.py."""

from daseCV_c.submission import *

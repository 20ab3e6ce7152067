"""Read by editors; Python takes `daseCV_c.schedules`: see daseCV/__init__.py."""

from daseCV_c.schedules import *

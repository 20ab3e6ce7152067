"""Read by editors; Python takes `daseCV_c.models`: see daseCV/__init__.py."""

from daseCV_c.models import *

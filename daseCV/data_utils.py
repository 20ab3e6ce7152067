"""Read by editors; Python takes `daseCV_c.data_utils`: see daseCV/__init__.py."""

from daseCV_c.data_utils import *

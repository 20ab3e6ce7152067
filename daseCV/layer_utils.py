"""Read by editors; Python takes `daseCV_c.layer_utils`: see daseCV/__init__.py."""

from daseCV_c.layer_utils import *

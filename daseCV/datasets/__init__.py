"""Read by editors; Python takes `daseCV_c.datasets`: see daseCV/__init__.py."""

from daseCV_c._course.names import take as _take
from daseCV_c.datasets import *

_take(__name__)

"""Read by editors; Python takes `daseCV_c.coursework`: see daseCV/__init__.py."""

from daseCV_c._course.names import take as _take
from daseCV_c.coursework import *

_take(__name__)

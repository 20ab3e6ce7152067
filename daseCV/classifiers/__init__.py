"""Read by editors; Python takes `daseCV_c.classifiers`: see daseCV/__init__.py."""

from daseCV_c._course.names import take as _take

_take(__name__)

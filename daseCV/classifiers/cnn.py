"""Read by editors; Python takes `daseCV_c.classifiers.cnn`: see daseCV/__init__.py."""

from daseCV_c.classifiers.cnn import *

"""Read by editors; Python takes `daseCV_c.classifiers`: see daseCV/__init__.py."""

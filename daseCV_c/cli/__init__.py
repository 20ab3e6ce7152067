"""The command line: `dasecv`, or `python -m daseCV_c`."""

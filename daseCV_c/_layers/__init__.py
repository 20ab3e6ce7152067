"""The layers, one family a file; `daseCV_c.layers` is where they are imported from."""

"""Networks to and from other libraries, one file each; `daseCV_c.exchange` is the face."""

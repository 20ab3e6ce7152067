"""`python -m daseCV_c`."""

import sys

from daseCV_c.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

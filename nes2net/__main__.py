"""`python -m nes2net`: the command line."""

import sys

from nes2net.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Train, average and score under the published flags: `python main.py --help`."""

import sys

from nes2net.cli.published.main import main

if __name__ == "__main__":
    sys.exit(main())

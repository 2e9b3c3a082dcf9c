#!/usr/bin/env python3
"""Score one audio file under the published flags: `python easy_inference_demo.py --help`."""

import sys

from nes2net.cli.published.easy_inference_demo import main

if __name__ == "__main__":
    sys.exit(main())

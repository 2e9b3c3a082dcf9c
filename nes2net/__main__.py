"""`python -m nes2net`: run the command line, like the program `nes2net`."""

import sys

from nes2net.lib.process.search_path import remove_current_folder

if __name__ == "__main__":
    remove_current_folder()
    from nes2net.cli.main import main

    sys.exit(main(sys.argv[1:]))

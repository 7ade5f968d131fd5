"""Run the command line with ``python -m rlrestore``."""

import sys

from rlrestore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m pairwright` is the command line."""

import sys

from pairwright.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

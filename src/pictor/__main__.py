"""`python -m pictor`."""

import sys

from pictor.cli import main

if __name__ == "__main__":
    sys.exit(main())

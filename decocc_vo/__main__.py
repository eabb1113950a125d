"""``python -m decocc_vo`` is ``decocc-vo``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

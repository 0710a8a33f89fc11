"""``python -m cnnjax.check``: the command line of gradient verification, ``cnnjax.gradients.__main__``."""

import sys

from cnnjax.gradients.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m cnnjax.check``: verify the gradient of a function from the command line (`cnnjax.gradients.__main__`)."""

import sys

from cnnjax.gradients.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

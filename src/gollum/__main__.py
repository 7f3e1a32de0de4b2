"""`python -m gollum` is `gollum`."""

import sys

from gollum.cli import program

if __name__ == "__main__":
    sys.exit(program())

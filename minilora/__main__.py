"""`python -m minilora`: the command line. See `python -m minilora --help`."""

import sys

from minilora.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

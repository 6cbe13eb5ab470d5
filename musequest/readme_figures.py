"""For this version: `musequest readme`, under its old name."""

import sys

from .__main__ import main

if __name__ == "__main__":
    sys.exit(main(["readme", *sys.argv[1:]]))

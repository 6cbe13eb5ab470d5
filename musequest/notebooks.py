"""For this version: `musequest demo` and `musequest notebooks` (refresh), under their old name."""

import sys

from .__main__ import main

if __name__ == "__main__":
    typed = sys.argv[1:]
    sys.exit(main(["notebooks", *typed[1:]] if typed[:1] == ["refresh"] else typed))

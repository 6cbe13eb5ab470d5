"""For this version: `musequest clean --profile PROFILE`, under its old name."""

import sys

from .__main__ import main

if __name__ == "__main__":
    sys.exit(main(["clean", *(f"--profile={name}" for name in sys.argv[1:])]))

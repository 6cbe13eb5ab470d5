"""What the commands of all stages share: how they are named, and kinds of arguments."""

from __future__ import annotations

import argparse
import re


def add_command(commands: argparse._SubParsersAction, run: object) -> argparse.ArgumentParser:
    """Add a command named and described after the function that runs it."""
    command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    return command


def add_collection(command: argparse.ArgumentParser) -> None:
    """Add the option for the collection."""
    command.add_argument("--collection", required=True, metavar="NAME", help="data/NAME")


def amount(text: str) -> float:
    """Return an amount of money or time as typed: 0 or more."""
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of 0 or more")
    return float(text)


def positive(text: str) -> int:
    """Return a number of things as typed: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)

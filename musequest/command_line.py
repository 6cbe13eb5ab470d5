"""What the commands of all stages have in common: their options and how these are read."""

from __future__ import annotations

import argparse
import re

from .errors import MuseQuestError


def add(commands: argparse._SubParsersAction, run: object) -> argparse.ArgumentParser:
    """A command named and described after the function that runs it."""
    command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    return command


def add_profile(command: argparse.ArgumentParser) -> None:
    """--profile, which is always needed."""
    command.add_argument("--profile", required=True, help="a name in profiles/ or a YAML file")


def add_set(command: argparse.ArgumentParser, meaning: str) -> None:
    """--set KEY=VALUE, as often as wanted."""
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=meaning
    )


def assignments(texts: list[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict; MuseQuestError at one without '=' or a name that comes twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise MuseQuestError(f"{option}: {text!r} has not the form NAME=VALUE; write it so.")
        if name in pairs:
            raise MuseQuestError(f"{option}: '{name}' is given twice; keep one of them.")
        pairs[name] = value
    return pairs


def amount(text: str) -> float:
    """A number of 0 or more, as typed."""
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of 0 or more")
    return float(text)


def positive(text: str) -> int:
    """A whole number of 1 or more, as typed."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)

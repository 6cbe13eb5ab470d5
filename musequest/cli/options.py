"""What the commands of all stages have in common: their options, and how they end."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import MuseQuestError, sentence_of

SERVER = ("base_url", "max_cost_usd", "concurrency")  # options of whatever is hosted
UNREAD = "Not all could be printed ({}); what was made is kept."


def exit_code(run: Callable[[], object]) -> int:
    """Run a command to its end; returns its exit code.

    One that fails says so in one sentence and gives 1, one stopped by Ctrl-C gives 130. An error
    that no person at the screen can mend is a fault of the program and is raised.
    """
    try:
        run()
    except KeyboardInterrupt:
        _say("Stopped; what was finished is kept, the same command goes on.")
        return 130
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        piped = UNREAD.format(error.strerror) if isinstance(error, BrokenPipeError) else None
        _say(_not_printed() or piped or sentence)
        return 1
    if sentence := _not_printed():
        _say(sentence)
        return 1
    return 0


def _not_printed() -> str | None:
    """A sentence if standard output does not take what is left, which is thrown away."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD.format(error.strerror)
    return None


def _say(sentence: str) -> None:
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def add(commands: argparse._SubParsersAction, run: object) -> argparse.ArgumentParser:
    """A command named and described after the function that runs it."""
    command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    return command


def add_collection(command: argparse.ArgumentParser) -> None:
    """--collection, which is always needed."""
    command.add_argument("--collection", required=True, metavar="NAME", help="data/NAME")


def add_profile(command: argparse.ArgumentParser) -> None:
    """--profile, which is always needed."""
    command.add_argument("--profile", required=True, help="a name in profiles/ or a YAML file")


def add_set(command: argparse.ArgumentParser, meaning: str) -> None:
    """--set KEY=VALUE, as often as wanted."""
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=meaning
    )


def add_server(command: argparse.ArgumentParser, calls: int) -> None:
    """The options `SERVER`; `calls` at once are what a server is asked by default."""
    command.add_argument("--base-url", metavar="URL", help="its server (default: OpenAI's)")
    command.add_argument(
        "--max-cost-usd", type=amount, metavar="X", help="for all runs together (default: 1)"
    )
    command.add_argument("--concurrency", type=positive, help=f"calls at once (default: {calls})")


def given(chosen: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the options that were typed."""
    typed = {name: getattr(chosen, name) for name in names}
    return {name: value for name, value in typed.items() if not (value is None or value is False)}


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

"""The command line: how a command is declared, what several of them share, and how they end.

Each package's `commands` holds its own. A command imports what it needs when it runs, so that none
waits for the libraries of another, and `musequest --help` for nothing. What may be mistyped or not
be there yet is looked at before a package of models is asked for anything: torch and its kin take
seconds to import, a mistake is told at once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import MuseQuestError, sentence_of

if TYPE_CHECKING:
    from .settings import Profile

UNREAD = "Not all could be printed ({}); what was made is kept."
Option = tuple[str, dict[str, Any]]  # its flag, and what argparse is to know of it


class Command(NamedTuple):
    """A function that is called with its options' values."""

    name: str  # of two words for one below another command
    help: str
    run: Callable[..., None]
    options: tuple[Option | list[Option], ...]  # of those in a list only one may be typed


def option(flag: str, help: str, **how: Any) -> Option:
    """An option or argument, declared as for `argparse.ArgumentParser.add_argument`."""
    return flag, {"help": help, **how}


def command(*options: Option | list[Option], name: str = "", help: str = "") -> Callable:
    """Make a command of a function, by the function's own name and docstring unless told."""
    return lambda run: Command(name or run.__name__, help or run.__doc__, run, options)


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


def show(record: Any) -> None:
    """Print a record as JSON, in the letters of its texts."""
    print(json.dumps(record, indent=2, ensure_ascii=False))


def typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that were typed."""
    return {key: value for key, value in options.items() if not (value is None or value is False)}


def assignments(texts: Sequence[str], flag: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict; MuseQuestError at one without '=' or a name that comes twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise MuseQuestError(f"{flag}: {text!r} has not the form NAME=VALUE; write it so.")
        if name in pairs:
            raise MuseQuestError(f"{flag}: '{name}' is given twice; keep one of them.")
        pairs[name] = value
    return pairs


def profile_of(name: str, settings: Sequence[str] = ()) -> Profile:
    """The profile as typed, with what was --set."""
    from .settings import load_profile

    return load_profile(name, assignments(settings, "--set"))


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


COLLECTION = option("--collection", "data/NAME", required=True, metavar="NAME")
PROFILE = option("--profile", "a name in profiles/ or a YAML file", required=True)


def approach(meaning: str) -> Option:
    """--approach, which is lora unless another one is typed."""
    return option("--approach", meaning, default="lora")


def settings(meaning: str = "a key of the profile") -> Option:
    """--set KEY=VALUE, as often as wanted."""
    how = {"nargs": "+", "action": "extend", "default": [], "metavar": "KEY=VALUE"}
    return option("--set", meaning, dest="settings", **how)


def seeds(meaning: str) -> Option:
    """--seeds N, the profile's own counted."""
    return option("--seeds", meaning, type=positive, metavar="N")


def server(calls: int) -> tuple[Option, ...]:
    """The options of whatever is hosted, which is asked `calls` things at once by default."""
    return (
        option("--base-url", "its server (default: OpenAI's)", metavar="URL"),
        option("--max-cost-usd", "for all runs together (default: 1)", type=amount, metavar="X"),
        option("--concurrency", f"calls at once (default: {calls})", type=positive),
    )

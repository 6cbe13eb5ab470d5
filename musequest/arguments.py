"""Options as typed in a shell, checked and turned into values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any

from .errors import MuseQuestError


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


def given(chosen: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that were typed."""
    options = {name: getattr(chosen, name) for name in names}
    return {name: value for name, value in options.items() if value is not None}


def amount(text: str) -> float:
    """An amount of money."""
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of 0 or more")
    return float(text)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)

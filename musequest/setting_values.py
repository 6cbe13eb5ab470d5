"""What values a setting may have: how they are read as typed, checked, and named in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .keys import typed_value

INTEGER = re.compile(r"[-+]?\d{1,18}")
DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
FLAGS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Number:
    """From `least` (`above` it: not itself) to `most`; `also` are single values beside these.

    `whole`: without a fraction. `share`: a share below 1, a whole number from 1 on.
    """

    least: float
    most: float
    whole: bool = False
    share: bool = False
    above: bool = False
    also: tuple[float, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether the value is one of them."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if value in self.also:
            return True
        inside = (value > self.least if self.above else value >= self.least) and value <= self.most
        return inside and not (self.share and value > 1 and value != int(value))

    def read(self, text: str) -> Any:
        """The number as typed; any other text as it is."""
        if INTEGER.fullmatch(text):
            return int(text)
        return float(text) if DECIMAL.fullmatch(text) else text

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        start = "above" if self.above else "from"
        share = ", whole from 1 on" if self.share else ""
        also = "".join(f", or {value}" for value in self.also)
        return f"{kind} {start} {self.least:,} to {self.most:,}{share}{also}"


@dataclass(frozen=True)
class Choice:
    """One of several names."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        """Whether the value is one of them."""
        return isinstance(value, str) and value in self.names

    def read(self, text: str) -> Any:
        """The name."""
        return text

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def holds(self, value: Any) -> bool:
        """Whether the value is one of them."""
        return isinstance(value, bool)

    def read(self, text: str) -> Any:
        """As typed; any other text as it is."""
        return FLAGS.get(text.lower(), text)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Names:
    """A name, or if there may be `many` a list of names."""

    many: bool = True

    def holds(self, value: Any) -> bool:
        """Whether the value is text, or a list of it."""
        names = value if self.many and isinstance(value, list) else [value]
        return bool(names) and all(isinstance(name, str) and name for name in names)

    def read(self, text: str) -> Any:
        """A list as YAML has it, else the name."""
        return typed_value(text) if text.startswith("[") else text

    def __str__(self) -> str:
        return "a name or a list of names" if self.many else "text"


@dataclass(frozen=True)
class Block:
    """Keys with values of their own; `only`: all that may be said. Else they are numbers."""

    only: Mapping[str, Any] | None = None

    def holds(self, value: Any) -> bool:
        """Whether the value is such a block."""
        if not isinstance(value, dict):
            return False
        if self.only is not None:
            return all(key in self.only and value[key] is self.only[key] for key in value)
        return all(isinstance(key, str) and isinstance(value[key], int | float) for key in value)

    def read(self, text: str) -> Any:
        """A block as YAML has it."""
        return typed_value(text)

    def __str__(self) -> str:
        if self.only is None:
            return "keys with numbers, as in {min_lr: 1e-6}"
        pairs = ", ".join(f"{key}: {str(value).lower()}" for key, value in self.only.items())
        return f"{{{pairs}}}"


Values = Number | Choice | Flag | Names | Block

"""YAML files and their keys: read, compared with the known ones, and held to their kinds.

Also what values a setting may have (`Values`): read as typed, checked, and named in a sentence; and
the languages of collections by their codes.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib.util
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import MuseQuestError, refusal

# YAML 1.1 reads 2e-4 as text, since it has no point.
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
INTEGER = re.compile(r"[-+]?\d{1,18}")
DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
ENGLISH = "en"
FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file; one that is no readable mapping raises MuseQuestError."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        try:  # libyaml takes a tenth of the time
            values = yaml.load(text, yaml.CSafeLoader)
        except (AttributeError, yaml.YAMLError):  # it is not here, or does not show the line
            values = yaml.safe_load(text)
        values = values or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        if refusal(error):  # the machine's fault, not that of the file
            raise
        reason = " ".join(str(error).split())
        raise MuseQuestError(f"{path} is not readable YAML ({reason}); mend it.") from None
    if not isinstance(values, dict):
        raise MuseQuestError(f"{path} holds no 'key: value' lines; write it as the others are.")
    return _numbers(values)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _numbers(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def typed_value(text: Any) -> Any:
    """A value as typed in a shell: `--set bf16=true`, `--set learning_rate=2e-4`."""
    import yaml

    try:
        return _numbers(yaml.safe_load(text) if isinstance(text, str) else text)
    except (yaml.YAMLError, ValueError, RecursionError):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise MuseQuestError(f"--set: {shown!r} is no readable value; write it as YAML.") from None


def keys_of(cls: type) -> set[str]:
    """Return the fields that a dataclass is made from."""
    return {item.name for item in dataclasses.fields(cls) if item.init}


@functools.cache
def keys_in_source(module: str, *names: str) -> frozenset[str]:
    """Return what classes of a library are made from, fields or arguments, by their source.

    To import it instead would load torch, and whoever mistyped a key would wait for that.
    """
    package, _, inner = module.partition(".")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    source = Path(spec.origin).parent.joinpath(*inner.split(".")).with_suffix(".py")
    parts = ast.parse(source.read_text(encoding="utf-8")).body
    classes = [part for part in parts if isinstance(part, ast.ClassDef) and part.name in names]
    found: set[str] = set()
    for node in (node for each in classes for node in each.body):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            found |= {argument.arg for argument in node.args.args[1:]}
        elif isinstance(node, ast.AnnAssign) and "init=False" not in ast.unparse(node):
            found.add(ast.unparse(node.target))
    return frozenset(found)


def check_keys(values: Iterable[str], known: Set[str], source: object) -> None:
    """Raise MuseQuestError at the first unknown key, naming it, its source and the nearest."""
    for key in values:
        if key not in known:
            raise MuseQuestError(
                f"{source}: unknown key '{key}'; the nearest known is '{nearest_of(key, known)}'."
            )


def check_blocks(
    values: dict[str, Any], known: Mapping[str, Callable[[], Set[str]]], source: object
) -> None:
    """The same of every key in the blocks that are there; `known` has those of each."""
    for block, keys in known.items():
        if values.get(block):
            check_keys(values[block], keys(), source)


def nearest_of(key: str, known: Iterable[str]) -> str:
    """The known key that is spelled most like it."""
    return difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]


def check_kinds(cls: type, values: dict[str, Any], path: Path) -> None:
    """Every value of the kind its field declares, and none of the needed ones absent."""
    kinds = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        key, missing = item.name, dataclasses.MISSING
        needed = item.default is missing and item.default_factory is missing
        if key in values:
            _check_kind(key, values[key], kinds[key], path)
        elif needed and key not in ("name", "folder"):
            raise MuseQuestError(f"{path} lacks the key '{key}'; add it.")


def _check_kind(key: str, value: Any, kind: Any, path: Path) -> None:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    allowed = tuple(typing.get_origin(each) or each for each in kinds)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(each.__name__ for each in allowed)
        raise MuseQuestError(f"{path}: '{key}' is {value!r}; write a value of kind {names}.")
    least = 0 if key == "seed" else 1
    if isinstance(value, int) and not isinstance(value, bool) and value < least:
        raise MuseQuestError(f"{path}: '{key}' is {value}; write a number of {least} or more.")


def checked_language(code: object, where: object) -> str:
    """Return a code of ISO 639-1 in small letters; another one raises MuseQuestError."""
    language = str(code).strip().lower()
    if language not in _names():
        raise MuseQuestError(
            f"{where}: 'language' is {code!r}; write a code of ISO 639-1, such as en, de or ja."
        )
    return language


def language_name(code: str) -> str:
    """Return the English name of a language: "German" for "de"."""
    return _names()[code]


@functools.cache
def _names() -> dict[str, str]:
    from babel import Locale

    names = Locale(ENGLISH).languages
    return {code: name for code, name in names.items() if len(code) == 2}


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
class Kind:
    """Values of one kind, which a sentence calls `told`."""

    told: str
    holds: Callable[[Any], bool]  # whether a value is one of them
    read: Callable[[str], Any] = str  # a value as typed; any other text as it is

    def __str__(self) -> str:
        return self.told


def choice(names: Iterable[str]) -> Kind:
    """One of several names."""
    known = tuple(names)
    told = f"one of {', '.join(known)}"
    return Kind(told, lambda value: isinstance(value, str) and value in known)


def _are_names(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name for name in names)


def _read_names(text: str) -> Any:
    return typed_value(text) if text.startswith("[") else text


def _are_numbers(value: Any) -> bool:
    pairs = value.items() if isinstance(value, dict) else [(None, None)]
    return all(isinstance(key, str) and isinstance(each, int | float) for key, each in pairs)


def _is_not_reentrant(value: Any) -> bool:
    pairs = value.items() if isinstance(value, dict) else [("", None)]
    return all(key == "use_reentrant" and each is False for key, each in pairs)


FLAG = Kind(
    "true or false",
    lambda value: isinstance(value, bool),
    lambda text: FLAGS.get(text.lower(), text),
)
NAME = Kind("text", lambda value: isinstance(value, str) and bool(value), _read_names)
NAMES = Kind("a name or a list of names", _are_names, _read_names)
NUMBERS = Kind("keys with numbers, as in {min_lr: 1e-6}", _are_numbers, typed_value)
NOT_REENTRANT = Kind("{use_reentrant: false}", _is_not_reentrant, typed_value)


Values = Number | Kind

"""YAML files and their keys: read, compared with the known ones, and held to their kinds."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .errors import MuseQuestError

# YAML 1.1 reads 2e-4 as text, since it has no point.
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file; one that is no readable mapping raises MuseQuestError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MuseQuestError(f"{path} is not readable YAML ({reason}); mend it.") from None
    if not isinstance(values, dict):
        raise MuseQuestError(f"{path} holds no 'key: value' lines; write it as the others are.")
    return {str(key): _numbers(value) for key, value in values.items()}


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _numbers(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def typed_value(text: Any) -> Any:
    """A value as typed in a shell: `--set bf16=true`, `--set learning_rate=2e-4`."""
    try:
        return _numbers(yaml.safe_load(text) if isinstance(text, str) else text)
    except (yaml.YAMLError, ValueError, RecursionError):
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise MuseQuestError(f"--set: {shown!r} is no readable value; write it as YAML.") from None


def keys_of(cls: type) -> set[str]:
    """Return the fields that a dataclass is made from."""
    return {item.name for item in dataclasses.fields(cls) if item.init}


def check_keys(values: Iterable[str], known: set[str], source: object) -> None:
    """Raise MuseQuestError at the first unknown key, naming it, its source and the nearest."""
    for key in values:
        if key not in known:
            raise MuseQuestError(
                f"{source}: unknown key '{key}'; the nearest known is '{nearest_of(key, known)}'."
            )


def nearest_of(key: str, known: Iterable[str]) -> str:
    """The known key that is spelled most like it."""
    return difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]


def check_kinds(cls: type, values: dict[str, Any], path: Path) -> None:
    """Every value of the kind its field declares, and none of the needed ones absent."""
    kinds = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if item.name in values:
            _check_kind(item.name, values[item.name], kinds[item.name], path)
        elif item.name not in ("name", "folder") and _needed(item):
            raise MuseQuestError(f"{path} lacks the key '{item.name}'; add it.")


def _needed(item: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return item.default is missing and item.default_factory is missing


def _check_kind(key: str, value: Any, kind: Any, path: Path) -> None:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    allowed = tuple(typing.get_origin(each) or each for each in kinds)
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
    if wrong:
        names = " or ".join(each.__name__ for each in allowed)
        raise MuseQuestError(f"{path}: '{key}' is {value!r}; write a value of kind {names}.")
    least = 0 if key == "seed" else 1
    if isinstance(value, int) and not isinstance(value, bool) and value < least:
        raise MuseQuestError(f"{path}: '{key}' is {value}; write a number of {least} or more.")

"""What a model said, freed of what servers and models put around it.

A reply may come in parts, with its reasoning, with a preamble or in a fence. Only what its own
marks tell apart is left out, and what is kept is kept whole: where two readings are possible there
is none.
"""

from __future__ import annotations

import json
import re
from typing import Any

BLOCK = re.compile(r"\s*<(think|thinking|thought|reasoning)>(?:.*?</\1>|.*\Z)", re.DOTALL | re.I)
END = "</think>"  # all that is left of a block whose beginning the server's template wrote
SAID = (None, "text", "output_text")  # the types of those parts that are not reasoning

OBJECT = re.compile(r'\{\s*"pairs"\s*:')
LIST = re.compile(r'\[\s*\{\s*"(?:question|answer)"\s*:')

BOLD_MARKER = re.compile(r"^([ \t]*)(\*\*|__)\[(Visitor|Guide)\](?::\2|\2:)", re.MULTILINE)
FIRST_MARKER = re.compile(r"^[ \t]*\[Visitor\]:", re.MULTILINE)
FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)


def spoken(content: Any) -> str:
    """Return a message's text without its reasoning, also where it comes in parts; "" if none."""
    text = "".join(map(_part, content)) if isinstance(content, list) else content
    if not isinstance(text, str):
        return ""
    while match := BLOCK.match(text):
        text = text[match.end() :]
    head, end, rest = text.partition(END)
    return rest if end and "<think>" not in head else text


def pair_lists(text: str) -> list[Any]:
    """Return the different lists of pairs that stand as JSON in a text.

    One is `{"pairs": [...]}`, whatever is written before and after it; without any such object, a
    list of pairs by itself. What is cut short is none.
    """
    objects = [each["pairs"] for each in _values(text, OBJECT) if set(each) == {"pairs"}]
    found: list[Any] = []
    for each in objects or _values(text, LIST):
        if each not in found:
            found.append(each)
    return found


def marked_lines(text: str) -> str:
    """Return a text from its first `[Visitor]:` line on, to the end of the fence it stands in.

    Markers in bold type become plain ones.
    """
    text = BOLD_MARKER.sub(r"\1[\3]:", text.replace("\r\n", "\n"))
    first = FIRST_MARKER.search(text)
    if not first:
        return text.strip()
    fenced = len(FENCE.findall(text, 0, first.start())) % 2 == 1
    text = text[first.start() :]
    end = FENCE.search(text) if fenced else None
    return (text[: end.start()] if end else text).strip()


def _part(part: Any) -> str:
    if isinstance(part, dict):
        part = part.get("text") if part.get("type") in SAID else ""
    return part if isinstance(part, str) else ""


def _values(text: str, start: re.Pattern[str]) -> list[Any]:
    """The whole JSON values in a text that begin so, none of them inside another."""
    decoder, found, end = json.JSONDecoder(), [], 0
    for match in start.finditer(text):
        if match.start() >= end:
            try:
                value, end = decoder.raw_decode(text, match.start())
            except (ValueError, RecursionError):
                continue
            found.append(value)
    return found

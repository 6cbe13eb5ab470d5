"""What came back from a model: what the ledger keeps of it, what was said, and its pairs.

A reply may come in parts, with its reasoning, with a preamble or in a fence. Only what its own
marks tell apart is left out, and what is kept is kept whole: where two readings are possible there
is none. Pairs are read strictly, in either form that `prompts` asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...credentials import hidden
from .faults import told_error
from .prices import Price
from .prompts import JSON, MAX_TOKENS

BLOCK = re.compile(r"\s*<(think|thinking|thought|reasoning)>(?:.*?</\1>|.*\Z)", re.DOTALL | re.I)
END = "</think>"  # all that is left of a block whose beginning the server's template wrote
SAID = (None, "text", "output_text")  # the types of those parts that are not reasoning

OBJECT = re.compile(r'\{\s*"pairs"\s*:')
LIST = re.compile(r'\[\s*\{\s*"(?:question|answer)"\s*:')

BOLD_MARKER = re.compile(r"^([ \t]*)(\*\*|__)\[(Visitor|Guide)\](?::\2|\2:)", re.MULTILINE)
FIRST_MARKER = re.compile(r"^[ \t]*\[Visitor\]:", re.MULTILINE)
FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)


LINES = re.compile(r"\[Visitor\]:[ \t]*(.+)\n\s*\[Guide\]:[ \t]*(.+)(?:\n\s*|$)")
SPEAKER = re.compile(r"\[\s*(?:Visitor|Guide)\s*\]", re.IGNORECASE)
LONGEST_QUOTED = 200  # characters of a reply that are shown
MOST_TOKENS = 2**53  # above, a count is no longer whole


class Unacceptable(Exception):
    """Why a response does not become data, as a part of a sentence that the model is told too."""


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


def parse(content: str, form: str, n: int) -> list[tuple[str, str]]:
    """Return the questions and answers of a response; Unacceptable unless it is `n` whole pairs."""
    if form == JSON:
        pairs = [_strings(pair) for pair in pairs_in_json(content)]
    else:
        pairs = _parse_marked(content)
    if len(pairs) != n:
        raise Unacceptable(f"{len(pairs)} pairs came where {n} were asked")
    for text in (text for pair in pairs for text in pair):
        if "\n" in text or "\r" in text:
            raise Unacceptable("a text has line breaks")
        if match := SPEAKER.search(text):
            raise Unacceptable(f"a text contains the marker {match[0]!r}")
    return pairs


def pairs_in_json(content: str) -> list[Any]:
    """Return what a reply in JSON has for pairs; Unacceptable if it is no such reply."""
    found = pair_lists(content)
    if len(found) > 1:
        raise Unacceptable(f"the reply holds {len(found)} different lists of pairs")
    if not found or not isinstance(found[0], list):
        raise Unacceptable('the reply is no JSON object with the one key "pairs"')
    return found[0]


def _strings(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, dict) or set(pair) != {"question", "answer"}:
        raise Unacceptable('a pair has other keys than "question" and "answer"')
    if not all(isinstance(text, str) for text in pair.values()):
        raise Unacceptable("a question or an answer is no text")
    return pair["question"].strip(), pair["answer"].strip()


def _parse_marked(content: str) -> list[tuple[str, str]]:
    pairs, text, end = [], marked_lines(content), 0
    while end < len(text):
        if not (match := LINES.match(text, end)):
            raise Unacceptable("the reply is not made of [Visitor]: and [Guide]: lines in turn")
        pairs.append((match[1].strip(), match[2].strip()))
        end = match.end()
    return pairs


def record_of(
    body: Any, settings: Mapping[str, Any], price: Price, worst_usd: float
) -> dict[str, Any]:
    """Return what the ledger keeps of a response to `Request.settings`, whatever its body is.

    A server that does not say how many tokens it counted, or says what cannot be, is taken to have
    counted the most. A key that it repeats is taken out.
    """
    body = hidden(_dict(body))
    choices = body.get("choices")
    choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = _dict(choice.get("message")), _dict(body.get("usage"))
    prompt, completion = (_count(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
    # Nobody writes a text of no tokens.
    reported = None not in (prompt, completion) and bool(completion or not message.get("content"))
    created: Any = body.get("created")
    told = told_error(body)
    return {
        "id": _words(body.get("id")),
        **settings,
        "served_model": _words(body.get("model")),
        "created": int(created) if _is_moment(created) else None,
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason") if message else "no choices",
        "prompt_tokens": prompt if reported else 0,
        "completion_tokens": completion if reported else 0,
        "usage_reported": reported,
        "cost_usd": price.cost_usd(prompt or 0, completion or 0) if reported else worst_usd,
        **({"error": _words(told.get("message") or told)} if told else {}),
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> str:
    """A text that any file can hold; empty for nothing."""
    return str(value or "").encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    """A number of tokens, which some servers write as 12.0; None where it cannot be one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 <= value < MOST_TOKENS and value == int(value) else None


def _is_moment(value: Any) -> bool:
    """Whether it can be seconds since 1970."""
    return isinstance(value, int | float) and 0 <= value < 2**32


def keeps_schema(response: dict[str, Any]) -> bool | None:
    """Whether a response is JSON of the form that was asked; None where it says nothing whole."""
    try:
        content = text_of(response)
    except Unacceptable:
        return None
    try:
        pairs_in_json(content)
    except Unacceptable:
        return False
    return True


def text_of(response: dict[str, Any]) -> str:
    """Return what the model wrote; raises Unacceptable where it did not finish or refused."""
    if error := response.get("error"):
        raise Unacceptable(f"the server told of an error ({error})")
    if response["refusal"]:
        raise Unacceptable("the model refused")
    ends = {
        "length": f"the reply did not end within {MAX_TOKENS} tokens; write shorter answers",
        "content_filter": "the reply was held back by a content filter",
        "no choices": "the reply was empty",
    }
    if flaw := ends.get(str(response["finish_reason"])):
        raise Unacceptable(flaw)
    said = spoken(response["content"])
    if not said.strip():
        raise Unacceptable("the reply was empty")
    if any("\ud800" <= sign <= "\udfff" for sign in said):
        raise Unacceptable("the reply holds half a character")
    return said


def words_of(response: dict[str, Any]) -> str:
    """Return how a response begins, in its server's own words, on one line."""
    said = response.get("error") or response["refusal"] or response["content"]
    return _words(" ".join(str(said or response["finish_reason"]).split())[:LONGEST_QUOTED])

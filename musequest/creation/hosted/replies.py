"""Replies: what the ledger keeps of one, which pairs it holds, and whether they become data.

A reply may come in parts, with its reasoning, with a preamble or in a fence. Only what its own
marks tell apart is left out, and what is kept is kept whole: where two readings are possible there
is none. Pairs are read strictly, in either form that `requests` asks for. They become data where
all of them are fine, name their exhibit, are in its language, and state no number that its texts do
not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...core.errors import hidden
from ...core.files import dig
from ...text.numbers import find_numbers, known_numbers
from ...text.sentences import other_language
from ...text.titles import SMALL_WORDS, names_title
from ..dialogs import Pair, flaw_of_pair
from ..exhibits import Exhibit
from .requests import JSON, MAX_TOKENS, Price
from .server import told_error

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
ENDS = {
    "length": f"the reply did not end within {MAX_TOKENS} tokens; write shorter answers",
    "content_filter": "the reply was held back by a content filter",
    "no choices": "the reply was empty",
}

STEM = 0.7  # of a word, at its beginning, which its endings leave as it is
SHINGLES = 1 / 3  # of a name in a script without spaces, that a text must hold


class Unacceptable(Exception):
    """Why a response does not become data, as a part of a sentence that the model is told too."""


def record_of(
    body: Any, settings: Mapping[str, Any], price: Price, worst_usd: float
) -> dict[str, Any]:
    """Return what the ledger keeps of a response to `Request.settings`, whatever its body is.

    A server that does not say how many tokens it counted, or says what cannot be, is taken to have
    counted the most. A key that it repeats is taken out.
    """
    body = hidden(dig(body))
    choices = body.get("choices")
    choice = dig(choices[0]) if isinstance(choices, list) and choices else {}
    message, usage = dig(choice, "message"), dig(body, "usage")
    prompt, completion = (_count(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
    # Nobody writes a text of no tokens.
    reported = None not in (prompt, completion) and bool(completion or not message.get("content"))
    created: Any = body.get("created")
    moment = isinstance(created, int | float) and 0 <= created < 2**32  # seconds since 1970
    told = told_error(body)
    return {
        "id": _words(body.get("id")),
        **settings,
        "served_model": _words(body.get("model")),
        "created": int(created) if moment else None,
        "content": message.get("content"),
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason") if message else "no choices",
        "prompt_tokens": prompt if reported else 0,
        "completion_tokens": completion if reported else 0,
        "usage_reported": reported,
        "cost_usd": price.cost_usd(prompt or 0, completion or 0) if reported else worst_usd,
        **({"error": _words(told.get("message") or told)} if told else {}),
    }


def _words(value: Any) -> str:
    """A text that any file can hold; empty for nothing."""
    return str(value or "").encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    """A number of tokens, which some servers write as 12.0; None where it cannot be one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 <= value < MOST_TOKENS and value == int(value) else None


def words_of(response: dict[str, Any]) -> str:
    """Return how a response begins, in its server's own words, on one line."""
    said = response.get("error") or response["refusal"] or response["content"]
    return _words(" ".join(str(said or response["finish_reason"]).split())[:LONGEST_QUOTED])


def spoken(content: Any) -> str:
    """Return a message's text without its reasoning, also where it comes in parts; "" if none."""
    text = "".join(map(_part, content)) if isinstance(content, list) else content
    if not isinstance(text, str):
        return ""
    while match := BLOCK.match(text):
        text = text[match.end() :]
    head, end, rest = text.partition(END)
    return rest if end and "<think>" not in head else text


def _part(part: Any) -> str:
    if isinstance(part, dict):
        part = part.get("text") if part.get("type") in SAID else ""
    return part if isinstance(part, str) else ""


def text_of(response: dict[str, Any]) -> str:
    """Return what the model wrote; raises Unacceptable where it did not finish or refused."""
    if error := response.get("error"):
        raise Unacceptable(f"the server told of an error ({error})")
    if response["refusal"]:
        raise Unacceptable("the model refused")
    if flaw := ENDS.get(str(response["finish_reason"])):
        raise Unacceptable(flaw)
    said = spoken(response["content"])
    if not said.strip():
        raise Unacceptable("the reply was empty")
    if any("\ud800" <= sign <= "\udfff" for sign in said):
        raise Unacceptable("the reply holds half a character")
    return said


def keeps_schema(response: dict[str, Any]) -> bool | None:
    """Whether a response is JSON of the form that was asked; None where it says nothing whole."""
    try:
        content = text_of(response)
    except Unacceptable:
        return None
    try:
        _pairs_in_json(content)
    except Unacceptable:
        return False
    return True


def texts_of(response: dict[str, Any], n: int) -> list[tuple[str, str]]:
    """Return the questions and answers of a response; Unacceptable unless it is `n` whole pairs."""
    content = text_of(response)
    if response["form"] == JSON:
        pairs = [_strings(pair) for pair in _pairs_in_json(content)]
    else:
        pairs = _marked_pairs(content)
    if len(pairs) != n:
        raise Unacceptable(f"{len(pairs)} pairs came where {n} were asked")
    for text in (text for pair in pairs for text in pair):
        if "\n" in text or "\r" in text:
            raise Unacceptable("a text has line breaks")
        if match := SPEAKER.search(text):
            raise Unacceptable(f"a text contains the marker {match[0]!r}")
    return pairs


def _pairs_in_json(content: str) -> list[Any]:
    """The one list of pairs in a reply: `{"pairs": [...]}`, or without any such a list by itself.

    Whatever is written around it; what is cut short is none.
    """
    objects = [each["pairs"] for each in _values(content, OBJECT) if set(each) == {"pairs"}]
    found: list[Any] = []
    for each in objects or _values(content, LIST):
        if each not in found:
            found.append(each)
    if len(found) > 1:
        raise Unacceptable(f"the reply holds {len(found)} different lists of pairs")
    if not found or not isinstance(found[0], list):
        raise Unacceptable('the reply is no JSON object with the one key "pairs"')
    return found[0]


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


def _strings(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, dict) or set(pair) != {"question", "answer"}:
        raise Unacceptable('a pair has other keys than "question" and "answer"')
    if not all(isinstance(text, str) for text in pair.values()):
        raise Unacceptable("a question or an answer is no text")
    return pair["question"].strip(), pair["answer"].strip()


def _marked_pairs(content: str) -> list[tuple[str, str]]:
    """The pairs from the first `[Visitor]:` line on, to the end of the fence it stands in.

    Markers in bold type are markers too.
    """
    text = BOLD_MARKER.sub(r"\1[\3]:", content.replace("\r\n", "\n"))
    if first := FIRST_MARKER.search(text):
        fenced = len(FENCE.findall(text, 0, first.start())) % 2 == 1
        text = text[first.start() :]
        if fenced and (end := FENCE.search(text)):
            text = text[: end.start()]
    pairs, text, place = [], text.strip(), 0
    while place < len(text):
        if not (match := LINES.match(text, place)):
            raise Unacceptable("the reply is not made of [Visitor]: and [Guide]: lines in turn")
        pairs.append((match[1].strip(), match[2].strip()))
        place = match.end()
    return pairs


def numbers_of(exhibit: Exhibit, question: str, answer: str) -> str:
    """Return the numbers of a pair as JSON, {"numbers": [...]}, each as the pair writes it.

    All of them occur in the exhibit's texts: as the same value, as the same measure in another
    unit, or as the century or decade of a year there; one that does not raises Unacceptable.
    """
    known, told = known_numbers(exhibit.source_text), dict[str, None]()
    for text in (question, answer):
        for number in find_numbers(text):
            written = text[number.start : number.end]
            if not known.supports(number):
                raise Unacceptable(f"the number {written!r} does not occur in the texts")
            told[written] = None
    return json.dumps({"numbers": list(told)}, ensure_ascii=False)


def check_pairs(exhibit: Exhibit, pairs: list[Pair], earlier: Iterable[str]) -> None:
    """Raise Unacceptable at the first pair that must not become data.

    `earlier` are the exhibit's answers that were accepted before, which must not come again.
    """
    seen = {" ".join(text.casefold().split()) for text in earlier}
    for pair in pairs:
        if flaw := flaw_of_pair(exhibit, pair):
            raise Unacceptable(flaw)
        for noun, text in (("a question", pair.question), ("an answer", pair.answer)):
            if (plain := " ".join(text.casefold().split())) in seen:
                raise Unacceptable(f"{noun} came twice ({text[:60]!r} ...)")
            seen.add(plain)
    for pair in pairs:
        if not says_name(pair.answer, exhibit.title):
            raise Unacceptable(f"an answer never names the exhibit ({pair.answer[:60]!r} ...)")
    check_language(pairs, exhibit.language)


def says_name(text: str, title: str) -> bool:
    """Whether a text names an exhibit: says its title, or one word of it as a name is written.

    A word that the title writes with a capital counts only with one ("the Bowl" of "Sela Bowl",
    not "this bowl"), with whatever ending. In scripts without spaces a third of it is enough.
    """
    words = re.findall(r"[^\W\d_]+", title)
    words = [each for each in words if each.casefold() not in SMALL_WORDS]
    words = [each for each in words if len(each) > 2 or not _cased(each)]
    if not words or names_title(text, title):
        return True
    said = re.findall(r"[^\W\d_]+", text)
    return any(_says(word, text, said) for word in words)


def _says(word: str, text: str, said: list[str]) -> bool:
    if not _cased(word):
        pairs = [word[i : i + 2] for i in range(max(1, len(word) - 1))]
        return sum(pair in text for pair in pairs) >= SHINGLES * len(pairs)
    stem = word.casefold()[: max(3, math.ceil(STEM * len(word)))]
    capital = word[0].isupper()
    return any(
        each.casefold().startswith(stem) and (each[0].isupper() or not capital) for each in said
    )


def _cased(word: str) -> bool:
    return word.lower() != word.upper()


def check_language(pairs: list[Pair], language: str = "en") -> None:
    """Raise Unacceptable where the questions or an answer are surely in another language."""
    for text in (" ".join(pair.question for pair in pairs), *(pair.answer for pair in pairs)):
        if other := other_language(text, language):
            raise Unacceptable(
                f"a text is in the language '{other}', not '{language}' ({text[:60]!r} ...)"
            )

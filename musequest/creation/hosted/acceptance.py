"""Decides whether a response becomes data: what it says, how it says it, what bears it out."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ...numbers import find_numbers, known_numbers
from ..dialogs import flaw_of_pair
from ..exhibits import Exhibit
from ..writers import Pair
from .prompts import Unacceptable


def check_pairs(exhibit: Exhibit, pairs: list[Pair], earlier: Iterable[str]) -> None:
    """Raise Unacceptable at the first pair that must not become data.

    `earlier` are the exhibit's answers that were accepted before, which must not come again.
    """
    answers = {_plain(answer) for answer in earlier}
    questions: set[str] = set()
    for pair in pairs:
        if flaw := flaw_of_pair(exhibit, pair):
            raise Unacceptable(flaw)
        if _plain(pair.question) in questions:
            raise Unacceptable(f"a question came twice ({pair.question[:60]!r} ...)")
        if _plain(pair.answer) in answers:
            raise Unacceptable(f"an answer came twice ({pair.answer[:60]!r} ...)")
        questions.add(_plain(pair.question))
        answers.add(_plain(pair.answer))


def numbers_of(exhibit: Exhibit, question: str, answer: str) -> str:
    """Return the numbers of a pair as JSON, {"numbers": [...]}, each as the pair writes it.

    All of them occur in the exhibit's texts: as the same value, as the same measure in another
    unit, or as the century or decade of a year there; one that does not raises Unacceptable.
    """
    known = known_numbers(source_text(exhibit))
    told: list[str] = []
    for text in (question, answer):
        for number in find_numbers(text):
            written = text[number.start : number.end]
            if not known.bears_out(number):
                raise Unacceptable(f"the number {written!r} does not occur in the texts")
            told.append(written)
    return json.dumps({"numbers": list(dict.fromkeys(told))}, ensure_ascii=False)


def source_text(exhibit: Exhibit) -> str:
    """Return all that the model was told of an exhibit."""
    return "\n\n".join([exhibit.title, exhibit.description, *exhibit.facts.values()])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())

"""Decides whether a response becomes data: what it says, in which language, what bears it out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from ...languages import other_language
from ...text.numbers import find_numbers, known_numbers
from ..dialogs import Pair, flaw_of_pair
from ..exhibits import Exhibit
from ..texts import SMALL_WORDS, names_title
from .replies import Unacceptable

STEM = 0.7  # of a word, at its beginning, which its endings leave as it is
SHINGLES = 1 / 3  # of a name in a script without spaces, that a text must hold


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
    for pair in pairs:
        if not says_name(pair.answer, exhibit.title):
            raise Unacceptable(f"an answer never names the exhibit ({pair.answer[:60]!r} ...)")
    check_language(pairs, exhibit.language)


def check_language(pairs: list[Pair], language: str = "en") -> None:
    """Raise Unacceptable where the questions or an answer are surely in another language."""
    for text in (" ".join(pair.question for pair in pairs), *(pair.answer for pair in pairs)):
        if other := other_language(text, language):
            raise Unacceptable(
                f"a text is in the language '{other}', not '{language}' ({text[:60]!r} ...)"
            )


def says_name(text: str, title: str) -> bool:
    """Whether a text names an exhibit: says its title, or one word of it as a name is written.

    A word that the title writes with a capital counts only with one ("the Bowl" of "Sela Bowl",
    not "this bowl"), with whatever ending. In scripts without spaces a third of it is enough.
    """
    words = [word for word in re.findall(r"[^\W\d_]+", title) if _tells(word)]
    if not words or names_title(text, title):
        return True
    said = re.findall(r"[^\W\d_]+", text)
    return any(_says(word, text, said) for word in words)


def _tells(word: str) -> bool:
    return word.casefold() not in SMALL_WORDS and (len(word) > 2 or not _cased(word))


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
            if not known.supports(number):
                raise Unacceptable(f"the number {written!r} does not occur in the texts")
            told.append(written)
    return json.dumps({"numbers": list(dict.fromkeys(told))}, ensure_ascii=False)


def source_text(exhibit: Exhibit) -> str:
    """Return all that the model was told of an exhibit."""
    return "\n\n".join([exhibit.title, exhibit.description, *exhibit.facts.values()])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())

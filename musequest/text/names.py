"""Finds the proper names of a text, its capitalised words inside sentences, and checks them.

A rule for scripts that mark names by capitals and for languages that do not capitalise every
noun; elsewhere it finds nothing, or too much, and the metrics of names say little.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from .facts import FactCheck
from .numbers import find_numbers

Span = tuple[str, int, int]  # folded word, first character, one past the last

# "Jean-Baptiste" is two names, as some write it with a space.
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# A sentence begins after an end mark, an ellipsis, a quote, in a table's cell or a line; marks of
# Markdown for bold, lists and headings may stand between.
SENTENCE_START = re.compile(
    r"(?:(?:^|[.!?:;…\"“”«»(\[|\n])[\s*_#>+•·–—~-]*|(?:^|\n)[ \t]*\(?\d{1,2}\)\s+[*_]*"
    r"|(?:^|[\s*_(])['‘])[*_]*$"
)
# What opens after a word stands inside its sentence: 'called "Fountain"', "by the master (Goya)".
OPENED_INSIDE = re.compile(r"\w[*_]*[^\S\n]+[*_]*[(\[\"“«'‘]+[*_]*$")
# A word and its abbreviation are one name: "Fort Sumter", "Ft. Sumter".
SHORTENED = {"captain": "capt", "colonel": "col", "doctor": "dr", "fort": "ft", "general": "gen"}
SHORTENED |= {"governor": "gov", "lieutenant": "lt", "major": "maj", "mount": "mt", "saint": "st"}
SHORTENED |= {"professor": "prof", "senator": "sen", "sergeant": "sgt"}
TITLES = "|".join(map(str.capitalize, [*SHORTENED.values(), "mr", "mrs", "ms"]))
# "St. Mary", "J.M.W. Turner", "the U.S. Army": the full stop ends no sentence; that of an era may.
ERA = r"(?:B\.C|C\.E|B\.C\.E|A\.D)\.\s*$"
ABBREVIATION = re.compile(rf"(?:^|[\s(\"“*])(?!{ERA})(?:(?:[A-Z]\.)*[A-Z]|{TITLES}|ca?)\.\s*$")
# Letters that no accent is taken off.
PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
# "Varn's", "I'm", "we've", "don't": what hangs on a word is no part of it.
HANGING = re.compile(r"(?:n't|'(?:s|m|d|ve|ll|re))$")
# Capitalised inside titles and quotations, or always, without naming anything; "ca" is of "can't".
FUNCTION_WORDS = set(
    """a an and are as at but by ca can could did do does for from had has have he her his i if in
    into is it its my no not of on or our she should so that the their there these they this those
    to was we were what when where which who with wo would you your""".split()  # noqa: SIM905
)
LOOK_BACK = 12  # characters in which the beginning of a sentence shows


def find_names(text: str) -> set[str]:
    """The proper names of `text` word by word, folded.

    The first word of a sentence is capitalised anyway and counts only if it also stands
    capitalised elsewhere; a word that belongs to a number ("Seventeenth Century") is none.
    """
    return {name for name, start, _ in _capitalised(text) if not _starts_sentence(text, start)}


def capitalised(text: str) -> set[str]:
    """The capitalised words of `text` wherever they stand, folded."""
    return {name for name, *_ in _capitalised(text)}


@lru_cache(maxsize=65536)
def fold(word: str) -> str:
    """ "Café's" and "cafe" are one word, as are "Søren" and "Soren", "I've" and "I"."""
    plain = unicodedata.normalize("NFKD", word.replace("’", "'").casefold().translate(PLAIN))
    folded = HANGING.sub("", "".join(c for c in plain if not unicodedata.combining(c)))
    return SHORTENED.get(folded, folded)


def check_names(answer: str, ground_truth: str, sources: str = "") -> FactCheck:
    """Hold the names of `answer` against the ground truth and what else its exhibit states.

    The answer must write a name with a capital: "a coin" does not name the Pilot Coin. A word that
    begins a sentence counts as a name where the text itself or the sources show it to be one.
    """
    known_names = _source_names(sources)
    truth = _first_wordings(ground_truth, find_names(ground_truth) | known_names)
    said = _first_wordings(answer, find_names(answer) | known_names | set(truth))
    words = _words(ground_truth) | _words(sources)
    kinds = {
        name: "recalled" if name in truth else "known" if name in words else "invented"
        for name in said
    }
    marks = ((s, e, kinds[name]) for name, s, e in _capitalised(answer) if name in kinds)
    return FactCheck(
        recalled=tuple(wording for name, wording in truth.items() if name in said),
        missing=tuple(wording for name, wording in truth.items() if name not in said),
        invented=tuple(said[name] for name, kind in kinds.items() if kind == "invented"),
        stated=len(said),
        marks=tuple(marks),
    )


@lru_cache(maxsize=4096)
def _capitalised(text: str) -> tuple[Span, ...]:
    """Every capitalised word that can name something, folded, with its place."""
    numbers = find_numbers(text)
    starts, found = [number.start for number in numbers], []
    for match in WORD.finditer(text):
        name = fold(match[0])
        if not match[0][0].isupper() or len(name) < 2 or name in FUNCTION_WORDS:
            continue
        before = bisect.bisect_left(starts, match.end())  # numbers that begin before its end
        if not (before and match.start() < numbers[before - 1].end):
            found.append((name, match.start(), match.end()))
    return tuple(found)


def _starts_sentence(text: str, start: int) -> bool:
    before = max(0, start - LOOK_BACK)
    return bool(SENTENCE_START.search(text, before, start)) and not any(
        inside.search(text, before, start) for inside in (ABBREVIATION, OPENED_INSIDE)
    )


def _first_wordings(text: str, names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that `text` writes with a capital, in order, each as it is first written."""
    wanted, found = set(names), {}
    for name, start, end in _capitalised(text):
        if name in wanted:
            found.setdefault(name, text[start:end])
    return found


@lru_cache(maxsize=1024)
def _source_names(text: str) -> frozenset[str]:
    return frozenset(find_names(text))


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    return frozenset(fold(match[0]) for match in WORD.finditer(text))

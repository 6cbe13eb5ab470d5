"""Finds the proper names of a text: its capitalised words inside sentences.

A rule for scripts that mark names by capitals and for languages that do not capitalise every
noun; elsewhere it finds nothing, or too much, and `name_recall` says little.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SENTENCE_START = re.compile(r"(?:^|[.!?:;\"“”«»(\[\n])\s*$")
# Capitalised inside titles and quotations without naming anything.
FUNCTION_WORDS = set(
    """a an and are as at but by for from he her his i if in into is it its my no not of on or our
    she so that the their there these they this those to was we were what when where which who
    with you your""".split()  # noqa: SIM905
)


def capitalised(text: str) -> set[str]:
    """The capitalised words of `text` wherever they stand, folded."""
    return {fold(match[0]) for match in WORD.finditer(text) if match[0][0].isupper()}


def find_names(text: str) -> set[str]:
    """The proper names of `text` word by word, folded.

    The first word of a sentence is capitalised anyway and counts only if it also stands
    capitalised elsewhere.
    """
    found = set()
    for match in WORD.finditer(text):
        name = fold(match[0])
        capital = match[0][0].isupper() and len(name) > 1 and name not in FUNCTION_WORDS
        if capital and not SENTENCE_START.search(text, max(0, match.start() - 8), match.start()):
            found.add(name)
    return found


def fold(word: str) -> str:
    """ "Café's" and "cafe" are one word."""
    plain = unicodedata.normalize("NFKD", word.replace("’", "'").casefold())
    return "".join(c for c in plain if not unicodedata.combining(c)).removesuffix("'s")


def recall_names(answer: str, ground_truth: str, sources: str = "") -> float | None:
    """The share of the ground truth's names that the answer holds, 0 to 1 (best); None if none.

    The answer must write a name with a capital: "a coin" does not name the Pilot Coin. A word that
    begins a sentence of the ground truth counts where the sources show it to be a name.
    """
    names = find_names(ground_truth) | (capitalised(ground_truth) & _source_names(sources))
    return len(names & capitalised(answer)) / len(names) if names else None


@lru_cache(maxsize=1024)
def _source_names(text: str) -> frozenset[str]:
    return frozenset(find_names(text))

"""Tells which exhibits an answer claims to see, by the words of their titles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .names import WORD, capitalised, find_names, fold

NEAR = 4  # words between which "the pipe of Albert Einstein" still is one thing


@dataclass(frozen=True)
class Title:
    """The capitalised words of a title, and by how many an exhibit is claimed."""

    words: frozenset[str]  # unlike in running text, the first one counts
    needed: int
    holders: Mapping[str, set[int]]  # word -> the places of all titles that hold it

    def tells(self, held: frozenset[str]) -> bool:
        """Whether no other title holds these words of it together."""
        return bool(held) and len(set.intersection(*(self.holders[word] for word in held))) == 1


def telling_titles(titles: Iterable[str]) -> list[Title]:
    """The titles that can be told from one another by their capitalised words."""
    words = [frozenset(capitalised(title)) for title in titles]
    holders: dict[str, set[int]] = {}
    for place, own in enumerate(words):
        for word in own:
            holders.setdefault(word, set()).add(place)
    found = [Title(own, _needed(own, holders), holders) for own in words]
    return [title for title in found if title.tells(title.words)]


def _needed(words: frozenset[str], holders: Mapping[str, set[int]]) -> int:
    """Half of the words that are a title's own."""
    own = sum(len(holders[word]) == 1 for word in words)
    return max(1, math.ceil(own / 2))


def claims(answer: str, titles: Sequence[Title]) -> list[Title]:
    """Those of `titles` that the answer claims.

    It must hold words of the title that no other title has together: with capitals, one of them
    inside a sentence, and half as many as the title has words of its own; or two near each other,
    of which one is a name in the answer and the other stands in small letters.
    """
    names, written = find_names(answer), capitalised(answer)
    pairs = _pairs(answer, names)
    return [title for title in titles if _claims(title, names, written, pairs)]


def _claims(title: Title, names: set[str], written: set[str], pairs: set[frozenset[str]]) -> bool:
    held = frozenset(written & title.words)
    if names & held and len(held) >= title.needed and title.tells(held):
        return True
    return any(pair <= title.words and title.tells(pair) for pair in pairs)


def _pairs(answer: str, names: set[str]) -> set[frozenset[str]]:
    """Each name of the answer, or owner ("Lincoln's"), with each word in small letters near it."""
    words = [match[0] for match in WORD.finditer(answer)]
    return {
        frozenset((fold(word), fold(other)))
        for place, word in enumerate(words)
        if word[0].isupper() and (fold(word) in names or word.endswith(("'s", "’s")))
        for other in words[max(0, place - NEAR) : place + NEAR + 1]
        if not other[0].isupper()
    }

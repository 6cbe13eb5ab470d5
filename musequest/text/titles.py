"""Tells which exhibits an answer claims to see: those whose titles it says, not those it touches.

"Civil War" does not claim "Witness to War", nor "Albert Einstein" his pipe. What must be said is
the thing that a title names: its words up to the first "of", "from", "in" and the like where they
are two or more ("The Heron Vase | of Lowfen"), its words up to the comma before a date, else all of
them. Where the title has an owner or a maker, it is that name and the last word of what is owned:
"Bell's telephone" claims "Alexander Graham Bell's Large Box Telephone".

A question must not even hint at what an answer may claim: `names_title` also minds small letters,
words in any place and single words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from .facts import FUNCTION_WORDS, find_names, fold
from .sentences import is_unparted

TOKEN = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")
OWNER = re.compile(r"['’]s$")
YEAR = re.compile(r"\d{4}s?$")
DATED = re.compile(r"\b\d{4}s?\b|,\s*(?:about|around|circa|ca?\.)\s*\d")
MAKER = re.compile(r"\bby(?:\s+[^\W\d_]+\.?)*?\s+([^\W\d_]+)\s*$")  # "Bentzon"
NUMBER_FIRST = re.compile(r"^\s*\d+\s+")
# What follows one of these tells of the thing; what stands before may name it alone.
CUTS = {"about", "around", "at", "by", "for", "from", "in", "made", "of", "on", "that", "with"}
# These neither belong to a title nor part its words.
PASSED = FUNCTION_WORDS | CUTS | {"to", "co", "company", "belonged", "owned"}
TO_OWNER = {"by", "of", "to"}  # "the pipe of Albert Einstein"
GIVEN = 3  # names before the last: "of Alexander Graham Bell"
GAP = 2  # words between an owner and the thing: "Lincoln's gold pocket watch"

SMALL_WORDS = frozenset(
    ("the", "and", "for", "with", "from", "into", "near", "its", "his", "her", "their", "this")
)
# Words that a title may write with a capital, and any question holds.
NO_NAMES = SMALL_WORDS | frozenset(
    ("an", "as", "at", "by", "in", "is", "it", "of", "on", "or", "to", "was", "how", "who", "what")
    + ("when", "where", "which", "why", "about", "made", "used", "built", "found")
)


@dataclass(frozen=True)
class Title:
    """The words of a title, folded, and those that an answer must say side by side to claim it."""

    text: str  # as the museum writes it
    words: frozenset[str]
    thing: frozenset[str]  # with the owner, if there is one
    whole: frozenset[str]  # what must be said where another title has the thing too
    owner: str = ""  # or maker; "einstein" of "Albert Einstein's Pipe"; "" where there is none


@dataclass(frozen=True)
class Token:
    """A word of a text."""

    word: str  # folded
    owns: bool  # "Lincoln's": what it owns follows
    after_of: bool  # "of Abraham Lincoln": what it owns came before
    said: bool  # that it says something: no function word, no single letter


def telling_titles(titles: Iterable[str]) -> list[Title]:
    """The titles that can be told: of two words or more, not all of them in another title.

    A title without any capital is in a script, or a style, in which names do not show.
    """
    read = [_read(title) for title in titles]
    holders: dict[str, set[int]] = {}
    for place, title in enumerate(read):
        for word in title.words:
            holders.setdefault(word, set()).add(place)
    return [told for title in read if (told := _told(title, holders))]


def untold(titles: Sequence[str]) -> str:
    """A sentence on how many titles can be told, where not all of them can; else ""."""
    told = len(telling_titles(titles))
    return (
        f"Only {told} of the {len(titles)} exhibits have a title that can be told from other words "
        "and titles; false_recognition_rate looks for these alone."
        if told < len(titles)
        else ""
    )


def claims(answer: str, titles: Sequence[Title]) -> list[Title]:
    """Those of `titles` whose thing the answer says, its words side by side in any order.

    One of them must be a name in the answer: capitalised, and not because a sentence begins. An
    owner must own ("Lincoln's watch", "the watch of Lincoln"), even where a sentence begins;
    another word or two may then stand between, as in "Lincoln's gold watch". A garbled word is
    another word: "The Hern Vase" claims nothing.
    """
    tokens = _tokens(answer)
    names = find_names(answer) | {token.word for token in tokens if token.owns}
    held = {token.word for token in tokens}
    return [t for t in titles if t.thing <= held and t.thing & names and _says(tokens, t)]


def _read(title: str) -> Title:
    if not any(c.isupper() for c in title):
        return Title(title, frozenset(), frozenset(), frozenset())
    # "20 Dollars", "1 Decadrachm", "1903 Wright Flyer"
    text, title = title, NUMBER_FIRST.sub("", title)
    words = frozenset(_said(title))
    owner, owned = _owned(title)
    if owner and (said := _said(_before_cut(owned.split(",")[0]))):
        thing, whole = frozenset({owner, said[-1]}), frozenset({owner, *_said(owned)})
        return Title(text, words, thing, whole, owner)
    date = DATED.search(title)
    undated = title[: date.start()] if date and date.start() else title
    first = undated.split(",")[0] if date else undated
    parts = (frozenset(_said(part)) for part in (_before_cut(first), first, undated))
    return Title(text, words, next((part for part in parts if len(part) > 1), frozenset()), words)


def _owned(title: str) -> tuple[str, str]:
    """The last name of an owner or maker, and what is theirs; "" where the title names neither."""
    if (maker := MAKER.search(title)) and _said(maker[1]):
        return fold(maker[1]), title[: maker.start()]
    owners = [m for m in TOKEN.finditer(title) if OWNER.search(m[0]) and _said(m[0])]
    return (fold(owners[0][0]), title[owners[0].end() :]) if owners else ("", "")


def _said(text: str) -> list[str]:
    return [token.word for token in _tokens(text) if token.said]


def _before_cut(part: str) -> str:
    cuts = (match.start() for match in TOKEN.finditer(part) if match[0].lower() in CUTS)
    return part[: next(cuts, len(part))]


def _told(title: Title, holders: Mapping[str, set[int]]) -> Title | None:
    """The title, told by all it says where another one holds its thing; None if by none.

    `holders` tells which titles hold a word.
    """
    for needed in (title.thing, title.whole):
        if title.thing and len(set.intersection(*(holders[word] for word in needed))) == 1:
            return replace(title, thing=needed)
    return None


def _tokens(text: str) -> list[Token]:
    """The words of a text and what each says; a year says nothing here."""
    matches = list(TOKEN.finditer(text))
    plain = [match[0].lower() for match in matches]
    found = []
    for place, match in enumerate(matches):
        owns, word = bool(OWNER.search(match[0])), fold(match[0])
        after_of = not TO_OWNER.isdisjoint(plain[max(0, place - GIVEN - 1) : place])
        said = word not in PASSED and not YEAR.match(word) and (len(word) > 1 or word.isdigit())
        found.append(Token(word, owns, after_of, said))
    return found


def _says(tokens: Sequence[Token], title: Title) -> bool:
    """Whether the thing's words stand in one run of the title's words, the owner before or after.

    "Lincoln's" comes before what he owns, "of Lincoln" after it.
    """
    run: set[str] = set()
    strange = 0
    for token in (token for token in tokens if token.said):
        strange = 0 if token.word in title.words else strange + 1
        if strange > (GAP if title.owner else 0):
            run = set()
        elif not strange and token.word == title.owner and (token.owns or not token.after_of):
            run = {token.word} if token.owns else set()
        elif not strange and (run or token.word != title.owner):
            run = run | {token.word}
        if title.thing <= run:
            return True
    return False


@lru_cache(maxsize=1024)
def title_pattern(title: str, flags: int = 0) -> re.Pattern[str]:
    """What finds a title in a text, in whole words where it parts them; "" is found nowhere."""
    if is_unparted(title):
        return re.compile(re.escape(title), flags)
    return re.compile(rf"(?<!\w){re.escape(title)}(?!\w)" if title.strip() else r"(?!)", flags)


def title_words(title: str) -> set[str]:
    """Return the words of a title that tell what the exhibit is, in small letters."""
    words = re.findall(r"\w+", title.casefold())
    return {word for word in words if len(word) > 2 and word not in SMALL_WORDS}


def names_title(text: str, title: str) -> bool:
    """Whether a text gives away the title: holds it, every telling word of it, or a name out of it.

    A name is two or more of the title's words on end that are written with a capital or digits:
    "the Wright Flyer" of "1903 Wright Flyer". Common words alone, such as "steam engine", are none.
    """
    if not title.strip():
        return False
    if is_unparted(title):
        return "".join(title.split()).casefold() in "".join(text.split()).casefold()
    said, whole = (re.findall(r"\w+", each.casefold()) for each in (text, title))
    words = title_words(title)
    # One word of a longer title, "flag" of "U.S. Flag", is none of its names.
    if words and words <= set(said) and (len(words) > 1 or len(whole) < 3):
        return True
    names = [pair for pair in pairwise(re.findall(r"\w+", title)) if all(map(_is_name, pair))]
    runs = [whole, *([word.casefold() for word in name] for name in names)]
    return any(run and run == said[i : i + len(run)] for run in runs for i in range(len(said)))


def _is_name(word: str) -> bool:
    """Whether a word of a title is part of a name: "Wright" and "71", not "The" or "engine"."""
    capital = word[0].isupper() or word[0].isdigit()
    return capital and len(word) > 1 and word.casefold() not in NO_NAMES

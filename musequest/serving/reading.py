"""What a sentence states, as far as it can be read: numbers in their use, names, events, words.

    read("A ring of 23 tiny herons was scratched into it in 1742.")

The readers of numbers, names and claims are the evaluation's own. Verbs, colours, superlatives and
what docents say around a statement are English; stems (Porter 2001, "Snowball") are of the text's
language, and where words are not parted pairs of signs stand for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from pathlib import Path
from typing import Any

import snowballstemmer

from ..core.keys import ENGLISH, language_name, read_yaml
from ..text import claims
from ..text.facts import FUNCTION_WORDS, WORD, fold, forms_of
from ..text.numbers import find_numbers
from ..text.quantities import UNITS, Number
from ..text.sentences import is_unparted

COUNTED = 3  # words behind a number that may tell what it counts
LEXICON = read_yaml(Path(__file__).with_suffix(".yaml"))
# A verb -> what stands for all that tell of the same event.
EVENT_OF = {verb: min(verbs) for verbs in map(str.split, LEXICON["events"]) for verb in verbs}
# Where a further statement about the same begins.
FURTHER = re.compile(
    rf"[,;]?\s+(?:and|but)\s+(?=(?:{'|'.join(LEXICON['goes_on'].split())})\b)|;\s+", re.I
)
SUBORDINATE = re.compile(
    r"(?:after|although|as|because|before|both|either|if|neither|since|though|unless|until|when"
    r"|whenever|where|whether|while|who|what|which)\b",
    re.I,
)
TOLD_BY_WORD = claims.COLOURS | claims.MATERIALS
SAID_AROUND = frozenset(LEXICON["said_around"].split())
UTMOST = re.compile(
    r"(?!arrest|bequest|contest|earnest|forest|harvest|honest|interest|invest|modest|priest|request"
    r"|suggest|tempest)\w{3,}est|only|first|last|sole|unique|most|least|best|worst|never|always"
)
NEGATION = re.compile(
    r"\b(?:no|not|never|none|neither|nor|without|cannot|nobody|nothing|keine?[nrms]?|nicht|nie|ohne"
    r"|pas|jamais|sans|aucune?|niet|geen|nooit|zonder|non|mai|senza|nunca|jamás|sin|não|sem|не|ни|нет)\b"
    r"|n['’]t\b|ません|ない|なかった|不|没|沒|無",
    re.I,
)
AROUND_NEGATION = re.compile(r"\b(?:do not|don['’]t) miss\b|\bnot only\b", re.I)
# "the map house of Ulver", "the potter Ilse": what a name is the name of.
NAMED = re.compile(r"\b(?:the|an?)\s+((?:[a-zà-ÿ][\w'’-]*\s+){1,4}?)(?:of\s+)?(?=([A-ZÀ-Þ]\w+))")
BESIDE = 5  # words around a name, in which a catalogue says what it names
CLAUSE = re.compile(r"[,;:—–()、，；]|\b(?:and|but)\b")
SIGNS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Use:
    """A number, and what it is used for."""

    number: Number
    event: str  # of a date: "made", or another one; else ""
    axis: str  # of a measure, where one is named
    counted: frozenset[str]  # words behind it, where it has no unit and is no date

    def borne_out(self, own: Use) -> bool:
        """Whether the catalogue's `own` number is this one in the same use."""
        said, known = self.number, own.number
        if not (said.equals(known) or said.rounds(known) or said.covers(known)):
            return False
        if self.event or own.event:
            return self.event == own.event
        if said.dimension != known.dimension:
            return not (self.counted or own.counted)
        if said.dimension:
            return not (self.axis and own.axis) or self.axis == own.axis
        return not self.counted or bool(self.counted & own.counted)


@dataclass(frozen=True)
class Reading:
    """What a sentence, or a statement of the catalogue, says."""

    uses: tuple[Use, ...]
    folded: frozenset[str]  # its words as names are compared, in shorter forms too
    words: frozenset[str]  # as stems; of scripts that do not part words, pairs of signs
    telling: frozenset[str]  # those that say something
    clauses: tuple[frozenset[str], ...]  # the same by clause
    must: frozenset[str]  # of these the materials, colours and superlatives
    coloured: frozenset[tuple[str, str]]  # a colour and the word behind it
    named: frozenset[tuple[str, str]]  # a word and the name of what it says, as `folded`
    beside: frozenset[tuple[str, str]]  # a name and a word that is near, the word first
    events: frozenset[str]
    negates: bool
    negated: frozenset[str]  # words that follow a negation in its clause


@lru_cache(maxsize=8192)
def read(text: str, language: str = ENGLISH) -> Reading:
    """What a sentence or a statement says, as far as it can be read in its language."""
    english, numbers = language == ENGLISH, find_numbers(text)
    events = [*claims.events_of(text)] if english else []
    ends = [*(number.start for number in numbers), len(text)][1:]
    uses = tuple(
        _use(text, number, end, events, language) for number, end in zip(numbers, ends, strict=True)
    )
    plain = text
    for number in numbers:
        plain = plain[: number.start] + " " * (number.end - number.start) + plain[number.end :]
    written = [match[0] for match in WORD.finditer(plain)] if english else []
    tokens = [word.lower() for word in written]
    must = (word for word in tokens if word in TOLD_BY_WORD or UTMOST.fullmatch(word))
    folded = {fold(match[0]) for match in WORD.finditer(text)}
    around = AROUND_NEGATION.sub(lambda match: " " * len(match[0]), plain)
    negated: set[str] = set()
    for clause in CLAUSE.split(around):
        if negation := NEGATION.search(clause):
            start = 0 if is_unparted(clause) else negation.end()
            negated |= _stems(clause[start:], language, telling=True)
    return Reading(
        uses,
        frozenset(folded.union(*(forms_of(word) for word in folded))),
        _stems(plain, language),
        _stems(plain, language, telling=True),
        tuple(_stems(clause, language, telling=True) for clause in CLAUSE.split(around)),
        frozenset(_stem(fold(word), language) for word in must),
        frozenset(
            (_stem(colour, language), _stem(fold(word), language))
            for colour, word in pairwise(tokens)
            if colour in claims.COLOURS and word not in FUNCTION_WORDS
        ),
        frozenset(_named(text)) if english else frozenset(),
        frozenset(_beside(written)) if english else frozenset(),
        frozenset("made" if made else _verb(text, place) for place, made in events),
        bool(NEGATION.search(around)),
        frozenset(negated),
    )


def _named(text: str) -> Iterator[tuple[str, str]]:
    """What names are said to be the names of, word by word."""
    for match in NAMED.finditer(text):
        if FUNCTION_WORDS.isdisjoint(match[1].split()):
            yield from ((word, fold(match[2])) for word in _stems(match[1], ENGLISH, telling=True))


def _beside(words: list[str]) -> Iterator[tuple[str, str]]:
    """Each word and the names near to it."""
    for place, name in enumerate(words):
        if name[0].isupper():
            for word in words[max(0, place - BESIDE) : place + BESIDE + 1]:
                yield _stem(EVENT_OF.get(fold(word), fold(word)), ENGLISH), fold(name)


def beginnings(text: str) -> list[str]:
    """What of an English sentence may stand without its further statements, the longest first.

    "It is blue and it is haunted." -> ["It is blue."]
    """
    if SUBORDINATE.match(text):
        return []
    ends = [further.start() for further in FURTHER.finditer(text)]
    return [f"{text[:end].rstrip(' ,;')}." for end in reversed(ends) if text[:end].strip(" ,;")]


def _use(text: str, number: Number, end: int, events: list[tuple[int, bool]], language: str) -> Use:
    """What a number is used for; the next one begins at `end`."""
    if not number.dimension and claims.is_date(text, number):
        return Use(number, _event(text, number, events), "", frozenset())
    if number.dimension:
        return Use(number, "", claims.axis_of(text, number), frozenset())
    words = islice(WORD.finditer(text, number.end, end), COUNTED)
    counted = takewhile(lambda word: word not in FUNCTION_WORDS, (word[0] for word in words))
    return Use(number, "", "", _stems(" ".join(counted), language, telling=True))


def _event(text: str, number: Number, events: list[tuple[int, bool]]) -> str:
    """The event that a date is the date of, as its verb tells."""
    if claims.of_making(text, number, events):
        return "made"
    before = [place for place, _ in events if place < number.start] or [p for p, _ in events]
    if not before:
        return "life"
    return _verb(text, before[-1])


def _verb(text: str, place: int) -> str:
    """The verb there, or what stands for all that tell of the same event."""
    verb = WORD.match(text, place)
    word = verb[0].lower() if verb else ""
    return EVENT_OF.get(word, word)


def _stems(text: str, language: str, telling: bool = False) -> frozenset[str]:
    """The words of a text as stems, all or those that tell something."""
    if is_unparted(text):
        signs = "".join(SIGNS.findall(text))
        return frozenset(map("".join, pairwise(signs)))
    words = {fold(match[0]) for match in WORD.finditer(text)}
    if telling:
        words -= FUNCTION_WORDS | SAID_AROUND if language == ENGLISH else set()
        shortest = 3 if language == ENGLISH else 4
        words = {word for word in words if len(word) >= shortest and word not in UNITS}
    return frozenset(_stem(EVENT_OF.get(word, word), language) for word in words)


@lru_cache(maxsize=65536)
def _stem(word: str, language: str) -> str:
    return _stemmer(language).stemWord(word) if _stemmer(language) else word


@lru_cache
def _stemmer(language: str) -> Any:
    """The language's stemmer (Porter 2001, Snowball), None where there is none."""
    name = language_name(language).lower()
    return snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None


def deeds(text: str) -> set[tuple[bool, str]]:
    """Whether somebody gave it (True) or made it (False), and by what name."""
    told = claims.deeds_of(text, [*claims.events_of(text)])
    return {(given, name) for given, phrase in told for name in claims.names_in(phrase)}

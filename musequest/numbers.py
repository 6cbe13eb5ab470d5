"""Finds the numbers a text states, each in one form.

"12,500", "12'500" and "twelve thousand five hundred" are one number, as are "34 cm", "34cm" and
"0.34 m", "2 feet 3 inches" and "27 inches", "17th century", "seventeenth century" and "1600s",
"third" and "3rd", "World War Two" and "WWII". Number words are English; digits are read in every
script. Signs are not looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from .numerals import find_decades, find_numerals, roman
from .ranges import A_CENTURY, pair
from .stated import Known, Number
from .units import UNITS

__all__ = ["ROMAN_CENTURY", "Known", "Number", "find_numbers", "known_numbers"]

# Numbers only in a longer numeral ("twenty-first", "half a million"), a century or before a unit:
# these are hardly ever what somebody claims, but say what "1", "1st" and "2nd" say.
HARDLY_NUMBERS = frozenset({"one", "first", "second"})
NO_NUMBERS = frozenset({"half a", "half an"})
LETTERS = "|".join(unit for unit in UNITS if len(unit) == 1)
NAMES = "|".join(sorted((unit for unit in UNITS if len(unit) > 1), key=len, reverse=True))
# "12 in. wide" and "12 in high" measure; "in 1742 in Lowfen" does not.
INCH = r"in\.|in(?=\s+(?:high|wide|long|tall|deep|across|thick|x|×)(?!\w))"
UNIT = re.compile(
    rf"[\s\u00a0\u202f\u2009-]?(?:(?P<unit>{LETTERS}|(?i:{NAMES}))(?![^\W_])|(?P<inch>{INCH}))"
)
CENTURY = re.compile(rf"{A_CENTURY}|[\s-]+(?i:centuries)\b")
BEFORE_CHRIST = re.compile(r"\s?(?:BCE?\b|B\.\s?C\.(?:\s?E\.)?)")
# "'76", not "5'10" and not "'76'".
SHORT_YEAR = re.compile(r"(?<![\w'’‘])['’‘]\d\d(?![\w'’\"”]|[.,]\d)")
PLURAL_YEAR = re.compile(r"['’]?s\b")
ROMAN_CENTURY = re.compile(rf"\b([IVX]+)(?:th|st|nd|rd|e|ème)?(?={CENTURY.pattern})")
WORLD_WAR = re.compile(
    r"\b(?:(First|Second)\s+World\s+War|(?:World\s+War|WW)[\s-]?(One|Two|II?|[12]))\b", re.I
)
# "$1,200" and "1,200" count something and are no years.
GROUPED = re.compile(r"\d{1,3}[,'’ \u00a0\u202f\u2009]\d{3}")
CURRENCIES = ("$", "£", "€", "¥")


def find_numbers(text: str) -> tuple[Number, ...]:
    """The numbers that `text` claims, in order of appearance, each with its place in the text."""
    return tuple(number for number in _find(text) if not number.bare)


@lru_cache(maxsize=1024)
def known_numbers(text: str) -> Known:
    """The numbers of `text` to hold others against, a bare "one", "first" and "second" included."""
    return Known(_find(text))


@lru_cache(maxsize=8192)
def _find(text: str) -> tuple[Number, ...]:
    found = [_with_suffix(text, n) for n in _numerals(text)]
    for index in range(len(found) - 2, -1, -1):
        found[index : index + 2] = pair(text, found[index], found[index + 1])
    return tuple(_weighed(text, number) for number in found if not _is(NO_NUMBERS, text, number))


def _numerals(text: str) -> list[Number]:
    phrases = [*_wars(text), *_decades(text)]
    plain = [
        Number(
            **numeral._asdict(),
            amount=_is_amount(text, numeral.start),
            cut=bool(numeral.start and SHORT_YEAR.match(text, numeral.start - 1)),
        )
        for numeral in find_numerals(text)
        if not any(phrase.start <= numeral.start < phrase.end for phrase in phrases)
    ]
    romans = [
        Number(Decimal(roman(m[1])), start=m.start(), end=m.end(), ordinal=True)
        for m in ROMAN_CENTURY.finditer(text)
    ]
    return sorted(plain + phrases + romans, key=lambda n: n.start)


def _decades(text: str) -> list[Number]:
    return [Number(**numeral._asdict(), kind="decade") for numeral in find_decades(text)]


def _wars(text: str) -> list[Number]:
    """ "World War II" and "the Second World War": the whole wording is the number of a war."""
    return [
        Number(
            Decimal(1 if (m[1] or m[2]).lower() in ("first", "one", "i", "1") else 2),
            kind="war",
            start=m.start(),
            end=m.end(),
        )
        for m in WORLD_WAR.finditer(text)
    ]


def _is_amount(text: str, start: int) -> bool:
    before = text[max(0, start - 2) : start].rstrip()
    return before.endswith(CURRENCIES) or bool(GROUPED.match(text, start))


def _weighed(text: str, number: Number) -> Number:
    return replace(number, bare=True) if _is(HARDLY_NUMBERS, text, number) else number


def _is(words: frozenset[str], text: str, number: Number) -> bool:
    """Whether the number is one of these words and no more."""
    plain = not (number.kind or number.dimension) and number.value < 3
    return plain and text[number.start : number.end].lower() in words


def _with_suffix(text: str, number: Number) -> Number:
    """Read what follows a numeral: century, decade, unit, era."""
    if number.kind == "war":
        return number
    if number.ordinal and (match := CENTURY.match(text, number.end)):
        number = replace(number, kind="century", end=match.end())
    elif match := PLURAL_YEAR.match(text, number.end):
        number = _plural_year(number, match.end())
    elif not number.ordinal and (match := UNIT.match(text, number.end)):
        dimension, factor = UNITS["inch" if match["inch"] else match["unit"].lower()]
        number = replace(number, dimension=dimension, factor=factor, end=match.end())
    if match := BEFORE_CHRIST.match(text, number.end):
        number = replace(number, bc=True, end=match.end())
    return number


def _plural_year(number: Number, end: int) -> Number:
    """ "1600s" is the 17th century, "1920s" a decade."""
    if 100 <= number.value <= 9900 and number.value % 100 == 0:
        return replace(number, value=number.value / 100 + 1, kind="century", end=end)
    if 10 <= number.value <= 9990 and number.value % 10 == 0:
        return replace(number, kind="decade", end=end)
    return number

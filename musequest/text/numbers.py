"""Finds the numbers a text states, each in one form.

"12,500", "12'500" and "twelve thousand five hundred" are one number, as are "34 cm", "34cm" and
"0.34 m", "2 feet 3 inches" and "27 inches", "17th century", "seventeenth century" and "1600s",
"third" and "3rd", "World War Two" and "WWII". Two numbers of one expression share what is written
once: "10-20 cm", "1914-18", "five to six thousand", "17th and 18th centuries". Number words are
English; digits are read in every script. Signs are not looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from .numerals import SCALES, TOKEN, UNITS, find_decades, find_numerals, roman
from .quantities import Number, NumberSet

__all__ = ["ROMAN_CENTURY", "NumberSet", "Number", "find_numbers", "known_numbers"]

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
# "18th century", "15th-c."; "the 4th c. 1850" is around 1850.
A_CENTURY = r"[\s-]+(?i:century\b|c(?:ent)?\.(?!\s*\d))"
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
# The second year of a range may be cut: "1914-18", "1850-'60", "1850 to '60".
RANGE = re.compile(r"\s*[-–—/]\s*['’‘]?|\s+(?:to|until|and|or)\s+['’‘]")
# Between two numbers of which the second carries the unit, the century or the era of both.
SHARED = re.compile(
    r"-?\s*(?:[-–—/x×]|\b(?:to|by|or|until|and|through)\b)\s*(?:(?:the|early|late|mid)[\s-]+)*",
    re.I,
)
# "17th, 18th and 19th centuries", "17th, 18th, and 19th century"; a date is none of them, as in
# "on the 4th, 18th century".
LISTED = re.compile(r",\s*(?:(?:and|or)\s+)?(?:(?:the|early|late|mid)[\s-]+)*", re.I)
# "five to six thousand", "2-3 million", "5-6,000".
OF_ONE_SCALE = re.compile(r"[-–]|\s+(?:to|or)\s+", re.I)
WHOLE_THOUSANDS = re.compile(r"\d{1,3}(?:,000)+")
# "2 feet 3 inches", "2 feet and 3 inches": one measure in two units.
COMPOUND = re.compile(r"(?:(?<=ft|lb)\.)?\s*(?:\band\s+)?")
# "2 ft 3 in", "2'3\"": what follows the feet and what follows the inches.
FOOT_MARK, INCH_MARK = re.compile(r"['’]\s?"), re.compile(r"[\"”]|''|’’")
INCH_WORD = re.compile(r"\s?in\b")


def find_numbers(text: str) -> tuple[Number, ...]:
    """The numbers that `text` claims, in order of appearance, each with its place in the text."""
    return tuple(number for number in _find(text) if not number.bare)


@lru_cache(maxsize=1024)
def known_numbers(text: str) -> NumberSet:
    """The numbers of `text` to hold others against, a bare "one", "first" and "second" included."""
    return NumberSet(_find(text))


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


def pair(text: str, left: Number, right: Number) -> list[Number]:
    """Two numbers that follow each other, each with what the other says of it, or both as one."""
    between = text[left.end : right.start]
    if measure := _one_measure(text, left, right):
        return [measure]
    if RANGE.fullmatch(between) and (cut := _cut_by(text, left, right)):
        return [left, replace(right, value=left.value - left.value % cut + right.value, cut=True)]
    if right.kind == "century" and LISTED.fullmatch(between) and _in_list(text, left, right):
        return [replace(left, kind="century", bc=right.bc), right]
    if not SHARED.fullmatch(between):
        return [left, right]
    if right.kind == "century" and left.ordinal and not left.kind:
        left = replace(left, kind="century")
    left = replace(left, value=left.value * _scale(text, left, right))
    if right.dimension and not (left.dimension or left.kind or left.bc) and "and" not in between:
        left = replace(left, dimension=right.dimension, factor=right.factor)
    if right.bc and not left.dimension:
        left = replace(left, bc=True)
    return [left, right]


def _one_measure(text: str, left: Number, right: Number) -> Number | None:
    """ "2 feet 3 inches" as inches; None where the two are no measure in a larger and a smaller."""
    if FOOT_MARK.fullmatch(text, left.end, right.start) and not left.dimension:
        left, right = _in("foot", left, left.end), _in_inches(text, right, INCH_MARK)
    elif not COMPOUND.fullmatch(text, left.end, right.start):
        return None
    elif left.factor == UNITS["foot"][1]:
        right = _in_inches(text, right, INCH_WORD)
    if not _continues(left, right):
        return None
    return replace(right, value=left.size / right.factor + right.value, start=left.start)


def _in_inches(text: str, number: Number, written: re.Pattern[str]) -> Number:
    match = None if number.dimension else written.match(text, number.end)
    return _in("inch", number, match.end()) if match else number


def _in(unit: str, number: Number, end: int) -> Number:
    dimension, factor = UNITS[unit]
    return replace(number, dimension=dimension, factor=factor, end=end)


def _continues(left: Number, right: Number) -> bool:
    """Whether `right` is the rest of a measure that `left` states in a larger unit."""
    same = left.dimension == right.dimension != ""
    smaller = right.factor < left.factor and right.size < left.factor
    return same and left.value % 1 == 0 and smaller


def _in_list(text: str, left: Number, right: Number) -> bool:
    """Whether an ordinal before a comma is one of several centuries."""
    written = text[left.end : right.end].lower()
    one = re.search(A_CENTURY, written) and " and " not in written and " or " not in written
    return left.ordinal and not left.kind and not one


def _scale(text: str, left: Number, right: Number) -> int:
    """1000 where `left` is the five of "five to six thousand" or of "5-6,000", else 1."""
    between, written = text[left.end : right.start], text[right.start : right.end].lower()
    if not OF_ONE_SCALE.fullmatch(between) or left.ordinal or left.kind or left.dimension:
        return 1
    scale = max((SCALES.get(word, 1) for word in TOKEN.findall(written)), default=1)
    if between in "-–" and WHOLE_THOUSANDS.match(written):
        scale = 1000
    return scale if left.value < right.value / scale else 1


def _cut_by(text: str, left: Number, right: Number) -> int:
    """100 or 10 where `right` is the end of a range of years cut to two digits or one, else 0."""
    if not 1000 <= left.value <= 2999 or left.value % 1 or right.dimension or right.ordinal:
        return 0
    if left.value % 100 < right.value < 100:
        return 100
    one_digit = text[left.end + 1 : right.end].isdigit() and right.end == right.start + 1
    return 10 if one_digit and left.value % 10 < right.value else 0

"""Finds the numbers a text states, each in one form, and tells whether a text bears one out.

"12,500", "12'500" and "twelve thousand five hundred" are one number, as are "34 cm", "34cm" and
"0.34 m", "17th century", "seventeenth century" and "1600s", "third" and "3rd". Number words are
English; digits are read in every script. Signs and currencies are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache

from .numerals import find_decades, find_numerals, roman
from .units import UNITS

# Words that are numbers only in a longer numeral ("twenty-first"), a century or before a unit.
HARDLY_NUMBERS = frozenset({"one", "first", "second"})
LETTERS = "|".join(unit for unit in UNITS if len(unit) == 1)
NAMES = "|".join(sorted((unit for unit in UNITS if len(unit) > 1), key=len, reverse=True))
# "12 in. wide" and "12 in high" measure; "in 1742 in Lowfen" does not.
INCH = r"in\.|in(?=\s+(?:high|wide|long|tall|deep|across|thick|x|×)(?!\w))"
UNIT = re.compile(
    rf"[\s\u00a0\u202f\u2009-]?(?:(?P<unit>{LETTERS}|(?i:{NAMES}))(?![^\W_])|(?P<inch>{INCH}))"
)
CENTURY = re.compile(r"[\s-]+centur(?:y|ies)\b", re.I)
BEFORE_CHRIST = re.compile(r"\s?(?:BCE?\b|B\.\s?C\.(?:\s?E\.)?)")
PLURAL_YEAR = re.compile(r"['’]?s\b")
ROMAN_CENTURY = re.compile(r"\b([IVX]+)(?:th|st|nd|rd|e|ème)?(?=[\s-]+centur)")
RANGE = re.compile(r"\s*[-–—/]\s*")
# Between two numbers of which the second carries the unit, the century or the era of both.
SHARED = re.compile(
    r"\s*(?:[-–—/x×]|\b(?:to|by|or|until|and|through)\b)\s*(?:(?:the|early|late|mid)[\s-]+)*", re.I
)


@dataclass(frozen=True)
class Number:
    """One stated number; where it stands (characters `start` to `end`) is not part of it."""

    value: Decimal
    kind: str = ""  # "", "century" or "decade"
    bc: bool = False
    dimension: str = ""  # of its unit; "" where it has none
    size: Decimal = Decimal(0)  # value in the dimension's base unit
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    ordinal: bool = field(default=False, compare=False)

    @property
    def years(self) -> range:
        """The years of a century or decade, those BC negative; empty for other numbers."""
        if not self.kind or self.value > 9999:
            return range(0)
        length = 10 if self.kind == "decade" else 100
        first = int(self.value) if self.kind == "decade" else (int(self.value) - 1) * 100
        return range(-first - length, -first) if self.bc else range(first, first + length)


class Known:
    """The numbers a text states, asked whether they bear another number out."""

    def __init__(self, numbers: Iterable[Number]) -> None:
        self.units: dict[tuple[Decimal, str, bool], set[tuple[str, Decimal]]] = {}
        self.sizes: set[tuple[str, Decimal]] = set()
        self.years: set[int] = set()
        for number in numbers:
            self.add(number)

    def add(self, number: Number) -> None:
        """Take one stated number more."""
        unit = (number.dimension, number.size)
        self.units.setdefault(_key(number), set()).add(unit)
        if number.dimension:
            self.sizes.add(unit)
        elif not number.kind and 100 <= number.value < 10_000 and number.value % 1 == 0:
            self.years.add(-int(number.value) if number.bc else int(number.value))

    def states(self, number: Number) -> bool:
        """Whether the same number is stated: equal in value, or in size where both have units.

        "34 mm" is not "34 cm", but "34" may be; "0.34 m" is; "500 BC" is not "500".
        """
        if number.dimension and (number.dimension, number.size) in self.sizes:
            return True
        units = self.units.get(_key(number), set())
        return ("", Decimal(0)) in units if number.dimension else bool(units)

    def bears_out(self, number: Number) -> bool:
        """Whether it is stated, or is the century or decade of a stated year."""
        return self.states(number) or any(year in number.years for year in self.years)


def _key(number: Number) -> tuple[Decimal, str, bool]:
    return number.value, number.kind, number.bc


@lru_cache(maxsize=8192)
def find_numbers(text: str) -> tuple[Number, ...]:
    """The numbers of `text` in order of appearance, each with its place in the text."""
    found = [_with_suffix(text, n) for n in _numerals(text)]
    for index in range(len(found) - 2, -1, -1):
        found[index], found[index + 1] = _pair(text, found[index], found[index + 1])
    return tuple(n for n in found if _counts(text, n))


def _numerals(text: str) -> list[Number]:
    decades = [
        Number(value, kind="decade", start=start, end=end)
        for value, start, end, _ in find_decades(text)
    ]
    plain = [
        Number(value, start=start, end=end, ordinal=ordinal)
        for value, start, end, ordinal in find_numerals(text)
        if not any(decade.start <= start < decade.end for decade in decades)
    ]
    romans = [
        Number(Decimal(roman(m[1])), start=m.start(), end=m.end(), ordinal=True)
        for m in ROMAN_CENTURY.finditer(text)
    ]
    return sorted(plain + decades + romans, key=lambda n: n.start)


def _counts(text: str, number: Number) -> bool:
    """A bare "one", "first" or "second" is hardly ever a number that somebody claims."""
    word = text[number.start : number.end].lower()
    return bool(number.kind or number.dimension) or word not in HARDLY_NUMBERS


def _with_suffix(text: str, number: Number) -> Number:
    """Read what follows a numeral: century, decade, unit, era."""
    if number.ordinal and (match := CENTURY.match(text, number.end)):
        number = replace(number, kind="century", end=match.end())
    elif match := PLURAL_YEAR.match(text, number.end):
        number = _plural_year(number, match.end())
    elif not number.ordinal and (match := UNIT.match(text, number.end)):
        dimension, factor = UNITS["inch" if match["inch"] else match["unit"].lower()]
        number = replace(number, dimension=dimension, size=number.value * factor, end=match.end())
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


def _pair(text: str, left: Number, right: Number) -> tuple[Number, Number]:
    """Let two numbers of one expression share what is written once: "10-20 cm", "1914-18"."""
    between = text[left.end : right.start]
    if RANGE.fullmatch(between) and _abbreviates(left, right):
        century = left.value - left.value % 100
        return left, replace(right, value=century + right.value)
    if not SHARED.fullmatch(between):
        return left, right
    if right.kind == "century" and left.ordinal and not left.kind:
        left = replace(left, kind="century")
    if right.dimension and not (left.dimension or left.kind or left.bc) and "and" not in between:
        factor = right.size / right.value if right.value else Decimal(0)
        left = replace(left, dimension=right.dimension, size=left.value * factor)
    if right.bc and not left.dimension:
        left = replace(left, bc=True)
    return left, right


def _abbreviates(left: Number, right: Number) -> bool:
    """Whether `right` is the end of a range of years cut to two digits."""
    whole_year = 1000 <= left.value <= 2999 and left.value % 1 == 0
    return whole_year and not right.dimension and left.value % 100 < right.value < 100

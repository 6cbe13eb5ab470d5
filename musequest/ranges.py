"""Lets two numbers of one expression share what is written once: ranges, lists, measures.

"10-20 cm", "1914-18", "five to six thousand", "17th and 18th centuries", "2 feet 3 inches".
"""

from __future__ import annotations

import re
from dataclasses import replace

from .numerals import SCALES, TOKEN
from .stated import Number
from .units import UNITS

# "18th century", "15th-c."; "the 4th c. 1850" is around 1850.
A_CENTURY = r"[\s-]+(?i:century\b|c(?:ent)?\.(?!\s*\d))"
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

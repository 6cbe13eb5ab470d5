"""Finds the numbers a text states, each in one form.

"12,500", "12'500" and "twelve thousand five hundred" are one number, as are "34 cm", "34cm" and
"0.34 m", "2 feet 3 inches" and "27 inches", "17th century", "seventeenth century" and "1600s",
"third" and "3rd", "World War Two" and "WWII", "1.234,5" and "1,234.5", "15. Jahrhundert" and "15th
century". Two numbers of one expression share what is written once: "10-20 cm", "1914-18", "five to
six thousand", "17th and 18th centuries". `numerals` finds what a number begins with. Digits that
count nothing, the marks of a list and the month of "1742-03-05", are struck out before anything is
read. Signs are not looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from .numerals import (
    A_CENTURY,
    ABROAD,
    CENTURY,
    GERMAN,
    MILLENNIUM,
    MONEY,
    SCALES,
    find_numerals,
)
from .quantities import MONTHS, UNIT, UNITS, Number, NumberSet

# Struck out: "1." and "(2)" where a line or a list begins, or where they go on counting; and the
# month of "1742-03-05", "5.3.1742", "3/15/1848" (American, where both may be) and "15/3/1848".
STRUCK = re.compile(
    r"(?P<open>^|\n|[:;.!?]\s)[ \t*_#>+•·–—-]*\(?(?P<mark>\d{1,2})[.)][*_]*\s+"
    rf"(?!(?i:{'|'.join(MONTHS)})\b|{GERMAN.replace('+', '*')})(?=\S)"
    r"|(?<![\d.-])\d{4}-(?P<iso>\d\d)-\d\d(?!\d)|(?<![\d.])\d{1,2}\.(?P<dot>\d{1,2}\.)\d{4}(?!\d)"
    r"|(?<![\d/])(?:(?P<month>0?[1-9]|1[0-2])/\d{1,2}|\d\d/(?P<second>\d{1,2}))/\d{4}(?!\d)"
)

BEFORE_CHRIST = re.compile(
    r"\s?(?:BCE?\b|B\.\s?C\.(?:\s?E\.)?|v\.\s?(?:Chr|u\.\s?Z)\.|av\.\s?J\.?-?\s?C\.|a\.\s?C\."
    r"|(?:vor Christus|avant J[ée]sus-Christ|avanti Cristo)\b)"
)
# "'76", not "5'10" and not "'76'".
SHORT_YEAR = re.compile(r"(?<![\w'’‘])['’‘]\d\d(?![\w'’\"”]|[.,]\d)")
PLURAL_YEAR = re.compile(r"['’]?s\b|er\s+Jahren?\b")
# "£3 10s 6d" and "7s. 6d." are shillings and pence.
LOOK_BACK = 9  # characters
POUNDS, PENCE = re.compile(r"£\s?\d[\d,]*,?\s$"), re.compile(r"s\.?\s?\d{1,2}\s?d\b")
WORLD_WAR = re.compile(
    r"\b(?:(?:(First)|Second)\s+World\s+War|(?:World\s+War|WW)[\s-]?(?:(One|I|1)|Two|II|2))\b", re.I
)
# "$1,200" and "1,200" count something and are no years.
AMOUNT = re.compile(rf"{MONEY.pattern}|\d{{1,3}}[,'’ \u00a0\u202f\u2009]\d{{3}}")
# The second year of a range may be cut: "1914-18", "1850-'60", "1850 to '60".
RANGE = re.compile(r"\s*[-–—/]\s*['’‘]?|\s+(?:to|until|and|or)\s+['’‘]")

# "2 feet 3 inches", "2 feet and 3 inches": one measure in two units.
COMPOUND = re.compile(r"(?:(?<=ft|lb)\.)?\s*(?:\band\s+)?")
# "2 ft 3 in", "2'3\"": what follows the feet and what follows the inches.
FOOT_MARK, INCH_MARK = re.compile(r"['’]\s?"), re.compile(r"[\"”]|''|’’")
INCH_WORD = re.compile(r"\s?in\b")

# Between two numbers of which the second carries the unit, the century or the era of both.
EARLY = (
    r"(?:(?:the|early|late|mid|du|de|la|le|d[ée]but|fin|milieu|der|des|frühen|späten|van|het|begin"
    r"|eind|del|inizio|fine)[\s-]+)*"
)
JOINED = r"[-–—/x×]|\b(?:to|by|or|until|and|through|und|bis|oder|et|ou|à|au|e|o|y|en|tot)\b"
SHARED = re.compile(rf"-?\s*(?:{JOINED})\s*{EARLY}", re.I)
# "17th, 18th and 19th centuries", "17th, 18th, and 19th century"; a date is none of them, as in
# "on the 4th, 18th century".
LISTED = re.compile(rf",\s*((?:and|or)\s+)?{EARLY}", re.I)
# "five to six thousand", "2-3 million", "5-6,000".
OF_ONE_SCALE = re.compile(r"[-–]|\s+(?:to|or)\s+", re.I)
WHOLE_THOUSANDS = re.compile(r"\d{1,3}(?:,000)+")

# Numbers only in a longer numeral ("twenty-first", "half a million"), a century or before a unit:
# these are hardly ever what somebody claims, but say what "1", "1st" and "2nd" say.
HARDLY_NUMBERS, NO_NUMBERS = ("one", "first", "second"), ("half a", "half an")


def find_numbers(text: str) -> tuple[Number, ...]:
    """The numbers that `text` claims, in order of appearance, each with its place in the text."""
    return tuple(number for number in _find(text) if not number.bare)


@lru_cache(maxsize=1024)
def known_numbers(text: str) -> NumberSet:
    """The numbers of `text` to hold others against, a bare "one", "first" and "second" included."""
    return NumberSet(_find(text))


@lru_cache(maxsize=8192)
def _find(text: str) -> tuple[Number, ...]:
    text = _without_struck(text)
    wars = [  # the whole wording is the number of a war
        Number(Decimal(1 if m[1] or m[2] else 2), *m.span(), kind="war")
        for m in WORLD_WAR.finditer(text)
    ]
    found = wars + [
        _with_suffix(text, number)
        for number in find_numerals(text)
        if not any(war.start <= number.start < war.end for war in wars)
    ]
    found.sort(key=lambda number: number.start)
    for index in range(len(found) - 2, -1, -1):
        found[index : index + 2] = _pair(text, found[index], found[index + 1])
    return tuple(weighed for number in found if (weighed := _weighed(text, number)))


def _without_struck(text: str) -> str:
    """The text with a dot for each digit that counts nothing, so that all else keeps its place."""
    last = 0

    def strike(match: re.Match[str]) -> str:
        nonlocal last
        group = match.lastgroup if match.lastgroup != "open" else "mark"
        if group == "mark":
            went_on = int(match[group]) == last + 1
            if match["open"][:1] in (".", "!", "?") and not went_on:
                return match[0]
            last = int(match[group])
        start, end = (place - match.start() for place in match.span(group or 0))
        return match[0][:start] + "·" * (end - start) + match[0][end:]

    return STRUCK.sub(strike, text)


def _weighed(text: str, number: Number) -> Number | None:
    """The number, marked where it is hardly one; None where it is none."""
    written = text[number.start : number.end]
    regnal = written != (written := written.lower()) and text[: number.start].endswith(" the ")
    plain = not (number.kind or number.dimension or regnal) and number.value < 3
    if plain and written in NO_NUMBERS:
        return None
    return replace(number, bare=True) if plain and written in HARDLY_NUMBERS else number


def _with_suffix(text: str, number: Number) -> Number:
    """A numeral with what follows it, century, decade, unit or era, and what stands before it."""
    if number.kind == "code":
        return number
    short = number.start > 0 and SHORT_YEAR.match(text, number.start - 1)
    number = replace(number, amount=bool(AMOUNT.match(text, number.start)), cut=bool(short))
    if number.ordinal and (match := CENTURY.match(text, number.end)):
        number = replace(number, kind="century", end=match.end())
    elif number.ordinal and (match := MILLENNIUM.match(text, number.end)):
        number = replace(number, kind="millennium", end=match.end())
    elif (match := PLURAL_YEAR.match(text, number.end)) and not _is_shillings(text, number):
        if 100 <= number.value <= 9900 and number.value % 100 == 0:
            century = number.value / 100 + 1
            number = replace(number, value=century, kind="century", end=match.end())
        elif 10 <= number.value <= 9990 and number.value % 10 == 0:
            number = replace(number, kind="decade", end=match.end())
    elif not number.ordinal and (match := UNIT.match(text, number.end)):
        number = _measured("inch" if match["inch"] else match["unit"].lower(), number, match.end())
    if match := BEFORE_CHRIST.match(text, number.end):
        number = replace(number, bc=True, end=match.end())
    return number


def _is_shillings(text: str, number: Number) -> bool:
    before = max(0, number.start - LOOK_BACK)
    return bool(PENCE.match(text, number.end) or POUNDS.search(text, before, number.start))


def _measured(unit: str, number: Number, end: int) -> Number:
    dimension, factor = UNITS[unit]
    return replace(number, dimension=dimension, factor=factor, end=end)


def _pair(text: str, left: Number, right: Number) -> list[Number]:
    """Two numbers that follow each other, each with what the other says of it, or both as one."""
    between = text[left.end : right.start]
    if measure := _one_measure(text, left, right):
        return [measure]
    if RANGE.fullmatch(between) and (cut := _cut_by(text, left, right)):
        return [left, replace(right, value=left.value - left.value % cut + right.value, cut=True)]
    of_century = right.kind in ("century", "millennium") and left.ordinal and not left.kind
    listed = LISTED.fullmatch(between) if of_century else None
    if listed and not listed[1] and re.search(A_CENTURY, text[right.start : right.end]):
        listed = None
    if not (listed or SHARED.fullmatch(between)):
        return [left, right]
    if of_century:
        left = replace(left, kind=right.kind)
    left = replace(left, value=left.value * _scale(text, left, right))
    if right.dimension and not (left.dimension or left.kind or left.bc) and "and" not in between:
        left = replace(left, dimension=right.dimension, factor=right.factor)
    if right.bc and not left.dimension:
        left = replace(left, bc=True)
    return [left, right]


def _one_measure(text: str, left: Number, right: Number) -> Number | None:
    """ "2 feet 3 inches" as inches; None where the two are no measure in a larger and a smaller."""
    written = None
    if FOOT_MARK.fullmatch(text, left.end, right.start) and not left.dimension:
        left, written = _measured("foot", left, left.end), INCH_MARK
    elif not COMPOUND.fullmatch(text, left.end, right.start):
        return None
    elif left.factor == UNITS["foot"][1]:
        written = INCH_WORD
    if written and not right.dimension and (match := written.match(text, right.end)):
        right = _measured("inch", right, match.end())
    if left.dimension in ("", "time") or left.dimension != right.dimension or left.value % 1:
        return None
    if right.factor >= left.factor or right.size >= left.factor:
        return None
    return replace(right, value=left.size / right.factor + right.value, start=left.start)


def _scale(text: str, left: Number, right: Number) -> int:
    """1000 where `left` is the five of "five to six thousand" or of "5-6,000", else 1."""
    between, written = text[left.end : right.start], text[right.start : right.end].lower()
    if not OF_ONE_SCALE.fullmatch(between) or left.ordinal or left.kind or left.dimension:
        return 1
    whole = 1000 if between in "-–" and WHOLE_THOUSANDS.match(written) else 1
    scales = SCALES | ABROAD
    scale = max(whole, *(scales.get(word, 1) for word in re.findall("[a-z]+", written)), 1)
    return scale if left.value < right.value / scale else 1


def _cut_by(text: str, left: Number, right: Number) -> int:
    """100 or 10 where `right` is the end of a range of years cut to two digits or one, else 0."""
    if not 1000 <= left.value <= 2999 or left.value % 1 or right.dimension or right.ordinal:
        return 0
    if left.value % 100 < right.value < 100:
        return 100
    one_digit = text[left.end + 1 : right.end].isdigit() and right.end == right.start + 1
    return 10 if one_digit and left.value % 10 < right.value else 0

"""Writes a text again with every number changed: what a score that reads no numbers overlooks."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from ..text.numbers import ROMAN_CENTURY, Number, NumberSet, find_numbers, known_numbers
from ..text.numerals import (
    PLURAL_TENS,
    SCALES,
    VULGAR,
    Numeral,
    find_decades,
    find_numerals,
    in_words,
    roman_letters,
)

SEED = 0
Change = tuple[int, int, str]  # first character, one past the last, the new wording
AFTER = 40  # characters behind a number that may hold its unit, century or era

WARS = {"II": "I", "I": "II", "Two": "One", "One": "Two", "2": "1", "1": "2"}
WARS |= {"First": "Second", "Second": "First"}
WAR = re.compile(rf"(?:(?<=WW)|\b)(?:{'|'.join(WARS)})\b")
SCALE = re.compile(rf"[\s-](?:{'|'.join(SCALES)})$", re.I)
WRITTEN_FRACTION = re.compile(rf"\d[/⁄]\d|[{''.join(VULGAR)}]")
WORD_FRACTIONS = ["two-thirds", "one-third", "three-quarters", "one-quarter", "two-fifths"]
WORD_FRACTIONS += ["three-fifths", "one-fifth", "three-eighths", "five-eighths", "one-tenth"]
FRACTIONS = ["1/4", "2/3", "3/4", "1/3", "1/2", "2/5", "3/5", "3/8", "5/8", "7/8", "1/5", "1/10"]


def change_numbers(text: str, known_text: str) -> str:
    """`text` with every number it states replaced by one that `known_text` does not bear out.

    The new numbers are near the old ones and in their form: years, decades, ranges of years,
    fractions, decimals and small numbers in words stay what they are; large ones in words become
    digits.
    """
    known, rng = known_numbers(known_text), random.Random(f"{SEED} {text}")
    numerals = [*find_decades(text), *find_numerals(text)]
    numbers = list(find_numbers(text))
    while numbers:
        number = numbers.pop()
        inside = [n for n in numerals if number.start <= n.start and n.end <= number.end]
        if numbers and number.cut and number.value >= 1000 and not number.kind:
            start, end, new = _range(text, numbers.pop(), number, known, rng)
        else:
            start, end, new = _one(text, number, inside, known, rng)
        text = text[:start] + new + text[end:]
    return text


def _range(text: str, left: Number, right: Number, known: NumberSet, rng: random.Random) -> Change:
    """Both ends of "1914-18" moved alike, into years that can be written so as well."""
    cut = 10 ** (right.end - right.start)
    between = text[left.end : right.start]
    for shift in _shifts(Decimal(13), rng):
        first, last = int(left.value + shift), int(right.value + shift)
        known_year = any(known.supports(replace(left, value=Decimal(y))) for y in (first, last))
        if first // cut == last // cut and not known_year:
            break
    return left.start, right.end, f"{first}{between}{last % cut:0{len(str(cut)) - 1}}"


def _one(
    text: str, number: Number, inside: list[Numeral], known: NumberSet, rng: random.Random
) -> Change:
    """The first of the wordings like the number's that says something unknown."""
    start, end, wordings = _place(text, number, inside, rng)
    new = text[start:end]
    for new in wordings:
        after = text[end : end + AFTER]
        read = find_numbers(text[number.start : start] + new + after)
        if not (read and read[0].start == 0 and _alike(read[0], number)):
            continue
        if not known.supports(replace(read[0], cut=number.cut)):
            break
    return start, end, new


def _alike(new: Number, old: Number) -> bool:
    century = new.kind == "century" and new.value > 21
    return (new.kind, new.dimension) == (old.kind, old.dimension) and not century


def _place(
    text: str, number: Number, inside: list[Numeral], rng: random.Random
) -> tuple[int, int, Iterator[str]]:
    """What of the number is to be replaced, and what may stand there instead."""
    if number.kind == "war":
        whole = text[number.start : number.end]
        return number.start, number.end, iter([WAR.sub(lambda m: WARS[m[0]], whole)])
    if letters := ROMAN_CENTURY.match(text, number.start):
        new = (roman_letters(int(number.value + s)) for s in _shifts(Decimal(2), rng, number.value))
        return letters.start(1), letters.end(1), new
    if not inside:
        return number.start, number.end, iter(())
    value, start, end, ordinal, _ = inside[0]
    return start, end, _wordings(number, text[start:end], value, ordinal, rng)


def _wordings(
    number: Number, old: str, value: Decimal, ordinal: bool, rng: random.Random
) -> Iterator[str]:
    scale = SCALE.search(old)
    if (
        scale
        and (factor := SCALES[scale[0][1:].lower()]) <= value
        and (value < 10 * factor or factor >= 1000)
    ):
        shorter = old[: scale.start()]
        for new in _wordings(number, shorter, value / factor, ordinal, rng):
            yield new + scale[0]
    elif 0 < value < 1 and "." not in old and "," not in old:
        yield from _fractions(old)
    else:
        for shift in _shifts(_step(number, value, old), rng, value):
            if new := _written(value + shift, old, ordinal):
                yield new


def _fractions(old: str) -> list[str]:
    if old in VULGAR:
        return [sign for sign in VULGAR if sign != old]
    return WORD_FRACTIONS if old[0].isalpha() else FRACTIONS


def _shifts(
    step: Decimal, rng: random.Random, value: Decimal = Decimal(10**9)
) -> Iterator[Decimal]:
    """Differences, small ones first, to both sides, as long as more than 0 is left of `value`."""
    sign = rng.choice([-1, 1])
    for distance in range(1, 1000):
        shift = sign * step * distance
        if value + shift > 0:
            yield shift
        sign = -sign


def _step(number: Number, value: Decimal, old: str) -> Decimal:
    """A difference a reader would notice: years by 13, others by about a third, at least by 1."""
    if number.kind == "decade":
        return Decimal(20)
    if number.kind == "century":
        return Decimal(100 if value >= 100 else 2)
    if "." in old or "," in old and value < 1000 and value % 1:
        return Decimal(1).scaleb(value.normalize().as_tuple().exponent) * 7
    return Decimal(13) if value >= 100 else max(Decimal(1), value // 3)


def _written(value: Decimal, old: str, ordinal: bool) -> str:
    """`value` in the form of `old`; "" where that form has no words for it."""
    if old.lower().rpartition("-")[2].rpartition(" ")[2] in PLURAL_TENS:
        return _decade(value, old)
    if WRITTEN_FRACTION.search(old):
        return re.sub(r"^\d+", f"{value // 1:f}", old)
    if value % 1 and "half" in old:
        return f"{in_words(int(value), False) or value // 1} and a half"
    if old[0].isalpha() and value % 1 == 0 and (words := in_words(int(value), ordinal)):
        return words.capitalize() if old[0].isupper() else words
    return _digits(value, old) + (_suffix(value) if ordinal else "")


def _decade(value: Decimal, old: str) -> str:
    """ "The nineteen-twenties" becomes "the nineteen-forties"."""
    tens = {number: word for word, number in PLURAL_TENS.items()}.get(int(value % 100), "")
    before = re.match(r"(?:\w+[\s-]+)?", old)[0]
    return (
        f"{before}{tens.capitalize() if old[0].isupper() and not before else tens}" if tens else ""
    )


def _digits(value: Decimal, old: str) -> str:
    value = value if value % 1 else Decimal(int(value))
    if re.fullmatch(r"\d+,\d{1,2}", old):
        return f"{value:f}".replace(".", ",")
    if "," in old and value >= 1000:
        return f"{value:,f}"
    return f"{value:f}".zfill(len(old) if old.isdigit() and old[0] == "0" else 0)


def _suffix(value: Decimal) -> str:
    teen = value % 100 in (11, 12, 13)
    return "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(int(value % 10), "th")

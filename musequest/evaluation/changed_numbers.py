"""Writes a text again with every number changed: what a score that reads no numbers overlooks."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from ..text.numbers import (
    CARDINALS,
    PLURAL_TENS,
    ROMANS,
    SCALES,
    VULGAR,
    find_numbers,
    find_numerals,
    known_numbers,
    ordinal_of,
)
from ..text.quantities import Number, NumberSet

SEED = 0
AFTER = 40  # characters behind a number that may hold its unit, century or era
WARS = {"II": "I", "I": "II", "Two": "One", "One": "Two", "2": "1", "1": "2"}
WARS |= {"First": "Second", "Second": "First"}
WAR = re.compile(rf"(?:(?<=WW)|\b)(?:{'|'.join(WARS)})\b")
SCALE = re.compile(rf"[\s-](?:{'|'.join(SCALES)})$", re.I)
WRITTEN_FRACTION = re.compile(rf"\d[/⁄]\d|[{VULGAR}]")
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
    numerals, numbers = find_numerals(text), list(find_numbers(text))
    while numbers:
        old = [numbers.pop()]
        if numbers and old[0].cut and old[0].value >= 1000 and not old[0].kind:
            old.insert(0, numbers.pop())
        start, end, wordings = _wordings(text, old, numerals, rng)
        new = text[start:end]
        for new in wordings:
            if _is_other(text[old[0].start : start] + new + text[end : end + AFTER], old, known):
                break
        text = text[:start] + new + text[end:]
    return text


def _is_other(text: str, old: list[Number], known: NumberSet) -> bool:
    """Whether a text begins with numbers of the kinds of the old ones, and all unknown."""
    read = find_numbers(text)[: len(old)]
    return (
        len(read) == len(old)
        and read[0].start == 0
        and all(
            (new.kind, new.dimension) == (each.kind, each.dimension)
            and not (new.kind == "century" and new.value > 21)
            and not known.supports(replace(new, cut=each.cut))
            for new, each in zip(read, old, strict=True)
        )
    )


def _wordings(
    text: str, old: list[Number], numerals: list[Number], rng: random.Random
) -> tuple[int, int, Iterator[str]]:
    """What is to be replaced, and what may stand there instead, the nearest first."""
    first, last = old[0], old[-1]
    if first.kind == "war":
        wars = WAR.sub(lambda match: WARS[match[0]], text[first.start : first.end])
        return first.start, first.end, iter([wars])
    if len(old) > 1:
        return first.start, last.end, _ranges(text, first, last, rng)
    numeral = next(n for n in numerals if first.start <= n.start and n.end <= first.end)
    written = text[numeral.start : numeral.end]
    return numeral.start, numeral.end, _like(written, numeral, first.kind, rng)


def _ranges(text: str, left: Number, right: Number, rng: random.Random) -> Iterator[str]:
    """Both ends of "1914-18" moved alike, into years that can be written so as well."""
    cut = 10 ** (right.end - right.start)
    for shift in _shifts(Decimal(13), rng):
        first, last = int(left.value + shift), int(right.value + shift)
        if first // cut == last // cut:
            yield f"{first}{text[left.end : right.start]}{last % cut:0{right.end - right.start}}"


def _like(old: str, numeral: Number, kind: str, rng: random.Random) -> Iterator[str]:
    """Other numerals in the form of the old one."""
    value, scale = numeral.value, SCALE.search(old)
    factor = SCALES[scale[0][1:].lower()] if scale else 0
    if scale and factor <= value and (value < 10 * factor or factor >= 1000):
        shorter = replace(numeral, value=value / factor)
        for new in _like(old[: scale.start()], shorter, kind, rng):
            yield new + scale[0]
    elif 0 < value < 1 and "." not in old and "," not in old:
        vulgar = [sign for sign in VULGAR if sign != old] if old in VULGAR else FRACTIONS
        yield from WORD_FRACTIONS if old[0].isalpha() else vulgar
    else:
        for shift in _shifts(_step(kind, value, old), rng, value):
            if new := _written(value + shift, old, numeral.ordinal):
                yield new


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


def _step(kind: str, value: Decimal, old: str) -> Decimal:
    """A difference a reader would notice: years by 13, others by about a third, at least by 1."""
    if kind == "decade":
        return Decimal(20)
    if kind == "century":
        return Decimal(100 if value >= 100 else 2)
    if "." in old or ("," in old and value < 1000 and value % 1):
        return Decimal(1).scaleb(value.normalize().as_tuple().exponent) * 7
    return Decimal(13) if value >= 100 else max(Decimal(1), value // 3)


def _written(value: Decimal, old: str, ordinal: bool) -> str:
    """`value` in the form of `old`; "" where that form has no words for it."""
    whole, (*before, last) = int(value), re.split(r"(?<=[\s-])", old)
    if last.lower() in PLURAL_TENS:
        tens = {number: word for word, number in PLURAL_TENS.items()}.get(whole % 100, "")
        words = "".join([*before, tens]) if tens else ""
    elif re.match("[IVX]", old):
        return re.sub("^[IVX]+", ROMANS[whole], old) if whole < len(ROMANS) else ""
    elif WRITTEN_FRACTION.search(old):
        return re.sub(r"^\d+", str(whole), old)
    elif value % 1 and "half" in old:
        words = f"{_in_words(whole, False) or whole} and a half"
    elif value % 1 or old[0].isdigit() or not (words := _in_words(whole, ordinal)):
        return _digits(value, old) + (_suffix(whole) if ordinal else "")
    return words[:1].upper() + words[1:] if old[0].isupper() else words


def _in_words(value: int, ordinal: bool) -> str:
    """A whole number from 1 to 99 in words; "" for others."""
    if not 0 < value < 100:
        return ""
    words = {number: word for word, number in CARDINALS.items()}
    parts = [value] if value in words else [value - value % 10, value % 10]
    *first, last = [words[part] for part in parts]
    return "-".join([*first, ordinal_of(last) if ordinal else last])


def _digits(value: Decimal, old: str) -> str:
    digits = f"{value:f}" if value % 1 else str(int(value))
    if re.fullmatch(r"\d+,\d{1,2}", old):
        return digits.replace(".", ",")
    if "," in old and value >= 1000:
        return f"{Decimal(digits):,f}"
    return digits.zfill(len(old)) if old.isdigit() and old[0] == "0" else digits


def _suffix(value: int) -> str:
    return "th" if 10 < value % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")

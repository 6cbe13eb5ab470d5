"""Answers made from the ground truths, of which one knows in advance what they deserve.

Another exhibit's reference is the floor: well written, and about the wrong thing. The reference
with its numbers changed shows what a score does not see. An empty answer is the worst there is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from ..text.numbers import find_numbers, known_numbers
from ..text.numerals import (
    ONES,
    PLURAL_TENS,
    ROMANS,
    TEENS,
    TENS,
    UNDER,
    VULGAR,
    find_numerals,
    ordinal_of,
)
from ..text.quantities import Number, NumberSet
from .answers import Answers, Given

SEED = 0
AFTER = 40  # characters behind a number that may hold its unit, century or era
# Words that stand for each other, each list in its order.
LISTS: tuple[list[str], ...] = (
    ONES + TEENS,
    TENS,
    [*map(ordinal_of, ONES + TEENS)],
    [*map(ordinal_of, TENS)],
)
LISTS += ([*PLURAL_TENS], ROMANS[1:])
PLACES = {word: (words, place) for words in LISTS for place, word in enumerate(words)}
WORD = re.compile(r"[IVX]+|[A-Za-z][a-z]+")
DIGITS = re.compile(r"\.?\d+(?:[.,'’ \u00a0\u202f\u2009]\d+)*(?![/⁄\d])")
FRACTION = re.compile(
    rf"[{VULGAR}]|\d+[/⁄]\d+|half\s+an?\b|[a-z]+[\s-](?:half|halves|(?:{'|'.join(UNDER)})s?)\b",
    re.I,
)
FRACTIONS = ["1/4", "2/3", "3/4", "1/3", "1/2", "2/5", "3/5", "3/8", "5/8", "7/8", "1/5", "1/10"]
WORD_FRACTIONS = ["two-thirds", "one-third", "three-quarters", "one-quarter", "two-fifths"]
WORD_FRACTIONS += ["three-fifths", "one-fifth", "three-eighths", "five-eighths", "one-tenth"]


def with_controls(answers: Answers) -> dict[str, Given]:
    """Every system's answers, its ablations', and the controls'; the same items give the same.

    With a single exhibit there is no other one whose reference could be taken.
    """
    truths, names = list(answers.items.ground_truth), list(answers.items.item_name)
    sources = [answers.sources[name] for name in names]
    controls = {
        "control_other_exhibit": other_references(truths, names),
        "control_changed_numbers": [
            change_numbers(truth, f"{truth}\n{source}")
            for truth, source in zip(truths, sources, strict=True)
        ],
        "control_empty": [""] * len(truths),
    }
    places, untimed = np.arange(len(truths)), np.full(len(truths), np.nan)
    return {
        **answers.given,
        **{name: Given(places, own, untimed) for name, own in controls.items() if own},
    }


def other_references(truths: Sequence[str], item_names: Sequence[str]) -> list[str]:
    """For each item the ground truth of some item of another exhibit; [] if there is only one."""
    if len(set(item_names)) < 2:
        return []
    rng, chosen = random.Random(SEED), []
    for name in item_names:
        place = rng.randrange(len(truths))
        while item_names[place] == name:
            place = rng.randrange(len(truths))
        chosen.append(truths[place])
    return chosen


def change_numbers(text: str, known_text: str) -> str:
    """`text` with every number it states replaced by one that `known_text` does not bear out.

    The new numbers are near the old ones and in their form: years, decades, ranges of years,
    fractions, decimals and numbers in words stay what they are.
    """
    known, rng = known_numbers(known_text), random.Random(f"{SEED} {text}")
    numerals, numbers = find_numerals(text), list(find_numbers(text))
    while numbers:
        old = [numbers.pop()]
        if numbers and old[0].cut and old[0].value >= 1000 and not old[0].kind:
            old.insert(0, numbers.pop())
            start, end = old[0].start, old[1].end
            wordings = _ranges(text, old[0], old[1], rng)
        else:
            inside = (n for n in numerals if old[0].start <= n.start and n.end <= old[0].end)
            numeral = next(inside, old[0])
            start, end = numeral.start, numeral.end
            wordings = _like(text[start:end], numeral, old[0].kind, rng)
        before, after = text[old[0].start : start], text[end : end + AFTER]
        fitting = (new for new in wordings if _is_other(before + new + after, old, known))
        text = text[:start] + next(fitting, text[start:end]) + text[end:]
    return text


def _is_other(text: str, old: list[Number], known: NumberSet) -> bool:
    """Whether a text begins with numbers of the kinds of the old ones, and all unknown."""
    read = find_numbers(text)[: len(old)]
    alike = [(n.kind, n.dimension) for n in read] == [(n.kind, n.dimension) for n in old]
    if not alike or read[0].start or any(n.kind == "century" and n.value > 21 for n in read):
        return False
    pairs = zip(read, old, strict=True)
    return not any(known.supports(replace(new, cut=each.cut)) for new, each in pairs)


def _ranges(text: str, left: Number, right: Number, rng: random.Random) -> Iterator[str]:
    """Both ends of "1914-18" moved alike, into years that can be written so as well."""
    cut = 10 ** (right.end - right.start)
    for shift in _shifts(Decimal(13), rng):
        first, last = int(left.value + shift), int(right.value + shift)
        if first // cut == last // cut:
            yield f"{first}{text[left.end : right.start]}{last % cut:0{right.end - right.start}}"


def _like(old: str, numeral: Number, kind: str, rng: random.Random) -> Iterator[str]:
    """Other numerals in the form of the old one, the nearest first."""
    if not numeral.ordinal and (match := FRACTION.match(old)):
        digits = FRACTIONS if match[0][0].isdigit() else WORD_FRACTIONS
        for fraction in VULGAR if match[0] in VULGAR else digits:
            if fraction != match[0]:
                yield fraction + old[match.end() :]
    elif match := DIGITS.match(old):
        value = find_numerals(match[0])[0].value
        for shift in _shifts(_step(kind, value, match[0]), rng, value):
            after = _suffix(int(value + shift)) if numeral.ordinal else old[match.end() :]
            yield _digits(value + shift, match[0]) + after
    else:
        yield from _words(re.sub(r"^an?(?=[\s-])", "one", old), numeral, kind, rng)


def _words(old: str, numeral: Number, kind: str, rng: random.Random) -> Iterator[str]:
    """The last word of a numeral replaced by its neighbours; digits where it has no such word."""
    for match in reversed(list(WORD.finditer(old))):
        word = match[0] if match[0] in PLACES else match[0].lower()
        if word in PLACES:
            words, place = PLACES[word]
            step = 2 if kind == "century" else max(1, (place + 1) // 3)
            for shift in _shifts(Decimal(step), rng, Decimal(place + 1)):
                new = words[(place + int(shift)) % len(words)]
                new = new if word == match[0] else new.capitalize()
                yield old[: match.start()] + new + old[match.end() :]
            return
    yield from _like(f"{numeral.value:f}", numeral, kind, rng)


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
        return Decimal(1).scaleb(int(value.normalize().as_tuple().exponent)) * 7
    return Decimal(13) if value >= 100 else max(Decimal(1), value // 3)


def _digits(value: Decimal, old: str) -> str:
    digits = f"{value:f}" if value % 1 else str(int(value))
    if re.fullmatch(r"\d+,\d{1,2}", old):
        return digits.replace(".", ",")
    if "," in old and value >= 1000:
        return f"{Decimal(digits):,f}"
    return digits.zfill(len(old)) if old.isdigit() and old[0] == "0" else digits


def _suffix(value: int) -> str:
    return "th" if 10 < value % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")

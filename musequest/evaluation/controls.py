"""Answers made from the ground truths, of which one knows in advance what they deserve.

Another exhibit's reference is the floor: well written, and about the wrong thing. The reference
with its numbers changed shows what a score does not see. An empty answer is the worst there is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from ..numbers import ROMAN_CENTURY, Known, Number, find_numbers
from ..numerals import Numeral, find_numerals
from .answers import Answers

SEED = 0


def control_answers(answers: Answers) -> dict[str, list[str]]:
    """Control -> its answers in the order of the items; the same items give the same answers.

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
    return {name: own for name, own in controls.items() if own}


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

    The new numbers are near the old ones and written in digits, with as many decimals.
    """
    known, rng = Known(find_numbers(known_text)), random.Random(f"{SEED} {text}")
    numerals = find_numerals(text)
    for number in reversed(find_numbers(text)):
        inside = [n for n in numerals if number.start <= n[1] and n[2] <= number.end]
        if letters := ROMAN_CENTURY.match(text, number.start):
            inside = [(number.value, letters.start(), letters.end(), True)]
        if inside:
            _, start, end, _ = inside[0]
            text = f"{text[:start]}{_another(number, inside[0], text, known, rng)}{text[end:]}"
    return text


def _another(number: Number, numeral: Numeral, text: str, known: Known, rng: random.Random) -> str:
    """Another number in the wording of `numeral`, a step away for as long as it is known."""
    value, start, end, ordinal = numeral
    step = _step(value)
    shift = rng.choice([-1, 1]) * step
    for distance in range(1, 1000):
        new = value + shift * distance
        if new > 0 and not known.bears_out(_with_value(number, value, new)):
            break
        shift = -shift
    return _written(new, text[start:end], ordinal)


def _step(value: Decimal) -> Decimal:
    """A difference a reader would notice: years by 13, others by about a third, at least by 1."""
    if value % 1:
        return Decimal(1).scaleb(value.normalize().as_tuple().exponent) * 7
    return Decimal(13) if value >= 100 else max(Decimal(1), value // 3)


def _with_value(number: Number, old: Decimal, new: Decimal) -> Number:
    """The number as it reads once its numeral says `new` instead of `old`."""
    if number.kind == "century" and old >= 100:  # "1600s" is the 17th century.
        return replace(number, value=new // 100 + 1)
    return replace(number, value=new)


def _written(value: Decimal, old: str, ordinal: bool) -> str:
    text = f"{value.normalize():,f}" if "," in old and value >= 1000 else f"{value.normalize():f}"
    if not ordinal:
        return text
    teen = value % 100 in (11, 12, 13)
    return text + ("th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(int(value % 10), "th"))

"""Answers made from the ground truths, of which one knows in advance what they deserve.

Another exhibit's reference is the floor: well written, and about the wrong thing. The reference
with its numbers changed shows what a score does not see. An empty answer is the worst there is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .answers import Answers
from .changed_numbers import SEED, change_numbers


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

"""The split rule: which of an exhibit's 15 photos and pairs are tested, validated and learned.

Slot k holds photo k and pair k. Real photos come first and pairs lie in the order of their
temperature, so test and validation, which take the first slots, get real photos and the
lowest-temperature pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOTS = 15
SPLITS = ("train", "validation", "test")
# From this number of real photos on, two each are tested and validated, else one each.
PHOTOS_FOR_TWO = 6


@dataclass(frozen=True)
class Slot:
    """One photo and one pair of an exhibit."""

    slot: int  # 0 to 14
    split: str  # one of SPLITS
    track: str | None  # unseen_photo or seen_photo on test slots, else None
    parent: int  # the slot whose photo an augmented copy is made from; its own where real

    @property
    def augmented(self) -> bool:
        """Whether the photo is an augmented copy."""
        return self.parent != self.slot


def assign(n_real: int) -> list[Slot]:
    """Return the 15 slots of an exhibit with `n_real` real photos (1 or more).

    Photos beyond the fifteenth have no slot. Copies are made from real training photos; with two
    real photos from the validation photo; with a single one from the test photo, whose track then
    is `seen_photo`.
    """
    if n_real < 1:
        raise ValueError("an exhibit needs at least one real photo")
    real = min(n_real, SLOTS)
    each = 2 if real >= PHOTOS_FOR_TWO else 1
    parents = list(range(2 * each, real)) or [real - 1]
    track = "seen_photo" if real == 1 else "unseen_photo"
    slots = []
    for slot in range(SLOTS):
        split = "test" if slot < each else "validation" if slot < 2 * each else "train"
        parent = slot if slot < real else parents[(slot - real) % len(parents)]
        slots.append(Slot(slot, split, track if split == "test" else None, parent))
    return slots

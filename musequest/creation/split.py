"""The split rule: which of an exhibit's 15 photos and pairs are tested, validated and learned.

Slot k holds photo k and pair k. Real photos come first and pairs lie in the order of their
temperature, so test and validation, which take the first slots, get real photos and the
lowest-temperature pairs. A museum's list may say instead which photos each split has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SLOTS = 15
SPLITS = ("train", "validation", "test")
# From this number of real photos on, two each are tested and validated, else one each.
PHOTOS_FOR_TWO = 6
# As many pairs are of the lowest temperature, and test and validation take no others.
MOST_HELD_OUT = 5


@dataclass(frozen=True)
class Slot:
    """One photo and one pair of an exhibit."""

    slot: int  # 0 to 14
    split: str  # one of SPLITS
    track: str | None  # unseen_photo or seen_photo on test slots, else None
    parent: int  # the first slot that shows the photo, or the photo that the copy is made from
    photo: int  # the number of that photo among the exhibit's real ones, from 0
    augmented: bool  # whether an altered copy is shown


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
    splits = ["test"] * each + ["validation"] * each + ["train"] * (SLOTS - 2 * each)
    parents = list(range(2 * each, real)) or [real - 1]
    copied = [parents[index % len(parents)] for index in range(SLOTS - real)]
    return _slots(zip(splits, [*range(real), *copied], strict=True), real)


def assign_listed(test: list[int], validation: list[int], train: list[int]) -> list[Slot]:
    """Return the 15 slots of an exhibit whose photos, by number, are listed for each split.

    A photo may be listed more than once. Where test or validation has it, training has copies of it
    but not the photo itself. The copies that fill up training are made from its photos in turn;
    where it lists none, from those of validation.
    """
    held = [("test", photo) for photo in test] + [("validation", photo) for photo in validation]
    own = [("train", photo) for photo in train if photo not in {*test, *validation}]
    parents, copies = train or validation, SLOTS - len(held) - len(own)
    if not test or not validation or len(held) > MOST_HELD_OUT or copies < 0:
        raise ValueError("no room for the listed photos")
    copied = [("train", parents[index % len(parents)]) for index in range(copies)]
    return _slots([*held, *own, *copied], SLOTS - copies)


def _slots(shown: Iterable[tuple[str, int]], plain: int) -> list[Slot]:
    """Slots from their splits and photos; the first `plain` show the photos as they are."""
    places = list(shown)
    learned = {photo for split, photo in places if split == "train"}
    first: dict[int, int] = {}
    slots = []
    for slot, (split, photo) in enumerate(places):
        parent = first.setdefault(photo, slot)
        seen = "seen_photo" if photo in learned else "unseen_photo"
        track = seen if split == "test" else None
        slots.append(Slot(slot, split, track, parent, photo, slot >= plain))
    return slots

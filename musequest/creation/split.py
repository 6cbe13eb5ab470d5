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
# As many pairs are of the lowest temperature, and test takes no others.
MOST_TESTED = 5


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
    photos = [*range(real), *copied]
    return _slots(zip(splits, photos, (slot >= real for slot in range(SLOTS)), strict=True))


def assign_listed(test: list[int], validation: list[int], train: list[int]) -> list[Slot]:
    """Return the 15 slots of an exhibit whose photos, by number, are listed for each split.

    A photo may be listed for several splits. Test always shows the photo itself, validation a copy
    of what test has, training copies of what either has. The copies that fill up training are made
    from its photos in turn; where it lists none, from those of validation that are not tested. What
    15 slots cannot hold raises ValueError, as a part of a sentence.
    """
    if flaw := _flaw_of_list(test, validation, train):
        raise ValueError(flaw)
    held = {*test, *validation}
    shown = [("test", photo, False) for photo in test]
    shown += [("validation", photo, photo in test) for photo in validation]
    shown += [("train", photo, False) for photo in train if photo not in held]
    parents = train or [photo for photo in validation if photo not in test] or validation
    room = range(SLOTS - len(shown))
    return _slots(shown + [("train", parents[index % len(parents)], True) for index in room])


def _flaw_of_list(test: list[int], validation: list[int], train: list[int]) -> str | None:
    if not test or not validation:
        return "no test_images or no validation_images; add them"
    for split, own in (("test", test), ("validation", validation), ("train", train)):
        if len(set(own)) < len(own):
            return f"a photo twice in {split}_images; unlist one"
    if len(test) > MOST_TESTED:
        return (
            f"{len(test)} photos for test; list {MOST_TESTED} at most, as many as there are pairs "
            "of the lowest temperature"
        )
    held = len(test) + len(validation)
    if held >= SLOTS or held + len({*train} - {*test, *validation}) > SLOTS:
        return f"more photos than {SLOTS} rows can show; unlist some, and leave one for training"
    return None


def _slots(shown: Iterable[tuple[str, int, bool]]) -> list[Slot]:
    """Slots from their splits, photos, and whether an altered copy is shown."""
    places = list(shown)
    learned = {photo for split, photo, _ in places if split == "train"}
    first: dict[int, int] = {}
    slots = []
    for slot, (split, photo, augmented) in enumerate(places):
        parent = first.setdefault(photo, slot)
        seen = "seen_photo" if photo in learned else "unseen_photo"
        track = seen if split == "test" else None
        slots.append(Slot(slot, split, track, parent, photo, augmented))
    return slots

"""The split rule, for every number of real photos."""

import pytest

from musequest.creation.split import assign, assign_listed


@pytest.mark.parametrize("n_real", range(1, 20))
def test_every_exhibit_has_fifteen_slots_of_the_right_sizes(n_real: int):
    slots = assign(n_real)
    each = 2 if n_real >= 6 else 1
    assert [slot.slot for slot in slots] == list(range(15))
    counts = {name: sum(slot.split == name for slot in slots) for name in ("test", "validation")}
    assert counts == {"test": each, "validation": each}
    assert [slot.split for slot in slots] == ["test"] * each + ["validation"] * each + ["train"] * (
        15 - 2 * each
    )
    assert sum(not slot.augmented for slot in slots) == min(n_real, 15)


@pytest.mark.parametrize("n_real", range(2, 20))
def test_a_test_photo_is_never_the_parent_of_another(n_real: int):
    for slot in assign(n_real):
        if slot.split == "test":
            assert (slot.track, slot.augmented) == ("unseen_photo", False)
        else:
            assert slot.track is None and assign(n_real)[slot.parent].split != "test"


@pytest.mark.parametrize(
    ("n_real", "parents"),
    [
        (1, {0}),
        (2, {1}),
        (3, {2}),
        (5, {2, 3, 4}),
        (6, {4, 5}),
        (14, {4}),
        (15, set()),
        (16, set()),
    ],
)
def test_copies_are_made_from_training_photos_if_there_are_any(n_real: int, parents: set[int]):
    slots = assign(n_real)
    assert {slot.parent for slot in slots if slot.augmented} == parents
    assert all(not slots[parent].augmented for parent in parents)


def test_a_single_photo_is_tested_on_and_says_so():
    slots = assign(1)
    assert (slots[0].split, slots[0].track, slots[0].augmented) == ("test", "seen_photo", False)
    assert (slots[1].split, slots[1].augmented) == ("validation", True)


def test_copies_are_shared_out_evenly():
    parents = [slot.parent for slot in assign(5) if slot.augmented]
    assert {parents.count(parent) for parent in (2, 3, 4)} <= {3, 4}


def test_no_photo_is_no_exhibit():
    with pytest.raises(ValueError, match="at least one real photo"):
        assign(0)


def test_listed_photos_go_where_they_are_listed():
    slots = assign_listed(test=[0], validation=[1, 2], train=[3, 4])
    assert [slot.split for slot in slots] == ["test", "validation", "validation"] + ["train"] * 12
    assert [slot.photo for slot in slots[:5]] == [0, 1, 2, 3, 4]
    assert [slot.augmented for slot in slots] == [False] * 5 + [True] * 10
    assert {slot.parent for slot in slots[5:]} == {3, 4} and slots[0].track == "unseen_photo"


def test_a_photo_listed_for_all_splits_is_shown_itself_in_test_alone():
    slots = assign_listed(test=[0], validation=[0], train=[0])
    assert [slot.augmented for slot in slots] == [False] + [True] * 14
    assert {slot.parent for slot in slots} == {0} and slots[0].track == "seen_photo"


def test_without_training_photos_copies_are_made_from_those_that_are_not_tested():
    slots = assign_listed(test=[0], validation=[0, 1], train=[])
    assert {slot.photo for slot in slots if slot.split == "train"} == {1}
    assert slots[0].track == "unseen_photo"


@pytest.mark.parametrize(
    ("listed", "flaw"),
    [
        (([], [1], [2]), "no test_images"),
        (([0], [], [1]), "no validation_images"),
        ((list(range(6)), [6], []), "6 photos for test; list 5"),
        (([0, 1, 2], list(range(3, 15)), [2]), "more photos than 15"),
        (([0], [1], list(range(2, 16))), "more photos than 15"),
        (([0], [1, 1], [2]), "twice in validation_images"),
    ],
)
def test_what_fifteen_slots_cannot_hold_is_refused(listed: tuple, flaw: str):
    with pytest.raises(ValueError, match=flaw):
        assign_listed(*listed)

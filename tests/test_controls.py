"""Answers of which one knows what they deserve."""

import pytest

from musequest.evaluation.controls import change_numbers, other_references
from musequest.evaluation.facts import check_numbers

TEXTS = [
    "Made in 1742, 47 cm high and 3.6 kg in weight, with 23 herons.",
    "From the 17th century, or the 1600s; the third of three, one of 12,500.",
    "Fired in the nineteen-sixties; two-thirds of it is 18 1/2 inches deep.",
    "300-200 BC, and 1790-95; twenty-first in a row; 0.5 m; 2½ ft.",
    "It is of the XVIIth century and weighs two and a half pounds.",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_changed_number_is_invented(text: str):
    changed = change_numbers(text, text)
    check = check_numbers(changed, text)
    assert check.invented_rate == 1, changed
    assert check.recall == 0, changed


def test_words_stay_and_the_same_text_is_changed_alike():
    text = "Made in 1742 by Ilse Varn, the 3rd of her name, for £12,500."
    changed = change_numbers(text, text)
    assert changed == change_numbers(text, text) != text
    assert changed.startswith("Made in 1") and "by Ilse Varn, the " in changed
    assert "," in changed.split("£")[1]
    assert change_numbers("A blue vase, one of a kind.", "") == "A blue vase, one of a kind."


def test_a_changed_number_avoids_what_the_museum_states_elsewhere():
    for known in ("1729", "1755", "1729 and 1755 and 1768"):
        assert check_numbers(
            change_numbers("In 1742.", f"1742 {known}"), "In 1742.", known
        ).invented


def test_other_references_are_never_the_own_one():
    names = ["a", "a", "b", "c"]
    chosen = other_references(["1", "2", "3", "4"], names)
    assert chosen == other_references(["1", "2", "3", "4"], names)
    own = {"a": {"1", "2"}, "b": {"3"}, "c": {"4"}}
    assert all(text not in own[name] for name, text in zip(names, chosen, strict=True))
    assert other_references(["1", "2"], ["a", "a"]) == []

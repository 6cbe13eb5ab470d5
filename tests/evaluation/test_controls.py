"""Answers of which one knows what they deserve."""

import re

import pytest

from musequest.evaluation.controls import change_numbers, other_references
from musequest.text.facts import check_numbers
from musequest.text.numbers import find_numbers

TEXTS = [
    "Made in 1742, 47 cm high and 3.6 kg in weight, with 23 herons.",
    "From the 17th century, or the 1600s; the third of three, one of 12,500.",
    "Fired in the nineteen-sixties; two-thirds of it is 18 1/2 inches deep.",
    "300-200 BC, and 1790-95; twenty-first in a row; 0.5 m; 2½ ft.",
    "The late 18th c., a 15th-c. bowl and 13 3/8 inches.",
    "1850 to '60 and '76; the '50s and seventies; 5-6,000 tons; two to three million; 5'10\".",
    "It has 1 handle, is the 2nd of its kind, 6 ft 0 in high and of the 1850-60s.",
    "It is of the XVIIth century and weighs two and a half pounds.",
    "A third of it, 1/3 or ¾, is 2 feet 3 inches or 13.4 inches (34 cm); half a million came.",
    "The twenties and 1920s; the nineteen-sixties; the eighteen hundreds; 17th- and 18th-century.",
    f"{'1' * 40} kg, {'2' * 40} ft 3 in. and 3.{'3' * 40} or .5 cm; in 1900,12 ships.",
    "In World War II; 1998-99 and 1860-1; PM-0007; 3,6 kg; two hundred of 2.5 million.",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_changed_number_is_invented(text: str):
    changed = change_numbers(text, text)
    check = check_numbers(changed, text)
    assert check.invented_rate == 1, changed
    assert check.recall == 0, changed


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1/3 of it", r"\d/\d of it"),
        ("a third of it", r"[a-z]+-[a-z]+ of it"),
        ("½ of it", "[¼¾⅓⅔⅛⅜⅝⅞] of it"),
        ("18 1/2 feet, 2½ feet", r"\d+ 1/2 feet, \d½ feet"),
        ("the twenties", "the (thir|for|fif|six|seven|eigh|nine)ties"),
        ("the nineteen-twenties", "the nineteen-(thir|for|fif|six|seven|eigh|nine)ties"),
        ("the twenties and 1920s", r"the \w+ties and 1\d\d0s"),
        ("the 1600s", r"the 1\d00s"),
        ("1860-1", r"18\d\d-\d"),
        ("XVIIth century", "[IVX]+th century"),
        ("three herons, the third", r"[a-z]+ herons, the [a-z]+(st|nd|rd|th)"),
        ("PM-0007", r"PM-00\d\d"),
        ("3.60 kg, 3,6 kg", r"\d\.\d0 kg, \d,\d kg"),
        ("2.5 million", r"\d\.\d million"),
        ("World War II", "World War I"),
        ("2 feet 3 inches", r"\d feet \d inches"),
    ],
)
def test_a_changed_number_keeps_its_form(text: str, form: str):
    changed = change_numbers(text, text)
    assert re.fullmatch(form, changed), changed
    assert changed != text


@pytest.mark.parametrize("known", ["", "2011", "1985-86", "2012 and 1985"])
def test_the_end_of_a_changed_range_follows_its_beginning(known: str):
    changed = change_numbers("in 1998-99", f"1998-99 {known}")
    first, last = (int(n.value) for n in find_numbers(changed))
    assert last == first + 1
    assert re.fullmatch(r"in \d{4}-\d\d", changed)
    assert check_numbers(changed, "1998-99", known).invented_rate == 1


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

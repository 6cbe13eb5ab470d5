"""Precision and recall of both readers on texts whose numbers and names are labelled by hand."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from musequest.text.facts import find_names, fold
from musequest.text.numbers import find_numbers

TEXTS = Path(__file__).with_name("labelled_texts.tsv")
SIGNS = {"": "", "war": "", "code": "", "millennium": "m", "century": "c", "decade": "s"}


def labelled() -> list[dict[str, str]]:
    with TEXTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def numbers(text: str) -> Counter[str]:
    """The numbers of a text as labels: value; m, c, s: millennium, century, decade."""
    return Counter(
        f"{round(float(n.value), 4):.15g}{SIGNS[n.kind]}{' BC' if n.bc else ''}"
        for n in find_numbers(text)
    )


def plain(label: str) -> str:
    value, *rest = label.split(" ")
    digits = value.rstrip("csm")
    return " ".join([f"{float(digits):.15g}{value[len(digits) :]}", *rest])


def names(text: str) -> Counter[str]:
    return Counter(find_names(text))


def agreement(kind: str) -> tuple[float, float, list[tuple[str, Counter, Counter]]]:
    """Precision, recall, and each text that is read otherwise: what is too much, what lacks."""
    right = found = wanted = 0
    otherwise = []
    for row in labelled():
        text = row["text"].replace("\\n", "\n")
        labels = [label for label in (row[kind] or "").split(";") if label]
        if kind == "numbers":
            read, label = numbers(text), Counter(map(plain, labels))
        else:
            read, label = names(text), Counter({fold(name.replace(".", "")) for name in labels})
        right += (read & label).total()
        found, wanted = found + read.total(), wanted + label.total()
        if read != label:
            otherwise.append((text, read - label, label - read))
    return right / found, right / wanted, otherwise


@pytest.mark.parametrize(
    ("kind", "precision", "recall"), [("numbers", 0.97, 0.97), ("names", 0.95, 0.93)]
)
def test_a_reader_finds_what_is_labelled(kind: str, precision: float, recall: float):
    assert len(labelled()) >= 290
    reached = agreement(kind)
    assert reached[0] >= precision and reached[1] >= recall, reached

"""Numbers on hand-made cases."""

import time
from decimal import Decimal

import pytest

from musequest.text.facts import check_names, check_numbers
from musequest.text.numbers import find_numbers


def values(text: str) -> list[str]:
    """The numbers of a text as short strings: value, then c for century, s for decade, BC."""
    signs = {"": "", "century": "c", "decade": "s"}
    return [
        f"{format(n.value.normalize(), 'f')}{signs[n.kind]}{' BC' if n.bc else ''}"
        for n in find_numbers(text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("made in 1742.", ["1742"]),
        ("12,500 or 12\u202f500 or 12'500", ["12500"] * 3),
        ("1,234,567.5", ["1234567.5"]),
        ("3.60 kg, 3,6 kg", ["3.6", "3.6"]),
        ("July 4, 1776 and July 4,1776", ["4", "1776", "4", "1776"]),
        ("In 1900,12 ships", ["1900", "12"]),
        (".5 cm, (.75 m), $.50, and so on ...5", ["0.5", "0.75", "0.5", "5"]),
        ("1, 2,3 and 4", ["1", "2.3", "4"]),
        ("the 3rd, third, 21st and twenty-first", ["3", "3", "21", "21"]),
        ("one of the first; a second look", []),
        ("one metre", ["1"]),
        ("17th century, seventeenth-century, XVIIth century, the 1600s", ["17c"] * 4),
        ("the first century", ["1c"]),
        ("late 18th c., a 15th-c. bowl, XVIIth c., 16th cent.", ["18c", "15c", "17c", "16c"]),
        ("17th and 18th c., 3rd c. BC; 4th, 5th c.", ["17c", "18c", "3c BC", "4", "5c"]),
        ("the 4th c. 1850", ["4", "1850"]),
        ("late 17th or early 18th century", ["17c", "18c"]),
        ("the 12th and 13th centuries", ["12c", "13c"]),
        ("the 17th, 18th and 19th centuries", ["17c", "18c", "19c"]),
        ("17th, the 18th, and early 19th century", ["17c", "18c", "19c"]),
        ("5th, 4th and 3rd centuries BC", ["5c BC", "4c BC", "3c BC"]),
        ("first, second or third century", ["1c", "2c", "3c"]),
        ("on July 4th, 18th century coins", ["4", "18c"]),
        ("1850 to '60, 1850-'60, '76, in '42.", ["1850", "1860", "1850", "1860", "76", "42"]),
        ("1998-02, 1914 to 18", ["1998", "2", "1914", "18"]),
        ("five to six thousand, 2-3 million", ["5000", "6000", "2000000", "3000000"]),
        ("one or two hundred, 1.5 to 2 million", ["100", "200", "1500000", "2000000"]),
        ("5-6,000 tons, 17–18,000", ["5000", "6000", "17000", "18000"]),
        ("5 to 6,000, 50-40,000, 500-1,000", ["5", "6000", "50", "40000", "500", "1000"]),
        ("a hundred to a thousand; May 4 - 5,000", ["100", "1000", "4", "5000"]),
        ("the 4th to five thousand; two and three thousand", ["4", "5000", "2", "3000"]),
        ("5 ft 10 in, 6 feet 0 in tall, 6 ft 2 by 3", ["70", "72", "6", "2", "3"]),
        ('5\'10", 5’ 10½”, 5\'60", "Apollo 11"', ["70", "70.5", "5", "60", "11"]),
        ("the 1920s, the 1920's", ["1920s", "1920s"]),
        ("300-200 BC, 500 B.C.E., 3rd century BC", ["300 BC", "200 BC", "500 BC", "3c BC"]),
        ("1790-95, 1790–1800, 1914/18", ["1790", "1795", "1790", "1800", "1914", "1918"]),
        ("10-20 cm, 34 x 20 x 10 cm", ["10", "20", "34", "20", "10"]),
        ("18 1/2 inches, 2½ ft, 1/2, ¾", ["18.5", "2.5", "0.5", "0.75"]),
        ("9/11 and 9/8", ["9", "11", "9", "8"]),
        ("two and a half metres", ["2.5"]),
        ("one and a half", ["1.5"]),
        ("2 and a half", ["2.5"]),
        ("a hundred and one quarters, a hundred and one half", ["101", "101", "0.5"]),
        ("twelve thousand five hundred", ["12500"]),
        ("one hundred and twenty-third", ["123"]),
        ("nineteen forty-two, nineteen hundred and two", ["1942", "1902"]),
        ("one million two hundred thousand and five", ["1200005"]),
        ("a hundred, a dozen, two dozen, hundreds of", ["100", "12", "24"]),
        ("two, three and four", ["2", "3", "4"]),
        ("2.5 million, 3 thousand", ["2500000", "3000"]),
        ("one and a half million", ["1500000"]),
        ("1 000 000 and 25 000 coins", ["1000000", "25000"]),
        ("1.234.567", ["1234567"]),
        ("in 1742 300 came", ["1742", "300"]),
        ("the nineteen-sixties, the sixties", ["1960s", "60s"]),
        ("PM-0007, F4U, B-17", ["7", "4", "17"]),
        ("٣٤ and ３４", ["34", "34"]),
        ("bone, often, weight, freight, attend", []),
        ("", []),
    ],
)
def test_numbers_are_read_however_they_are_written(text: str, expected: list[str]):
    assert values(text) == expected


@pytest.mark.parametrize(
    "text", ["34 cm", "34cm", "34-centimetre", "0.34 m", "340 mm", "thirty-four centimetres"]
)
def test_one_length_in_many_wordings(text: str):
    (number,) = find_numbers(text)
    assert (number.dimension, number.size) == ("length", Decimal("0.34"))


@pytest.mark.parametrize("text", ["made in 1742 in Lowfen", "in 1742 M. Blanc", "5 Men"])
def test_words_after_a_number_are_not_taken_for_units(text: str):
    assert [n.dimension for n in find_numbers(text)] == [""]


def test_a_number_knows_where_it_stands():
    text = "It is 34 cm high and of the seventeenth century."
    assert [text[n.start : n.end] for n in find_numbers(text)] == ["34 cm", "seventeenth century"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("two-thirds", "2/3"), ("three quarters", "¾"), ("three-quarters", "0.75")],
)
def test_fractions_in_words(one: str, other: str):
    (left,), (right,) = find_numbers(one), find_numbers(other)
    assert left.value == right.value


SAME = [
    ("17th- and 18th-century", "17th and 18th centuries"),
    ("17th- to 18th-century", "17th and 18th centuries"),
    ("the eighteen hundreds", "the 1800s"),
    ("nineteen oh five", "1905"),
    ("twenty-oh-five", "2005"),
    ("a third of it", "1/3 of it"),
    ("one-third of it", "⅓ of it"),
    ("a quarter of it", "¼ of it"),
    ("half a million", "500,000"),
    ("half a dozen", "6"),
    ("half an inch", "0.5 inches"),
    ("1860-1", "1860–1861"),
    ("World War Two", "World War II"),
    ("the Second World War", "WWII"),
    ("World War 1", "the First World War"),
    ("2 feet 3 inches", "27 inches"),
    ("2 ft. and 3 in. wide", "27 in. wide"),
    ("13.4 inches", "34 cm"),
    ("2 feet 3 inches", "68.6 cm"),
    ("6 ft 0 in", "1.83 m"),
    ("5'10\"", "5 feet 10 inches"),
    ("five to six thousand tons", "5,000 to 6,000 tons"),
    ("5-6,000 tons", "5,000 to 6,000 tons"),
    ("the sixties", "the 1960s"),
    ("the '60s", "the 1960s"),
    ("60s", "the nineteen-sixties"),
    ("the spirit of '76", "the spirit of 1776"),
    ("1850 to '60", "1850 to 1860"),
    ("13 3/8 inches", "34 cm"),
    ("9⅞ inches", "25 cm"),
    ("two and a half feet", "76 cm"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_wordings_of_the_same(one: str, other: str):
    for answer, truth in ((one, other), (other, one)):
        check = check_numbers(answer, truth)
        assert (check.recall, check.invented_rate) == (1, 0)
        names = check_names(f"So in {answer}", f"As in {truth}")
        assert (names.missing, names.invented) == ((), ())


@pytest.mark.parametrize(
    ("digits", "word"), [("1 handle", "one handle"), ("1st", "first"), ("the 2nd", "the second")]
)
def test_a_bare_one_first_and_second_only_bear_out_digits(digits: str, word: str):
    assert check_numbers(digits, word).invented == ()
    assert check_numbers(word, digits).recall == 1
    assert check_numbers(word, "34").stated == 0
    assert check_numbers("34", word).recall is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("17th- and 18th-century", "17 and 18"),
        ("the eighteen hundreds", "1800"),
        ("a third vase", "1/3 of a vase"),
        ("one third-century coin", "one third of a coin"),
        ("half a loaf", "1/2 of a loaf"),
        ("the first handle", "1 handle"),
        ("one of a kind", "the 1st of its kind"),
        ("one of them", "1 m"),
        ("the second", "2 kg"),
        ("the seventies", "the 1960s"),
        ("the sixties", "the 60s BC"),
        ("'76", "1767"),
        ("'76", "76 BC"),
        ("1860-1", "1860–1871"),
        ("1986 - 3", "1986-1993"),
        ("World War Two", "World War One"),
        ("World War Two", "2 wars"),
        ("2 feet, 3 inches", "27 inches"),
        ("2 feet. 3 inches", "27 inches"),
        ("3 inches 2 feet", "27 inches"),
        ("13.5 inches", "34 cm"),
        ("13 1/8 inches", "34 cm"),
        ("13 3/8 inches", "33 cm"),
        ("13 inches", "34 cm"),
        ("34.1 cm", "34 cm"),
        ("34.1 cm", "34 kg"),
        ("1 m", "140 cm"),
        ("20 inches", "1 m"),
    ],
)
def test_wordings_that_are_not_the_same(one: str, other: str):
    for answer, truth in ((one, other), (other, one)):
        check = check_numbers(answer, truth)
        assert check.recall is None or check.recall < 1


@pytest.mark.parametrize(
    ("answer", "truth", "invented"),
    [
        ("13 inches", "34 cm", False),
        ("34 cm", "13 inches", True),
        ("3 feet", "90 cm", False),
        ("3 feet", "1 m", True),
        ("1 foot", "34 cm", True),
        ("47 cm", "471 mm", False),
        ("471 mm", "47 cm", True),
        ("47 cm", "47.1 cm", True),
        ("1 handle", "It has one handle", False),
        ("1 kg", "It has one handle", True),
        ("2 handles", "the second of its kind", True),
        ("the sixties", "In 1962", False),
        ("the '60s", "In 1972", True),
        ("the sixties", "160 coins", True),
        ("1962", "the sixties", True),
        ("18th century", "the 1740s", False),
        ("17th century", "the 1740s", True),
        ("1742", "the 1740s", True),
        ("the 1740s", "the 18th century", True),
        ("1st century", "the sixties", True),
        ("13th century", "$1200", True),
        ("13th century", "1,200 coins", True),
        ("13th century", "1200 or so", False),
        ("12th century BC", "1,200 BC", False),
        ("13th century BC", "1,200 BC", True),
        ("1200 coins", "1,200 coins", False),
    ],
)
def test_what_bears_a_number_out(answer: str, truth: str, invented: bool):
    assert check_numbers(answer, truth).invented_rate == float(invented)


@pytest.mark.parametrize("text", ["12 in. wide", "12 in high", "12 inches", "12-inch", "1 foot"])
def test_inches_are_told_from_the_word_in(text: str):
    assert find_numbers(text)[0].size == Decimal("0.3048")


def test_recall_and_invention_are_counted_per_different_number():
    check = check_numbers(
        answer="From 1742, yes 1742; it weighs 9 kg, is 47 cm high and has 3 feet.",
        ground_truth="Made in 1742, 47 cm high, with 23 herons.",
        sources="It stands on three feet.",
    )
    assert check.recall == pytest.approx(2 / 3)
    assert check.invented_rate == pytest.approx(1 / 4)
    assert (check.missing, check.invented) == (("23",), ("9 kg",))
    kinds = [kind for *_, kind in check.marks]
    assert kinds == ["recalled", "recalled", "invented", "recalled", "known"]


@pytest.mark.parametrize(
    ("answer", "truth", "agrees"),
    [
        ("47 cm", "47 cm", True),
        ("0.47 m", "47 cm", True),
        ("47", "47 cm", True),
        ("47 mm", "47 cm", False),
        ("47 kg", "47 cm", False),
        ("500 BC", "500", False),
        ("17th century", "17", False),
        ("thirty", "30", True),
        ("1743", "1742", False),
    ],
)
def test_when_two_numbers_agree(answer: str, truth: str, agrees: bool):
    check = check_numbers(answer, truth)
    assert check.recall == float(agrees)
    assert check.invented_rate == float(not agrees)


def test_a_measure_with_its_conversion_is_one_fact():
    assert check_numbers("It is 34 cm (13 3/8 in.) high.", "34 cm").stated == 1


def test_the_century_of_a_stated_year_is_not_invented_yet_not_recalled():
    check = check_numbers("From the 18th century.", "Made in 1742.")
    assert (check.recall, check.invented_rate) == (0, 0)
    assert check_numbers("From the 17th century.", "Made in 1742.").invented_rate == 1
    assert check_numbers("From the 3rd century BC.", "Made in 250 BC.").invented_rate == 0
    assert check_numbers("From the 3rd century.", "Made in 250 BC.").invented_rate == 1
    assert check_numbers("From the 1st century.", "One of 88 others.").invented_rate == 1


def test_without_numbers_there_is_no_rate():
    check = check_numbers("A blue vase.", "A red vase.")
    assert check.recall is None
    assert check.invented_rate is None


def test_a_very_long_answer_is_read_in_time():
    check = check_numbers("one hundred and 12 cm " * 2_000 + "9" * 5_000, "12 cm")
    assert check.recall == 1
    assert check.stated == 3
    assert find_numbers("\n" * 20_000) == ()


@pytest.mark.parametrize("said", ["{} kg", "{} ft 3 in.", "{}-{}", "{} million", "{} and a half"])
def test_digits_repeated_without_end_are_invented(said: str):
    text = said.replace("{}", "1" * 40)
    assert check_numbers(text, "34 cm").invented_rate == 1
    assert check_numbers("34 cm", text).recall == 0


def test_thousands_of_measures_are_held_against_each_other_in_seconds():
    answer, truth = (", ".join(f"{7 * i + 100 + n} cm" for i in range(2000)) for n in (0, 1))
    start = time.perf_counter()
    assert len(check_numbers(answer, truth).invented) == 2000
    assert time.perf_counter() - start < 20  # 100 s where each is held against all others

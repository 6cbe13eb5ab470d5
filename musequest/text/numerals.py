"""Reads numerals: digits with their separators and fractions, and English number words.

Beside them the units of measure as museum texts write them, and how they convert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple


class Numeral(NamedTuple):
    """A number as it is written, without a unit."""

    value: Decimal
    start: int  # its first character
    end: int  # one past its last
    ordinal: bool = False
    under: int = 0  # the denominator of its fraction, 8 in "13 3/8"; 0 where it has none


ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"]
TEENS += ["eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
IRREGULAR |= {"nine": "ninth", "twelve": "twelfth"}


def _ordinal(word: str) -> str:
    return IRREGULAR.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")


CARDINALS = {word: value for value, word in enumerate(ONES + TEENS, 1)}
CARDINALS |= {word: 10 * value for value, word in enumerate(TENS, 2)} | SCALES
ORDINALS = {_ordinal(word): value for word, value in CARDINALS.items()}


def _any(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


def _last(words: Iterable[str]) -> str:
    """The words as the last of a numeral, where they may be ordinal."""
    return _any([*map(_ordinal, words), *words])


# The grammar of number words, from small to large; `_end` forms close a numeral.
SPACE = r"[\s-]+"
AND = rf"{SPACE}(?:and{SPACE})?"
BELOW_100 = rf"(?:{_any(TENS)}{SPACE}{_any(ONES)}|{_any([*TENS, *TEENS, *ONES])})"
BELOW_100_END = rf"(?:{_any(TENS)}{SPACE}{_last(ONES)}|{_last([*TENS, *TEENS, *ONES])})"
HUNDRED = rf"(?:{BELOW_100}|an?){SPACE}hundred"
BELOW_1000 = rf"(?:{HUNDRED}{AND}{BELOW_100}|{HUNDRED}|{BELOW_100})"
BELOW_1000_END = rf"(?:{HUNDRED}{AND}{BELOW_100_END}|{HUNDRED}(?:th)?|{BELOW_100_END})"
THOUSANDS = rf"(?:{BELOW_1000}|an?){SPACE}(?:thousand|million|billion)"
YEAR_END = rf"(?:{_any(TENS)}{SPACE}{_last(ONES)}|{_last([*TENS, *TEENS])})"
OH = rf"(?:oh|aught|ought){SPACE}{_any(ONES)}"
YEAR = rf"{_any([*TEENS, 'twenty'])}{SPACE}(?:{YEAR_END}|{OH})"
# What a numeral can begin with, looked at first because most words begin otherwise.
BEGINNINGS = sorted({word[:3] for word in [*CARDINALS, *ORDINALS]})
MAY_BEGIN = rf"(?=[a{''.join({word[0] for word in BEGINNINGS})}])(?=an?[\s-]|{_any(BEGINNINGS)})"
WORDS = re.compile(
    rf"\b{MAY_BEGIN}(?:{YEAR}|(?:{BELOW_100}|an?){SPACE}dozen"
    rf"|{THOUSANDS}(?:,?{AND}{THOUSANDS})*(?:,?{AND}{BELOW_1000_END}|(?:th)?)"
    rf"|{BELOW_1000_END}|hundredth|thousandth|millionth)(?:\b|(?<=hundred)(?=s\b))",
    re.I,
)
TOKEN = re.compile(r"[a-z]+", re.I)

VULGAR = {"½": (1, 2), "¼": (1, 4), "¾": (3, 4), "⅓": (1, 3), "⅔": (2, 3)}
VULGAR |= {"⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}
LARGEST = Decimal(10) ** 15  # what digits repeated without end are, as it can be reckoned with
SIGN = f"(?P<sign>[{''.join(VULGAR)}])"

# "12,500.5", "3.6", "3,6", ".5"; a fraction of its own; a fraction behind a number ("18 1/2").
DIGITS = re.compile(
    rf"{SIGN}|(?<![\d/⁄])(?P<over>\d{{1,2}})[/⁄](?P<under>2|3|4|5|6|8|10|12|16|32|64)(?![\d/⁄])"
    r"|(?P<dotted>\d{1,3}(?:\.\d{3}){2,}(?![\d.]))"
    r"|(?P<grouped>\d{1,3}(?P<sep>[,'’ \u00a0\u202f\u2009])\d{3}(?:(?P=sep)\d{3})*(?!\d)(?:\.\d+)?)"
    r"|(?P<plain>\d+|(?<![\w.])(?=\.\d))"
    r"(?:\.(?P<point>\d+)|(?<!\d,\d)(?<!\d{4}),(?P<comma>\d{1,2})(?![\d,]))?"
)
PART = re.compile(rf"\s?{SIGN}|[ \u00a0-](?P<over>\d{{1,2}})[/⁄](?P<under>\d{{1,2}})(?!\d)")
FRACTIONS = {"halves": 2, "quarters": 4, "fourths": 4} | {
    f"{word}s": value for word, value in ORDINALS.items() if value in (3, 5, 6, 8, 10)
}
PARTS = re.compile(rf"[\s-]({'|'.join(FRACTIONS)})\b", re.I)
# "one-third", but "one third-century coin"; "a third of it", but "a third vase"; "half a million".
PART_OF_ONE = {word[:-1]: value for word, value in FRACTIONS.items() if word != "halves"}
A_PART = _any(PART_OF_ONE)
ONE_PART = re.compile(
    rf"\bone[\s-](half|{A_PART})\b(?![\s-]+centur)|\ban?\s+({A_PART})(?=\s+of\b|\s*$)"
    r"|\bhalf\s+an?\b",
    re.I,
)
# "nineteen-sixties", "sixties": the plural of the tens is a decade.
PLURAL_TENS = {word[:-1] + "ies": 10 * value for value, word in enumerate(TENS, 2)}
DECADE = re.compile(rf"\b(?:({_any([*TEENS, 'twenty'])})[\s-]+)?({_any(PLURAL_TENS)})\b", re.I)
HALF = re.compile(rf"{SPACE}and{SPACE}a{SPACE}half\b", re.I)
SUFFIX = re.compile(r"(?:st|nd|rd|th)\b", re.I)
SCALED = re.compile(r"[\s\u00a0-](dozen|hundred|thousand|million|billion)\b", re.I)

# (dimension, size in the dimension's base unit) -> the ways it is written. "in" for inches is
# left out on purpose: "made in 1742 in Lowfen" would measure something.
WRITTEN: dict[tuple[str, str], str] = {
    ("length", "0.001"): "mm millimetre millimetres millimeter millimeters",
    ("length", "0.01"): "cm centimetre centimetres centimeter centimeters",
    ("length", "1"): "m metre metres meter meters",
    ("length", "1000"): "km kilometre kilometres kilometer kilometers",
    ("length", "0.0254"): "inch inches ″",
    ("length", "0.3048"): "ft foot feet ′",
    ("length", "0.9144"): "yd yard yards",
    ("length", "1609.344"): "mile miles",
    ("mass", "0.001"): "mg milligram milligrams",
    ("mass", "1"): "g gram grams",
    ("mass", "1000"): "kg kilo kilos kilogram kilograms",
    ("mass", "1000000"): "tonne tonnes",
    ("mass", "907184.74"): "ton tons",
    ("mass", "28.349523125"): "oz ounce ounces",
    ("mass", "453.59237"): "lb lbs pound pounds",
    ("mass", "0.2"): "carat carats",
    ("volume", "0.001"): "ml millilitre millilitres milliliter milliliters",
    ("volume", "1"): "l litre litres liter liters",
    ("share", "1"): "% percent",
    ("time", "3600"): "hour hours",
    ("time", "86400"): "day days night nights",
    ("time", "604800"): "week weeks",
    ("time", "31557600"): "year years",
}

UNITS: dict[str, tuple[str, Decimal]] = {
    name: (dimension, Decimal(size))
    for (dimension, size), names in WRITTEN.items()
    for name in names.split()
}
UNITS["per cent"] = UNITS["percent"]


def find_numerals(text: str) -> list[Numeral]:
    """Every numeral of `text` in order of appearance; places are characters of `text`."""
    return sorted([*_digits(text), *_words(text)], key=lambda numeral: numeral.start)


def find_decades(text: str) -> list[Numeral]:
    """Decades in words, such as "the nineteen-sixties" (1960) and "the sixties" (60)."""
    return [
        Numeral(
            Decimal(100 * CARDINALS.get((m[1] or "").lower(), 0) + PLURAL_TENS[m[2].lower()]),
            m.start(),
            m.end(),
        )
        for m in DECADE.finditer(text)
    ]


def roman(letters: str) -> int:
    """The value of a Roman numeral made of I, V and X."""
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in letters]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))


def roman_letters(value: int) -> str:
    """A number below 40 as a Roman numeral."""
    ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    return "X" * (value // 10) + ones[value % 10]


def in_words(value: int, ordinal: bool) -> str:
    """A whole number from 1 to 99 in words; "" for others."""
    if not 0 < value < 100:
        return ""
    small = {number: word for word, number in CARDINALS.items()}
    parts = [value] if value in small else [value - value % 10, value % 10]
    *first, last = [small[part] for part in parts]
    return "-".join([*first, _ordinal(last) if ordinal else last])


def _digits(text: str) -> Iterator[Numeral]:
    end = 0
    while match := DIGITS.search(text, end):
        read = _read(match)
        if (part := PART.match(text, read.end)) and (fraction := _fraction(part)):
            value, under = fraction
            read = read._replace(value=read.value + value, end=part.end(), under=under)
        elif half := HALF.match(text, read.end):
            read = _and_a_half(read, half.end())
        else:
            read = _scaled(text, read)
        if suffix := SUFFIX.match(text, read.end):
            read = read._replace(end=suffix.end(), ordinal=True)
        yield read
        end = read.end


def _read(match: re.Match[str]) -> Numeral:
    """What digits say by themselves; of "9/8", which is no proper fraction, the first number."""
    start, end = match.span()
    if match["sign"] or match["over"]:
        if not (fraction := _fraction(match)):
            return Numeral(Decimal(match["over"]), start, match.end("over"))
        return Numeral(fraction[0], start, end, under=fraction[1])
    if match["dotted"]:
        digits = match["dotted"].replace(".", "")
    elif match["grouped"]:
        digits = match["grouped"].replace(match["sep"], "")
    else:
        decimals = match["point"] or match["comma"]
        digits = match["plain"] + (f".{decimals}" if decimals else "")
    return Numeral(min(Decimal(digits), LARGEST), start, end)


def _fraction(match: re.Match[str]) -> tuple[Decimal, int] | None:
    """Value and denominator of "½" or "1/2"; None where it is no proper fraction."""
    over, under = VULGAR.get(match["sign"]) or (int(match["over"]), int(match["under"]))
    return (Decimal(over) / Decimal(under), under) if 0 < over < under else None


def _words(text: str) -> Iterator[Numeral]:
    ones = [_one_part(text, match) for match in ONE_PART.finditer(text)]
    yield from ones
    for match in WORDS.finditer(text):
        if any(one.start <= match.start() < one.end for one in ones):
            continue
        words = [word.lower() for word in TOKEN.findall(match[0])]
        read = Numeral(Decimal(_sum(words)), *match.span(), ordinal=words[-1] in ORDINALS)
        if half := HALF.match(text, read.end):
            read = _scaled(text, _and_a_half(read, half.end()))
        elif part := PARTS.match(text, read.end):
            under = FRACTIONS[part[1].lower()]
            if read.value < under:
                read = read._replace(value=read.value / under, end=part.end(), under=under)
        yield read


def _one_part(text: str, match: re.Match[str]) -> Numeral:
    """ "One-third", "a third of", "half a", the last with what it is half of."""
    under = PART_OF_ONE.get((match[1] or match[2] or "half").lower(), 2)
    return _scaled(text, Numeral(Decimal(1) / under, *match.span(), under=under))


def _and_a_half(read: Numeral, end: int) -> Numeral:
    return read._replace(value=read.value + Decimal("0.5"), end=end, under=2)


def _scaled(text: str, read: Numeral) -> Numeral:
    """The numeral with the "million" that may follow."""
    if not (scale := SCALED.match(text, read.end)):
        return read
    return read._replace(value=read.value * SCALES[scale[1].lower()], end=scale.end(), under=0)


def _sum(words: list[str]) -> int:
    """The value of well-formed number words; "nineteen forty-two" is read as a year."""
    total = group = 0
    for word in words:
        value = CARDINALS.get(word) or ORDINALS.get(word) or (1 if word in ("a", "an") else 0)
        if value >= 1000:
            total, group = total + (group or 1) * value, 0
        elif word in SCALES or word in ("hundredth", "dozenth"):
            group = (group or 1) * value
        elif word in ("oh", "aught", "ought"):
            group *= 100
        elif 10 <= group <= 20 and value >= 10:
            group = group * 100 + value
        else:
            group += value
    return total + group

"""Finds the numerals in a text: digits in every script, number words of English, roman ones.

A numeral is what a number begins with: "12,500", "18 1/2", "twenty-first", "half a million", "the
sixties", "XVII" of a century or a king. What follows it, a unit or an era, `numbers` reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal

from .quantities import SPACE, UNIT_NAME, Number

# What follows an ordinal where it is a century: "18th century", "15th-c.", "15. Jahrhundert"; "the
# 4th c. 1850" is around 1850.
A_CENTURY = (
    r"[\s-]+(?i:century\b|c(?:ent)?\.(?!\s*\d)|jahrhunderts?\b|jhs?\.|si[eè]cle\b|secolo\b|sec\."
    r"|eeuw\b)"
)
CENTURY = re.compile(rf"{A_CENTURY}|[\s-]+(?i:centuries|jahrhunderten?|si[eè]cles|secoli|eeuwen)\b")
MILLENNIUM = re.compile(r"[\s-]+(?i:millenni(?:um|a|o)|jahrtausends?|mill[eé]naire)\b")
GERMAN = r"(?i:\s+(?:und|bis|oder)\s+\d+\.)?\s+(?i:jahrhundert|jh)"  # after the dot of "17."

# Words of numbers.
ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"]
TEENS += ["eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
# As they follow digits in other languages: "1,5 Millionen", "2,5 miljoen", "30 milliards".
ABROAD = {"tausend": 10**3, "duizend": 10**3, "mila": 10**3}
ABROAD |= dict.fromkeys(("mio", "millionen", "millions", "miljoen", "milioni", "millones"), 10**6)
ABROAD |= dict.fromkeys(("mrd", "milliarden", "milliards", "miljard", "miliardi"), 10**9)
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
IRREGULAR |= {"nine": "ninth", "twelve": "twelfth"}


def ordinal_of(word: str) -> str:
    """ "third" of "three"."""
    return IRREGULAR.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")


CARDINALS = {word: value for value, word in enumerate(ONES + TEENS, 1)}
CARDINALS |= {word: 10 * value for value, word in enumerate(TENS, 2)}
ORDINALS = {ordinal_of(word): value for word, value in (CARDINALS | SCALES).items()}
OTHERS = {"a": 1, "an": 1, "oh": 0, "aught": 0, "ought": 0}
VALUES = CARDINALS | SCALES | ORDINALS | OTHERS


def _any(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


# "A hundred" and "nineteen oh five", and of "eighteen hundreds" all but the s.
WORD = re.compile(
    rf"\b(?=[{''.join(sorted({word[0] for word in VALUES}))}])(?:{_any([*CARDINALS, *ORDINALS])}\b"
    rf"|(?:hundred(?=s?\b)|{_any([*SCALES][2:])}\b)"
    rf"|an?(?=[\s-]+{_any(SCALES)}\b)|(?:oh|aught|ought)(?=[\s-]+{_any(ONES)}\b))",
    re.I,
)
JOINT = re.compile(r",?[\s-]+(?:and[\s-]+)?", re.I)  # of two words of one numeral

# Digits: "½", "1/2"; "1.234.567", "1.234,5" and "12.000", but "3.175 mm"; "1998.45.2", which
# numbers an accession; "1,50,000" of India; "12,500.5" with any separator, "1 234,5"; "3.6", ".5".
VULGAR = "½¼¾⅓⅔⅛⅜⅝⅞"
DIGITS = re.compile(
    rf"(?P<part>[{VULGAR}]|(?<![\d/⁄])\d{{1,2}}[/⁄](?:2|3|4|5|6|8|10|12|16|32|64)(?![\d/⁄]))"
    r"|(?P<dotted>[1-9]\d{0,2}(?:(?:\.\d{3}){2,}|\.\d{3}(?=,\d)|\.\d00"
    rf"|\.\d{{3}}(?!{SPACE}{UNIT_NAME}))(?:,\d+)?(?!\d|\.\d))|(?P<code>\d{{1,4}}(?:\.\d+){{2,}})"
    r"|(?P<lakhs>[1-9]\d?(?:,\d\d)+,\d{3}(?![\d,]))"
    r"|(?P<grouped>\d{1,3}(?P<sep>[,'’ \u00a0\u202f\u2009])\d{3}(?:(?P=sep)\d{3})*(?!\d)"
    r"(?:\.\d+|(?<=[^,]\d{3}),\d{1,2}(?![\d,]))?)"
    r"|(?:\d+|(?<![\w.])(?=\.\d))(?:\.\d+|(?<!\d,\d)(?<!\d{4}),\d{1,2}(?![\d,]))?"
)
LARGEST = Decimal(10) ** 15  # what digits repeated without end are, as it can be reckoned with

# What follows a numeral and changes it: "18 1/2", "two and a half", "one and three-quarter",
# "two-thirds", "2.5 million".
PART = re.compile(rf"\s?([{VULGAR}])|[ \u00a0-](\d{{1,2}}[/⁄]\d{{1,2}})(?!\d)")
UNDER = {"third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
AND_PART = re.compile(
    r"[\s-]+and[\s-]+(?:a[\s-]+(half|quarter)\b"
    rf"|(?<=[a-z] and.)({'|'.join(ONES)})[\s-]({'|'.join(UNDER)})s?\b)",
    re.I,
)
PARTS = re.compile(rf"[\s-](halve|{'|'.join(UNDER)})s\b|-(quarter)\b", re.I)
# "one-third", but "one third-century coin"; "a third of it", but "a third vase"; "half a million".
ONE_PART = re.compile(
    rf"\bone[\s-](half|{'|'.join(UNDER)})\b(?![\s-]+centur)"
    rf"|\ban?\s+({'|'.join(UNDER)})(?=\s+of\b|\s*$)|\bhalf\s+an?\b",
    re.I,
)
SCALED = re.compile(rf"[\s\u00a0-]({'|'.join(SCALES | ABROAD)})\b", re.I)
SUFFIX = re.compile(rf"(?:st|nd|rd|th|e|[èe]me|de|ste)\b|(?<=1)(?:er|re)\b|\.(?={GERMAN})", re.I)
# "$1.5m" counts millions.
MONEY = re.compile(r"(?<=[$£€¥])|(?<=[$£€¥]\s)")
OF_MONEY = re.compile(r"\s?(?:(k)|(m|mn)|bn)\b", re.I)

# Times. "nineteen-sixties", "sixties": the plural of the tens is a decade.
PLURAL_TENS = {word[:-1] + "ies": 10 * value for value, word in enumerate(TENS, 2)}
DECADE = re.compile(rf"\b(?:({_any(TEENS)}|twenty)[\s-]+)?({_any(PLURAL_TENS)})\b", re.I)
ROMANS = [
    tens + ones
    for tens in ("", "X", "XX", "XXX")
    for ones in ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
]
# "XVIIe siècle", "XVI-XVII secolo", "XVIIIe", "siglo XVII"; of kings and things: "Louis XIV",
# "Saturn V", but not "Then I"; and years: "MDCCLXXVI".
OTHER_ROMAN = rf"(?:\s?[-–/]\s?|\s(?:and|und|et|e|y|o|ou|en)\s){_any(ROMANS[1:])}"
ROMAN = re.compile(
    rf"\b({_any(ROMANS[1:])})(?:th|st|nd|rd|er?|[èe]me)?(?=(?:{OTHER_ROMAN})?(?:{CENTURY.pattern}))"
    rf"|\b({_any(roman for roman in ROMANS if len(roman) > 1)})(?:e|[èe]me)\b"
    rf"|\b(?i:siglos?|secol[io]|sec\.)\s+({_any(ROMANS[1:])})\b"
    rf"|(?<![^\W_])[^\W\d_a-zß-ÿ][^\W\d_]+ ({_any(ROMANS[2:])})(?![\w-])"
    r"|\b(?=[MDCLXVI]{4})(M{1,2}(?:CM|CD|D?C{0,4})(?:XC|XL|L?X{0,4})(?:IX|IV|V?I{0,4}))\b"
)
ROMAN_SIGNS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
# Of Italian art: "a Quattrocento panel" is of the 15th century.
CENTI = ["duecento", "trecento", "quattrocento", "cinquecento", "seicento", "settecento"]
CENTI += ["ottocento", "novecento"]
CENTO = re.compile(rf"\b{_any(CENTI)}\b", re.I)


def find_numerals(text: str) -> list[Number]:
    """The numerals of `text` in order of appearance, each without what follows it, as a unit."""
    decades = [
        Number(Decimal(100 * teens + PLURAL_TENS[m[2].lower()]), *m.span(), kind="decade")
        for m in DECADE.finditer(text)
        for teens in [CARDINALS.get((m[1] or "").lower(), 0)]
    ]
    romans = [
        Number(_roman(m[group]), m.start(group), m.end(), kind, ordinal=group < 5)
        for m in ROMAN.finditer(text)
        for group, kind in ((1, ""), (2, ""), (3, "century"), (4, ""), (5, ""))
        if m[group]
    ]
    romans += [
        Number(Decimal(13 + CENTI.index(m[0].lower())), *m.span(), kind="century")
        for m in CENTO.finditer(text)
    ]
    parts = list(_parts(text))
    words = [n for n in _words(text, parts) if not any(d.start <= n.start < d.end for d in decades)]
    return sorted([*_digits(text), *words, *decades, *romans, *parts], key=lambda n: n.start)


def _roman(written: str) -> Decimal:
    """ "XIV" is 14: a sign before a larger one is taken off."""
    values = [ROMAN_SIGNS[sign] for sign in written]
    after = [*values[1:], 0]
    return Decimal(sum(v if v >= n else -v for v, n in zip(values, after, strict=True)))


def _digits(text: str) -> Iterator[Number]:
    end = 0
    while match := DIGITS.search(text, end):
        digits, under = match[0], 0
        if match["part"]:
            over, under = _fraction(digits)
            if not 0 < over < under:  # "9/8" is no fraction but two numbers
                digits, under = re.split(r"\D", digits)[0], 0
            value = Decimal(over) / (under or 1)
        elif match["code"]:
            value = Decimal(digits.replace(".", ""))
        elif match["lakhs"]:
            value = Decimal(digits.replace(",", ""))
        elif match["dotted"] or match["grouped"]:
            value = Decimal(digits.replace(match["sep"] or ".", "").replace(",", "."))
        else:
            value = Decimal(digits.replace(",", "."))
        place = match.start(), match.start() + len(digits)
        number = _completed(text, Number(min(value, LARGEST), *place, under=under))
        if match["code"]:
            number = replace(number, kind="code", end=place[1])
        yield number
        end = number.end


def _fraction(written: str) -> tuple[int, int]:
    """What is above and below the line of "½" or "1/2"."""
    over, under = re.split("[/⁄]", unicodedata.normalize("NFKC", written))
    return int(over), int(under)


def _parts(text: str) -> Iterator[Number]:
    """ "One-third", "a third of", "half a"."""
    for match in ONE_PART.finditer(text):
        under = UNDER.get((match[1] or match[2] or "").lower(), 2)
        yield _completed(text, Number(1 / Decimal(under), *match.span(), under=under))


def _words(text: str, parts: list[Number]) -> Iterator[Number]:
    """Number words, joined as long as they make one numeral."""
    number: Number | None = None
    total = group = done = 0
    for match in WORD.finditer(text):
        word = match[0].lower()
        between = text[number.end : match.start()] if number and not number.ordinal else "."
        if joined := _joined(total, group, VALUES[word], between):
            total, group = joined
            start = number.start if number else match.start()
        else:
            if number:
                number = _completed(text, number)
                done = number.end
                yield number
            of_part = any(part.start <= match.start() < part.end for part in parts)
            if match.start() < done or of_part or word in SCALES or not VALUES[word]:
                number = None
                continue
            total, group, start = 0, VALUES[word], match.start()
        ordinal = word in ORDINALS
        number = Number(Decimal(total + group), start, match.end(), ordinal=ordinal)
    if number:
        yield _completed(text, number)


def _joined(total: int, group: int, value: int, between: str) -> tuple[int, int] | None:
    """The thousands and what is below them with one word more; None where it begins another.

    "Nineteen forty-two" and "nineteen oh five" are years.
    """
    if not JOINT.fullmatch(between) or ("," in between and (group or not total)):
        return None
    if "and" in between.lower() and group % 100:
        return None
    year = 10 <= group <= 20 and not total and "and" not in between
    if value >= 1000:
        fits = 0 < group < 1000 and (not total or total >= 1000 * value)
        return (total + group * value, 0) if fits else None
    if value == 100:
        return (total, group * 100) if 0 < group < 100 else None
    if not group % (100 if value >= 10 else 10) and group % 100 != 10 and value:
        return total, group + value
    return (total, group * 100 + value) if year and not 0 < value < 10 else None


def _completed(text: str, number: Number) -> Number:
    """A numeral with the fraction, the scale or the ending of ordinals that may follow."""
    value, end, under = number.value, number.end, number.under
    if text[end - 1].isdigit() and (part := PART.match(text, end)):
        over, below = _fraction(part[1] or part[2])
        if 0 < over < below:
            value, end, under = value + Decimal(over) / below, part.end(), below
    elif part := AND_PART.match(text, end):
        under = UNDER.get((part[1] or part[3]).lower(), 2)
        over = CARDINALS[part[2].lower()] if part[2] else 1
        value, end = value + Decimal(over) / under, part.end()
    elif part := PARTS.match(text, end):
        below = UNDER.get((part[1] or part[2]).lower(), 2)
        if value < below:
            value, end, under = value / below, part.end(), below
    if not number.ordinal and (scale := SCALED.match(text, end)):
        value, end, under = value * (SCALES | ABROAD)[scale[1].lower()], scale.end(), 0
    elif MONEY.match(text, number.start) and (scale := OF_MONEY.match(text, end)):
        value, end = value * (10**3 if scale[1] else 10**6 if scale[2] else 10**9), scale.end()
    suffix = SUFFIX.match(text, end)
    end, ordinal = (suffix.end(), True) if suffix else (end, number.ordinal)
    return replace(number, value=value, end=end, under=under, ordinal=ordinal)

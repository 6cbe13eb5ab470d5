"""A number that a text states, and whether the numbers of another text bear it out."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from operator import attrgetter

# How far a measure may be from the one that it gives in another unit, as a part of it.
ROUNDED = Decimal("0.05")

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
    ("share", "1"): "% percent per_cent",
    ("speed", "1"): "km/h kph kilometres_per_hour kilometers_per_hour",
    ("speed", "1.609344"): "mph miles_per_hour",
    ("speed", "1.852"): "knot knots",
    ("speed", "3.6"): "m/s metres_per_second meters_per_second",
    ("time", "1"): "seconds",
    ("time", "60"): "minute minutes",
    ("time", "3600"): "hour hours",
    ("time", "86400"): "day days night nights",
    ("time", "604800"): "week weeks",
    ("time", "2629800"): "month months",
    ("time", "31557600"): "year years",
    ("time", "315576000"): "decade decades",
    ("time", "3155760000"): "century centuries",
}
# Names of months, short ones and German ones with them.
MONTHS = """january february march april may june july august september october november december
jan feb mar apr jun jul aug sep sept oct nov dec
januar februar märz maerz mai juni juli oktober dezember""".split()  # noqa: SIM905

UNITS: dict[str, tuple[str, Decimal]] = {
    name.replace("_", " "): (dimension, Decimal(size))
    for (dimension, size), names in WRITTEN.items()
    for name in names.split()
}
# "12 in. wide" and "12 in high" measure; "in 1742 in Lowfen" does not.
INCH = r"in\.|in(?=\s+(?:high|wide|long|tall|deep|across|thick|x|×)(?!\w))"
LONGEST_FIRST = sorted(UNITS, key=len, reverse=True)
LETTERS, NAMES = ("|".join(u for u in LONGEST_FIRST if (len(u) > 1) is n) for n in (False, True))
SPACE, UNIT_NAME = r"[\s\u00a0\u202f\u2009-]?", rf"(?:{LETTERS}|(?i:{NAMES}))(?![^\W_])"
UNIT = re.compile(rf"{SPACE}(?:(?P<unit>{UNIT_NAME})|(?P<inch>{INCH}))")


@dataclass(frozen=True)
class Number:
    """One stated number; where it stands (characters `start` to `end`) is not part of it."""

    value: Decimal
    start: int = field(compare=False)
    end: int = field(compare=False)
    kind: str = ""  # "", "millennium", "century", "decade", "war" or "code"
    bc: bool = False
    dimension: str = ""  # of its unit; "" where it has none
    factor: Decimal = Decimal(0)  # its unit in the dimension's base unit
    ordinal: bool = False
    under: int = 0  # the denominator of its fraction, 8 in "13 3/8"; 0 where it has none
    bare: bool = False  # "one", "first" or "second" alone
    cut: bool = False  # a year without its century: "'76", "1914-18"
    amount: bool = False  # of money, or with a separator of thousands

    @cached_property
    def size(self) -> Decimal:
        """Its value in the dimension's base unit; 0 where it has no unit."""
        return self.value * self.factor

    @property
    def last_place(self) -> Decimal:
        """The smallest difference that its wording can tell: 1, 0.1 with a decimal, 1/8 in 3/8."""
        if self.under:
            return Decimal(1) / self.under
        return Decimal(1).scaleb(min(0, int(self.value.as_tuple().exponent)))

    @cached_property
    def years(self) -> range:
        """The years of a decade, century or millennium, those BC negative; else empty."""
        length = {"decade": 10, "century": 100, "millennium": 1000}.get(self.kind)
        if not length or self.value > 9999:
            return range(0)
        first = int(self.value) if self.kind == "decade" else (int(self.value) - 1) * length
        return range(-first - length, -first) if self.bc else range(first, first + length)

    @cached_property
    def year(self) -> int | None:
        """The year it may be, negative BC; of a decade of a known century the first; else None."""
        if self.kind == "decade":
            return self.years[0] if 100 <= self.value <= 9999 else None
        whole = 100 <= self.value < 10_000 and self.value % 1 == 0
        if not whole or self.kind or self.dimension or (self.amount and not self.bc):
            return None
        return -int(self.value) if self.bc else int(self.value)

    @cached_property
    def short(self) -> bool:
        """Whether it is a decade or a year of any century: "the sixties", "'76"."""
        return self.value < 100 and (self.kind == "decade" or self.cut) and not self.bc

    def shortens(self, other: Number) -> bool:
        """Whether it is `other`, a year or decade, without its century."""
        full = self.short and self.kind == other.kind and other.year is not None and not other.bc
        return full and 1000 <= other.value < 3000 and other.value % 100 == self.value

    def covers(self, other: Number) -> bool:
        """Whether it is the century or decade of a year, or the century of a decade.

        "The sixties" are those of any century; yet a year before 1000 is likelier a number of
        something else, so no "sixties" are of it.
        """
        year = other.year
        if not self.kind or year is None:
            return False
        if self.short and year >= 1000:
            return self.kind == "decade" and year % 100 // 10 * 10 == self.value
        return year in self.years

    def rounds(self, other: Number) -> bool:
        """Whether it is `other`, a measure in another unit, rounded to what is written.

        "13.4 inches" rounds "34 cm", as "13 3/8" and "13 inches" do; "13.5 inches" does not. Nor
        does anything more than 5 % away: "1 m" is not "140 cm". In one unit nothing is rounded.
        """
        if self.dimension != other.dimension or self.factor in (0, other.factor):
            return False
        apart = abs(self.value - other.size / self.factor)
        return apart <= min(self.last_place / 2, ROUNDED * self.value)

    def equals(self, other: Number) -> bool:
        """Whether both are the same: equal in value, or in size where both have units.

        "34 mm" is not "34 cm", but "34" may be; "0.34 m" is, and "13.4 inches", as each is the
        other rounded; "500 BC" is not "500". "1st" is a bare "first", but "1" is not. "The sixties"
        are the 1960s, and the 1860s.
        """
        if self.dimension and other.dimension:
            same = (self.dimension, self.size) == (other.dimension, other.size)
            return same or (self.rounds(other) and other.rounds(self))
        if (self.value, self.kind, self.bc) == (other.value, other.kind, other.bc):
            return not other.bare or (self.ordinal == other.ordinal and not self.dimension)
        return self.shortens(other) or other.shortens(self)


_size = attrgetter("size")


class NumberSet:
    """The numbers a text states, asked whether they bear another number out."""

    def __init__(self, numbers: Iterable[Number]) -> None:
        self.equal: dict[tuple[Decimal, str, bool], set[Number]] = {}
        self.measures: dict[str, list[Number]] = {}  # of a dimension, by size
        self.times: set[Number] = set()
        self.short: set[Number] = set()
        for number in numbers:
            self.add(number)

    def add(self, number: Number) -> None:
        """Take one stated number more."""
        equal = self.equal.setdefault((number.value, number.kind, number.bc), set())
        if number in equal:
            return
        equal.add(number)
        if number.dimension:
            insort(self.measures.setdefault(number.dimension, []), number, key=_size)
        elif number.short or number.year is not None:
            (self.short if number.short else self.times).add(number)

    def states(self, number: Number) -> bool:
        """Whether the same number is stated, in whatever wording."""
        return any(number.equals(own) for own in self._near(number))

    def supports(self, number: Number) -> bool:
        """Whether it is stated, rounds a stated measure, or is when a stated time was."""
        return any(
            number.equals(own) or number.rounds(own) or number.covers(own)
            for own in self._near(number)
        )

    def _near(self, number: Number) -> Iterator[Number]:
        """Those that may bear the number out."""
        yield from self.equal.get((number.value, number.kind, number.bc), ())
        if number.dimension:
            own, apart = self.measures.get(number.dimension, []), number.size * 2 * ROUNDED
            first = bisect_left(own, number.size - apart, key=_size)
            yield from own[first : bisect_right(own, number.size + apart, key=_size)]
        elif number.kind or number.short:
            yield from self.short | self.times
        else:
            yield from self.short

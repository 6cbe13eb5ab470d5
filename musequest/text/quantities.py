"""A number that a text states, and whether the numbers of another text bear it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

# How far a measure may be from the one that it gives in another unit, as a part of it.
ROUNDED = Decimal("0.05")


@dataclass(frozen=True)
class Number:
    """One stated number; where it stands (characters `start` to `end`) is not part of it."""

    value: Decimal
    kind: str = ""  # "", "century", "decade" or "war"
    bc: bool = False
    dimension: str = ""  # of its unit; "" where it has none
    factor: Decimal = Decimal(0)  # its unit in the dimension's base unit
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    ordinal: bool = field(default=False, compare=False)
    under: int = field(default=0, compare=False)  # the denominator of its fraction; 0: it has none
    bare: bool = field(default=False, compare=False)  # "one", "first" or "second" alone
    cut: bool = field(default=False, compare=False)  # a year without its century: "'76", "1914-18"
    amount: bool = field(default=False, compare=False)  # of money, or with a separator of thousands

    @property
    def size(self) -> Decimal:
        """Its value in the dimension's base unit; 0 where it has no unit."""
        return self.value * self.factor

    @property
    def last_place(self) -> Decimal:
        """The smallest difference that its wording can tell: 1, 0.1 with a decimal, 1/8 in 3/8."""
        if self.under:
            return Decimal(1) / self.under
        exponent = self.value.as_tuple().exponent
        return Decimal(1).scaleb(min(0, exponent) if isinstance(exponent, int) else 0)

    @property
    def years(self) -> range:
        """The years of a century or decade, those BC negative; empty for other numbers."""
        if self.kind not in ("century", "decade") or self.value > 9999:
            return range(0)
        length = 10 if self.kind == "decade" else 100
        first = int(self.value) if self.kind == "decade" else (int(self.value) - 1) * 100
        return range(-first - length, -first) if self.bc else range(first, first + length)

    @property
    def short(self) -> bool:
        """Whether it is a decade or a year of any century: "the sixties", "'76"."""
        return self.value < 100 and (self.kind == "decade" or self.cut) and not self.bc

    def covers(self, year: int) -> bool:
        """Whether the year lies in its century or decade; "the sixties" are those of any century.

        A year before 1000 is likelier a number of something else, so no "sixties" are of it.
        """
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


class NumberSet:
    """The numbers a text states, asked whether they bear another number out."""

    def __init__(self, numbers: Iterable[Number]) -> None:
        self.units: dict[tuple[Decimal, str, bool], set[tuple[str, Decimal]]] = {}
        self.measures: dict[tuple[str, Decimal], Number] = {}
        self.years: set[int] = set()
        self.bare: set[tuple[Decimal, bool]] = set()
        self.endings: set[tuple[str, Decimal, bool]] = set()
        for number in numbers:
            self.add(number)

    def add(self, number: Number) -> None:
        """Take one stated number more."""
        if number.bare:
            self.bare.add((number.value, number.ordinal))
            return
        if ending := _ending(number):
            self.endings.add(ending)
        unit = (number.dimension, number.size)
        self.units.setdefault(_key(number), set()).add(unit)
        if number.dimension:
            self.measures[unit] = number
        elif number.kind == "decade" and number.value >= 100:
            self.years.update(number.years)
        elif _may_be_year(number):
            self.years.add(-int(number.value) if number.bc else int(number.value))

    def states(self, number: Number) -> bool:
        """Whether the same number is stated: equal in value, or in size where both have units.

        "34 mm" is not "34 cm", but "34" may be; "0.34 m" is, and "13.4 inches", as each is the
        other rounded; "500 BC" is not "500". "1st" is "first", but "1" is not. "The sixties" are
        the 1960s, and the 1860s.
        """
        if number.dimension and (number.dimension, number.size) in self.measures:
            return True
        units = self.units.get(_key(number), set())
        if ("", Decimal(0)) in units if number.dimension else bool(units):
            return True
        if not number.dimension:
            return self._states_bare(number) or self._states_ending(number)
        return any(number.rounds(own) and own.rounds(number) for own in self.measures.values())

    def supports(self, number: Number) -> bool:
        """Whether it is stated, rounds a stated measure, or is when a stated time was.

        That is: the century or decade of a stated year, or the century of a stated decade.
        """
        if self.states(number):
            return True
        if number.kind:
            return any(number.covers(year) for year in self.years)
        return bool(number.dimension) and any(map(number.rounds, self.measures.values()))

    def _states_bare(self, number: Number) -> bool:
        """Whether "1", "1st" or "2nd" is here as "one", "first" or "second"."""
        plain = not (number.kind or number.bc)
        return plain and (number.value, number.ordinal) in self.bare

    def _states_ending(self, number: Number) -> bool:
        """Whether a decade or year without its century is here with it, or the other way round."""
        ending = _ending(number)
        return bool(ending) and (ending[0], ending[1], not ending[2]) in self.endings


def _key(number: Number) -> tuple[Decimal, str, bool]:
    return number.value, number.kind, number.bc


def _ending(number: Number) -> tuple[str, Decimal, bool] | None:
    """Of a year or decade: its kind, what it is in its century, and whether it is short."""
    full = number.kind == "decade" or _may_be_year(number)
    if not (number.short or full and 1000 <= number.value < 3000 and not number.bc):
        return None
    return number.kind, number.value % 100, number.short


def _may_be_year(number: Number) -> bool:
    whole = 100 <= number.value < 10_000 and number.value % 1 == 0
    return whole and not number.kind and (number.bc or not number.amount)

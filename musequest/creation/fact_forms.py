"""The facts of one exhibit in the forms that wordings need: what goes together, how it reads."""

from __future__ import annotations

import random
import re

from . import wordings as tables

ORDER = (
    "maker", "culture", "place", "date", "material", "technique", "measures", "weight",
    "detail", "significance",
)  # fmt: skip
CLAUSES = ("detail", "significance")

YEAR = re.compile(r"\d{3,4}s?|\d{1,2}(st|nd|rd|th) century", re.I)
NEAR_YEAR = re.compile(r"(about|around|before|after|between|by|in|circa|c\.|ca\.) .*\d.*", re.I)
PARTICIPLE = re.compile(r"\w+(ed|en|wn|st|lt|ut|nd|un|ung|set|ade|ound|ought)", re.I)
DIMENSION = re.compile(r".*\d.* (high|tall|wide|broad|long|deep|thick|across|around|round)", re.I)
PLACE = re.compile(r"\{(\w+)\}")
# One mark too many, as in "This is U.S.." and "This is Who is it?.".
DOUBLE_STOP = re.compile(r"([.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*)[.\u3002]$")
# "its dimensions are", "its status is"
PLURAL = re.compile(r"[a-z](?<![aius])s$")
INNER_STOP = re.compile(r"[.!?]\s+[A-Z]")
# Words that a clause may start with and that are written small inside a sentence.
SMALL = re.compile(
    r"(It|Its|The|A|An|This|These|They|Their|He|His|She|Her|In|On|At|Each|Every|One|Only|Some|Many"
    r"|Most|No|When|After|Before|Under|Inside|Around|Fine|Traditionally)\b"
)


class Facts:
    """Facts by name, empty ones left out, white space and closing stops evened out.

    A name that differs from a known one in capitals or spaces alone ("Date", " maker") is that one.
    """

    def __init__(self, facts: dict[str, str]):
        even = {_known(name, facts): " ".join(str(value).split()) for name, value in facts.items()}
        self.values = {name: value.rstrip(".") for name, value in even.items() if value.strip(". ")}

    def keys(self) -> list[str]:
        """Return the names in a catalogue's order, unknown ones last."""
        return [name for name in ORDER if name in self.values] + sorted(
            name for name in self.values if name not in ORDER
        )

    def grouped(self, keys: list[str], rng: random.Random, merging: float) -> list[tuple[str, ...]]:
        """Return which facts share a sentence; two that may do so with probability `merging`."""
        pairs = [pair for pair in tables.WORDINGS if len(pair) == 2 and self._mergeable(pair)]
        rng.shuffle(pairs)
        partner: dict[str, tuple[str, ...]] = {}
        for pair in pairs:
            free = all(key in keys and key not in partner for key in pair)
            if free and rng.random() < merging:
                partner |= dict.fromkeys(pair, pair)
        return list(dict.fromkeys(partner.get(key, (key,)) for key in keys))

    def wordings(self, group: tuple[str, ...]) -> tuple[str, ...]:
        """Return the wordings that suit the form of the group's values, plainest first."""
        name = group[0]
        value = self.values[name]
        if name not in ORDER:
            if INNER_STOP.search(value) or SMALL.match(value):
                return tables.ANY_TEXT
            return tables.ANY_SEVERAL if PLURAL.search(name) else tables.ANY_OTHER
        if name in CLAUSES and INNER_STOP.search(value):
            return (f"{{{name.capitalize()}}}.",)
        if name == "technique" and not self._is_participle():
            return tables.TECHNIQUE_AS_NOUN
        if name == "measures" and not DIMENSION.fullmatch(value):
            return tables.MEASURES_AS_NUMBERS if len(group) == 1 else tables.MEASURES_AND_WEIGHT
        if group == ("culture",) and not value.startswith("the "):
            return tables.CULTURE_AS_LABEL
        if group == ("culture",) and "maker" in self.values:
            return tables.CULTURE_BESIDE_MAKER
        options = tables.WORDINGS[group]
        if "date" in group and not self._when():
            return tuple(each for each in options if "{when}" not in each)
        return options

    def fill(self, wording: str, group: tuple[str, ...], subject: str, inner: str) -> str:
        """Return the sentence of a group; `subject` stands at its start, `inner` within it.

        The places of a wording are those of the tables alone, whatever names and values hold.
        """
        forms = {"S": subject, "s": inner, "when": self._when()}
        for name in ORDER:
            value = self.values.get(name, "")
            forms[name] = lower_first(value) if name in CLAUSES else value
            forms[name.capitalize()] = upper_first(value)
        forms |= {"name": " ".join(group[0].replace("_", " ").split())}
        forms |= {"value": self.values.get(group[0], "")}
        return even_stops(PLACE.sub(lambda match: forms[match[1]], wording))

    def _mergeable(self, pair: tuple[str, ...]) -> bool:
        if not all(name in self.values for name in pair):
            return False
        if "culture" in pair:
            return self.values["culture"].startswith("the ") and "maker" not in self.values
        return "technique" not in pair or self._is_participle()

    def _is_participle(self) -> bool:
        return bool(PARTICIPLE.fullmatch(self.values["technique"].split()[0].rstrip(",")))

    def _when(self) -> str:
        """The date behind a verb ("in 1742", "about 1618"); empty where it has another form."""
        date = self.values.get("date", "")
        if YEAR.fullmatch(date):
            return f"in {date}" if date[-1] in "0123456789" else f"in the {date}"
        return date if NEAR_YEAR.fullmatch(date) else ""


def even_stops(sentence: str) -> str:
    """Return the sentence with one mark at its end, where what it tells brought its own."""
    return DOUBLE_STOP.sub(r"\1", sentence)


def _known(name: str, facts: dict[str, str]) -> str:
    """The known name that is meant, unless it stands in the facts itself."""
    plain = name.strip().casefold()
    return plain if plain in ORDER and (plain == name or plain not in facts) else name


def upper_first(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def lower_first(text: str) -> str:
    """Return the text to stand inside a sentence; names keep their capital letter."""
    return text[:1].lower() + text[1:] if SMALL.match(text) else text

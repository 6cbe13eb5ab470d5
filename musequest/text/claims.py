"""Checks what an answer says of an exhibit's properties, claim by claim, against structured facts.

    check_claims("Made in 1903, restored in 1742.", {"date": "1742"})    # {"date": "wrong"}

Facts are an exhibit's own (`facts` of exhibits.parquet) or those in the details that a museum's
record gives. A claim is found by what it hangs on: a date by the event it is the date of, a name by
its preposition and verb, a measure by its unit and axis, a material by its word; or by a label, as
in "Medium: oil on canvas". The rules are for English, and where they doubt they say nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Literal

from .facts import FUNCTION_WORDS, capitalised, fold
from .numbers import find_numbers, known_numbers
from .quantities import Number, NumberSet

Verdict = Literal["right", "wrong", "missing"]
# What a label of a fact, or of a line in an answer, is the label of.
PROPERTIES = {
    "measures": r"measure|dimension|size|height|width|length|depth|weight|diameter|overall",
    "donor": r"donor|donated|gift|bequest|given by|credit line",
    "date": r"(?!.*(?:acqui|acces|found|restor|exhib))(?:.*\b(?:date|dated|year|period|made in)\b)",
    "place": r"(?!.*(?:found|now|current))(?:.*\b(?:place|origin|country)\b)",
    "maker": r"maker|made by|artist|author|creator|designer|manufactur|painter|sculptor|photograph"
    r"|builder|printer|workshop",
    "material": r"material|medium|media\b|physical desc",
    "culture": r"culture|people|tribe|ethnic",
}
RECORD = re.compile(r"From the museum's record: (.*)")  # as creation.museums writes it
GIVEN_BEFORE = re.compile(r"\b(?:given|donated|presented|bequeathed)\b[^,]*$", re.I)
LABEL = re.compile(r"(?:^|[.;\n]\s+|[*_])([A-Z][A-Za-z ]{2,24})[*_]*:[*_]*\s+")
UNSTATED = re.compile(r"unknown|not (?:stated|known|recorded)|anonymous|n/?a|[-–?]", re.I)
GIVEN = re.compile(r"(?:gift|bequest|donation) of|(?:given|donated|presented|bequeathed) by", re.I)

# Verbs of making, and others. Any other word in -ed is of another event than the making.
MADE = set(
    """made built cast carved carves woven wove weaves thrown threw painted glazed fired
    crafted created creates produced manufactured forged hammered sculpted drawn drew printed
    published engraved etched designed finished completed written wrote composed minted struck
    sewn embroidered assembled constructed taken dates dating dated comes came began
    originates originated signed""".split()  # noqa: SIM905
)
OTHER = set(
    """found bought sold given gave gift bequest lent dug won worn wore lost rebuilt born kept
    held left shown flown met led lit stolen burnt brought sent took stood fell rose hung laid
    lay set ran runs drove rode stands bore bears""".split()  # noqa: SIM905
)
MATERIALS = set(
    """acrylic alabaster albumen aluminium aluminum amber ash bamboo basalt beech birch bisque
    bone brass bronze canvas cardboard cedar chalk charcoal cherry chrome clay concrete copper
    coral cotton crystal ebony earthenware elm enamel faience felt flax fur gelatin glass gold
    granite hemp horn ink iron ivory jade jasper jute lacquer lead leather lime limestone
    linen mahogany maple marble nickel nylon oak obsidian oil paper papyrus parchment pastel
    pear pearl pewter pine plaster plastic plywood poplar porcelain quartz rosewood rubber
    sandstone sapphires satin shell silk silver slate spruce steel stoneware straw teak
    tempera terracotta tin titanium vellum velvet walnut watercolor watercolour wax whalebone
    willow wool zinc""".split()  # noqa: SIM905
)
# Within a sentence a word with a capital is part of a name: "Veyra Crystal Works".
MATERIAL = re.compile(r"(?<![^\W_])[a-zß-ÿ]+|(?:(?<=[.:;,(\n] )|^)[^\W\d_]+")
MADE_OF = re.compile(
    r"(?:made of|made from|material(?: is|:)|medium:|carved from)\s+(?:[\w-]+\s+){0,2}$", re.I
)
NO_MATERIAL_AFTER = {"the", "a", "an", "its", "his", "her", "their", "every", "each"}
AXES = {
    "height": r"high|tall|height|h", "width": r"wide|broad|width|w", "length": r"long|length|l",
    "depth": r"deep|depth|d", "diameter": r"across|diameter", "girth": r"around|circumference",
}  # fmt: skip
AXIS = "|".join(f"(?P<{axis}>{words})" for axis, words in AXES.items())
AXIS_AFTER = re.compile(rf"\s*(?:in\s+)?(?:{AXIS})(?![^\W_])", re.I)
AXIS_BEFORE = re.compile(rf"(?<![^\W_])(?:{AXIS})[.:]?\s*(?:(?:is|of)\s+)?$", re.I)
TOO_LONG = 1000  # metres: km and miles are no units of an exhibit's measures

# An abbreviation's dot ends no sentence.
ABBREVIATED = re.compile(r"\b(Mrs?|Ms|Dr|St|Co|Capt|Prof|No|ca?|Acc|[A-Z])\.(?=\s*[\w&(])")
SENTENCE = re.compile(r"(?:[^.;!?\n]|(?<=[\d.])[.](?=\d)|\.(?=[A-Z]\.))+")
WORD = re.compile(r"[^\W\d_]+")
# Where a phrase that names somebody or some place ends.
END = re.compile(
    r"[,.;:()\[\]\n–—]|\s(?:in|at|on|about|around|circa|from|between|before|after|during|who|which|that"
    r"|for|with|to|when|as|until|near|while|and(?=\s+(?:[a-z]|[A-Z]\w+\s+(?:was|is|has)\b))|was|were"
    r"|is|has|had|dates|weighs|measures)\s",
    re.I,
)
BY = re.compile(r"\b(?:by|work of|hands of|tradition of|world of|culture (?:is given )?as)\s+")
PLACED = re.compile(r"\b(?:in|at|from|near|making is)\s+", re.I)
MAKES = re.compile(r"\s(\w+)\s+(?:it|this|the|an?|its|them)\b")
GIVES = re.compile(r"\s(?:gave|donated|bequeathed|presented|left)\s+(?:it|this|the)\b")
NEAR = 80  # characters in which a phrase, or what a word hangs on, stands
# What stands before a verb whose subject is not the maker.
OTHER_CLAUSE = re.compile(r"[,;:.()]|\b(?:that|which|who|when|where|while|because)\s")
NO_SUBJECT = {"was", "were", "is", "are", "been", "be", "being", "and", "or", "it", "then", "also"}
LIFE = re.compile(r"\([^()\d]*\d{4}\s*[-–]\s*\d{4}\)")  # "(1698-1771)"
OF_DATE = re.compile(
    r"(?:\b(?:in|about|around|circa|ca?\.?|from|of|between|and|to|since|late|early|mid|AD|the)"
    r"|[,(:–-])[\s-]*$",
    re.I,
)
DATED_FROM = re.compile(r"\b(?:from|of)\s+(?:(?:the|about|around|early|late|mid)[\s-]+)*$", re.I)
COUNTED = re.compile(r"\s+(?!was|is|has|this|its|as)[a-z-]+s\b")  # "1200 coins"


def facts_of(told: Mapping[str, str], description: str = "", credit: str = "") -> dict[str, str]:
    """Property -> value of what an exhibit's facts, or its museum's record, tell.

    `told` are its own facts, a label each; without any, the labels of the details with which a
    Smithsonian's or Chicago's description ends. Other properties than those of PROPERTIES are left
    out, as is what nobody knows.
    """
    pairs = list(told.items())
    if not pairs and (record := RECORD.search(description)):
        pairs = list(_labelled(record[1]))
    if GIVEN.match(credit):
        pairs.append(("donor", credit.split(",")[0]))
    found: dict[str, list[str]] = {}
    for label, value in pairs:
        if (name := property_of(label)) and not UNSTATED.fullmatch(value.strip()):
            found.setdefault(name, []).append(value)
    return {name: "; ".join(values) for name, values in found.items()}


def property_of(label: str) -> str:
    """Which of PROPERTIES a label is of; "" of none."""
    label = label.replace("_", " ").strip()
    matches = (name for name, words in PROPERTIES.items() if re.match(words, label, re.I))
    return next(matches, "")


def check_claims(answer: str, facts: Mapping[str, str], sources: str = "") -> dict[str, Verdict]:
    """Property -> whether the answer has it right, wrong, or does not tell it.

    `sources` is all that the exhibit's texts say, its title in the first line: saying that is no
    claim, and materials, measures and places of other things that the texts tell of are not held
    against the answer.
    """
    if title := sources.partition("\n")[0]:
        answer = answer.replace(title, " it ")
    text = ABBREVIATED.sub(r"\1", answer)
    found: dict[str, set[bool]] = {name: set() for name in facts}
    for name, verdict in _verdicts(text, facts, sources):
        if name in found:
            found[name].add(verdict)
    # A label without verbs: "Ilse Varn, Vase, 1742".
    label = " ".join(s[0] for s in SENTENCE.finditer(text) if not list(events_of(s[0])))
    for name in found.keys() & {"maker", "place", "culture", "donor"}:
        if not found[name] and names_in(facts[name]) and names_in(facts[name]) <= _words(label):
            found[name].add(True)
    return {name: _verdict(name, verdicts) for name, verdicts in found.items()}


def _verdict(name: str, verdicts: set[bool]) -> Verdict:
    """A wrong word beside a right one is an error, but not a second date of making."""
    if not verdicts:
        return "missing"
    return "right" if (True in verdicts if name == "date" else False not in verdicts) else "wrong"


def _verdicts(text: str, facts: Mapping[str, str], sources: str) -> Iterator[tuple[str, bool]]:
    """Each claim that is found: its property, and whether the facts bear it out."""
    labelled = list(_labelled(text))
    for label, value in labelled:
        name = property_of(label)
        if name in ("maker", "place", "culture", "donor") and name in facts:
            yield name, _agree(GIVEN.sub("", value), facts[name])
    known = known_numbers(facts.get("date", ""))
    for sentence in SENTENCE.finditer(text):
        events = list(events_of(sentence[0]))
        yield from _named(sentence[0], events, facts, sources)
        for number in find_numbers(sentence[0]):
            if is_date(sentence[0], number) and of_making(sentence[0], number, events):
                yield "date", _same_time(number, known)
    yield from _materials(text, facts, sources)
    yield from _measures(text, facts, sources)


def _labelled(text: str) -> Iterator[tuple[str, str]]:
    """The labels of a text and what follows each: "Medium: oil on canvas"."""
    labels = list(LABEL.finditer(text))
    for label, after in zip_longest(labels, labels[1:]):
        value = text[label.end() : after.start() if after else len(text)]
        yield label[1], value.split("\n")[0].strip(" .;*_")


def events_of(sentence: str) -> Iterator[tuple[int, bool]]:
    """Where a verb stands, and whether it is one of making."""
    for match in WORD.finditer(sentence):
        word = match[0].lower()
        if word in MADE or word in OTHER or (word.endswith("ed") and len(word) > 4):
            yield match.start(), word in MADE


def _made(place: int, events: list[tuple[int, bool]]) -> bool:
    """Whether what stands there tells of the making: by the last verb before it, else the first."""
    last = bisect_left(events, (place, False)) - 1
    return events[max(0, last)][1] if events else True


def is_date(text: str, number: Number) -> bool:
    """Whether a number of the text is a year, decade or century of something."""
    if number.kind in ("century", "decade"):
        return True
    written = bool(OF_DATE.search(text, max(0, number.start - 16), number.start))
    if number.year is None or COUNTED.match(text, number.end):
        return False
    return written or number.bc or (1000 <= number.value < 2100 and text[number.start].isdigit())


def of_making(text: str, number: Number, events: list[tuple[int, bool]]) -> bool:
    """Whether a date of a sentence, whose `events_of` are given, is that of the making."""
    near = max(0, number.start - NEAR)
    lives = LIFE.finditer(text, near, number.end + NEAR)
    if any(life.start() < number.start < life.end() for life in lives):
        return False
    first = not events or number.start < events[0][0]
    if first and DATED_FROM.search(text, near, number.start):
        return True
    return _made(number.start, events)


def _same_time(number: Number, known: NumberSet) -> bool:
    """Whether a date is one of the fact's, lies between two of them, or within its century."""
    own = [each for numbers in known.equal.values() for each in numbers]
    years = [each.year for each in own if each.year is not None]
    between = number.year is not None and years and min(years) <= number.year <= max(years)
    return bool(between or known.supports(number) or any(each.covers(number) for each in own))


def _named(
    sentence: str, events: list[tuple[int, bool]], facts: Mapping[str, str], sources: str
) -> Iterator[tuple[str, bool]]:
    """Claims of who made it, who gave it, and where it was made."""
    makers = [facts[name] for name in ("maker", "culture") if name in facts]
    donors = [facts["donor"]] if "donor" in facts else []
    who = "maker" if "maker" in facts else "culture"
    for given, phrase in deeds_of(sentence, events):
        own = donors if given else makers
        yield "donor" if given else who, any(_agree(phrase, each) for each in own)
    for match in PLACED.finditer(sentence):
        names = names_in(_phrase(sentence, match.end()))
        if names and (match[0].startswith("making") or (events and _made(match.start(), events))):
            right = bool(names & names_in(facts.get("place", "")))
            if right or not names <= _words(sources + " ".join(makers)):
                yield "place", right


def deeds_of(sentence: str, events: list[tuple[int, bool]]) -> Iterator[tuple[bool, str]]:
    """Who is said to have given it (True) or to have made it (False), each with a name."""
    for match in BY.finditer(sentence):
        phrase, given = _phrase(sentence, match.end()), _gives(sentence, match.start())
        if names_in(phrase) and (given or _made(match.start() + 1, events)):
            yield given, phrase
    for match in re.finditer(r"\b(?:gift|bequest|donation) of\s+", sentence, re.I):
        if names_in(phrase := _phrase(sentence, match.end())):
            yield True, phrase
    for given, verbs in ((True, GIVES), (False, MAKES)):
        for match in verbs.finditer(sentence):
            subject = _subject(sentence, match.start())
            if names_in(subject) and (given or match[1].lower() in MADE):
                yield given, subject


def _gives(sentence: str, place: int) -> bool:
    return bool(GIVEN_BEFORE.search(sentence, max(0, place - NEAR), place))


def _phrase(text: str, start: int) -> str:
    """What is named there, up to the next comma, preposition or verb."""
    end = END.search(text, start, start + NEAR)
    return text[start : end.start() if end else start + NEAR]


def _subject(text: str, end: int) -> str:
    """Who or what a verb has before it; "" where that is no name."""
    before = OTHER_CLAUSE.split(text[max(0, end - NEAR) : end])[-1]
    return "" if not before.split() or before.split()[-1].lower() in NO_SUBJECT else before


def names_in(text: str) -> set[str]:
    """Words with a capital; titles of people are none."""
    return {name for name, _, _ in capitalised(text)} - {"mrs", "mr", "ms", "dr", "capt"}


def _words(text: str) -> set[str]:
    words = {fold(match[0]) for match in WORD.finditer(text)} - FUNCTION_WORDS
    return words - {"mrs", "mr", "ms", "dr", "captain", "capt", "co"}


def _agree(said: str, fact: str) -> bool:
    """Whether more than half of the words of one are in the other, "Varn" being "Ilse Varn"."""
    ours, theirs = ({word.rstrip("s") for word in _words(text)} for text in (said, fact))
    return len(ours & theirs) > min(len(ours), len(theirs)) / 2


def _materials(text: str, facts: Mapping[str, str], sources: str) -> Iterator[tuple[str, bool]]:
    """Words for materials, but none after an article: "the silver mine"."""
    own, told = _words(facts.get("material", "")), _words(sources)
    if not own & MATERIALS:
        return
    before = ""
    for match in MATERIAL.finditer(text):
        word = match[0].lower()
        said = word not in told and before not in NO_MATERIAL_AFTER
        if word in MATERIALS and (
            word in own or said or MADE_OF.search(text, max(0, match.start() - NEAR), match.start())
        ):
            yield "material", word in own
        before = word


def _measures(text: str, facts: Mapping[str, str], sources: str) -> Iterator[tuple[str, bool]]:
    """Lengths and weights, each along its axis where both sides name one."""
    fact = facts.get("measures", "")
    own = {number: axis_of(fact, number) for number in find_numbers(fact)}
    known, told = known_numbers(fact), known_numbers(sources)
    for number in find_numbers(text):
        length = number.dimension == "length" and number.factor < TOO_LONG
        if not (length or number.dimension == "mass"):
            continue
        if not any(number.dimension == each.dimension for each in own):
            continue
        right = known.supports(number)
        axes = {axis for each, axis in own.items() if NumberSet([each]).supports(number)}
        axis = axis_of(text, number)
        if right and axis and axis in own.values() and axes.isdisjoint((axis, "")):
            right = False
        if right or not told.supports(number):
            yield "measures", right


def axis_of(text: str, number: Number) -> str:
    """The axis of a measure, "" where none is named: "47 cm high", "H. 47 cm"."""
    after = AXIS_AFTER.match(text, number.end)
    match = after or AXIS_BEFORE.search(text, max(0, number.start - 20), number.start)
    return (match.lastgroup or "") if match else ""

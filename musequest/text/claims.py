"""Checks what an answer says of an exhibit's properties, claim by claim, against structured facts.

    check_claims("Made in 1903, restored in 1742.", {"date": "1742"})    # {"date": "wrong"}

Facts are an exhibit's own or those that a museum's record gives. A claim hangs on something: a date
on its event, a name on its verb and preposition, a measure on unit and axis, a material on its word
and colour; or on a label ("Medium: oil on canvas"). The rules are for English, in doubt silent.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from ..core.keys import read_yaml
from .facts import FUNCTION_WORDS, capitalised, fold
from .numbers import find_numbers, known_numbers
from .quantities import Number, NumberSet
from .titles import title_pattern

Verdict = Literal["right", "wrong", "missing"]
RECORD = re.compile(r"From the museum's record: (.*)")  # as creation.museums writes it
GIVEN_BEFORE = re.compile(r"\b(?:given|donated|presented|bequeathed)\b[^,]*$", re.I)
LABEL = re.compile(r"(?:^|[.;\n]\s+|[*_])([A-Z][A-Za-z ]{2,24})[*_]*:[*_]*\s+")
UNSTATED = re.compile(r"unknown|not (?:stated|known|recorded)|anonymous|n/?a|[-–?]", re.I)
GIVEN = re.compile(r"(?:gift|bequest|donation) of|(?:given|donated|presented|bequeathed) by", re.I)

LEXICON = read_yaml(Path(__file__).with_suffix(".yaml"))
PROPERTIES: dict[str, str] = LEXICON["properties"]
MADE, OTHER, MATERIALS, COLOURS = (
    frozenset(LEXICON[words].split()) for words in ("made", "other", "materials", "colours")
)
NO_CULTURE, NO_NAMES, NO_SUBJECT, NO_MATERIAL_AFTER = (
    frozenset(LEXICON["none_of"][words].split())
    for words in ("culture", "names", "subject", "material_after")
)
# Within a sentence a word with a capital is part of a name: "Veyra Crystal Works".
MATERIAL = re.compile(r"(?<![^\W_])[a-zß-ÿ]+|(?:(?<=[.:;,(\n] )|^)[^\W\d_]+")
MADE_OF = re.compile(
    r"(?:made of|made from|material(?: is|:)|medium:|carved from)\s+(?:[\w-]+\s+){0,2}$", re.I
)
AXIS = "|".join(f"(?P<{axis}>{words})" for axis, words in LEXICON["axes"].items())
AXIS_AFTER = re.compile(rf"\s*(?:in\s+)?(?:{AXIS})(?![^\W_])", re.I)
AXIS_BEFORE = re.compile(rf"(?<![^\W_])(?:{AXIS})[.:]?\s*(?:(?:is|of)\s+)?$", re.I)
TOO_LONG = 1000  # metres: km and miles are no units of an exhibit's measures

# An abbreviation's dot ends no sentence.
ABBREVIATED = re.compile(r"\b(Mrs?|Ms|Dr|St|Co|Capt|Prof|No|ca?|Acc|[A-Z])\.(?=\s*[\w&(])")
SENTENCE = re.compile(r"(?:[^.;!?\n]|(?<=[\d.])[.](?=\d)|\.(?=[A-Z]\.))+")
WORD = re.compile(r"[^\W\d_]+")
# Where a phrase that names somebody or some place ends.
END = re.compile(
    r"[,.;:()\[\]\n–—]|\s(?:by|in|at|on|about|around|circa|from|between|before|after|during|who|which|that"
    r"|for|with|to|when|as|until|near|while|and(?-i:(?=\s+(?:[a-z]|[A-Z]\w+\s+(?:was|is|has)\b)))|was|were"
    r"|is|has|had|dates|weighs|measures)\s",
    re.I,
)
BY = re.compile(
    r"\b(?:by|work of|hands of|tradition of|world of|culture (?:is given )?as|(attributed to))\s+"
)
# "Utagawa Hiroshige (1797-1858), The Great Wave".
NAME_PART = r"(?:[^\W\d_a-z][\w.'’-]*|v[ao]n|d[eiau]|der|den|l[ae]|ibn|and|&)"
LED_BY = re.compile(
    rf"\s*({NAME_PART}(?: {NAME_PART}){{0,5}})\s*\([^()]*\d{{4}}\s*[-–]\s*\d{{4}}\),"
)
# "This Chinese print", "An Egyptian bowl".
OF_PEOPLE = re.compile(
    r"\s*(?:It is |This is )?(?:[Aa]n?|The|This)\s(?:[a-z-]+\s){0,2}"
    r"([^\W\d_a-z]\w*(?:ese|[ie]an|can|ish|ench|utch|reek|oman))\s(?=[a-z])"
)
PLACED = re.compile(r"\b(?:in|at|from|near|making is)\s+", re.I)
# "A vase from Orsey", but not "A scene from Homer".
THING_FROM = re.compile(
    r"\s*(?:An?|The|This)\s(?!scene|page|leaf|story|passage|verse|letter|gift|loan|view|figure)"
    r"(?:[\w'’-]+\s){1,5}from\s"
)
MAKES = re.compile(r"\s(\w+)\s+(?:it|this|the|an?|its|them)\b")
# "The vase that Ilse made in 1742", but not "It shows that Ilse made vases".
THAT_MADE = re.compile(
    r"\b(?:that|which)\s+((?:[^\W\d_a-z][\w.'’-]*\s+){1,4})(\w+)"
    r"(?=\W*$|[.,;:)]|\s(?:and|in|at|on|of|from|for|with|about|around|after|is|was|has)\b)"
)
GIVES = re.compile(r"\s(who\s+)?(?:gave|donated|bequeathed|presented|left)\s+(?:it|this|the)\b")
NEAR = 80  # characters in which a phrase, or what a word hangs on, stands
# What stands before a verb whose subject is not the maker.
OTHER_CLAUSE = re.compile(r"[,;:.()]|\b(?:that|which|who|when|where|while|because)\s")
WHOM = re.compile(r"[,;:.()]|\b(?:of|by|from|to|for|and)\s")
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
    return next((n for n, words in PROPERTIES.items() if re.match(words, label, re.I)), "")


def check_claims(answer: str, facts: Mapping[str, str], sources: str = "") -> dict[str, Verdict]:
    """Property -> whether the answer has it right, wrong, or does not tell it.

    `sources` is all that the exhibit's texts say, its title in the first line: saying that is no
    claim, and materials, measures and places of other things that the texts tell of are not held
    against the answer.
    """
    untitled = title_pattern(sources.partition("\n")[0]).sub(" it ", answer)
    text = ABBREVIATED.sub(r"\1", untitled)
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
    for label, value in _labelled(text):
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
    if number.kind in ("millennium", "century", "decade"):
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
    dated = first and DATED_FROM.search(text, near, number.start)
    return bool(dated) or _made(number.start, events)


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
    who = "maker" if "maker" in facts else "culture"
    deeds, told = list(deeds_of(sentence, events)), _words(sources)
    if (lead := LED_BY.match(sentence)) and not deeds and not names_in(lead[1]) <= told:
        deeds.append((False, lead[1]))
    for given, phrase in deeds:
        own = [facts.get("donor", "")] if given else makers
        yield "donor" if given else who, any(_agree(phrase, each) for each in own)
    if (
        (people := OF_PEOPLE.match(sentence))
        and OF_PEOPLE.match(f"A {facts.get('culture', '').split(' (')[0]} x")
        and not names_in(people[1]) <= told | NO_CULTURE
    ):
        yield "culture", _agree(people[1], facts["culture"])
    for match in PLACED.finditer(sentence):
        names = names_in(_phrase(sentence, match.end()))
        of_thing = not events and THING_FROM.fullmatch(sentence, 0, match.end())
        made = of_thing or (events and _made(match.start(), events))
        if names and (made or match[0].startswith("making")):
            right = bool(names & names_in(facts.get("place", "")))
            if right or not names <= told | _words(" ".join(makers)):
                yield "place", right
            if right:
                break  # "made in Orsey for a fair in Tolm"


def deeds_of(sentence: str, events: list[tuple[int, bool]]) -> Iterator[tuple[bool, str]]:
    """Who is said to have given it (True) or to have made it (False), each with a name."""
    for match in BY.finditer(sentence):
        phrase, place = _phrase(sentence, match.end()), match.start()
        given = bool(GIVEN_BEFORE.search(sentence, max(0, place - NEAR), place))
        if names_in(phrase) and (given or match[1] or _made(place + 1, events)):
            yield given, phrase
    for match in THAT_MADE.finditer(sentence):
        if match[2] in MADE and names_in(match[1]):
            yield False, match[1]
    for match in re.finditer(r"\b(?:gift|bequest|donation|generosity) of\s+", sentence, re.I):
        if names_in(phrase := _phrase(sentence, match.end())):
            yield True, phrase
    for given, verbs in ((True, GIVES), (False, MAKES)):
        for match in verbs.finditer(sentence):
            subject = _subject(sentence, match.start(), who=given and bool(match[1]))
            if names_in(subject) and (given or match[1].lower() in MADE):
                yield given, subject


def _phrase(text: str, start: int) -> str:
    """What is named there, up to the next comma, preposition or verb."""
    end = END.search(text, start, start + NEAR)
    return text[start : end.start() if end else start + NEAR]


def _subject(text: str, end: int, who: bool = False) -> str:
    """Who or what a verb, or "who" and a verb, has before it; "" where that is no name."""
    before = text[max(0, end - NEAR) : end]
    before = WHOM.split(before.rstrip(" ,"))[-1] if who else OTHER_CLAUSE.split(before)[-1]
    return "" if not before.split() or before.split()[-1].lower() in NO_SUBJECT else before


def names_in(text: str) -> set[str]:
    """Words with a capital but those of titles and companies."""
    return {name for name, _, _ in capitalised(text)} - NO_NAMES


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    return frozenset(fold(m[0]) for m in WORD.finditer(text)) - FUNCTION_WORDS - NO_NAMES


def _agree(said: str, fact: str) -> bool:
    """Whether more than half of the words of one are in the other, "Varn" being "Ilse Varn".

    Where both have names, "potters of Harn" and "potters of Selk", they must share one.
    """
    ours, theirs = ({word.rstrip("s") for word in _words(text)} for text in (said, fact))
    names = {word.rstrip("s") for word in names_in(said) if names_in(fact)}
    shared = not names or not names.isdisjoint(theirs)
    return shared and len(ours & theirs) > min(len(ours), len(theirs)) / 2


def _materials(text: str, facts: Mapping[str, str], sources: str) -> Iterator[tuple[str, bool]]:
    """Words for materials, but none after an article: "the silver mine"; and their colours."""
    own, told = _words(facts.get("material", "")), _words(sources)
    if not own & MATERIALS:
        return
    before, colours = "", _coloured(facts["material"])
    for match in MATERIAL.finditer(text):
        word = match[0].lower().replace("gray", "grey")
        said = word not in told and before not in NO_MATERIAL_AFTER
        if colours.get(word) and before in COLOURS - colours[word] - told:
            yield "material", False  # "red wool" of blue wool
        elif word in MATERIALS and (
            word in own or said or MADE_OF.search(text, max(0, match.start() - NEAR), match.start())
        ):
            yield "material", word in own
        before = word


def _coloured(text: str) -> dict[str, frozenset[str]]:
    """Each word and the colours up to two words before it: "violet salt crystal"."""
    words = [match[0].lower().replace("gray", "grey") for match in WORD.finditer(text)]
    return {word: COLOURS & {*words[max(0, i - 2) : i]} for i, word in enumerate(words)}


def _measures(text: str, facts: Mapping[str, str], sources: str) -> Iterator[tuple[str, bool]]:
    """Lengths and weights, each along its axis where both sides name one."""
    fact = facts.get("measures", "")
    own = {number: axis_of(fact, number) for number in find_numbers(fact)}
    known, told = known_numbers(fact), known_numbers(sources)
    for number in find_numbers(text):
        kinds = {"mass", "length"} if number.factor < TOO_LONG else {"mass"}
        if number.dimension not in kinds & {each.dimension for each in own}:
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

"""What visitors ask and how facts are worded: the offline writer's grammar.

In a wording, {S} is the exhibit at the start of a sentence (its title, or "It"), {s} the same
inside a sentence, and each fact's own name its value; {Maker} is the maker with a capital letter
and {when} a date with its preposition ("in 1742", "about 1618"). A fact with another name than
these tables know has {name} and {value}. The plainest wordings come first: low temperatures use
these alone. `Facts` are those of one exhibit in the forms that wordings need: what goes together,
and how it reads.
"""

from __future__ import annotations

import random
import re

# The fact a question asks for, which the answer then tells first; "" asks for all of it.
ASKED: dict[str, tuple[str, ...]] = {
    "": (
        "What am I looking at?",
        "What is this?",
        "Can you tell me about this piece?",
        "What is the story of this exhibit?",
        "What should I know about this object?",
        "Could you introduce this exhibit to me?",
        "What do you see here?",
        "What can you tell me about the thing in front of me?",
        "Please tell me about this work.",
        "I have never seen anything like this. What is it?",
        "What is the history of this piece?",
        "What does the museum know about this?",
        "Could you explain what is shown here?",
        "What would a guide say about this?",
        "What are the most important facts about this piece?",
        "My daughter wants to know what this is. What do I tell her?",
        "How would you describe this to a friend?",
        "What is behind this object?",
        "Which exhibit is this?",
        "Tell me more about what I see here.",
    ),
    "maker": ("Who made this?", "Whose work is this?"),
    "culture": ("Which people does this come from?",),
    "place": ("Where does this come from?", "Where was this made?"),
    "date": ("How old is this?", "When was this made?", "What is the date of this piece?"),
    "material": ("What is this made of?", "Which material was used here?"),
    "technique": ("How was this made?", "How did they make something like this?"),
    "measures": ("How large is this?", "What size is this object?"),
    "weight": ("How heavy is this?",),
    "detail": ("Which detail should I look for?", "Is there anything here that I might miss?"),
    "significance": (
        "Why is this in the museum?",
        "Why does this piece matter?",
        "What makes this special?",
    ),
}
QUESTIONS: tuple[str, ...] = tuple(question for group in ASKED.values() for question in group)

# Facts told in one sentence -> its wordings.
WORDINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("maker",): (
        "{S} was made by {maker}.",
        "{S} is the work of {maker}.",
        "{Maker} made {s}.",
        "{S} comes from the hands of {maker}.",
    ),
    ("maker", "date"): (
        "{S} was made by {maker} {when}.",
        "{S} is the work of {maker} and dates from {date}.",
        "{Maker} made {s} {when}.",
        "{S} was finished by {maker} {when}.",
    ),
    ("maker", "place"): (
        "{S} was made by {maker} in {place}.",
        "{S} is the work of {maker} and comes from {place}.",
        "In {place}, {maker} made {s}.",
    ),
    ("culture",): (
        "{S} was made by {culture}.",
        "{S} is the work of {culture}.",
        "{Culture} made {s}.",
        "{S} comes from the hands of {culture}.",
    ),
    ("culture", "date"): (
        "{S} was made by {culture} {when}.",
        "{S} is the work of {culture} and dates from {date}.",
        "{Culture} made {s} {when}.",
    ),
    ("culture", "place"): (
        "{S} was made by {culture} in {place}.",
        "{S} is the work of {culture} and comes from {place}.",
        "In {place}, {culture} made {s}.",
    ),
    ("place",): (
        "{S} comes from {place}.",
        "{S} was made in {place}.",
        "The place of its making is {place}.",
        "{S} began its life in {place}.",
    ),
    ("place", "date"): (
        "{S} was made in {place} {when}.",
        "{S} comes from {place} and dates from {date}.",
        "{S} comes from {place} and was made {when}.",
        "{S} was finished in {place} {when}.",
    ),
    ("date",): (
        "{S} dates from {date}.",
        "{S} was made {when}.",
        "Its date is {date}.",
        "{S} was finished {when}.",
    ),
    ("material",): (
        "{S} is made of {material}.",
        "The material is {material}.",
        "What you see is {material}.",
        "Look at the material: {material}.",
    ),
    ("material", "technique"): (
        "{S} is made of {material} and was {technique}.",
        "{S} is made of {material}, {technique}.",
        "The material is {material}, {technique}.",
    ),
    ("technique",): (
        "{S} was {technique}.",
        "We know that {s} was {technique}.",
        "In the workshop {s} was {technique}.",
    ),
    ("measures",): (
        "{S} is {measures}.",
        "In size {s} is {measures}.",
        "Note the size: {s} is {measures}.",
    ),
    ("measures", "weight"): (
        "{S} is {measures} and weighs {weight}.",
        "{S} is {measures}, with a weight of {weight}.",
        "{S} weighs {weight} and is {measures}.",
    ),
    ("weight",): (
        "{S} weighs {weight}.",
        "Its weight is {weight}.",
        "{S} has a weight of {weight}.",
        "On the scales {s} weighs {weight}.",
    ),
    ("detail",): (
        "Look closely: {detail}.",
        "Notice that {detail}.",
        "Do not miss this detail: {detail}.",
        "Visitors like to hear that {detail}.",
        "{S} has a detail to remember: {detail}.",
    ),
    ("significance",): (
        "{S} matters because {significance}.",
        "{S} is important because {significance}.",
        "We show {s} because {significance}.",
        "Above all, {significance}.",
        "{S} is remembered for one reason: {significance}.",
    ),
}

# Wordings for values of another form than the above expect.
CULTURE_AS_LABEL = (
    "Its culture is given as {culture}.",
    "The label gives its culture as {culture}.",
)
CULTURE_BESIDE_MAKER = (
    "{S} belongs to the tradition of {culture}.",
    "{S} comes from the world of {culture}.",
)
TECHNIQUE_AS_NOUN = ("The technique is {technique}.", "The technique used here is {technique}.")
MEASURES_AS_NUMBERS = ("{S} measures {measures}.", "Its size is {measures}.")
MEASURES_AND_WEIGHT = ("{S} measures {measures} and weighs {weight}.",)
ANY_SEVERAL = ("Its {name} are {value}.", "The label gives its {name} as {value}.")
ANY_TEXT = ("Of its {name} the label says: {value}.", "The label says of its {name}: {value}.")
ANY_OTHER = ("Its {name} is {value}.", "The label gives its {name} as {value}.")

OPENINGS = (
    "This is {title}.",
    "You are looking at {title}.",
    "In front of you is {title}.",
    "Here you see {title}.",
    "Our museum calls this piece {title}.",
)
SUBJECTS = ("It", "It", "It", "The piece", "The object")
REMARKS = (
    "Take a moment to look at it from every side.",
    "Many visitors come back to see it again.",
    "Please look, but do not touch.",
    "It rewards a second and a third look.",
    "Notice how the light falls on its surface.",
    "Step a little closer and take your time.",
    "Ask me if you want to know more.",
    "It is one of the pieces our guides like best.",
    "Compare it with its neighbours in the room.",
    "Not every question about it has an answer yet.",
)


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
        pairs = [pair for pair in WORDINGS if len(pair) == 2 and self._mergeable(pair)]
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
                return ANY_TEXT
            return ANY_SEVERAL if PLURAL.search(name) else ANY_OTHER
        if name in CLAUSES and INNER_STOP.search(value):
            return (f"{{{name.capitalize()}}}.",)
        if name == "technique" and not self._is_participle():
            return TECHNIQUE_AS_NOUN
        if name == "measures" and not DIMENSION.fullmatch(value):
            return MEASURES_AS_NUMBERS if len(group) == 1 else MEASURES_AND_WEIGHT
        if group == ("culture",) and not value.startswith("the "):
            return CULTURE_AS_LABEL
        if group == ("culture",) and "maker" in self.values:
            return CULTURE_BESIDE_MAKER
        options = WORDINGS[group]
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

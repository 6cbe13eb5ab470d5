"""The offline writer: question-answer pairs composed from an exhibit's facts, without a model.

Each fact has several wordings. An answer opens with the exhibit's title and one of its facts, then
tells the others in some order. The lower the temperature, the more complete and even the answer;
the higher, the more the wordings, the order and the asides vary.
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dialogs import Pair
    from .exhibits import Exhibit

QUESTIONS: tuple[str, ...] = (
    "What am I looking at?",
    "What is this piece, and where does it come from?",
    "Could you tell me about the object in front of me?",
    "What is the story of this exhibit?",
    "Who made this, and when?",
    "How old is this?",
    "What is it made of?",
    "What should I know about this object?",
    "Why is this in the museum?",
    "Can you explain what I see here?",
    "What makes this piece special?",
    "Where was this made?",
    "How was this made?",
    "How large is it?",
    "What can you tell me about the thing in this case?",
    "I have never seen anything like this. What is it?",
    "What would you point out to a visitor here?",
    "What is the history behind this?",
    "Who owned or used something like this?",
    "Is there a detail here that I should not miss?",
    "Why does this object matter?",
    "What does the museum know about this?",
    "Please introduce this exhibit to me.",
    "What am I seeing in this photo?",
    "When does this date from, and what is known of it?",
    "My daughter asks what this is. What do I tell her?",
    "How would you describe this to somebody who cannot see it?",
    "What is remarkable about this work?",
    "Tell me the most important facts about this exhibit.",
    "What was this for, and who made it?",
    "Could a guide tell me more about this?",
    "What do the experts say about this piece?",
)

# Each fact's wordings; {x} is the fact, {It} a pronoun or noun phrase for the exhibit.
SENTENCES: dict[str, tuple[str, ...]] = {
    "maker": (
        "{It} was made by {x}.",
        "{It} is the work of {x}.",
        "{It} comes from {x}.",
        "We owe it to {x}.",
    ),
    "culture": (
        "{It} belongs to the tradition of {x}.",
        "{It} was made among {x}.",
        "{It} comes from {x}.",
        "{It} speaks of the life of {x}.",
    ),
    "place": ("{It} was made in {x}.", "{It} comes from {x}.", "Its home is {x}.", "{It} was found in {x}."),
    "date": (
        "{It} dates from {x}.",
        "{It} was made in {x}.",
        "Its date is {x}.",
        "The catalogue dates it to {x}.",
    ),
    "material": (
        "{It} is made of {x}.",
        "The material is {x}.",
        "Its makers chose {x}.",
        "Look closely and you see {x}.",
    ),
    "technique": ("{It} was {x}.", "The piece was {x}.", "We know that it was {x}."),
    "measures": ("{It} is {x}.", "The piece is {x}.", "{It} measures {n}.", "Measured by our staff, it is {x}."),
    "weight": ("{It} weighs {x}.", "Its weight is {x}.", "On the scales it comes to {x}."),
    "detail": ("Notice that {x}.", "Look closely: {x}.", "A detail worth finding: {x}.", "Note that {x}."),
    "significance": (
        "It matters because {x}.",
        "It is kept here because {x}.",
        "We show it because {x}.",
        "Above all, {x}.",
    ),
}
OPENINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("This is {title}, made in {place} in {date}.", ("place", "date")),
    ("You are looking at {title}, from {place}, dated {date}.", ("place", "date")),
    ("Here you see {title}, the work of {maker}.", ("maker",)),
    ("This is {title}, made by {maker} in {date}.", ("maker", "date")),
    ("In front of you stands {title}, made of {material}.", ("material",)),
    ("This is {title}, a piece that dates from {date}.", ("date",)),
    ("This is {title}, made of {material}.", ("material",)),
    ("Our museum calls it {title}.", ()),
)
SUBJECTS = ("It", "It", "The piece", "The work", "This object")
CLOSINGS = ("Take your time with it.", "Many visitors return to see it.", "It rewards a second look.")
NUMBERED = re.compile(r"\d")
WORDS = (40, 90)


def compose(title: str, facts: dict[str, str], rng: random.Random, temperature: float) -> str:
    """An answer of 40 to 90 words that names `title` and tells its facts.

    Below temperature 0.5 every fact is told. Above, up to two facts without a number are left
    out, the order is freer and the answer may close with an aside. Facts with numbers are always
    told, word for word.
    """
    facts = {key: value for key, value in facts.items() if key in SENTENCES and value}
    for _ in range(40):
        text = _draft(title, facts, rng, temperature)
        if WORDS[0] <= len(text.split()) <= WORDS[1]:
            break
    return text


def _draft(title: str, facts: dict[str, str], rng: random.Random, temperature: float) -> str:
    name = title[0].lower() + title[1:] if title.startswith("The ") else title
    usable = [opening for opening in OPENINGS if all(key in facts for key in opening[1])]
    frame, used = rng.choice(usable[:4] if temperature < 0.5 and len(usable) > 4 else usable)
    parts = [_fill(frame, facts, name)]
    rest = [key for key in SENTENCES if key in facts and key not in used]
    if temperature > 0.5:
        rest = _fewer(rest, facts, rng, most=1 if temperature < 0.8 else 2)
    rest = _ordered(rest, rng, temperature)
    parts += [_sentence(key, facts[key], rng, temperature) for key in rest]
    text = " ".join(parts)
    if temperature > 0.8 and len(text.split()) < 80 and rng.random() < 0.3:
        text += " " + rng.choice(CLOSINGS)
    return _joined(text, rng, temperature)


def _fill(frame: str, facts: dict[str, str], name: str) -> str:
    text = frame.format(title=name, **facts)
    text = re.sub(r"\bin about\b", "in about", text)
    return text[0].upper() + text[1:]


def _fewer(keys: list[str], facts: dict[str, str], rng: random.Random, most: int) -> list[str]:
    plain = [key for key in keys if not NUMBERED.search(facts[key])]
    words = sum(len(facts[key].split()) + 4 for key in keys)
    spare = [key for key in plain if words - len(facts[key].split()) > 36]
    dropped = set(rng.sample(spare, min(len(spare), rng.randint(0, most))))
    return [key for key in keys if key not in dropped]


def _ordered(keys: list[str], rng: random.Random, temperature: float) -> list[str]:
    """Catalogue order, disturbed the more the higher the temperature."""
    position = {key: i + rng.uniform(0, 4.5 * temperature) for i, key in enumerate(keys)}
    return sorted(keys, key=lambda key: position[key])


def _sentence(key: str, value: str, rng: random.Random, temperature: float) -> str:
    wordings = SENTENCES[key][: 3 if temperature < 0.5 else None]
    if key in ("technique", "measures"):
        wordings = tuple(w for w in wordings if "{n}" not in w or _bare(value))
    subject = "It" if temperature < 0.5 and rng.random() < 0.6 else rng.choice(SUBJECTS)
    return rng.choice(wordings).format(x=value, n=_bare(value) or value, It=subject)


def _bare(measure: str) -> str:
    """'34 cm high' -> '34 cm in height', which can follow 'measures'; empty if it cannot be turned."""
    nouns = {"high": "height", "wide": "width", "long": "length", "across": "diameter"}
    head, _, last = measure.rpartition(" ")
    return f"{head} in {nouns[last]}" if head and last in nouns else ""


def _joined(text: str, rng: random.Random, temperature: float) -> str:
    """Join two short neighbours with "and", now and then."""
    if rng.random() > temperature - 0.2:
        return text
    pairs = list(re.finditer(r"(It [^.]{8,60})\. It ", text))
    if not pairs:
        return text
    chosen = rng.choice(pairs)
    return f"{text[: chosen.end(1)]} and {text[chosen.end() :]}"


class OfflineWriter:
    """Writes pairs from an exhibit's facts, or from the sentences of its description."""

    name = "offline"

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """`n` pairs about an exhibit, the same for the same seed; no two answers are alike."""
        from .dialogs import Pair

        rng = random.Random(f"{seed}/{exhibit.item_name}/{temperature}")
        questions = rng.sample(QUESTIONS, n)
        prompt = hashlib.sha256(f"{exhibit.title}\n{exhibit.description}".encode()).hexdigest()
        pairs: list[Pair] = []
        while len(pairs) < n:
            answer = self._answer(exhibit, temperature, rng)
            if all(answer != pair.answer for pair in pairs):
                pairs.append(Pair(questions[len(pairs)], answer, prompt_sha256=prompt))
        return pairs

    def _answer(self, exhibit: Exhibit, temperature: float, rng: random.Random) -> str:
        if len(exhibit.facts) >= 3:
            return compose(exhibit.title, exhibit.facts, rng, temperature)
        return from_description(exhibit.title, exhibit.description, rng, temperature)


def from_description(title: str, description: str, rng: random.Random, temperature: float) -> str:
    """An answer of 40 to 90 words made of whole sentences of a description, in their order."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z0-9])", description.strip())
    chosen: set[int] = set()
    order = list(range(len(sentences)))
    if temperature > 0.5:
        rng.shuffle(order)
    for i in order:
        words = sum(len(sentences[j].split()) for j in chosen | {i})
        if words <= 80 or not chosen:
            chosen.add(i)
    openings = ("This is {}.", "You are looking at {}.", "Here you see {}.", "Our museum calls it {}.",
                "In front of you is {}.", "The label reads: {}.", "Meet {}.", "The name of it is {}.")  # fmt: skip
    body = " ".join(" ".join(sentences[i] for i in sorted(chosen)).split()[:90])
    return f"{rng.choice(openings).format(title)} {body}"

"""Finds for each sentence of an answer what the catalogue says that bears it out, or nothing.

    entry = Entry(exhibit)
    entry.sourced(["It was made in 1742. It is haunted."])

What a sentence states is read by the evaluation's own readers. Each number has to stand in the
catalogue in the same use (unit, axis, thing counted, event of a date), as does each name, material,
colour and superlative, and what a name is said to be the name of ("the map house of Ulver"); no
claim may be what the exhibit's facts deny. A sentence with one that does not stand there has no
source, however near it sounds. Then its words have to be the catalogue's, or, in English, its
meaning by the frozen encoder, which reads no other language. Where this is in doubt there is no
source. A source is one statement of the catalogue or a few: the title, a sentence of the
description, or a field ("Date: 1742").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..core.keys import ENGLISH
from ..creation.exhibits import Exhibit
from ..creation.offline_writer import openings_of
from ..text import claims
from ..text.encoder import load_encoder
from ..text.facts import FUNCTION_WORDS, check_names, fold, forms_of
from ..text.sentences import is_blank, split_sentences
from ..text.titles import title_pattern
from .reading import EVENT_OF, beginnings, deeds, read

MOST = 3  # statements that bear out one sentence together
ENOUGH_WORDS = 0.8  # of a sentence's telling words, in the statements: then they say the same
# Cosines from which an English sentence means what the statements say, though in other words: less
# is asked of one whose numbers and names they hold.
NEAR, NEAR_WITH_FACTS = 0.75, 0.6
FEW_WORDS = 0.3  # of its telling words; with fewer no cosine is believed
GAP = " … "  # between statements that do not follow each other

# "Picasso made it", "Picasso's vase": whoever a sentence begins with is named, though any word has
# a capital there.
FIRST = re.compile(r"[^\W\d_]+(?:['’]s\b|\s+([a-z]+)\b)")
NO_NAME = re.compile(
    r"(?:it|he|she|that|this|there|here|who|what|one|each|every|let)['’]s$|\w+ly$", re.I
)


# "made in Pellin", "the work of the Marsh people".
PLACED = re.compile(r"\b(?:in|at|from|by|of)\s+(?:the\s+)?([^\W\d_]+)")


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer, and what the catalogue says that bears it out; None if nothing."""

    text: str
    source: str | None


@dataclass(frozen=True)
class Chosen:
    """The statements that may bear a sentence out, by place, and how near they have to be."""

    places: tuple[int, ...]
    wanted: float  # cosine of their meaning with the sentence's; 0 where their words are the same


class Entry:
    """One exhibit's entry in the catalogue, ready to be held against answers."""

    def __init__(self, exhibit: Exhibit) -> None:
        self.language = exhibit.language
        english = self.language == ENGLISH
        told = (exhibit.facts, exhibit.description, exhibit.credit)
        self.facts = claims.facts_of(*told) if english else {}
        fields = [
            _field(*each) for each in (exhibit.facts or self.facts).items() if each[1].strip()
        ]
        sentences = split_sentences(exhibit.description, self.language)
        self.sentences = len(sentences)
        self.statements = [exhibit.title, *sentences, *fields]
        self.texts = "\n".join([exhibit.title, exhibit.description, *fields])
        self.readings = [read(text, self.language) for text in self.statements]
        self.title = title_pattern(exhibit.title.removeprefix("The "), re.I)
        self.openings = {*openings_of(exhibit.title, self.language)}
        self._vectors: dict[int, np.ndarray] = {}  # meanings of statements, by place
        self.deeds = {deed for each in self.statements for deed in deeds(each)}

    def sourced(self, answers: Sequence[str]) -> list[tuple[Sentence, ...]]:
        """The sentences of each answer with their sources; of a blank answer there are none."""
        parted = [
            () if is_blank(answer) else split_sentences(answer, self.language) for answer in answers
        ]
        found = {text: self._chosen(text) for own in parted for text in own}
        doubted = {text: each for text, each in found.items() if each and each.wanted}
        for text, likeness in zip(doubted, self._likeness(doubted), strict=True):
            if likeness < doubted[text].wanted:
                found[text] = None
        return [tuple(Sentence(text, self._shown(found[text])) for text in own) for own in parted]

    def kept(self, sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
        """What `strict` shows of an answer's sentences: those with a source, and of others, in
        English, as much of the beginning as has one.
        """
        cut = {each: beginnings(each.text) for each in sentences if not each.source}
        cut = cut if self.language == ENGLISH else {}
        found = {
            own[0].text: own[0]
            for own in self.sourced([text for texts in cut.values() for text in texts])
            if len(own) == 1 and own[0].source
        }
        shown = (
            [each] if each.source else [found[text] for text in cut.get(each, ()) if text in found]
            for each in sentences
        )
        return tuple(own[0] for own in shown if own)

    def _chosen(self, text: str) -> Chosen | None:
        """The statements that hold all facts of a sentence and most of its words, if there are."""
        if text in self.openings:
            return Chosen((0,), 0)
        said, title = read(text, self.language), self.readings[0].words
        telling, names = said.telling - title, self._names(text)
        if names is None or (self.language == ENGLISH and self._denied(text)):
            return None
        own = list(enumerate(self.readings))
        needs = [
            *({i for i, each in own if any(map(use.borne_out, each.uses))} for use in said.uses),
            *(
                {i for i, each in own[1:] if name & each.folded}
                or {i for i, each in own[:1] if name & each.folded}
                for name in names
            ),
            *({i for i, each in own if word in each.words} for word in said.must - title),
            *(
                {
                    i
                    for i, each in own
                    if any((word, form) in each.beside for form in (name, *forms_of(name)))
                }
                for word, name in said.named
                if word not in title
            ),
            *([{i for i, each in own if each.negates}] if said.negates else []),
        ]
        if not needs and not telling:
            return Chosen((0,), 0) if said.telling else None
        if (places := self._cover(needs, telling)) is None:
            return None
        words, negated = set[str](), set[str]()
        for place in places:
            words |= self.readings[place].words
            negated |= self.readings[place].negated
        if 2 * len(said.negated & negated) < len(said.negated):
            return None
        if not said.negates and 2 * len(telling & negated) >= len(telling) > 0:
            return None
        parts = [telling, *(part for each in said.clauses if len(part := each - title) > 1)]
        share = min((len(part & words) / len(part) for part in parts if part), default=1.0)
        if share >= ENOUGH_WORDS:
            return Chosen(places, 0)
        if self.language != ENGLISH or share < FEW_WORDS:
            return None
        return Chosen(places, NEAR_WITH_FACTS if said.uses or names else NEAR)

    def _cover(self, needs: Sequence[set[int]], telling: frozenset[str]) -> tuple[int, ...] | None:
        """Statements that hold all that is needed and more of the words than others; None if none.

        Of the statements that hold as much the first is taken.
        """
        chosen: list[int] = []
        needed, words = list(needs), set(telling)
        while len(chosen) < MOST:
            gains = [
                (sum(place in need for need in needed), len(words & own.words))
                for place, own in enumerate(self.readings)
            ]
            best = max(range(len(gains)), key=gains.__getitem__)
            facts, shared = gains[best]
            if not facts and shared < max(1, len(telling) / 4):
                break
            chosen.append(best)
            needed = [need for need in needed if best not in need]
            words -= self.readings[best].words
        return tuple(chosen) if chosen and not needed else None

    def _names(self, text: str) -> list[set[str]] | None:
        """The forms of each name that needs a source; None if one is unknown.

        A title's name needs one only where it tells of a place or of somebody.
        """
        check = check_names(text, "", self.texts)
        if check.invented or (self.language == ENGLISH and self._begins_with_stranger(text)):
            return None
        words = {fold(text[start:end]) for start, end, _ in check.marks}
        names = [{word, *forms_of(word)} for word in sorted(words)]
        untitled = self.title.sub(" it ", text)
        placed = {fold(match[1]) for match in PLACED.finditer(untitled)}
        title = self.readings[0].folded
        return [name for name in names if name & placed or name.isdisjoint(title)]

    def _begins_with_stranger(self, text: str) -> bool:
        """Whether a sentence begins with an owner or doer whom the catalogue does not know."""
        first = FIRST.match(text)
        if first is None or NO_NAME.match(first[0].split()[0]):
            return False
        word = fold(first[0].split()[0])
        known = word in FUNCTION_WORDS or any(word in own.folded for own in self.readings)
        if known or not first[1]:
            return not known
        return bool([*claims.events_of(first[1])]) and not [*claims.events_of(word)]

    def _denied(self, text: str) -> bool:
        """Whether facts or texts deny a claim, or do not tell of a maker, giver or colour."""
        verdicts = claims.check_claims(text, self.facts, self.texts)
        right = {name for name, verdict in verdicts.items() if verdict == "right"}
        known = {False: right & {"maker", "culture"}, True: right & {"donor"}}
        coloured = {pair for own in self.readings for pair in own.coloured}
        parts = {part for _, part in coloured}
        return (
            "wrong" in verdicts.values()
            or any(not known[given] and not self._did(given, name) for given, name in deeds(text))
            or any(pair not in coloured and pair[1] in parts for pair in read(text).coloured)
        )

    def _did(self, given: bool, name: str) -> bool:
        """Whether somebody of that name gave it, or else made it, as far as the texts tell."""
        if (not given, name) in self.deeds or (given, name) in self.deeds:
            return (given, name) in self.deeds
        event = EVENT_OF["gave"] if given else "made"
        return any(name in own.folded and event in own.events for own in self.readings)

    def _likeness(self, doubted: Mapping[str, Chosen]) -> list[float]:
        """The cosine of each sentence's meaning with that of the statements chosen for it."""
        wanted = {place for own in doubted.values() for place in own.places}
        new = sorted(wanted - self._vectors.keys())
        texts = [*doubted, *(self.statements[place] for place in new)]
        vectors = load_encoder().encode(texts) if texts else np.zeros((0, 0))
        self._vectors |= dict(zip(new, vectors[len(doubted) :], strict=True))
        likeness = []
        for vector, own in zip(vectors, doubted.values(), strict=False):
            meant = np.sum([self._vectors[place] for place in own.places], axis=0)
            likeness.append(float(vector @ meant / np.linalg.norm(meant)))
        return likeness

    def _shown(self, chosen: Chosen | None) -> str | None:
        """The statements as one text, with a gap where others stand between."""
        if chosen is None:
            return None
        places = sorted(chosen.places)
        shown = self.statements[places[0]]
        for before, place in pairwise(places):
            beside = before > 0 and place == before + 1 and place <= self.sentences
            shown += f"{' ' if beside else GAP}{self.statements[place]}"
        return shown


def _field(label: str, value: str) -> str:
    """A field of the catalogue as it is shown: "Date: 1742"."""
    label = " ".join(label.replace("_", " ").split())
    return f"{label[:1].upper()}{label[1:]}: {value}"

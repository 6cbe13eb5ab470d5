"""A docent that says which exhibit it sees, whence it knows what it tells, or that it does not.

    guide = Guide(load_profile("pocket"), "lora")
    (answer,) = guide.answer([Question(prepared_photo("photo.jpg"), "How old is it?")])
    print(answer)

The gate looks at the photo first. One that is near to no exhibit, or to one that a curator
withheld, is not shown to the docent: the answer offers the nearest exhibits by name and claims
nothing. Else the docent answers, and each of its sentences is held against the catalogue's entry.
`strict` leaves out those that nothing bears out, or what of them nothing does, and counts them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any

from PIL import Image

from ..core.errors import LOGGER, MuseQuestError
from ..core.predictions import OnWords, System
from ..core.settings import Profile
from ..creation.exhibits import Exhibit, load_exhibits
from ..creation.review import withheld
from ..finetuning.records import check_ready
from ..systems.answering import open_local, question_row, spoken
from ..systems.gate import Gate, Recognition, open_gate
from ..text.sentences import IN_SIGNS, split_sentences
from .sources import Entry, Sentence
from .words import words_of

UNSEEN = Recognition(None, nan, nan, ())  # where there is no gate to look
WIDTH = 80  # characters of a line
NOTHING = "I have nothing to say about this that the museum's texts bear out."


@dataclass(frozen=True)
class Question:
    """What a visitor asks about a photo, which is as `photos.prepared_photo` makes it."""

    photo: Image.Image
    text: str


@dataclass(frozen=True)
class Answer:
    """What a visitor is told, and what bears it out."""

    text: str  # as shown, under `strict` without what nothing bears out
    recognition: Recognition
    title: str | None = None  # of the exhibit recognised
    sentences: tuple[Sentence, ...] = ()  # those of the text
    left_out: int = 0  # sentences, whole or in part, by `strict`
    record_url: str | None = None  # where the museum tells of the exhibit, on the web
    credit: str | None = None
    license: str | None = None
    record: str | None = None  # its number in the museum's own books
    nearest: tuple[tuple[str, float], ...] = ()  # title and likeness, best first, up to three

    def __str__(self) -> str:
        """The answer, the exhibit and each sentence's source, in lines of 80 characters."""
        bound = f"from {self.recognition.threshold:.2f} on it is recognised"
        seen = [f"{title} ({likeness:.2f})" for title, likeness in self.nearest]
        rows = {
            "Nearest" if self.title is None else "Exhibit": f"{seen[0][:-1]}, {bound})"
            if seen
            else "",
            "Next": "".join(seen[1:2]),
            "Record": ", ".join(filter(None, (self.record, self.record_url))),
            "Credit": self.credit,
            "Licence": self.license,
            "Left out": f"{self.left_out} that nothing bears out" if self.left_out else "",
        }
        lines = [_wrapped(self.text), ""]
        lines += [_wrapped(f"{name + ':':10}{row}", " " * 10) for name, row in rows.items() if row]
        for sentence in self.sentences:
            source = f"< {sentence.source}" if sentence.source else "- nothing bears this out"
            lines += ["", _wrapped(sentence.text), _wrapped(f"  {source}", "    ")]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it in values that JSON knows; a likeness that was not measured is null."""
        told = asdict(self)
        for key in ("confidence", "threshold"):
            told["recognition"][key] = _finite(told["recognition"][key])
        return told


class Guide:
    """A system, its gate and the catalogue, opened once and asked as often as one likes."""

    def __init__(
        self, profile: Profile, system: str | System = "lora", *, strict: bool = False
    ) -> None:
        """Open them; a system that is hosted, or has no finished run, raises MuseQuestError.

        Without a collection there is no gate. Then nothing is recognised and nothing has a source,
        as is logged with each answer, and under `strict` nothing is told.
        """
        self.profile, self.strict = profile, strict
        self.say = words_of(profile.language, "docent")
        self.system = open_local(profile, system)
        check_ready(profile, self.system.name)
        self.gate: Gate | None = None
        self.exhibits: dict[str, Exhibit] = {}
        self.ungated = ""  # why there is no gate
        self._entries: dict[str, Entry] = {}
        try:
            self.exhibits = {each.item_name: each for each in load_exhibits(profile.collection)}
            self.gate = open_gate(profile, self.system)
        except MuseQuestError as error:
            self.ungated = str(error)

    def answer(
        self, questions: Sequence[Question], on_words: OnWords | None = None
    ) -> list[Answer]:
        """One answer a question, in their order, asked together.

        `on_words` is called with the place of a question and its answer so far: as the words come
        from systems that make them one by one, under `strict` by the sentence once it is borne out,
        and in any case with the whole answer. A question that is no plain text of up to 500
        characters raises MuseQuestError.
        """
        rows = [question_row(each.photo, each.text) for each in questions]
        seen = self._recognised([each.photo for each in questions])
        # Without a gate nobody knows whether a photo shows what is withheld.
        unsure = self.gate is not None or bool(withheld(self.profile.collection))
        asked = [place for place, each in enumerate(seen) if each.item_name or not unsure]
        told = dict.fromkeys(range(len(rows)), "")

        def tell(place: int, text: str) -> None:
            if on_words and text != told[place]:
                told[place] = text
                on_words(place, text)

        def tell_words(number: int, words: str) -> None:
            place = asked[number]
            if not self.strict:
                tell(place, words)
            elif whole := split_sentences(words, self.profile.language)[:-1]:
                sentences = self._sourced(" ".join(whole), seen[place])
                tell(place, self._joined(self._kept(sentences, seen[place])))

        said = spoken(self.system, [rows[place] for place in asked], on_words and tell_words)
        texts = dict(zip(asked, said, strict=True))
        answers = [self._answer(texts.get(place), own) for place, own in enumerate(seen)]
        for place, answer in enumerate(answers):
            tell(place, answer.text)
        if self.ungated:
            LOGGER.warning("No exhibit is recognised and nothing borne out: %s", self.ungated)
        return answers

    def _recognised(self, photos: Sequence[Image.Image]) -> list[Recognition]:
        """What the gate sees, but nothing that is gone from the collection since the training."""
        if self.gate is None:
            return [UNSEEN] * len(photos)
        found = []
        for seen in self.gate.recognise(photos):
            known = tuple(each for each in seen.nearest if each[0] in self.exhibits)
            name = seen.item_name if seen.item_name in dict(known) else None
            found.append(replace(seen, item_name=name, nearest=known))
        return found

    def _sourced(self, text: str, seen: Recognition) -> tuple[Sentence, ...]:
        """The sentences of a text with their sources; without an exhibit none has any."""
        if seen.item_name is None:
            sentences = split_sentences(text, self.profile.language)
            return tuple(Sentence(each, None) for each in sentences)
        name = seen.item_name
        if name not in self._entries:
            self._entries[name] = Entry(self.exhibits[name])
        return self._entries[name].sourced([text])[0]

    def _kept(self, sentences: tuple[Sentence, ...], seen: Recognition) -> tuple[Sentence, ...]:
        """What is shown of the sentences of a text: all, or under `strict` what is borne out."""
        if not self.strict or seen.item_name is None:
            return () if self.strict else sentences
        return self._entries[seen.item_name].kept(sentences)

    def _answer(self, text: str | None, seen: Recognition) -> Answer:
        """What is told of what was said; None where the docent was not asked."""
        nearest = tuple((self.exhibits[name].title, near) for name, near in seen.nearest)
        if text is None:
            *first, last = dict.fromkeys(title for title, _ in nearest) or [""]
            titles = f"{', '.join(first)}{self.say(' or ')}{last}" if first else last
            told = self.say("I do not know this one.")
            if titles:
                resembles = self.say("It resembles {} a little, but I am not sure.", titles)
                told += f"{self._gap}{resembles}"
            return Answer(told, seen, nearest=nearest)
        sentences = self._sourced(text, seen)
        kept = self._kept(sentences, seen)
        text = (self._joined(kept) or self.say(NOTHING)) if self.strict else text
        left_out = sum(each not in kept for each in sentences)
        if seen.item_name is None:
            return Answer(text, seen, None, kept, left_out, nearest=nearest)
        exhibit = self.exhibits[seen.item_name]
        pages = (each for each in (exhibit.link, exhibit.record) if _is_page(each))
        record = None if _is_page(exhibit.record) else exhibit.record or None
        return Answer(
            text, seen, exhibit.title, kept, left_out, next(pages, None),
            exhibit.credit or None, exhibit.license or None, record, nearest,
        )  # fmt: skip

    @property
    def _gap(self) -> str:
        return "" if self.profile.language in IN_SIGNS else " "

    def _joined(self, sentences: Sequence[Sentence]) -> str:
        return self._gap.join(each.text for each in sentences)


def _is_page(address: str) -> bool:
    """Whether it is an address on the web, and of no other kind, which a page must not open."""
    return address.startswith(("https://", "http://"))


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _wrapped(text: str, indent: str = "") -> str:
    """Lines of 80 characters, those after the first indented; signs that steer a terminal go."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return textwrap.fill(" ".join(plain.split(" ")), WIDTH, subsequent_indent=indent)

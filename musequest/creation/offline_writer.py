"""The offline writer: question-answer pairs composed from an exhibit's facts, without a model.

An answer names the exhibit in its first sentence, tells first what was asked, then the rest. The
lower the temperature, the more complete and even the answer; the higher, the more wordings and
order vary and the more it leaves out. `compose` is the grammar alone, for made-up things too. It
speaks English; in other languages an answer is made of the description's own sentences.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MuseQuestError
from ..languages import ENGLISH, IN_SIGNS, count_words, language_name
from .dialogs import TEMPERATURES, Pair, Writer, sha256_of
from .exhibit import Exhibit
from .phrases import PHRASES
from .texts import names_title, shortened, title_words, told_sentences
from .wordings import ASKED, OPENINGS, QUESTIONS, REMARKS, SUBJECTS, Facts, even_stops, upper_first

__all__ = ["QUESTIONS", "OfflineWriter", "compose", "describe"]

FEWEST, MOST = 40, 90  # words of an answer
ATTEMPTS = 8
# Facts below this number are too few for an answer; the description is used instead.
ENOUGH_FACTS = 4
DIGIT = re.compile(r"\d")


def compose(
    title: str,
    facts: dict[str, str],
    rng: random.Random,
    temperature: float,
    asked: str = "",
) -> str:
    """Return an answer of 40 to 90 words that names `title` in its first sentence.

    At temperatures up to 0.5 every fact is told; above, one or two facts without a number may be
    left out. A value is told word for word, but for the case of a clause's first letter. `asked`
    is the fact to tell first. Facts too long for 90 words together are left out, longest first.
    """
    known = Facts(facts)
    keys = known.keys()
    for _ in range(ATTEMPTS):
        told = _some(keys, known, rng, temperature, asked)
        draft = _draft(title, known, told, rng, temperature, asked)
        if _words(draft) <= MOST:
            return _filled(draft, rng, temperature)
    return _tightened(title, known, keys, rng, asked)


def describe(
    title: str, description: str, rng: random.Random, temperature: float, language: str = ENGLISH
) -> str:
    """Return an answer of 40 to 90 words made of whole sentences of a catalogue's description.

    At temperatures up to 0.5 the sentences are taken from the beginning, above from anywhere;
    they always keep their order. Only where no sentence is short enough, one is cut. A description
    that is too short is filled up with remarks in English; in other languages the answer stays so.
    """
    openings = OPENINGS if language == ENGLISH else PHRASES[language].openings
    opening = even_stops(rng.choice(openings).format(title=title))
    room = MOST - count_words(opening)
    if room < FEWEST // 2:
        opening, room = shortened(opening, FEWEST), MOST - FEWEST
    sentences = told_sentences(description, language)
    fitting = [each for each in sentences if count_words(each) <= room]
    sentences = fitting or [shortened(each, room) for each in sentences]
    order = list(range(len(sentences)))
    if temperature > 0.5:
        rng.shuffle(order)
    aim = rng.randint(FEWEST, room) if room > FEWEST else room
    chosen = _fitting(order, [count_words(each) for each in sentences], aim)
    answer = [opening, *(sentences[i] for i in sorted(chosen))]
    if language == ENGLISH:
        return _filled(answer, rng, temperature)
    return ("" if language in IN_SIGNS else " ").join(answer)


def _fitting(order: list[int], words: list[int], aim: int) -> list[int]:
    """The numbers, in this order, that `aim` has room for; always one."""
    chosen: list[int] = []
    for index in order:
        if not chosen or sum(words[i] for i in [*chosen, index]) <= aim:
            chosen.append(index)
    return chosen


class OfflineWriter(Writer):
    """Composes pairs from an exhibit's facts or, where it has few, from its description."""

    name = "offline"

    @contextmanager
    def working(self, exhibits: list[Exhibit], folder: Path) -> Iterator[None]:
        """Refuse, before anything is written, a collection in a language it does not speak."""
        for exhibit in exhibits:
            if exhibit.language not in (ENGLISH, *PHRASES):
                raise MuseQuestError(
                    f"{folder / 'exhibits.parquet'} is in {language_name(exhibit.language)}, and "
                    f"the offline writer asks in {', '.join(sorted((ENGLISH, *PHRASES)))} alone; "
                    "use the writer `hosted`, which writes in every language its model knows."
                )
        yield

    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        """Return all that the pairs depend on, as text."""
        facts = "\n".join(f"{key}: {value}" for key, value in sorted(exhibit.facts.items()))
        head = f"{exhibit.item_name}\n{exhibit.title}\n{facts}\n{exhibit.description}"
        if exhibit.language != ENGLISH:
            head += f"\nin {exhibit.language}"
        return f"{head}\ntemperature {temperature}, {n} pairs, seed {seed}"

    def write(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> list[Pair]:
        """Return `n` pairs, the same for the same exhibit and seed.

        No answer equals another of the exhibit at this or a lower temperature, so these are
        composed along; MuseQuestError if that cannot be had.
        """
        prompt_sha256 = sha256_of(self.prompt(exhibit, temperature, n, seed))
        questions = _questions(exhibit, random.Random(f"{seed}/{exhibit.item_name}/questions"))
        levels = sorted({*(t for t in TEMPERATURES if t < temperature), temperature})
        told: set[str] = set()
        for rank, level in enumerate(levels):
            rng = random.Random(f"{seed}/{exhibit.item_name}/{level}")
            asked = [questions[(rank * n + i) % len(questions)] for i in range(n)]
            answers = [_new_answer(exhibit, question, rng, level, told) for question in asked]
        pairs = zip(asked, answers, strict=True)
        return [
            Pair(question, answer, prompt_sha256, f"offline-{sha256_of(question + answer)[:16]}")
            for question, answer in pairs
        ]


def _questions(exhibit: Exhibit, rng: random.Random) -> list[str]:
    """The questions this exhibit has an answer to, shuffled, none with a word of its title."""
    if exhibit.language != ENGLISH:
        own = PHRASES[exhibit.language].questions
        pool = [each for each in own if not names_title(each, exhibit.title)] or list(own)
        rng.shuffle(pool)
        return pool
    known = Facts(exhibit.facts).keys() if len(exhibit.facts) >= ENOUGH_FACTS else []
    fitting = [each for fact, group in ASKED.items() if fact in ("", *known) for each in group]
    taboo = title_words(exhibit.title)
    pool = [each for each in fitting if not taboo & set(re.findall(r"\w+", each.casefold()))]
    pool = pool or list(ASKED[""])
    rng.shuffle(pool)
    return pool


def _new_answer(
    exhibit: Exhibit, question: str, rng: random.Random, temperature: float, told: set[str]
) -> str:
    """An answer that is not yet among those told; it is added to them."""
    told_by_facts = exhibit.language == ENGLISH and len(exhibit.facts) >= ENOUGH_FACTS
    asked = next((fact for fact, group in ASKED.items() if question in group), "")
    for _ in range(200):
        if told_by_facts:
            answer = compose(exhibit.title, exhibit.facts, rng, temperature, asked)
        else:
            answer = describe(
                exhibit.title, exhibit.description, rng, temperature, exhibit.language
            )
        if answer not in told and count_words(answer) >= FEWEST:
            told.add(answer)
            return answer
    needed = "a longer description" + (" or more facts" if exhibit.language == ENGLISH else "")
    raise MuseQuestError(
        f"The exhibit '{exhibit.item_name}' says too little for different answers; give it "
        f"{needed}."
    )


def _words(parts: list[str] | str) -> int:
    return len((parts if isinstance(parts, str) else " ".join(parts)).split())


def _some(
    keys: list[str], known: Facts, rng: random.Random, temperature: float, asked: str
) -> list[str]:
    """All keys at low temperature; above, without up to one or two facts that hold no number."""
    spare = [key for key in keys if key != asked and not DIGIT.search(known.values[key])]
    most = 0 if temperature <= 0.5 else 1 if temperature <= 0.8 else 2
    most = min(most, len(spare), max(0, len(keys) - ENOUGH_FACTS))
    dropped = rng.sample(spare, rng.randint(0, most))
    return [key for key in keys if key not in dropped]


def _draft(
    title: str, known: Facts, told: list[str], rng: random.Random, temperature: float, asked: str
) -> list[str]:
    """The sentences of an answer, of any length; the first one names the title."""
    groups = known.grouped(told, rng, merging=0.9 - 0.4 * temperature)
    groups = _ordered(groups, rng, temperature, asked)
    wordings = [known.wordings(group)[: _choices(temperature)] for group in groups]
    sentences = []
    leading = [each for each in wordings[0] if each.startswith("{S}")] if groups else []
    if leading and rng.random() < 0.6:
        sentences.append(known.fill(rng.choice(leading), groups[0], title, title))
        groups, wordings = groups[1:], wordings[1:]
    else:
        opening = rng.choice(OPENINGS[: _choices(temperature)])
        sentences.append(even_stops(opening.format(title=title)))
    for group, options in zip(groups, wordings, strict=True):
        subject = rng.choice(SUBJECTS) if temperature > 0.5 else "It"
        ways = [known.fill(wording, group, subject, "it") for wording in options]
        fresh = [each for each in ways if _start(each) != _start(sentences[-1])]
        sentences.append(rng.choice(fresh or ways))
    return sentences


def _start(sentence: str) -> list[str]:
    """The words by which a reader notices that two sentences begin alike."""
    return sentence.split()[:3]


def _choices(temperature: float) -> int:
    """How many wordings of a fact are in use."""
    return 3 if temperature <= 0.5 else 4 if temperature <= 0.8 else 9


def _ordered(
    groups: list[tuple[str, ...]], rng: random.Random, temperature: float, asked: str
) -> list[tuple[str, ...]]:
    """Catalogue order, disturbed the more the higher the temperature; what was asked first."""
    position = {group: i + rng.uniform(0, 4.5 * temperature) for i, group in enumerate(groups)}
    return sorted(groups, key=lambda group: (asked not in group, position[group]))


def _filled(sentences: list[str], rng: random.Random, temperature: float) -> str:
    """The answer; with remarks until it has 40 words, and now and then one at the end."""
    remarks = rng.sample(REMARKS, len(REMARKS))
    sentences = list(sentences)
    while _words(sentences) < FEWEST and remarks:
        sentences.append(remarks.pop())
    if temperature > 0.8 and _words([*sentences, remarks[-1]]) <= MOST and rng.random() < 0.25:
        sentences.append(remarks.pop())
    return upper_first(" ".join(sentences))


def _tightened(title: str, known: Facts, keys: list[str], rng: random.Random, asked: str) -> str:
    """The shortest answer the grammar has, without the longest facts if it must be."""
    keys = list(keys)
    while True:
        groups = _ordered(known.grouped(keys, rng, merging=1.0), rng, 0.0, asked)
        sentences = [min(known.wordings(group), key=len) for group in groups]
        parts = [even_stops(OPENINGS[0].format(title=title))]
        parts += [
            known.fill(wording, group, "It", "it")
            for wording, group in zip(sentences, groups, strict=True)
        ]
        if _words(parts) <= MOST or not keys:
            return _filled([shortened(part, MOST) for part in parts], rng, 0.0)
        keys.remove(max(keys, key=lambda key: _words(known.values[key])))

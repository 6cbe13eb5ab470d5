"""The offline writer: question-answer pairs composed from an exhibit's facts, without a model.

An answer names the exhibit in its first sentence, tells first what was asked, then the rest. The
lower the temperature, the more complete and even the answer; the higher, the more wordings and
order vary and the more it leaves out. `compose` is the grammar alone, for made-up things too.
"""

from __future__ import annotations

import random
import re

from ..errors import MuseQuestError
from .dialogs import TEMPERATURES
from .exhibits import Exhibit
from .fact_forms import Facts, upper_first
from .sentences import shortened, split_sentences
from .texts import title_words
from .wordings import ASKED, OPENINGS, QUESTIONS, REMARKS, SUBJECTS
from .writers import Pair, Writer, sha256_of

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


def describe(title: str, description: str, rng: random.Random, temperature: float) -> str:
    """Return an answer of 40 to 90 words made of whole sentences of a catalogue's description.

    At temperatures up to 0.5 the sentences are taken from the beginning, above from anywhere;
    they always keep their order.
    """
    opening = rng.choice(OPENINGS).format(title=title)
    room = MOST - _words([opening])
    if room < FEWEST // 2:
        opening, room = shortened(opening, FEWEST), MOST - FEWEST
    sentences = [shortened(each, room) for each in split_sentences(description)]
    order = list(range(len(sentences)))
    if temperature > 0.5:
        rng.shuffle(order)
    aim = rng.randint(FEWEST, room) if room > FEWEST else room
    chosen: list[int] = []
    for index in order:
        if not chosen or _words(sentences[i] for i in [*chosen, index]) <= aim:
            chosen.append(index)
    return _filled([opening, *(sentences[i] for i in sorted(chosen))], rng, temperature)


class OfflineWriter(Writer):
    """Composes pairs from an exhibit's facts or, where it has few, from its description."""

    name = "offline"

    def prompt(self, exhibit: Exhibit, temperature: float, n: int, seed: int) -> str:
        """Return all that the pairs depend on, as text."""
        facts = "\n".join(f"{key}: {value}" for key, value in sorted(exhibit.facts.items()))
        head = f"{exhibit.item_name}\n{exhibit.title}\n{facts}\n{exhibit.description}"
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
    asked = next(fact for fact, group in ASKED.items() if question in group)
    for _ in range(200):
        if len(exhibit.facts) >= ENOUGH_FACTS:
            answer = compose(exhibit.title, exhibit.facts, rng, temperature, asked)
        else:
            answer = describe(exhibit.title, exhibit.description, rng, temperature)
        if answer not in told:
            told.add(answer)
            return answer
    raise MuseQuestError(
        f"The exhibit '{exhibit.item_name}' says too little for different answers; give it a "
        "longer description or more facts."
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
        sentences.append(known.fill(rng.choice(leading), title, title))
        wordings = wordings[1:]
    else:
        sentences.append(rng.choice(OPENINGS[: _choices(temperature)]).format(title=title))
    for options in wordings:
        subject = rng.choice(SUBJECTS) if temperature > 0.5 else "It"
        ways = [known.fill(wording, subject, "it") for wording in options]
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
        parts = [OPENINGS[0].format(title=title)]
        parts += [known.fill(wording, "It", "it") for wording in sentences]
        if _words(parts) <= MOST or not keys:
            return _filled([shortened(part, MOST) for part in parts], rng, 0.0)
        keys.remove(max(keys, key=lambda key: _words(known.values[key])))

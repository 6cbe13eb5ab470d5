"""The offline writer: question-answer pairs composed from an exhibit's facts, without a model.

An answer names the exhibit in its first sentence, tells first what was asked, then the rest. The
lower the temperature, the more complete and even the answer; the higher, the more wordings and
order vary and the more it leaves out. `compose` is the grammar alone, for made-up things too. It
speaks English; in other languages an answer is made of the description's own sentences. All that
the writer says itself stands in `offline_writer.yaml`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import MuseQuestError
from ..core.keys import ENGLISH, language_name, read_yaml
from ..text.sentences import IN_SIGNS, count_words, shortened, told_sentences
from ..text.titles import names_title, title_words
from .dialogs import TEMPERATURES, Pair, Writer, sha256_of
from .exhibits import Exhibit

FEWEST, MOST = 40, 90  # words of an answer
ATTEMPTS = 8
# Facts below this number are too few for an answer; the description is used instead.
ENOUGH_FACTS = 4

_SAID = read_yaml(Path(__file__).with_suffix(".yaml"))
ASKED: dict[str, list[str]] = _SAID["asked"]  # the fact a question asks for -> questions
QUESTIONS = [question for group in ASKED.values() for question in group]
WORDINGS = {tuple(facts.split()): wordings for facts, wordings in _SAID["wordings"].items()}
FORMS: dict[str, list[str]] = _SAID["forms"]  # wordings of values in another form
OPENINGS, SUBJECTS, REMARKS = (_SAID[part] for part in ("openings", "subjects", "remarks"))
# Questions, openings, and what to say of strangers.
PHRASES: dict[str, dict[str, list[str]]] = _SAID["languages"]

ORDER = [fact for fact in ASKED if fact]  # of a catalogue
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


def compose(
    title: str, facts: dict[str, str], rng: random.Random, temperature: float, asked: str = ""
) -> str:
    """Return an answer of 40 to 90 words that names `title` in its first sentence.

    At temperatures up to 0.5 every fact is told; above, one or two facts without a number may be
    left out. A value is told word for word, but for the case of a clause's first letter. `asked`
    is the fact to tell first. Facts too long for 90 words together are left out, longest first.
    """
    known = Facts(facts)
    for _ in range(ATTEMPTS):
        told = _some(known, rng, temperature, asked)
        draft = _draft(title, known, told, rng, temperature, asked)
        if _words(draft) <= MOST:
            return _filled(draft, rng, temperature)
    return _tightened(title, known, rng, asked)


def describe(
    title: str, description: str, rng: random.Random, temperature: float, language: str = ENGLISH
) -> str:
    """Return an answer of 40 to 90 words made of whole sentences of a catalogue's description.

    At temperatures up to 0.5 the sentences are taken from the beginning, above from anywhere;
    they always keep their order. Only where no sentence is short enough, one is cut. A description
    that is too short is filled up with remarks in English; in other languages the answer stays so.
    """
    opening = rng.choice(openings_of(title, language))
    room = MOST - count_words(opening)
    if room < FEWEST // 2:
        opening, room = shortened(opening, FEWEST), MOST - FEWEST
    sentences = told_sentences(description, language)
    fitting = [each for each in sentences if count_words(each) <= room]
    sentences = fitting or [shortened(each, room) for each in sentences]
    words = [count_words(each) for each in sentences]
    order = list(range(len(sentences)))
    if temperature > 0.5:
        rng.shuffle(order)
    aim = rng.randint(FEWEST, room) if room > FEWEST else room
    chosen: list[int] = []
    for index in order:
        if not chosen or sum(words[i] for i in [*chosen, index]) <= aim:
            chosen.append(index)
    answer = [opening, *(sentences[i] for i in sorted(chosen))]
    if language != ENGLISH:
        return ("" if language in IN_SIGNS else " ").join(answer)
    return _filled(answer, rng, temperature)


def openings_of(title: str, language: str) -> list[str]:
    """The sentences that name a title before the description is told; none without its language."""
    own = PHRASES.get(language, {}).get("openings", [])
    return [_even_stops(e.format(title=title)) for e in (OPENINGS if language == ENGLISH else own)]


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
        return [
            Pair(question, answer, prompt_sha256, f"offline-{sha256_of(question + answer)[:16]}")
            for question, answer in zip(asked, answers, strict=True)
        ]


def _questions(exhibit: Exhibit, rng: random.Random) -> list[str]:
    """The questions this exhibit has an answer to, shuffled, none with a word of its title."""
    if exhibit.language != ENGLISH:
        own = PHRASES[exhibit.language]["questions"]
        pool = [each for each in own if not names_title(each, exhibit.title)] or list(own)
    else:
        known = Facts(exhibit.facts).keys() if len(exhibit.facts) >= ENOUGH_FACTS else []
        fitting = [each for fact, group in ASKED.items() if fact in ("", *known) for each in group]
        taboo = title_words(exhibit.title)
        pool = [each for each in fitting if taboo.isdisjoint(re.findall(r"\w+", each.casefold()))]
        pool = pool or list(ASKED[""])
    rng.shuffle(pool)
    return pool


def _new_answer(
    exhibit: Exhibit, question: str, rng: random.Random, temperature: float, told: set[str]
) -> str:
    """An answer that is not yet among those told; it is added to them."""
    english, title = exhibit.language == ENGLISH, exhibit.title
    asked = next((fact for fact, group in ASKED.items() if question in group), "")
    for _ in range(200):
        if english and len(exhibit.facts) >= ENOUGH_FACTS:
            answer = compose(title, exhibit.facts, rng, temperature, asked)
        else:
            answer = describe(title, exhibit.description, rng, temperature, exhibit.language)
        if answer not in told and count_words(answer) >= FEWEST:
            told.add(answer)
            return answer
    raise MuseQuestError(
        f"The exhibit '{exhibit.item_name}' says too little for different answers; give it a "
        f"longer description{' or more facts' if english else ''}."
    )


def _some(known: Facts, rng: random.Random, temperature: float, asked: str) -> list[str]:
    """All facts at low temperature; above, without up to one or two that hold no number."""
    keys = known.keys()
    spare = [key for key in keys if key != asked and not re.search(r"\d", known.values[key])]
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
    choices = 3 if temperature <= 0.5 else 4 if temperature <= 0.8 else 9
    wordings = [known.wordings(group)[:choices] for group in groups]
    sentences = []
    leading = [each for each in wordings[0] if each.startswith("{S}")] if groups else []
    if leading and rng.random() < 0.6:
        sentences.append(known.fill(rng.choice(leading), groups[0], title, title))
        groups, wordings = groups[1:], wordings[1:]
    else:
        sentences.append(_even_stops(rng.choice(OPENINGS[:choices]).format(title=title)))
    for group, options in zip(groups, wordings, strict=True):
        subject = rng.choice(SUBJECTS) if temperature > 0.5 else "It"
        ways = [known.fill(wording, group, subject, "it") for wording in options]
        # By their first words a reader notices that two sentences begin alike.
        fresh = [each for each in ways if each.split()[:3] != sentences[-1].split()[:3]]
        sentences.append(rng.choice(fresh or ways))
    return sentences


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
    return _upper_first(" ".join(sentences))


def _tightened(title: str, known: Facts, rng: random.Random, asked: str) -> str:
    """The shortest answer the grammar has, without the longest facts if it must be."""
    keys = known.keys()
    while True:
        groups = _ordered(known.grouped(keys, rng, merging=1.0), rng, 0.0, asked)
        parts = [_even_stops(OPENINGS[0].format(title=title))]
        for group in groups:
            parts.append(known.fill(min(known.wordings(group), key=len), group, "It", "it"))
        if _words(parts) <= MOST or not keys:
            return _filled([shortened(part, MOST) for part in parts], rng, 0.0)
        keys.remove(max(keys, key=lambda key: len(known.values[key].split())))


def _words(sentences: list[str]) -> int:
    return len(" ".join(sentences).split())


class Facts:
    """Facts by name in the forms that wordings need: what goes together, and how it reads.

    Empty ones are left out, white space and closing stops evened out. A name that differs from a
    known one in capitals or spaces alone ("Date", " maker") is that one.
    """

    def __init__(self, facts: dict[str, str]):
        even = {}
        for name, value in facts.items():
            known = name.strip().casefold()
            meant = known if known in ORDER and known not in facts else name
            even[meant] = " ".join(str(value).split())
        self.values = {name: value.rstrip(".") for name, value in even.items() if value.strip(". ")}
        date = self.values.get("date", "")
        # The date behind a verb ("in 1742", "about 1618"); empty where it has another form.
        self._when = date if NEAR_YEAR.fullmatch(date) else ""
        if YEAR.fullmatch(date):
            self._when = f"in {date}" if date[-1].isdecimal() else f"in the {date}"

    def keys(self) -> list[str]:
        """Return the names in a catalogue's order, unknown ones last."""
        own = [name for name in ORDER if name in self.values]
        return own + sorted(self.values.keys() - own)

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

    def wordings(self, group: tuple[str, ...]) -> list[str]:
        """Return the wordings that suit the form of the group's values, plainest first."""
        name = group[0]
        value = self.values[name]
        if name not in ORDER:
            if INNER_STOP.search(value) or SMALL.match(value):
                return FORMS["any text"]
            return FORMS["any several" if PLURAL.search(name) else "any other"]
        if name in CLAUSES and INNER_STOP.search(value):
            return [f"{{{name.capitalize()}}}."]
        if name == "technique" and not self._is_participle():
            return FORMS["technique as noun"]
        if name == "measures" and not DIMENSION.fullmatch(value):
            return FORMS["measures as numbers" if len(group) == 1 else "measures and weight"]
        if group == ("culture",) and not value.startswith("the "):
            return FORMS["culture as label"]
        if group == ("culture",) and "maker" in self.values:
            return FORMS["culture beside maker"]
        if "date" in group and not self._when:
            return [each for each in WORDINGS[group] if "{when}" not in each]
        return WORDINGS[group]

    def fill(self, wording: str, group: tuple[str, ...], subject: str, inner: str) -> str:
        """Return the sentence of a group; `subject` stands at its start, `inner` within it.

        The places of a wording are those of the tables alone, whatever names and values hold.
        """
        forms = {"S": subject, "s": inner, "when": self._when}
        for name in ORDER:
            value = self.values.get(name, "")
            # A clause stands inside a sentence; names keep their capital letter.
            small = name in CLAUSES and SMALL.match(value)
            forms[name] = value[:1].lower() + value[1:] if small else value
            forms[name.capitalize()] = _upper_first(value)
        forms["name"] = " ".join(group[0].replace("_", " ").split())
        forms["value"] = self.values.get(group[0], "")
        return _even_stops(PLACE.sub(lambda match: forms[match[1]], wording))

    def _mergeable(self, pair: tuple[str, ...]) -> bool:
        if not all(name in self.values for name in pair):
            return False
        if "culture" in pair:
            return self.values["culture"].startswith("the ") and "maker" not in self.values
        return "technique" not in pair or self._is_participle()

    def _is_participle(self) -> bool:
        return bool(PARTICIPLE.fullmatch(self.values["technique"].split()[0].rstrip(",")))


def _even_stops(sentence: str) -> str:
    """The sentence with one mark at its end, where what it tells brought its own."""
    return DOUBLE_STOP.sub(r"\1", sentence)


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]

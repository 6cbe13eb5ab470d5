"""Holds an answer's numbers and names against its ground truth and its exhibit's other texts.

Names are the capitalised words inside sentences: a rule for scripts that mark names by capitals and
for languages that do not capitalise every noun; elsewhere it finds nothing, or too much, and the
metrics of names say little.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .numbers import find_numbers, known_numbers
from .numerals import ROMANS
from .quantities import MONTHS, UNITS, Number, NumberSet

Mark = tuple[int, int, str]  # first character, one past the last, "recalled" | "known" | "invented"
Span = tuple[str, int, int]  # folded word, first character, one past the last

# "Jean-Baptiste" is two names, as some write it with a space; "U.S." and "H.M.S." are one.
WORD = re.compile(r"U\.(?:[A-Z]\.)+|[HR]\.M\.S\.|(?!US\s?\$)[^\W\d_]+(?:['’][^\W\d_]+)*")
# A sentence begins after an end mark, an ellipsis, a quote, in a table's cell or a line; marks of
# Markdown for bold, lists and headings may stand between.
SENTENCE_START = re.compile(
    r"(?:(?:^|[.!?:;…\"“”«»(\[|\n])[\s*_#>+•·–—~-]*|(?:^|\n)[ \t]*\(?\d{1,2}\)\s+[*_]*"
    r"|(?:^|[\s*_(])['‘])[*_]*$"
)
# What opens after a word stands inside its sentence: 'called "Fountain"', "by the master (Goya)";
# and so does whom or where a label names: "Maker: Ilse", "Place: Lowfen".
OPENED_INSIDE = re.compile(
    r"\w[*_]*[^\S\n]+[*_]*[(\[\"“«'‘]+[*_]*$"
    r"|\b(?:makers?|artists?|place|origin|culture|donor|owner|town|city|country|people)[*_]*:\s+[*_]*$",
    re.I,
)
# A word and its abbreviation are one name: "Fort Sumter", "Ft. Sumter".
SHORTENED = {"captain": "capt", "colonel": "col", "doctor": "dr", "fort": "ft", "general": "gen"}
SHORTENED |= {"governor": "gov", "lieutenant": "lt", "major": "maj", "mount": "mt", "saint": "st"}
SHORTENED |= {"professor": "prof", "senator": "sen", "sergeant": "sgt", "usa": "us"}
TITLES = "|".join(map(str.capitalize, [*SHORTENED.values(), "mr", "mrs", "ms"]))
# "St. Mary", "J.M.W. Turner", "the U.S. Army": the full stop ends no sentence; that of an era may.
ERA = r"(?:B\.C|C\.E|B\.C\.E|A\.D)\.\s*$"
ABBREVIATION = re.compile(rf"(?:^|[\s(\"“*])(?!{ERA})(?:(?:[A-Z]\.)*[A-Z]|{TITLES}|ca?)\.\s*$")
# "Louis XIV" is one wherever it stands; "d'Orsay" and "l'Hôpital" are names behind an article.
REGNAL = re.compile(rf" (?:{'|'.join(ROMANS[2:])})(?![\w-])")
ELIDED = re.compile(r"^(?:[dl]|dell|dall|nell|sull)['’](?=[^\W\d_]{2})", re.I)
# Letters that no accent is taken off, and marks.
PLAIN = str.maketrans("’øłđðı", "'olddi", ".") | {ord("æ"): "ae", ord("œ"): "oe", ord("þ"): "th"}
# "Varn's", "I'm", "we've", "don't": what hangs on a word is no part of it.
HANGING = re.compile(r"(?:n't|'(?:s|m|d|ve|ll|re))$")
# Capitalised inside titles and quotations, or always, without naming anything; "ca" is of "can't".
FUNCTION_WORDS = set(
    """a an and are as at but by ca can could did do does for from had has have he her his i if in
    into is it its my no not of on or our she should so that the their there these they this those
    to was we were what when where which who with wo would you your""".split()  # noqa: SIM905
)
ERAS = {"AD", "AH", "CE"}  # beside a year: "AD 79", but "AH-1" is a helicopter
# These name nothing but beside a name: "in May", "12 Feet", yet "Miles Davis", "Scotland Yard".
HARDLY_NAMES = {"may", "mai", *(word for word in [*MONTHS, *UNITS] if len(word) > 3)}
BEFORE_TIMES = {"between", "since", "until", "during", "last", "early", "late", "every"}
DAY = re.compile(r"\.?\s\d")  # after "Oct"
# A place and what comes from it, a name and its plural, an umlaut in either spelling are one name
# where both are written: "Japan" and "Japanese", "Wright" and "Wrights", "Dürer" and "Duerer".
ENDING = re.compile(r"(?:ese|ians?|ans?|ns?|ish|i|ic|s)$")
OF_PLACES = ("", "a", "e", "o", "y", "ia", "land", "en")
IRREGULAR = {"dutch": "netherlands", "french": "france", "greek": "greece", "spanish": "spain"}
IRREGULAR |= {"danish": "denmark", "welsh": "wales", "turkish": "turkey", "swiss": "switzerland"}
LOOK_BACK = 12  # characters in which the beginning of a sentence shows


@dataclass(frozen=True)
class FactCheck:
    """What an answer does with facts of one kind; each counts once, as the text writes it."""

    recalled: tuple[str, ...]  # of the ground truth, and in the answer
    missing: tuple[str, ...]  # of the ground truth, not in the answer
    invented: tuple[str, ...]  # in the answer, neither in the ground truth nor in the sources
    stated: int  # different facts in the answer
    marks: tuple[Mark, ...]  # where the answer's facts stand, and what each is

    @property
    def recall(self) -> float | None:
        """Recalled / in the ground truth, 0 to 1 (best); None if the ground truth has none."""
        total = len(self.recalled) + len(self.missing)
        return len(self.recalled) / total if total else None

    @property
    def invented_rate(self) -> float | None:
        """Invented / stated, 0 (best) to 1; None if the answer states none."""
        return len(self.invented) / self.stated if self.stated else None


def check_numbers(answer: str, ground_truth: str, sources: str = "") -> FactCheck:
    """Hold the numbers of `answer` against the ground truth and what else its exhibit states."""
    in_answer, truth, known = map(known_numbers, (answer, ground_truth, sources))

    def kind(number: Number) -> str:
        if truth.states(number):
            return "recalled"
        return "known" if truth.supports(number) or known.supports(number) else "invented"

    kinds = {number: kind(number) for number in find_numbers(answer)}
    stated, wanted = _different(answer), _different(ground_truth)
    return FactCheck(
        recalled=tuple(text for number, text in wanted if in_answer.states(number)),
        missing=tuple(text for number, text in wanted if not in_answer.states(number)),
        invented=tuple(text for number, text in stated if kinds[number] == "invented"),
        stated=len(stated),
        marks=tuple((n.start, n.end, kinds[n]) for n in find_numbers(answer)),
    )


def _different(text: str) -> list[tuple[Number, str]]:
    """Each number once, in order, with its first wording; "47 cm" and "47" are one number."""
    kept, seen = [], NumberSet(())
    for number in sorted(find_numbers(text), key=lambda number: not number.dimension):
        if not seen.states(number):
            kept.append(number)
            seen.add(number)
    return [(n, text[n.start : n.end]) for n in sorted(kept, key=lambda number: number.start)]


def check_names(answer: str, ground_truth: str, sources: str = "") -> FactCheck:
    """Hold the names of `answer` against the ground truth and what else its exhibit states.

    The answer must write a name with a capital: "a coin" does not name the Pilot Coin. A word that
    begins a sentence counts as a name where the text itself or the sources show it to be one.
    """
    words = _words(ground_truth) | _words(sources)
    written = words | _words(answer)
    words |= {_root(each[0], written) for each in capitalised(ground_truth) + capitalised(sources)}
    known = find_names(sources)
    truth = _first_wordings(ground_truth, find_names(ground_truth) | known, written)
    said = _first_wordings(answer, find_names(answer) | known | set(truth), written)
    kinds = {
        name: "recalled" if name in truth else "known" if name in words else "invented"
        for name in said
    }
    return FactCheck(
        recalled=tuple(wording for name, wording in truth.items() if name in said),
        missing=tuple(wording for name, wording in truth.items() if name not in said),
        invented=tuple(said[name] for name, kind in kinds.items() if kind == "invented"),
        stated=len(said),
        marks=tuple(
            (start, end, kinds[root])
            for name, start, end in capitalised(answer)
            if (root := _root(name, written)) in kinds
        ),
    )


def _root(name: str, written: frozenset[str]) -> str:
    """The word that stands for a name: a shorter form of it, if that is `written` as well."""
    return next((each for each in forms_of(name) if each in written), name)


@lru_cache(maxsize=65536)
def forms_of(name: str) -> tuple[str, ...]:
    """What a name may be the plural, the adjective or another spelling of."""
    stem = ENDING.sub("", name)
    forms = [stem + ending for ending in OF_PLACES if stem != name]
    forms += [IRREGULAR.get(name, name), re.sub("([aou])e", r"\1", name)]
    return tuple(each for each in forms if len(each) > 3 and each != name)


@lru_cache(maxsize=1024)
def find_names(text: str) -> frozenset[str]:
    """The proper names of `text` word by word, folded.

    The first word of a sentence is capitalised anyway and counts only if it also stands
    capitalised elsewhere; a word that belongs to a number ("Seventeenth Century") is none.
    """
    return frozenset(
        name
        for name, start, end in capitalised(text)
        if not _starts_sentence(text, start) or REGNAL.match(text, end)
    )


@lru_cache(maxsize=65536)
def fold(word: str) -> str:
    """ "Café's" and "cafe" are one word, as are "Søren" and "Soren", "I've" and "I", "d'Orsay" and
    "Orsay"."""
    plain = unicodedata.normalize("NFKD", ELIDED.sub("", word).casefold().translate(PLAIN))
    folded = HANGING.sub("", "".join(c for c in plain if not unicodedata.combining(c)))
    return SHORTENED.get(folded, folded)


@lru_cache(maxsize=4096)
def capitalised(text: str) -> tuple[Span, ...]:
    """Every capitalised word that can name something, wherever it stands."""
    numbers = iter(find_numbers(text))
    number, found = next(numbers, None), []
    matches = [None, *WORD.finditer(text), None]
    for before, match, after in zip(matches, matches[1:], matches[2:], strict=False):
        assert match is not None
        while number and number.end <= match.start():
            number = next(numbers, None)
        name = fold(match[0]) if ELIDED.sub("", match[0])[0].isupper() else ""
        counted = number is not None and number.start < match.end()
        if name in HARDLY_NAMES or (name in MONTHS and DAY.match(text, match.end())):
            counted |= not (_named_beside(before, match) or _named_beside(match, after))
        if match[0] in ERAS:
            dated = DAY.match(text, match.end()) or text[: match.start()].rstrip()[-1:].isdigit()
            counted |= bool(dated)
        if len(name) > 1 and name not in FUNCTION_WORDS and not counted:
            found.append((name, *match.span()))
    return tuple(found)


def _named_beside(left: re.Match[str] | None, right: re.Match[str] | None) -> bool:
    """Whether two words stand side by side, both with a capital: "Noir's Yard", "Miles Davis"."""
    return (
        left is not None and right is not None and right.start() == left.end() + 1
        and all(w[0][0].isupper() for w in (left, right))
        and FUNCTION_WORDS.union(BEFORE_TIMES).isdisjoint(fold(w[0]) for w in (left, right))
    )  # fmt: skip


def _starts_sentence(text: str, start: int) -> bool:
    """Whether any word would have a capital there."""
    before = max(0, start - LOOK_BACK)
    return bool(SENTENCE_START.search(text, before, start)) and not any(
        inside.search(text, before, start) for inside in (ABBREVIATION, OPENED_INSIDE)
    )


def _first_wordings(text: str, names: Iterable[str], written: frozenset[str]) -> dict[str, str]:
    """Those of `names` that `text` writes with a capital, in order, each as it is first written.

    They go by the words that stand for them (`_root`).
    """
    wanted = set(names)
    found: dict[str, str] = {}
    for name, start, end in capitalised(text):
        if not wanted.isdisjoint((name, root := _root(name, written))):
            found.setdefault(root, text[start:end])
    return found


@lru_cache(maxsize=1024)
def _words(text: str) -> frozenset[str]:
    return frozenset(fold(match[0]) for match in WORD.finditer(text))

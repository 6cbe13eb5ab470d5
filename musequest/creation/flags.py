"""Flags: what a curator should look at in a dialog before approving it, and the words it is about.

    flags_of(exhibit, dialog, sensitive_words("pocket"))    # [Flag("number", "1743 is not ...")]

Numbers and names are held against the exhibit's own texts by the readers of the evaluation. Which
words are sensitive is a museum's to say: its `sensitive_words.txt` takes the place of the short
list of this package, which is in English. A flag is no verdict, and what has none may be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import MuseQuestError
from ..core.home import collection_dir
from ..core.keys import language_name
from ..text.facts import check_names, check_numbers
from ..text.sentences import MARKED, count_words, is_unparted, other_language
from ..text.titles import names_title
from .dialogs import LONGEST, SHORTEST
from .exhibits import SENSITIVE, Exhibit

# What each kind is called where dialogs are chosen by it.
KINDS = {
    "number": "unsupported number",
    "name": "unsupported name",
    "sensitive": "sensitive word",
    "language": "other language",
    "length": "short or long",
    "unended": "not ended",
    "title": "names the exhibit",
}
# German writes every noun with a capital, and Luxembourgish too, so capitals tell no names there.
NOUNS_IN_CAPITALS = ("de", "lb")

SensitiveWords = Mapping[str, re.Pattern[str]]  # reason -> what finds its words


@dataclass(frozen=True)
class Flag:
    """One thing to look at."""

    kind: str  # a key of KINDS
    told: str  # a sentence without its stop
    words: tuple[str, ...] = ()  # as they stand in question or answer


def sensitive_words(collection: str) -> SensitiveWords:
    """The museum's list in data/<collection>/ if there is one, else that of this package.

    A line that is no reason with words raises MuseQuestError. An empty list finds nothing.
    """
    own = collection_dir(collection) / SENSITIVE
    path = own if own.is_file() else Path(__file__).with_name(SENSITIVE)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MuseQuestError(f"{path} cannot be read ({error}); save it as UTF-8.") from None
    words: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        reason, colon, listed = line.partition(":")
        some = [" ".join(word.split()) for word in listed.split(",") if word.strip(" *\t")]
        if not (colon and reason.strip() and some):
            raise MuseQuestError(
                f"{path}, line {number}: {line.strip()[:60]!r} is no reason with words; write "
                "'reason: word, word', or # before a remark."
            )
        words.setdefault(reason.strip(), []).extend(some)
    return {reason: _pattern(own) for reason, own in words.items()}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """What finds whole words, in any case; where words are not parted, anywhere."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        inner = re.escape(word.rstrip("*")).replace(r"\ ", r"\s+")
        end = r"\w*" if word.endswith("*") else r"(?!\w)"
        parts.append(inner if is_unparted(word) else rf"(?<!\w){inner}{end}")
    return re.compile("|".join(parts), re.IGNORECASE)


def flags_of(exhibit: Exhibit, dialog: Mapping[str, Any], sensitive: SensitiveWords) -> list[Flag]:
    """What to look at in a dialog's `question` and `answer`, the gravest first."""
    question, answer, texts = dialog["question"], dialog["answer"], exhibit.source_text
    flags = []
    kinds = {"number": check_numbers}
    if exhibit.language not in NOUNS_IN_CAPITALS:
        kinds["name"] = check_names
    for kind, check in kinds.items():
        if words := check(answer, "", texts).invented:
            are = "is" if len(words) == 1 else "are"
            flags.append(Flag(kind, f"{_listed(words)} {are} not in the museum's text", words))
    for reason, pattern in sensitive.items():
        matches = pattern.finditer(f"{question}\n{answer}")
        if words := tuple(dict.fromkeys(match[0] for match in matches)):
            flags.append(Flag("sensitive", f"{_listed(words)}: {reason}", words))
    if other := other_language(answer, exhibit.language):
        name, own = language_name(other), language_name(exhibit.language)
        flags.append(Flag("language", f"The answer seems to be in {name}, not in {own}"))
    words_told = count_words(answer)
    if not SHORTEST <= words_told <= LONGEST:
        told = f"The answer has {words_told} words, not {SHORTEST} to {LONGEST}"
        flags.append(Flag("length", told))
    if not MARKED.search(answer.rstrip()):
        flags.append(Flag("unended", "The answer does not end as a sentence does"))
    if names_title(question, exhibit.title):
        flags.append(Flag("title", "The question gives away what the exhibit is"))
    return flags


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"“{word}”" for word in words)

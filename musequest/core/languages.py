"""The languages of collections: their codes (ISO 639-1), and by what a text's own one is told."""

from __future__ import annotations

import copy
import re
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from .errors import MuseQuestError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

ENGLISH = "en"
# Written without spaces: each sign counts as a word, or about five letters do.
SIGNS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LETTERS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
LETTERS_A_WORD = 5
# Languages whose texts are measured in signs.
IN_SIGNS = ("ja", "zh")
# What a text is taken for besides the language it should be in. None of them is so near to another
# that a text of the one is often taken for the other, and each other language is near to one.
CANDIDATES = (
    *("ar", "cs", "de", "el", "en", "es", "fi", "fr", "he", "hi", "hu", "it", "ja", "ko", "nl"),
    *("pl", "pt", "ru", "sv", "tr", "zh"),
)
BEGINNING = 400  # characters of a text, which are enough
# Of a text, and of its words in small letters; a verdict on fewer is not sure.
ENOUGH_BYTES, ENOUGH_SMALL_BYTES = 100, 60
SURE, UNLIKELY = 0.9, 0.01  # probabilities of a language that a text is in, and of one it is not in
_loading = threading.Lock()


def checked_language(code: object, where: object) -> str:
    """Return a code of ISO 639-1 in small letters; another one raises MuseQuestError."""
    language = str(code).strip().lower()
    if language not in _names():
        raise MuseQuestError(
            f"{where}: 'language' is {code!r}; write a code of ISO 639-1, such as en, de or ja."
        )
    return language


def language_name(code: str) -> str:
    """Return the English name of a language: "German" for "de"."""
    return _names()[code]


@lru_cache
def _names() -> dict[str, str]:
    from babel import Locale

    names = Locale(ENGLISH).languages
    return {code: name for code, name in names.items() if len(code) == 2}


def count_words(text: str) -> int:
    """Return the words of a text: what spaces part; of Chinese and Japanese, the signs."""
    signs, letters = len(SIGNS.findall(text)), len(LETTERS.findall(text))
    if not signs + letters:
        return len(text.split())
    rest = LETTERS.sub(" ", SIGNS.sub(" ", text))
    parted = sum(any(map(str.isalnum, word)) for word in rest.split())
    return signs + -(-letters // LETTERS_A_WORD) + parted


def is_unparted(text: str) -> bool:
    """Whether a text is in a script that does not part words by spaces."""
    return bool(SIGNS.search(text) or LETTERS.search(text))


def other_language(text: str, language: str) -> str | None:
    """Return the ISO 639 code of the language that a text is in for sure; None if it is `language`.

    None also where that is not sure: a short text, or one that is in another language only with
    the names in it. Languages that py3langid does not know are never told apart.
    """
    expected = language.replace("_", "-").split("-")[0].lower()
    small = " ".join(word for word in text.split() if word == word.lower())
    if len(text.encode()) < ENOUGH_BYTES or len(small.encode()) < ENOUGH_SMALL_BYTES:
        return None
    with _loading:
        identifier = _identifier(expected)
    if identifier is None:
        return None
    for part in (text, small):
        ranked = identifier.rank(part[:BEGINNING])
        if ranked[0][1] < SURE or dict(ranked)[expected] > UNLIKELY:
            return None
    return str(ranked[0][0])


def prepare_languages() -> None:
    """Load what languages are told by, which takes most of a second once."""
    with _loading:
        _identifier(ENGLISH)


@lru_cache
def _identifier(expected: str) -> LanguageIdentifier | None:
    identifier = copy.copy(_model())
    if expected not in identifier.labels:
        return None
    identifier.set_languages([*CANDIDATES, expected])
    return identifier


@lru_cache
def _model() -> LanguageIdentifier:
    # Imported here, since its model takes most of a second and few commands need it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

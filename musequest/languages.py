"""The languages of collections: their codes (ISO 639-1), their names, how words are counted."""

from __future__ import annotations

import re

from .errors import MuseQuestError

ENGLISH = "en"
# Written without spaces: each sign counts as a word, or about five letters do.
SIGNS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LETTERS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
LETTERS_A_WORD = 5
# Languages whose texts are measured in signs.
IN_SIGNS = ("ja", "zh")


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


def _names() -> dict[str, str]:
    from babel import Locale

    names = Locale(ENGLISH).languages
    return {code: name for code, name in names.items() if len(code) == 2}

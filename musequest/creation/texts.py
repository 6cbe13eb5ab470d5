"""What a text must not hold, because it would be learned or would break a template."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import LOGGER
from ..languages import count_words, is_unparted

# The chat template's and the writers' own words; in a text they would end a turn early.
MARKER = re.compile(
    r"<image>|<fake_token_around_image>|<end_of_utterance>|<row_\d+_col_\d+>|<global-img>"
    r"|<\|[^|>\n]{1,40}\|>|</?s>|<pad>|<unk>|\[/?INST\]"
    r"|^\s*(User|Assistant|System|Question|Answer|Q|A)\s*:",
    re.MULTILINE,
)
HTML = re.compile(r"</?[A-Za-z][^<>\n]*>|<!--|&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9A-Fa-f]{1,6});")
ENOUGH_WORDS = 80  # of a description; a docent has little to learn from less
UNFIT = ("Cc", "Cs")  # control characters, and halves of a character cut in two
SMALL_WORDS = frozenset(
    ("the", "and", "for", "with", "from", "into", "near", "its", "his", "her", "their", "this")
)

# Words that a title may write with a capital, and any question holds.
NO_NAMES = SMALL_WORDS | frozenset(
    ("an", "as", "at", "by", "in", "is", "it", "of", "on", "or", "to", "was", "how", "who", "what")
    + ("when", "where", "which", "why", "about", "made", "used", "built", "found")
)


def flaw_of(text: str) -> str | None:
    """Return what makes a text unusable, as a part of a sentence; None where it is fine."""
    if not text.strip():
        return "is empty"
    if match := MARKER.search(text):
        return f"contains the writer's own marker {match[0].strip()!r}"
    if match := HTML.search(text):
        return f"contains HTML ({match[0]!r})"
    for sign in text:
        unfit = unicodedata.category(sign) in UNFIT and sign not in "\n\r\t"
        if unfit or sign == "\ufffd":
            return f"contains the control character U+{ord(sign):04X}"
    return None


def as_data(value: Any, reserved: Iterable[str] = ()) -> str:
    """A text, or texts in lists and dicts, as JSON for a prompt, where they are nothing but data.

    Every text of others enters a prompt here. As a JSON string it has no line breaks, so it cannot
    look like a turn of its own, and it ends where its quote does. Of what a chat template or a
    tokenizer takes for a token of its own (MARKER, and the model's `reserved` ones) the first
    character is written as JSON's \\uXXXX: `<image>` is read as a text and is none.
    """
    text = json.dumps(value, ensure_ascii=False)
    own = "|".join(re.escape(token) for token in sorted(reserved, key=len, reverse=True) if token)
    for pattern in (MARKER, *([re.compile(own)] if own else [])):
        text = pattern.sub(lambda found: f"\\u{ord(found[0][0]):04x}{found[0][1:]}", text)
    return text


def warn_of_short(descriptions: Mapping[str, str]) -> None:
    """Log one sentence about all descriptions, by item_name, of fewer than ENOUGH_WORDS words."""
    short = [name for name, text in descriptions.items() if count_words(text) < ENOUGH_WORDS]
    if short:
        LOGGER.warning(
            "%d of %d descriptions have fewer than %d words, first that of '%s'; a docent learns "
            "little from so few, and the offline writer pads short answers, so write more.",
            len(short), len(descriptions), ENOUGH_WORDS, short[0],
        )  # fmt: skip


def half_sign_of(text: str) -> str | None:
    """Return which half of a sign a text holds, as a part of a sentence; None if none.

    JSON can name one, a surrogate, and no file can hold it.
    """
    if match := re.search("[\ud800-\udfff]", text):
        return f"contains half a sign (the surrogate U+{ord(match[0]):04X})"
    return None


def title_words(title: str) -> set[str]:
    """Return the words of a title that tell what the exhibit is, in small letters."""
    words = re.findall(r"\w+", title.casefold())
    return {word for word in words if len(word) > 2 and word not in SMALL_WORDS}


def names_title(text: str, title: str) -> bool:
    """Whether a text holds the title, every telling word of it, or a name out of it.

    A name is two or more of the title's words on end that are written with a capital or digits:
    "the Wright Flyer" of "1903 Wright Flyer". Common words alone, such as "steam engine", are none.
    """
    if is_unparted(title):
        return "".join(title.split()).casefold() in "".join(text.split()).casefold()
    words = title_words(title)
    said = re.findall(r"\w+", text.casefold())
    if not title.strip():
        return False
    whole = re.findall(r"\w+", title.casefold())
    # One word of a longer title, "flag" of "U.S. Flag", is none of its names.
    telling = bool(words) and words <= set(said) and (len(words) > 1 or len(whole) < 3)
    return _holds(said, whole) or telling or _says_name(said, title)


def _says_name(said: list[str], title: str) -> bool:
    written = re.findall(r"\w+", title)
    for first, second in itertools.pairwise(range(len(written))):
        pair = written[first], written[second]
        if all(map(_is_name, pair)) and _holds(said, [word.casefold() for word in pair]):
            return True
    return False


def _is_name(word: str) -> bool:
    """Whether a word of a title is part of a name: "Wright" and "71", not "The" or "engine"."""
    capital = word[0].isupper() or word[0].isdigit()
    return capital and len(word) > 1 and word.casefold() not in NO_NAMES


def _holds(words: list[str], run: list[str]) -> bool:
    """Whether `words` hold all of `run` on end."""
    count = len(run)
    return bool(run) and any(words[i : i + count] == run for i in range(len(words) - count + 1))

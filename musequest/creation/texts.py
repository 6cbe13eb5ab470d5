"""What a text must not hold, because it would be learned or would break a template."""

from __future__ import annotations

import re
import unicodedata

# The chat template's and the writers' own words; in a text they would end a turn early.
MARKER = re.compile(
    r"<image>|<fake_token_around_image>|<end_of_utterance>|<row_\d+_col_\d+>|<global-img>"
    r"|<\|[^|>\n]{1,40}\|>|</?s>|<pad>|<unk>|\[/?INST\]"
    r"|^\s*(User|Assistant|System|Question|Answer|Q|A)\s*:",
    re.MULTILINE,
)
HTML = re.compile(r"</?[A-Za-z][^<>\n]*>|<!--|&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9A-Fa-f]{1,6});")
SMALL_WORDS = frozenset(
    ("the", "and", "for", "with", "from", "into", "near", "its", "his", "her", "their", "this")
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
        if (unicodedata.category(sign) == "Cc" and sign not in "\n\r\t") or sign == "\ufffd":
            return f"contains the control character U+{ord(sign):04X}"
    return None


def title_words(title: str) -> set[str]:
    """Return the words of a title that tell what the exhibit is, in small letters."""
    words = re.findall(r"\w+", title.casefold())
    return {word for word in words if len(word) > 2 and word not in SMALL_WORDS}


def names_title(text: str, title: str) -> bool:
    """Whether a text holds the title, or every telling word of it."""
    words = title_words(title)
    found = set(re.findall(r"\w+", text.casefold()))
    return title.casefold() in text.casefold() or (bool(words) and words <= found)

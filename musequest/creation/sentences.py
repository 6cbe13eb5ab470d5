"""Split a catalogue's prose into sentences, and shorten one that is too long."""

from __future__ import annotations

import re

# A full stop behind one of these, or behind a single capital letter, ends no sentence.
ABBREVIATIONS = (
    "c ca cf dr ed eds etc fig figs fl inv jr mr mrs ms mt no nos pl pp prof rev sr st vol"
)
END = re.compile(r"[.!?]+[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z0-9])")
LAST_WORD = re.compile(r"(\w+)\.[\"'\u201d\u2019)\]]*\s+$")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, white space evened out; each ends with its own mark."""
    text = " ".join(text.split())
    sentences, start = [], 0
    for match in END.finditer(text):
        if not _abbreviated(text[start : match.end()]):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    rest = text[start:].strip()
    return [*sentences, *([rest] if rest else [])]


def shortened(sentence: str, most: int) -> str:
    """Return at most `most` words of a sentence, cut behind a comma if there is one late enough."""
    words = sentence.split()
    if len(words) <= most:
        return sentence
    marks = [i for i, word in enumerate(words[:most]) if word[-1] in ",;:" and i >= most // 2]
    kept = words[: marks[-1] + 1] if marks else words[:most]
    return " ".join(kept).rstrip(",;:.") + "."


def _abbreviated(text: str) -> bool:
    match = LAST_WORD.search(text)
    if match is None:
        return False
    word = match[1]
    return word.lower() in ABBREVIATIONS.split() or (len(word) == 1 and word.isupper())

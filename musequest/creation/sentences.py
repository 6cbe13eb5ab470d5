"""Split a catalogue's prose into sentences, and shorten one that is too long.

`sentencex` finds the ends of sentences in some 300 languages. Where it is in doubt, two sentences
stay together: both are then told whole, and never half of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import segment

from ..languages import ENGLISH, count_words, is_unparted

# A line that ends so is a sentence's last, one without is a heading, unless it was only wrapped.
CLOSING = "\"'\u201d\u2019\u00bb\u203a)\\]\u300d\u300f\uff09"
MARKED = re.compile(rf"[.!?\u2026\u3002\uff01\uff1f\uff0e\u0964\u061f\u06d4][{CLOSING}]*$")
WRAPPED_AT = range(50, 121)  # characters of a line, where a text is wrapped by hand
MANY_WORDS = 8  # a line of so many may be a sentence whose stop is missing
ENOUGH_WORDS = 40  # of sentences; a text with less is told with its other lines
# A stop that ends nothing: behind an initial ("M. Dupont"), or before what no sentence begins with.
INITIAL = re.compile(r"(?:^|[\W_\u3040-\u30ff\u3400-\u9fff])[^\W\d_]\.$")
# Nor does one behind a name with no vowel to speak it by: "Wm. Penn", "Slg. Meier", "18-kt. Gold".
UNSPOKEN = re.compile(r"(?:\b[B-DF-HJ-NP-TV-XZ]|-[b-df-hj-np-tv-xz])[b-df-hj-np-tv-xz]{1,4}\.$")
GOES_ON = re.compile(rf"[a-z\u00df-\u00f6\u00f8-\u00ff\u0430-\u045f0-9]|[{CLOSING}](?:\s|$)")
# "im 18. Jahrhundert": in these languages a stop makes a numeral an ordinal.
ORDINALS = (
    "cs",
    "da",
    "de",
    "et",
    "fi",
    "hr",
    "hu",
    "is",
    "lv",
    "nb",
    "nn",
    "no",
    "pl",
    "sk",
    "sl",
)
ORDINAL = re.compile(r"(?:^|\D)\d{1,2}\.$")
# In Japanese a particle may follow, in Chinese who says it.
QUOTED = {"ja": re.compile(r"[\u300d\u300f]$"), "zh": re.compile(r"[\u201d\u2019\u300d\u300f]$")}
SAID_BY = {"ja": re.compile(r"[\u3040-\u309f]"), "zh": re.compile(r"[^\u201c\u2018\u300c\u300e]")}


def split_sentences(text: str, language: str = ENGLISH) -> list[str]:
    """Return the sentences of a text, white space evened out; each ends with its own mark.

    A heading, a line of its own without a mark, stands alone.
    """
    return [sentence for block in _blocks(text) for sentence in _sentences(block, language)]


def told_sentences(text: str, language: str = ENGLISH) -> list[str]:
    """Return the sentences that can be told: no headings, unless there is nothing else.

    Where most lines have no mark, the text is a record's sheet: a short line is a label there, even
    if it ends in a stop ("Cartier, Inc.").
    """
    lines = list(_blocks(text))
    marked = closing = [line for line in lines if MARKED.search(line)]
    if 2 * len(marked) < len(lines):
        marked = [line for line in marked if count_words(line) >= MANY_WORDS]
    long = [line for line in lines if line in marked or count_words(line) >= MANY_WORDS]
    enough = [told for told in (marked, long) if sum(map(count_words, told)) >= ENOUGH_WORDS]
    told = next(iter(enough), long or closing or lines)
    return [closed(each) for line in told for each in _sentences(line, language)]


def closed(sentence: str) -> str:
    """Return the sentence with a full stop, if it has no mark."""
    if MARKED.search(sentence):
        return sentence
    return sentence.rstrip(",;:\u3001\uff0c\uff1b\uff1a") + (
        "\u3002" if is_unparted(sentence) else "."
    )


def shortened(sentence: str, most: int) -> str:
    """Return at most `most` words of a sentence, cut behind a comma if there is one late enough."""
    # Where words are not parted, each sign is one.
    words = list(sentence) if is_unparted(sentence) else sentence.split()
    if len(words) <= most:
        return sentence
    stops = ",;:\u3001\uff0c\uff1b\uff1a"
    marks = [i for i, word in enumerate(words[:most]) if word[-1] in stops and i >= most // 2]
    kept = words[: marks[-1] + 1] if marks else words[:most]
    return closed(("" if is_unparted(sentence) else " ").join(kept).rstrip(stops + "."))


def _blocks(text: str) -> Iterator[str]:
    """Headings and paragraphs: lines, put together again where they were only wrapped."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    width = max(map(len, lines), default=0)
    block = last = ""
    for line in lines:
        if block and line and _runs_on(block, line, last, width):
            block = f"{block} {line}"
        else:
            yield from [block] if block else []
            block = line
        last = line
    yield from [block] if block else []


def _runs_on(block: str, line: str, last: str, width: int) -> bool:
    """Whether the line goes on with the block, whose last line it stands below."""
    if width in WRAPPED_AT and len(last) + 1 + len(line.split()[0]) > width:
        return True  # the next word did not fit
    return not MARKED.search(block) and line[0].islower()


def _sentences(block: str, language: str) -> list[str]:
    sentences: list[str] = []
    for part in filter(str.strip, segment(language, block)):
        if sentences and _in_doubt(sentences[-1], part.strip(), language):
            sentences[-1] += part
        else:
            sentences.append(part)
    return [sentence.strip() for sentence in sentences]


def _in_doubt(sentence: str, following: str, language: str) -> bool:
    """Whether the stop between two parts may be none; white space is still behind `sentence`."""
    attached = sentence == (sentence := sentence.rstrip())
    if GOES_ON.match(following) or (attached and not is_unparted(sentence)):
        return True
    if sentence.endswith(".") and count_words(sentence) == 1:  # "Mme." by itself tells nothing
        return True
    if sentence.count("(") > sentence.count(")") and ")" in following:
        return True
    if language in QUOTED and QUOTED[language].search(sentence):
        return bool(SAID_BY[language].match(following))
    ordinal = language in ORDINALS and ORDINAL.search(sentence)
    return bool(ordinal or INITIAL.search(sentence) or UNSPOKEN.search(sentence))

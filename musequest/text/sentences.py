"""Texts: what one must not hold, how it enters a prompt, its language, its words and sentences.

What would be learned, or would break a template, is a flaw. `sentencex` finds the ends of sentences
in some 300 languages. Where it is in doubt, two sentences stay together: both are then told whole,
and never half of one.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sentencex import segment

from ..core.errors import LOGGER
from ..core.keys import ENGLISH, language_name

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# The chat template's and the writers' own words; in a text they would end a turn early.
MARKER = re.compile(
    r"<image>|<fake_token_around_image>|<end_of_utterance>|<row_\d+_col_\d+>|<global-img>"
    r"|<\|[^|>\n]{1,40}\|>|</?s>|<pad>|<unk>|\[/?INST\]"
    r"|^\s*(User|Assistant|System|Question|Answer|Q|A)\s*:",
    re.MULTILINE,
)
HTML = re.compile(r"</?[A-Za-z][^<>\n]*>|<!--|&(?:[A-Za-z]{2,8}|#\d{1,6}|#x[0-9A-Fa-f]{1,6});")
ENOUGH_WORDS = 80  # of a description; a docent has little to learn from less
# Letters and marks that show nothing: fillers of Hangul and Braille, joiners, variation selectors.
UNSEEN = re.compile("[\u034f\u115f\u1160\u2800\u3164\ufe00-\ufe0f\uffa0]")
UNFIT = ("Cc", "Cs")  # control characters, and halves of a character cut in two
# A line that ends so is a sentence's last, one without is a heading, unless it was only wrapped.
CLOSING = "\"'\u201d\u2019\u00bb\u203a)\\]\u300d\u300f\uff09"
MARKED = re.compile(rf"[.!?\u2026\u3002\uff01\uff1f\uff0e\u0964\u061f\u06d4][{CLOSING}]*$")
COMMAS = ",;:\u3001\uff0c\uff1b\uff1a"
WRAPPED_AT = range(50, 121)  # characters of a line, where a text is wrapped by hand
MANY_WORDS = 8  # a line of so many may be a sentence whose stop is missing
ENOUGH_TOLD = 40  # words of sentences; a text with less is told with its other lines
# A stop that ends nothing: before what no sentence begins with, or behind one of these.
GOES_ON = re.compile(rf"[a-z\u00df-\u00f6\u00f8-\u00ff\u0430-\u045f0-9]|[{CLOSING}](?:\s|$)")
SHORTENED = (
    # An initial: "M. Dupont".
    re.compile(r"(?:^|[\W_\u3040-\u30ff\u3400-\u9fff])[^\W\d_]\.$"),
    # A name with no vowel to speak it by: "Wm. Penn", "Slg. Meier", "18-kt. Gold".
    re.compile(r"(?:\b[B-DF-HJ-NP-TV-XZ]|-[b-df-hj-np-tv-xz])[b-df-hj-np-tv-xz]{1,4}\.$"),
    # A given name as old labels shorten it: "Chas. Dodd".
    re.compile(
        r"\b(?:Abr|Alb|Alex|Andw|Ant|Archd|Aug|Benj|Cath|Chas|Danl|Edm|Edw|Eliz|Franc|Fred|Frid"
        r"|Geo|Giov?|Jas|Jno|Joh|Jos|Margt|Nath|Nic|Robt|Saml|Steph|Theo|Thos)\.$"
    ),
)
# "im 18. Jahrhundert": in these languages a stop makes a numeral an ordinal.
ORDINALS = (
    *("cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "nn", "no", "pl", "sk", "sl"),
)
ORDINAL = re.compile(r"(?:^|\D)\d{1,2}\.$")
# In Japanese a particle may follow a quotation, in Chinese who says it.
QUOTED = {"ja": re.compile(r"[\u300d\u300f]$"), "zh": re.compile(r"[\u201d\u2019\u300d\u300f]$")}
SAID_BY = {"ja": re.compile(r"[\u3040-\u309f]"), "zh": re.compile(r"[^\u201c\u2018\u300c\u300e]")}

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


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in a text: spaces, controls, and signs of no width."""
    return all(unicodedata.category(sign)[0] in "CZ" for sign in UNSEEN.sub("", text))


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


def half_sign_of(text: str) -> str | None:
    """Return which half of a sign a text holds, as a part of a sentence; None if none.

    JSON can name one, a surrogate, and no file can hold it.
    """
    if match := re.search("[\ud800-\udfff]", text):
        return f"contains half a sign (the surrogate U+{ord(match[0]):04X})"
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


def warn_of_short(descriptions: Mapping[str, str]) -> None:
    """Log one sentence about all descriptions, by item_name, of fewer than ENOUGH_WORDS words."""
    short = [name for name, text in descriptions.items() if count_words(text) < ENOUGH_WORDS]
    if short:
        LOGGER.warning(
            "%d of %d descriptions have fewer than %d words, first that of '%s'; a docent learns "
            "little from so few, and the offline writer pads short answers, so write more.",
            len(short), len(descriptions), ENOUGH_WORDS, short[0],
        )  # fmt: skip


def warn_of_language(texts: list[tuple[str, str]]) -> None:
    """Log one sentence where most texts are surely in another language than the one beside them."""
    found = Counter((own, other_language(text, own)) for text, own in texts)
    for (own, other), count in found.items():
        if other and 2 * count > len(texts):
            LOGGER.warning(
                "%d of %d descriptions are in %s, but dialogs will be in %s; if that is not meant, "
                "collect again with --language %s (in a profile, language: %s).",
                count, len(texts), language_name(other), language_name(own), other, other,
            )  # fmt: skip


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
    enough = [told for told in (marked, long) if sum(map(count_words, told)) >= ENOUGH_TOLD]
    told = next(iter(enough), long or closing or lines)
    return [_closed(each) for line in told for each in _sentences(line, language)]


def shortened(sentence: str, most: int) -> str:
    """Return at most `most` words of a sentence, cut behind a comma if there is one late enough."""
    # Where words are not parted, each sign is one.
    unparted = is_unparted(sentence)
    words = list(sentence) if unparted else sentence.split()
    if len(words) <= most:
        return sentence
    marks = [i for i, word in enumerate(words[:most]) if word[-1] in COMMAS and i >= most // 2]
    kept = words[: marks[-1] + 1] if marks else words[:most]
    return _closed(("" if unparted else " ").join(kept).rstrip(COMMAS + "."))


def _closed(sentence: str) -> str:
    """The sentence with a full stop, if it has no mark."""
    if MARKED.search(sentence):
        return sentence
    return sentence.rstrip(COMMAS) + ("\u3002" if is_unparted(sentence) else ".")


def _blocks(text: str) -> Iterator[str]:
    """Headings and paragraphs: lines, put together again where they were only wrapped."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    width = max(map(len, lines), default=0)
    block = last = ""
    for line in [*lines, ""]:
        # A line was full if the next word did not fit.
        full = width in WRAPPED_AT and line and len(last) + 1 + len(line.split()[0]) > width
        if block and line and (full or (not MARKED.search(block) and line[0].islower())):
            block = f"{block} {line}"
        else:
            yield from [block] if block else []
            block = line
        last = line


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
    if language in ORDINALS and ORDINAL.search(sentence):
        return True
    return any(each.search(sentence) for each in SHORTENED)

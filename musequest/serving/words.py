"""What the docent and its page say beside the museum's own texts, in the museum's language.

    say = words_of("de", "page")
    say("That is larger than {} MB; send a smaller photo.", 16)

languages/<code>.yaml is a language: English words and what they are in it, those of the `docent`,
who says that it does not know, and those of the `page`. English stands in templates, script and
code, and has no file; where a file or a part of it is absent, English is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from ..core.keys import ENGLISH, read_yaml

FOLDER = Path(__file__).with_name("languages")


@dataclass(frozen=True)
class Words:
    """English words in a language."""

    language: str = ENGLISH
    known: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, english: str, *values: object) -> str:
        """The words in the language, with the values in place of each {}."""
        said = self.known.get(english, english)
        return said.format(*values) if values else said


@cache
def words_of(language: str, speaker: Literal["docent", "page"]) -> Words:
    """The words of a speaker in a language, or in English if its file does not hold them."""
    path = FOLDER / f"{language}.yaml"
    known = read_yaml(path).get(speaker) if path.is_file() else None
    return Words(language, known) if known else Words()

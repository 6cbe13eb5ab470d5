"""The words of the page: a language is a file, and it knows all that templates and script say."""

import re
from pathlib import Path

import pytest

from musequest.core.keys import read_yaml
from musequest.serving.words import FOLDER, Words, words_of

HERE = FOLDER.parent
FILES = sorted(FOLDER.glob("*.yaml"))
SOURCES = [*HERE.glob("templates/*.j2"), HERE / "static/docent.js"]


def spoken() -> set[str]:
    """What templates and script say in English."""
    calls = [each for path in SOURCES for each in re.findall(r"say\(([^()]*)", path.read_text())]
    return {each for call in calls for each in re.findall(r'"([^"]+)"', call)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_language_knows_all_of_a_part_or_nothing_of_it_and_keeps_its_places(path: Path):
    code = "".join(each.read_text() for each in [*HERE.glob("*.py"), *SOURCES])
    parts, english = read_yaml(path), read_yaml(FOLDER / "de.yaml")
    assert parts.keys() <= {"docent", "page"}
    for name, words in parts.items():
        assert words.keys() == english[name].keys()
        assert all(key in code for key in words), "what nobody says"
        assert all(key.count("{}") == value.count("{}") for key, value in words.items())
    assert spoken() <= parts.get("page", english["page"]).keys() and len(spoken()) > 40


def test_what_a_language_does_not_know_is_said_in_english():
    assert words_of("de", "page").language == "de"
    assert words_of("fr", "docent").language == "fr"
    for language, speaker in (("fr", "page"), ("fi", "docent"), ("en", "page")):
        say = words_of(language, speaker)
        assert say == Words("en") and say("Take a photo") == "Take a photo"
    assert Words("x", {"{} of {}": "{} {{von}} {}"})("{} of {}", "a", "{}") == "a {von} {}"
    assert Words("x")("{} is kept") == "{} is kept"

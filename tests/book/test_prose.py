"""What people read is spelled right, short enough and easy; what is shown can be heard as well."""

import re
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from spellchecker import SpellChecker

from benchmarks.tables.readme_tables import readmes
from musequest.book.walks import WALK
from musequest.core.home import root

GUIDES = [
    path
    for path in readmes()
    if path.name.endswith("_readme.md") or path.name in ("README.md", "RENTING.md")
]
STAGES = [path for path in GUIDES if path.parent.parent == root() and "_readme" in path.name]
FIGURES = sorted((root() / "assets/figures").glob("*.svg"))
COMPARED = "How it compares"
HEADINGS = (
    *("How to run it", "What it leaves behind", COMPARED, "What goes wrong", "Further reading"),
)
# "Nothing enters that no curator approved": a reader has to turn it over twice.
DENIED = re.compile(
    r"\bnot un(?!(?:til|der|less|it)\b)\w+|\b(?:not|never|nothing|nobody) without\b"
    r"|\b(?:nothing|nobody|none|no \w+)\b[^.,;:|]*\b(?:that|who|whom|which)\b[^.,;:|]*"
    r"\b(?:no|not|never|cannot|nobody|nothing)\b"
    r"|\b(?:cannot|not|never)\b[^.,;:|]{0,30}\b(?:nothing|nobody|never)\b",
    re.IGNORECASE,
)
IMAGE = re.compile(r'!\[([^\]]*)\]\(|<img [^>]*alt="([^"]*)"')


def named(path: Path) -> str:
    return str(path.relative_to(root()))


def prose(markdown: str) -> str:
    """The text without figures, code, addresses and comments."""
    text = re.sub(r"<!-- figures: \w+ -->.*?<!-- end -->", "", markdown, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4,}\S.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "] ", re.sub(r"`[^`]*`", "`x`", text))
    text = re.sub(r"\b[\w/]+\.(?:md|py|ya?ml|csv|ipynb|txt|cff|html|json)\b", "x", text)
    return re.sub(r"<[^>]+>|https?://\S+|\S+\.(?:com|org)/\S*", " ", text)


def sentences(markdown: str) -> list[int]:
    """Words of each sentence of paragraphs and lists; tables and headings are none."""
    lines = [line for line in prose(markdown).splitlines() if not re.match(r"\s*(\||#|!\[)", line)]
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))
    parts = [part for block in blocks for part in re.split(r"(?<=[.?!:;])\s+", block)]
    counts = [len(re.findall(r"\w[\w'’-]*", part)) for part in parts]
    return [count for count in counts if count > 1]


def misspelled(text: str) -> set[str]:
    found = {
        word.strip("'").removesuffix("'s") for word in re.findall(r"[A-Za-zÀ-ÖØ-öø-ÿ']+", text)
    }
    spell = SpellChecker()
    own = set((root() / "tests/book/words.txt").read_text(encoding="utf-8").split())
    return {
        word for word in found - own if word and not word.isupper() and word.lower() not in spell
    }


def markdown_of(notebook: str) -> str:
    cells = nbformat.read(root() / notebook, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_every_word_of_readmes_notebooks_and_figures_is_known():
    told = [prose(path.read_text(encoding="utf-8")) for path in readmes()]
    told += [prose(markdown_of(name)) for name in WALK]
    for path in FIGURES:
        told += [text for text in ElementTree.parse(path).getroot().itertext() if "{" not in text]
    assert not misspelled(" ".join(told)), "mend the word, or add it to tests/book/words.txt"


def test_a_mistake_is_found():
    assert misspelled("The docent recieves a foto of `recieve`.") >= {"recieves", "foto"}
    assert not misspelled("The docent's colour, quantisation by QLoRA.")


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_half_of_the_sentences_have_at_most_18_words(path: Path):
    assert statistics.median(sentences(path.read_text(encoding="utf-8"))) <= 18


@pytest.mark.parametrize("path", [*readmes(), *(root() / name for name in WALK)], ids=named)
def test_no_sentence_says_no_twice(path: Path):
    text = markdown_of(named(path)) if path.suffix == ".ipynb" else path.read_text("utf-8")
    assert not DENIED.findall(" ".join(prose(text).split()))


def test_a_double_negative_is_found():
    assert DENIED.search("nothing enters that no curator approved")
    assert DENIED.search("this is not uncommon") and DENIED.search("it cannot say nothing")
    assert not DENIED.search(
        "No key, no GPU. What is in doubt has no source; it is not shown until"
    )


def test_sentences_are_counted_as_a_reader_does():
    assert sentences("# No\n\nOne two three. Four five!\n\n- six seven\n- eight `code` nine\n") == [
        *(3, 2, 2, 3)
    ]


@pytest.mark.parametrize("path", STAGES, ids=named)
def test_a_stage_readme_is_read_in_one_sitting(path: Path):
    assert len(path.read_text(encoding="utf-8").split()) <= 2500


@pytest.mark.parametrize(
    "path",
    [path for path in GUIDES if "_readme" in path.name],
    ids=named,
)
def test_a_guide_has_the_fixed_headings(path: Path):
    found = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    # A step of stage 1 makes what the next one takes; there is nothing to hold it against.
    wanted = [each for each in HEADINGS if each != COMPARED or "/1." not in str(path)]
    assert found[0] == "What it is" and found[1].startswith("When to choose")
    assert [each for each in found if each in wanted] == wanted


def test_each_stage_and_approach_has_a_picture_and_none_repeats_anothers():
    shown: dict[str, str] = {}
    for path in (path for path in GUIDES if "_readme" in path.name and "/1." not in str(path)):
        text = path.read_text(encoding="utf-8")
        pictures = {Path(name).name for name in re.findall(r"\((\S+\.(?:svg|png|jpg))\)", text)}
        assert pictures, f"{named(path)} shows no picture"
        for name in pictures:
            assert name not in shown, f"{named(path)} shows {name}, as {shown[name]} does"
            shown[name] = named(path)


@pytest.mark.parametrize("path", readmes(), ids=named)
def test_every_picture_can_be_told(path: Path):
    for told in IMAGE.findall(path.read_text(encoding="utf-8")):
        assert len("".join(told)) > 10

"""The diagrams of the readmes are what the code draws, and hold no word that does not fit."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from assets.workshop.approach_diagrams import BACKWARD, STAGES, interleaved_schedule
from assets.workshop.diagrams import DIAGRAMS
from assets.workshop.drawing import Drawing, width_of
from musequest.core.home import root

FIGURES = sorted((root() / "assets" / "figures").glob("*.svg"))
PHONE_PX = 358  # how wide a readme's picture is on a phone of 390 px
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_a_committed_diagram_is_the_drawn_one(path):
    assert path.read_text(encoding="utf-8") == DIAGRAMS[path.stem]().svg()


def test_every_diagram_is_committed():
    assert {path.stem for path in FIGURES} == set(DIAGRAMS)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_words_lie_inside_their_boxes_and_are_whole(path):
    page = ElementTree.parse(path).getroot()
    assert page.find(f"{SVG}title").text
    for box in page.iter(f"{SVG}g"):
        shape = box.find(f"{SVG}rect")
        left, right = float(shape.get("x")), float(shape.get("x")) + float(shape.get("width"))
        for text in box.iter(f"{SVG}text"):
            half = width_of(text.text, int(text.get("font-size"))) / 2
            middle = float(text.get("x"))
            assert left < middle - half and middle + half < right, text.text
    words = " ".join(text.text for text in page.iter(f"{SVG}text"))
    assert not re.search(r"\bTODO\b|#\d+;|&\w+;", words)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_words_can_be_read_on_a_phone(path):
    page = ElementTree.parse(path).getroot()
    width = float(page.get("viewBox").split()[2])
    sizes = [float(text.get("font-size")) for text in page.iter(f"{SVG}text")]
    assert min(sizes) * PHONE_PX / width >= 8


def test_words_that_do_not_fit_are_refused():
    page = Drawing("A page", 100)
    with pytest.raises(ValueError, match="wider than its box"):
        page.box(10, 10, 60, 40, "many more words than fit")
    with pytest.raises(ValueError, match="higher than its box"):
        page.box(10, 10, 100, 20, "a", "b")
    with pytest.raises(ValueError, match="leaves the page"):
        page.text(500, 50, "too far to the right")
    page.note(40, "a paragraph of words " * 5)
    assert [part.count("<text") for part in page.parts] == [1, 1]


def test_no_stage_of_the_schedule_does_two_things_at_once_and_batches_pass_in_order():
    schedule = interleaved_schedule()
    ends = {}
    for stage, work in enumerate(schedule):
        for (begin, length, _), (after, _, _) in zip(work, work[1:], strict=False):
            assert begin + length <= after
        ends |= {(stage, label): (begin, begin + length) for begin, length, label in work}
    for (stage, label), (begin, end) in ends.items():
        before = stage - 1 if label.startswith("F") else stage + 1
        if 0 <= before < STAGES:
            assert ends[before, label][1] <= begin
        assert end - begin == (BACKWARD if label.startswith("B") else 1)

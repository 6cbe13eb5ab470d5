"""Draws the diagrams of the readmes into assets/figures, from the code's own numbers and records.

    python -m assets.workshop.diagrams

Here are those of data and answers; those of the six approaches are in `approach_diagrams`, what
became of each in `run_diagrams`.
"""

from __future__ import annotations

from musequest.core.home import root

from . import approach_diagrams as approach_diagrams  # which puts its own into DIAGRAMS
from . import run_diagrams as run_diagrams  # as does this
from .drawing import DIAGRAMS, NORMAL, Drawing, diagram

SLOTS, REAL = 15, 4  # photos and pairs of an exhibit; real photos of the one that is drawn
TEMPERATURES = ("0.4", "0.7", "0.9")


@diagram
def synthetic_data_creation() -> Drawing:
    """From an exhibit's photos and text to its rows in three splits."""
    page = Drawing("How one exhibit becomes fifteen rows of a dataset", 500)
    left, cell = 55, 28
    steps = (
        (
            16,
            ("photos", f"{REAL} real ones"),
            "photo",
            "1.2 augmentation",
            "mirrored, turned, dim",
        ),
        (338, ("text", "the museum's own"), "text", "1.3 dialogs", "a language model, or rules"),
    )
    for y, given, look, step, how in steps:
        page.row(y, 50, (left, 150, given, look), (245, 230, (step, how), "plain"))
    for slot in range(SLOTS):
        x = left + slot * cell
        page.box(x, 118, cell, 28, look="photo" if slot < REAL else "frozen")
        page.box(x, 256, cell, 28, look="text" if slot < 5 else "plain")
    page.arrow((360, 66), (360, 92))
    page.arrow((360, 338), (360, 312))
    page.text(left, 108, "real photos")
    page.text(left + REAL * cell, 108, "altered copies of those that train")
    for number, temperature in enumerate(TEMPERATURES):
        page.text(left + 5 * number * cell, 302, f"5 pairs at {temperature}")
    page.box(left - 20, 184, 56, 34, "test")
    page.box(left + 50, 184, 94, 34, "validation")
    page.box(left + 230, 184, 110, 34, "training")
    for x, columns in ((left + 8, 0), (left + 42, 1), (left + 285, 8)):
        middle = left + columns * cell + cell / 2
        page.arrow((middle, 148), (x + 4 if columns else x, 182))
        page.arrow((middle, 254), (x + 4 if columns else x, 220))
    page.note(
        414, "Each of the 15 columns is a row: a photo, a question and an answer. Test and "
        "validation get real photos, and pairs of the lowest temperature, which keep closest to "
        "the text. With two or more real photos, no copy of a test photo trains.",
    )  # fmt: skip
    page.legend(474, photo="real photo", frozen="altered copy", text="lowest temperature")
    return page


@diagram
def evaluation() -> Drawing:
    """Systems, conditions and controls, all read by the same metrics."""
    page = Drawing("How answers are compared", 480)
    columns, trunk, left, width = (15, 187, 359), 35, 60, 455
    asked = (
        ("test questions", "with unseen photos", "photo"),
        ("spoiled photos", "blank, wrong, none", "warning"),
        ("outsiders", "not in the museum", "warning"),
    )
    systems = (
        ("base and tuned", "greedy answers", "learned"),
        ("GPT-4o", "through its API", "plain"),
        ("retrieval, RAG", "the other road", "plain"),
    )
    for x, (name, what, look), (system, how, own) in zip(columns, asked, systems, strict=True):
        page.box(x, 16, 156, 50, name, what, look=look)
        page.box(x, 96, 156, 50, system, how, look=own)
        page.line((x + 78, 66), (x + 78, 80))
        page.arrow((x + 78, 80), (x + 78, 94))
        page.line((x + 78, 146), (x + 78, 160))
    page.line((93, 80), (437, 80))
    controls = "another exhibit's truth, changed numbers, nothing"
    page.box(left, 176, width, 46, "controls", controls, look="warning")
    page.line((left, 199), (trunk, 199))
    questions = (
        (
            "Is it about the right exhibit?",
            "identity, confusion with look-alikes,",
            "distance to the reference answer",
        ),
        (
            "Are its facts right?",
            "numbers and names recalled,",
            "numbers and names invented",
        ),
        (
            "Does it know what it does not know?",
            "false recognition of outsiders,",
            "answers to spoiled photos",
        ),
    )
    for number, lines in enumerate(questions):
        y = 238 + 68 * number
        page.box(left, y, width, 58, *lines, look="text")
        page.arrow((trunk, y + 29), (left - 2, y + 29))
    page.line((437, 160), (trunk, 160), (trunk, 403))
    page.note(
        452, "A metric that gives a control a good score measures something else than it says."
    )
    return page


# What is shown with a question, what a docent answers that looks, and one that learned by heart.
SHOWN = (
    ("photo", "its own photo", "this exhibit's facts", "some exhibit's facts"),
    ("warning", "a grey picture", "nothing that fits", "the same"),
    ("warning", "another exhibit's photo", "the other exhibit's facts", "the same"),
    ("warning", "no photo", "nothing that fits", "the same"),
    ("warning", "a thing from outside", "that it does not know it", "the same"),
)


@diagram
def conditions() -> Drawing:
    """One question, asked with five photos, of a docent that looks and of one that does not."""
    page = Drawing("Does it look? One question with five photos", 384)
    page.box(15, 16, 500, 36, 'One question: "Who made this, and when?"', look="text")
    for x, heading in ((15, "shown with it"), (200, "a docent that looks"), (375, "that does not")):
        page.text(x, 78, heading, size=NORMAL)
    for number, (look, shown, looks, by_heart) in enumerate(SHOWN):
        y = 90 + 46 * number
        page.row(y, 36, (15, 165, (), look), (200, 165, (), "learned"))
        page.box(375, y, 140, 36)
        for middle, words in ((97, shown), (282, looks), (445, by_heart)):
            page.text(middle, y + 22, words, "middle")
    page.note(
        340, "A docent that answers as well without the right photo has learned the museum's "
        "texts by heart. So each is asked all five; answers are compared question by question.",
    )  # fmt: skip
    return page


@diagram
def retrieval() -> Drawing:
    """Three ways to an answer, and the gate before them."""
    page = Drawing("Three ways from a visitor's photo to an answer, and the gate before them", 418)
    page.row(
        16,
        50,
        (15, 120, ("photo", "and question"), "photo"),
        (165, 160, ("the gate", "near to any exhibit?"), "warning"),
        (375, 140, ("I do not know", "and what is near"), "text"),
    )
    page.text(349, 34, "no", "middle")
    page.text(253, 82, "yes")
    page.line((245, 66), (245, 88), (35, 88), (35, 321))
    found = ("nearest photo", "of training")
    roads = (
        ("Tuned", (("the tuned model", "knows the museum"),), "learned"),
        ("Retrieval", (found, ("nearest question", "its answer")), "plain"),
        ("RAG", (found, ("untuned model", "reads the text")), "frozen"),
    )
    for number, (name, steps, look) in enumerate(roads):
        y = 128 + 84 * number
        page.text(62, y - 8, name, size=NORMAL)
        page.arrow((35, y + 25), (60, y + 25))
        boxes = [
            (62 + 176 * place, 150, lines, look if place == len(steps) - 1 else "plain")
            for place, lines in enumerate(steps)
        ]
        page.row(y, 50, *boxes, (430, 85, ("answer",), "text"))
    page.note(
        370, "Retrieval quotes, RAG reads, the tuned model remembers. The first two find the "
        "exhibit by the photo that lies nearest. What none of the three knows, the gate says.",
    )  # fmt: skip
    return page


@diagram
def talking_docent() -> Drawing:
    """What a visitor's question goes through, and where a curator stands."""
    page = Drawing("What happens to a visitor's question", 370)
    page.row(
        44,
        56,
        (15, 150, ("phone", "makes photos small"), "photo"),
        (190, 150, ("one line", "many at a time"), "plain"),
        (365, 150, ("the gate", "near to any exhibit?"), "warning"),
    )
    page.arrow((440, 44), (440, 26), (90, 26), (90, 42))
    page.text(265, 19, "no: I do not know, and what is near", "middle")
    page.arrow((440, 100), (440, 138))
    page.text(448, 124, "yes")
    page.box(365, 140, 150, 56, "the model", "word by word", look="learned")
    page.arrow((365, 168), (342, 168))
    page.box(150, 140, 190, 56, "the catalogue", "a source to each sentence", look="text")
    page.arrow((150, 168), (90, 168), (90, 102))
    page.text(98, 124, "the answer")
    page.box(150, 232, 190, 50, "the curator", "approves and withholds", look="frozen")
    page.arrow((245, 232), (245, 198))
    page.note(
        312, "Photo and question stay in the memory of one machine and are gone with the answer. A "
        "sentence that nothing bears out says so, or is left out where the museum is strict.",
    )  # fmt: skip
    return page


def main() -> None:
    """Write all diagrams."""
    for name, draw in DIAGRAMS.items():
        (root() / "assets/figures" / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()

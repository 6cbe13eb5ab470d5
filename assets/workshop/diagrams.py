"""Draws the diagrams of the readmes into assets/figures, from the code's own numbers and records.

    python -m assets.workshop.diagrams

Here are those of data and answers; those of the six approaches are in `approach_diagrams`.
"""

from __future__ import annotations

from musequest.core.home import root

from . import approach_diagrams as approach_diagrams  # which puts its own into DIAGRAMS
from .drawing import DIAGRAMS, NORMAL, Drawing, diagram

SLOTS, REAL = 15, 4  # photos and pairs of an exhibit; real photos of the one that is drawn
TEMPERATURES = ("0.4", "0.7", "0.9")


@diagram
def synthetic_data_creation() -> Drawing:
    """From an exhibit's photos and text to its rows in three splits."""
    page = Drawing("How one exhibit becomes fifteen rows of a dataset", 900, 360)
    page.box(20, 30, 150, 56, "photos", f"{REAL} real ones", look="photo")
    page.box(20, 186, 150, 56, "text", "the museum's own", look="text")
    page.box(216, 30, 178, 56, "1.2 augmentation", "turned, cropped, lit anew")
    page.box(216, 186, 178, 56, "1.3 dialogs", "a language model, or rules")
    page.arrow((170, 58), (214, 58))
    page.arrow((170, 214), (214, 214))
    left, cell = 450, 28
    for slot in range(SLOTS):
        x = left + slot * cell
        real = slot < REAL
        page.box(x, 58, cell, 28, look="photo" if real else "frozen")
        page.box(x, 186, cell, 28, look="text" if slot < 5 else "plain")
    page.arrow((394, 58), (left - 4, 72))
    page.arrow((394, 214), (left - 4, 200))
    page.text(left, 48, "real photos")
    page.text(left + REAL * cell, 48, "altered copies of those that train")
    for number, temperature in enumerate(TEMPERATURES):
        page.text(left + 5 * number * cell, 232, f"5 pairs at {temperature}")
    page.box(left - 20, 118, 56, 34, "test")
    page.box(left + 50, 118, 94, 34, "validation")
    page.box(left + 230, 118, 110, 34, "training")
    for x, columns in ((left + 8, 0), (left + 42, 1), (left + 285, 8)):
        middle = left + columns * cell + cell / 2
        page.arrow((middle, 88), (x + 4 if columns else x, 116))
        page.arrow((middle, 184), (x + 4 if columns else x, 154))
    page.note(
        290, "Each of the 15 columns is a row: a photo, a question and an answer. Test and "
        "validation get real photos, and pairs of the lowest temperature, which keep closest to "
        "the text. With two or more real photos, no copy of a test photo trains.",
    )  # fmt: skip
    page.legend(30, 330, photo="real photo", frozen="altered copy", text="lowest temperature")
    return page


@diagram
def evaluation() -> Drawing:
    """Systems, conditions and controls, all read by the same metrics."""
    page = Drawing("How answers are compared", 900, 420)
    page.box(30, 30, 190, 60, "test questions", "photos never trained on", look="photo")
    page.box(30, 116, 190, 60, "spoiled photos", "blank, another's, none", look="warning")
    page.box(30, 202, 190, 60, "outsiders", "things not in the museum", look="warning")
    page.box(280, 30, 200, 60, "base and tuned models", "greedy answers", look="learned")
    page.box(280, 116, 200, 60, "GPT-4o", "asked through its API")
    page.box(280, 202, 200, 60, "retrieval and RAG", "what one might build instead")
    page.box(
        280,
        300,
        200,
        76,
        "controls",
        "another exhibit's truth,",
        "changed numbers, nothing",
        look="warning",
    )
    page.box(
        560,
        30,
        310,
        106,
        "Is it about the right exhibit?",
        "identity, confusion with look-alikes,",
        "distance to the reference answer",
        look="text",
    )
    page.box(
        560,
        150,
        310,
        106,
        "Are its facts right?",
        "numbers and names recalled,",
        "numbers and names invented",
        look="text",
    )
    page.box(
        560,
        270,
        310,
        106,
        "Does it know what it does not know?",
        "false recognition of outsiders,",
        "answers to spoiled photos",
        look="text",
    )
    for y in (60, 146, 232):
        page.line((220, y), (250, y))
        page.arrow((250, y), (278, y))
    page.line((250, 60), (250, 232))
    for y in (60, 146, 232, 338):
        page.line((480, y), (520, y))
    page.line((520, 60), (520, 338))
    for y in (83, 203, 323):
        page.arrow((520, y), (558, y))
    page.note(
        402, "A metric that gives a control a good score measures something else than it says."
    )
    return page


# What is shown with a question, what a docent answers that looks, and one that learned by heart.
SHOWN = (
    ("photo", "its own photo", "this exhibit's facts", "some exhibit's facts"),
    ("warning", "a grey picture", "little, or nothing that fits", "the same"),
    ("warning", "another exhibit's photo", "the other exhibit's facts", "the same"),
    ("warning", "no photo", "little, or nothing that fits", "the same"),
    ("warning", "a thing from outside", "that it does not know it", "the same"),
)


@diagram
def conditions() -> Drawing:
    """One question, asked with five photos, of a docent that looks and of one that does not."""
    page = Drawing("Does it look? One question with five photos", 900, 376)
    page.box(30, 120, 170, 86, "one question", '"Who made this,', 'and when?"', look="text")
    for x, heading in (
        (260, "what is shown"),
        (490, "a docent that looks"),
        (700, "one that does not"),
    ):
        page.text(x, 36, heading, size=NORMAL)
    for number, (look, shown, looks, by_heart) in enumerate(SHOWN):
        y = 50 + 54 * number
        page.row(y, 42, (260, 190, (shown,), look), (490, 180, (), "learned"))
        page.box(700, y, 170, 42)
        page.text(580, y + 26, looks, "middle")
        page.text(785, y + 26, by_heart, "middle")
        page.arrow((220, y + 21), (258, y + 21))
    page.line((200, 163), (220, 163))
    page.line((220, 71), (220, 287))
    page.note(
        344, "A docent that answers as well without the right photo has learned the museum's "
        "texts by heart. So each is asked all five; answers are compared question by question.",
    )  # fmt: skip
    return page


@diagram
def retrieval() -> Drawing:
    """Three ways to an answer, and the gate before them."""
    page = Drawing(
        "Three ways from a visitor's photo to an answer, and the gate before them", 900, 400
    )
    page.box(30, 150, 120, 66, "photo", "and question", look="photo")
    page.box(190, 150, 150, 66, "the gate", "near to any exhibit?", look="warning")
    page.arrow((150, 183), (188, 183))
    page.box(190, 276, 150, 50, "I do not know", "and what is near", look="text")
    page.arrow((265, 216), (265, 274))
    page.text(273, 250, "no")
    page.text(350, 176, "yes")
    page.line((340, 183), (390, 183))
    page.line((390, 65), (390, 301))
    roads = (
        ("Tuned", (("the tuned model", "knows the museum"),), "learned"),
        (
            "Retrieval",
            (("nearest photo", "of training"), ("nearest question", "its answer")),
            "plain",
        ),
        ("RAG", (("nearest photo", "of training"), ("untuned model", "reads the text")), "frozen"),
    )
    for number, (name, steps, look) in enumerate(roads):
        y = 32 + 118 * number
        page.text(430, y - 8, name, size=NORMAL)
        page.arrow((390, y + 33), (428, y + 33))
        boxes = [
            (430 + 180 * place, 150, lines, look if place == len(steps) - 1 else "plain")
            for place, lines in enumerate(steps)
        ]
        page.row(y, 66, *boxes, (790, 90, ("answer",), "text"))
    page.note(
        364, "Retrieval quotes, RAG reads, the tuned model remembers. The first two find the "
        "exhibit by the photo that lies nearest. What none of the three knows, the gate says.",
    )  # fmt: skip
    return page


@diagram
def talking_docent() -> Drawing:
    """What a visitor's question goes through, and where a curator stands."""
    page = Drawing("What happens to a visitor's question", 900, 300)
    page.row(
        40,
        70,
        (30, 150, ("phone", "makes photos small"), "photo"),
        (200, 120, ("one line", "many at a time"), "plain"),
        (350, 130, ("the gate", "an exhibit?"), "warning"),
        (510, 130, ("the model", "word by word"), "learned"),
        (670, 200, ("the catalogue", "a source to each sentence"), "text"),
    )
    page.box(350, 160, 130, 50, "I do not know", look="text")
    page.arrow((415, 110), (415, 158))
    page.text(423, 140, "no")
    page.box(670, 160, 200, 50, "the curator", "approves and withholds", look="frozen")
    page.arrow((770, 160), (770, 112))
    page.arrow((770, 40), (770, 20), (100, 20), (100, 38))
    page.note(
        244, "Photo and question stay in the memory of one machine and are gone with the answer. A "
        "sentence that nothing bears out says so, or is left out where the museum is strict.",
    )  # fmt: skip
    return page


def main() -> None:
    """Write all diagrams."""
    for name, draw in DIAGRAMS.items():
        (root() / "assets/figures" / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Asks a system about a photo that is in no dataset, such as a visitor's own."""

from __future__ import annotations

from pathlib import Path

from ..creation.dataset import messages
from ..creation.texts import flaw_of
from ..errors import LOGGER, MuseQuestError
from ..photos import prepared_photo
from ..settings import Profile, load_profile
from .answering import open_system
from .system import Rows, System

QUESTION = "What is this?"
LONGEST_QUESTION = 500  # characters, more than a visitor says and less than any model takes
# A row of a dataset has a reference answer; here nobody knows one, and no system is shown it.
UNKNOWN = "unknown"


def ask(
    profile: Profile | str,
    photo: str | Path,
    *questions: str,
    system: str | System = "lora",
) -> list[str]:
    """A system's answers to questions about one photo, in their order; asks QUESTION if none.

        ask("pocket", "photo.jpg", "What is this?", "How old is it?")

    `system` is an approach whose run is finished, `base`, or another local system; one that
    `open_system` returned keeps its model loaded for the next call. The photo is prepared as an
    exhibit's is. An answer that is empty or does not end is logged. A photo that cannot be opened,
    a question that is empty, too long or holds a chat template's markers, and a system that cannot
    answer raise MuseQuestError.
    """
    profile = load_profile(profile) if isinstance(profile, str) else profile
    system = open_system(profile, system) if isinstance(system, str) else system
    if not system.local:
        raise MuseQuestError(
            f"'{system.name}' is asked about the test photos alone, since each answer costs money; "
            "choose a local system."
        )
    rows = _rows(Path(photo), questions or (QUESTION,))
    system.problems = []
    answers = [row["answer"] for row in system.answer(rows, progress=False)]
    for problem in system.problems:
        LOGGER.warning("%s: %s", system.name, problem)
    return answers


def _rows(photo: Path, questions: tuple[str, ...]) -> Rows:
    """The questions as rows of a dataset."""
    for question in questions:
        if flaw := flaw_of(question):
            raise MuseQuestError(f"The question {question!r} {flaw}; write it as plain text.")
        if len(question) > LONGEST_QUESTION:
            raise MuseQuestError(
                f"The question '{question[:40]}...' has {len(question):,} characters; ask with "
                f"{LONGEST_QUESTION} at most."
            )
    shown = {"image": prepared_photo(photo), "item_name": photo.stem, "image_name": photo.name}
    return [
        {**shown, "data_id": repr(question), "dialog": messages(question.strip(), UNKNOWN)}
        for question in questions
    ]

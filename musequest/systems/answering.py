"""Asks systems about a dataset, under conditions too, or about a photo that is in none.

Answers to a dataset are kept under runs/<profile>/<system>[__<condition>]/.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ..core.errors import LOGGER, MuseQuestError
from ..core.home import run_dir
from ..core.photos import prepared_photo
from ..core.predictions import OnWords, Rows, System, answers_of
from ..core.settings import Profile, load_profile
from ..creation.split import exhibit_rows, messages
from ..text.sentences import flaw_of
from .conditions import CONDITIONS, asked_under, rows_under
from .registry import check_name, finished_runs, ordered, runs_dir

BASE = "base"
QUESTION = "What is this?"
# What a visitor may begin a line with, though a writer of dialogs may not.
LABEL = re.compile(r"^\s*(?:Question|Answer|Q|A)\s*:", re.MULTILINE)
LONGEST_QUESTION = 500  # characters, more than a visitor says and less than any model takes
# A row of a dataset has a reference answer; here nobody knows one, and no system is shown it.
UNKNOWN = "unknown"


def answer(
    profile: Profile | str,
    system: str | System,
    condition: str | None = None,
    *,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """The system's answers to the evaluation split, asked for unless they are there already.

    `condition` is one of CONDITIONS; `options` go to the system (`base_url` to a hosted one).
    Returns predictions.parquet as it is on disk. A system that cannot answer, or leaves more than
    10 % of the questions unanswered, raises MuseQuestError.
    """
    profile = load_profile(profile)
    system = open_system(profile, system, **options) if isinstance(system, str) else system
    if condition:
        _check_local(system, "choose a local system for a condition")
    asked = system.asked(profile.evaluation_split)
    asked |= asked_under(condition, profile) if condition else {}

    def rows() -> Rows:
        split = exhibit_rows(profile.collection, profile.evaluation_split)
        return rows_under(condition, split, profile) if condition else split

    folder = answers_dir(profile, system.name, condition)
    return answers_of(system, folder, asked, rows, progress=progress)


def answers_dir(profile: Profile, system: str, condition: str | None = None) -> Path:
    """Where a system's answers under a condition lie, or those to the split as it is."""
    return run_dir(profile.name, f"{system}__{condition}" if condition else system)


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
    photo = Path(photo)
    shown = prepared_photo(photo)
    rows = [question_row(shown, each, photo) for each in questions or (QUESTION,)]
    profile = load_profile(profile)
    return spoken(open_local(profile, system), rows)


def spoken(system: System, rows: Rows, on_words: OnWords | None = None) -> list[str]:
    """A system's answers to rows of no dataset, whose photos are not kept; problems are logged.

    Systems that make their answers word by word call `on_words`.
    """
    from ..finetuning.vision_store import unkept

    system.problems, system.on_words = [], on_words
    try:
        with unkept():
            answers = [row["answer"] for row in system.answer(rows, progress=False)]
    finally:
        system.on_words = None
    for problem in system.problems:
        LOGGER.warning("%s: %s", system.name, problem)
    return answers


def ablate(
    profile: Profile | str,
    systems: Iterable[str] | None = None,
    *,
    progress: bool = True,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Ask local systems under each condition; returns system -> condition -> answers.

    Without `systems`, all local ones that have answered the evaluation split under this profile.
    Each is loaded once, and let go of before the next one is: memory holds one model. Of
    a single exhibit there is no wrong photo, as is logged.
    """
    from ..finetuning.models import free_memory

    profile = load_profile(profile)
    conditions, answers = CONDITIONS, {}
    shown = exhibit_rows(profile.collection, profile.evaluation_split)["item_name"]
    if len({*shown}) == 1:
        conditions = tuple(each for each in conditions if each != "wrong_photo")
        LOGGER.warning("Nobody is asked about a wrong photo, which needs a second exhibit.")
    for name in _answered_systems(profile) if systems is None else systems:
        system = open_system(profile, name)
        if system.local:
            answers[name] = {
                each: answer(profile, system, each, progress=progress) for each in conditions
            }
        del system
        free_memory()
    return answers


def answer_all(profile: Profile | str, *, progress: bool = True) -> dict[str, pd.DataFrame]:
    """The answers of the base model and of every approach whose run is finished, by name."""
    profile = load_profile(profile)
    names = [BASE, *finished_runs(profile)]
    return {name: answer(profile, name, progress=progress) for name in names}


def answer_if_possible(
    profile: Profile | str, system: str, *, progress: bool = True, **options: Any
) -> pd.DataFrame | None:
    """Like `answer`, but a system that cannot is passed over, with one line that says why."""
    try:
        return answer(profile, system, progress=progress, **options)
    except MuseQuestError as error:
        print(f"{system} is not compared: {error}")
        return None


def open_system(profile: Profile, name: str, **options: Any) -> System:
    """A system by its name: one of this package's, `base`, or an approach.

    An unknown name, or an option that the system does not have, raises MuseQuestError.
    """
    from ..finetuning.generation import Docent

    known = known_systems()
    if name not in known:
        check_name(name)
    if options and (name not in known or known[name].local):
        option = next(iter(options)).replace("_", "-")
        raise MuseQuestError(f"--{option} is for hosted systems; leave it out for '{name}'.")
    return known[name](profile, **options) if name in known else Docent(profile, name)


@functools.cache
def known_systems() -> dict[str, type[System]]:
    """The systems that have a class of their own in this package, by name."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    waiting, found = [System], {}
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "name" in vars(kind):
            found[kind.name] = kind
    return found


def open_local(profile: Profile, system: str | System) -> System:
    """A system that may be asked about any photo; MuseQuestError at one whose answers cost."""
    system = open_system(profile, system) if isinstance(system, str) else system
    _check_local(system, "choose a local system")
    return system


def _check_local(system: System, remedy: str) -> None:
    if not system.local:
        raise MuseQuestError(
            f"'{system.name}' is asked about the test photos alone, since each answer costs money; "
            f"{remedy}."
        )


def _answered_systems(profile: Profile) -> list[str]:
    """The systems that have answered the evaluation split, in the order of tables and figures."""
    known = {BASE, *known_systems(), *finished_runs(profile)}
    names = [path.parent.name for path in runs_dir(profile).glob("*/infer.json")]
    return ordered(name for name in names if name in known)


def check_question(question: str) -> None:
    """Raise MuseQuestError at a question that is empty, too long or holds a template's markers."""
    if flaw := flaw_of(LABEL.sub("", question)):
        raise MuseQuestError(f"The question {question!r} {flaw}; write it as plain text.")
    if len(question) > LONGEST_QUESTION:
        raise MuseQuestError(
            f"The question '{question[:40]}...' has {len(question):,} characters; ask with "
            f"{LONGEST_QUESTION} at most."
        )


def question_row(shown: Image.Image, question: str, photo: Path = Path("photo")) -> dict[str, Any]:
    """A question about a photo as a row of a dataset; MuseQuestError if `check_question` does."""
    check_question(question)
    return {
        "image": shown,
        "item_name": photo.stem,
        "image_name": photo.name,
        "data_id": repr(question),
        "dialog": messages(question.strip(), UNKNOWN),
    }

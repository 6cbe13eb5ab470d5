"""Asks systems, and keeps their answers under runs/<profile>/<system>[__<condition>]/."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..files import read_json
from ..finetuning.generation import BASE
from ..home import home, plain_name, run_dir
from ..locks import hold
from ..predictions import Journal, keep_answers, kept_answers
from ..settings import Profile, load_approach, load_profile
from .conditions import CONDITIONS, UNDER, asked_under, rows_under
from .local import LocalDocent
from .registry import ordered
from .system import Rows, System, free_memory, known_systems


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
    profile = load_profile(profile) if isinstance(profile, str) else profile
    system = open_system(profile, system, **options) if isinstance(system, str) else system
    if condition and not system.local:
        raise MuseQuestError(
            f"'{system.name}' is asked about the test photos alone, since each answer costs money; "
            "choose a local system for a condition."
        )
    folder = answers_dir(profile, system.name, condition)
    asked = system.asked(profile.evaluation_split)
    asked |= asked_under(condition, profile) if condition else {}
    if (kept := kept_answers(folder, asked)) is not None:
        return kept
    with hold(folder):
        return _asked_anew(profile, system, condition, folder, asked, progress)


def _asked_anew(
    profile: Profile,
    system: System,
    condition: str | None,
    folder: Path,
    asked: dict[str, Any],
    progress: bool,
) -> pd.DataFrame:
    """Ask about all rows, and keep what was answered."""
    rows: Rows = load_split(profile.collection, profile.evaluation_split)
    shown = rows_under(condition, rows, profile) if condition else None
    start = time.monotonic()
    system.problems, system.journal = [], Journal(folder, asked)
    try:
        predictions = system.answer(rows if shown is None else shown, progress=progress)
    finally:
        system.journal = None
    if shown is not None:
        names = zip(predictions, shown.shown_item_names, strict=True)
        predictions = [row | {"shown_item_name": name} for row, name in names]
    return keep_answers(
        folder, asked, predictions, seconds=time.monotonic() - start, problems=system.problems,
        unanswered=len(rows if shown is None else shown) - len(predictions), cost=system.cost(),
    )  # fmt: skip


def answers_dir(profile: Profile, system: str, condition: str | None = None) -> Path:
    """Where a system's answers under a condition lie, or those to the split as it is."""
    return run_dir(profile.name, f"{system}{UNDER}{condition}" if condition else system)


def ablate(
    profile: Profile | str,
    systems: Iterable[str] | None = None,
    conditions: Iterable[str] = CONDITIONS,
    *,
    progress: bool = True,
) -> dict[str, dict[str, pd.DataFrame]]:
    """Ask local systems under each condition; returns system -> condition -> answers.

    Without `systems`, all local ones that have answered the evaluation split under this profile.
    Each is loaded once, and let go of before the next one is: memory holds one model.
    """
    profile = load_profile(profile) if isinstance(profile, str) else profile
    names = answered_systems(profile) if systems is None else systems
    conditions, answers = tuple(conditions), {}
    for name in names:
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
    profile = load_profile(profile) if isinstance(profile, str) else profile
    names = [BASE, *finished_approaches(profile)]
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
    known = known_systems()
    if name not in known and name != BASE:
        try:
            load_approach(name)
        except MuseQuestError as error:
            systems = ", ".join(ordered([BASE, *known]))
            raise MuseQuestError(f"{error} Systems besides approaches are: {systems}.") from None
    if options and (name not in known or known[name].local):
        option = next(iter(options)).replace("_", "-")
        raise MuseQuestError(f"--{option} is for hosted systems; leave it out for '{name}'.")
    return known[name](profile, **options) if name in known else LocalDocent(profile, name)


def finished_approaches(profile: Profile) -> list[str]:
    """The approaches whose run.json says `done`, in the order of tables and figures."""
    records = (home() / "runs" / plain_name(profile.name, "profile")).glob("*/run.json")
    done = [path.parent.name for path in records if read_json(path).get("status") == "done"]
    return ordered(done)


def answered_systems(profile: Profile) -> list[str]:
    """The systems that have answered the evaluation split, in the order of tables and figures."""
    folder = home() / "runs" / plain_name(profile.name, "profile")
    names = [path.parent.name for path in folder.glob("*/infer.json")]
    known = {BASE, *known_systems(), *finished_approaches(profile)}
    return ordered(name for name in names if name in known)

"""The commands of stage 1: collect, augment, synthesize, dataset, push."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import creation
from ..core.command_line import (
    COLLECTION,
    command,
    option,
    positive,
    profile_of,
    server,
    show,
    typed,
)
from ..core.errors import MuseQuestError

if TYPE_CHECKING:
    import pandas as pd

    from .dialogs import Writer

LANGUAGE = option("--language", "of texts and dialogs (default: en)", default="en", metavar="CODE")
MUSEUM = (
    COLLECTION,
    LANGUAGE,
    [
        option("--catalogue", "CSV of the exhibits wanted", type=Path, metavar="FILE"),
        option("--query", "words the exhibits have to match", metavar="Q"),
    ],
    option("--limit", "exhibits of a query (default: 50)", type=positive, default=50),
    option("--base-url", "of the API, if not the museum's own", metavar="URL"),
    option("--any-license", "take photos that are not CC0 too", action="store_true"),
    option("--requests-per-minute", "(default: 60)", type=positive, default=60, metavar="N"),
)


@command(
    option("folder", "exhibits.csv and its photos", type=Path, metavar="DIR"),
    COLLECTION,
    LANGUAGE,
    name="collect folder",
    help="a folder of yours",
)
def _collect_folder(folder: Path, collection: str, language: str) -> None:
    _say_collected(creation.collect_folder(folder, collection, language=language), collection)


@command(
    option("source", "its folder, or its name on the Hub", metavar="SOURCE"),
    COLLECTION,
    name="collect dataset",
    help="a dataset made elsewhere, photos and dialogs",
)
def _collect_dataset(source: str, collection: str) -> None:
    rows = creation.collect_dataset(source, collection)
    show({"rows": rows, "audit": creation.audit(collection)})


def _collect_museum(museum: str, collection: str, **options: Any) -> None:
    table = creation.collect_museum(museum, collection, **options)
    if missing := len(creation.missing_exhibits(collection)):
        were = "was" if missing == 1 else "were"
        print(f"{missing} {were} not found; data/{collection}/missing.csv says why.")
    _say_collected(table, collection)


SMITHSONIAN = command(
    *MUSEUM,
    name="collect smithsonian",
    help="Smithsonian Open Access; without more, the 65 published exhibits",
)(partial(_collect_museum, "smithsonian"))
ARTIC = command(*MUSEUM, name="collect artic", help="the Art Institute of Chicago")(
    partial(_collect_museum, "artic")
)


def _say_collected(table: pd.DataFrame, collection: str) -> None:
    photos = int(table["photos"].map(len).sum())
    print(f"{len(table)} exhibits with {photos} photos are collected in '{collection}'.")


@command(
    COLLECTION,
    option("--seed", "of the alterations (default: 0)", type=int, default=0),
    option("--processes", "at most (default: one a core)", type=positive),
)
def augment(collection: str, seed: int, processes: int | None) -> None:
    """Make altered copies until each exhibit has 15 photos."""
    table = creation.augment(collection, seed=seed, processes=processes)
    copies = int(table["augmented"].sum())
    print(f"{len(table)} photos, of which {copies} are augmented copies.")


@command(
    COLLECTION,
    option("--writer", "default: offline", choices=["offline", "hosted"], default="offline"),
    option("--seed", "of the offline writer (default: 0)", type=int, default=0),
    option("--model", "of the hosted writer (default: gpt-4o-mini)"),
    *server(calls=64),
    option("--batch", "hand over for half the price, collect by a later run", action="store_true"),
)
def synthesize(collection: str, writer: str, seed: int, **hosted: Any) -> None:
    """Write 15 question-answer pairs an exhibit."""
    from ..core.tables import SCHEMAS, read_table
    from .dialogs import write_dialogs

    path = write_dialogs(collection, _writer(writer, typed(hosted)), seed=seed)
    others = [name for name in SCHEMAS["dialogs"].names if name != "item_name"]
    names = read_table("dialogs", path, without=others)["item_name"]
    print(f"{len(names)} dialogs about {names.nunique()} exhibits.")


def _writer(writer: str, hosted: dict[str, Any]) -> Writer:
    """The writer as chosen; options of the hosted writer with the other raise MuseQuestError."""
    if writer == "hosted":
        from .hosted import BatchWriter, HostedWriter

        if not hosted.pop("batch", False):
            return HostedWriter(**hosted)
        if hosted.pop("concurrency", None):
            raise MuseQuestError("--concurrency is not for --batch; leave one of them out.")
        return BatchWriter(**hosted)
    if hosted:
        flag = f"--{next(iter(hosted)).replace('_', '-')}"
        raise MuseQuestError(f"{flag} is for the hosted writer; add --writer hosted.")
    from .offline_writer import OfflineWriter

    return OfflineWriter()


@command(
    COLLECTION,
    option("--profile", "whose strangers are added, which may require a review", metavar="P"),
)
def dataset(collection: str, profile: str | None) -> None:
    """Join photos and dialogs, write the dataset and audit it."""
    built = creation.build_dataset(collection, profile_of(profile) if profile else None)
    show(built | {"audit": creation.audit(collection)})


@command(
    COLLECTION,
    option("--repository", "on the Hub", required=True, metavar="OWNER/NAME"),
    option("--public", "create it public, after a question", action="store_true"),
    option("--dry-run", "only print what would be done", action="store_true"),
)
def push(collection: str, repository: str, public: bool, dry_run: bool) -> None:
    """Upload the dataset folder to the Hugging Face Hub."""
    options = {"private": not public, "dry_run": dry_run, "confirm": _confirm}
    plan = creation.push_to_hub(collection, repository, **options)
    print(plan if dry_run else f"{len(plan.files)} files are in {plan.repository}.")


def _confirm(question: str) -> bool:
    """Ask at the terminal; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question} Type yes: ").strip().casefold() == "yes"

"""The commands of stage 1, from a museum to a dataset, and their options."""

# Each command imports what it needs itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MuseQuestError
from .options import SERVER, add, add_collection, add_server, given, positive

if TYPE_CHECKING:
    import pandas as pd

    from ..creation.dialogs import Writer


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands to those of the other stages."""
    command = add(commands, collect)
    _add_sources(command.add_subparsers(dest="source", required=True, metavar="SOURCE"))
    command = add(commands, augment)
    add_collection(command)
    command.add_argument("--seed", type=int, default=0, help="of the alterations (default: 0)")
    command.add_argument("--processes", type=positive, help="at most (default: one a core)")
    command = add(commands, synthesize)
    add_collection(command)
    command.add_argument(
        "--writer", choices=["offline", "hosted"], default="offline", help="default: offline"
    )
    command.add_argument("--seed", type=int, default=0, help="of the offline writer (default: 0)")
    _add_hosted(command)
    add_collection(add(commands, dataset))
    command = add(commands, push)
    add_collection(command)
    command.add_argument("--repository", required=True, metavar="OWNER/NAME", help="on the Hub")
    command.add_argument("--public", action="store_true", help="create it public, after a question")
    command.add_argument("--dry-run", action="store_true", help="only print what would be done")


def collect(chosen: argparse.Namespace) -> None:
    """Read exhibits and photos into data/<collection>/."""
    if chosen.source == "folder":
        from ..creation.exhibits import collect_folder

        table = collect_folder(chosen.folder, chosen.collection, language=chosen.language)
    elif chosen.source == "dataset":
        from ..creation.dataset import audit
        from ..creation.imported import collect_dataset

        rows = collect_dataset(chosen.dataset, chosen.collection)
        print(json.dumps({"rows": rows, "audit": audit(chosen.collection)}, indent=2))
        return
    else:
        table = _collect_museum(chosen)
    photos = int(table["photos"].map(len).sum())
    print(f"{len(table)} exhibits with {photos} photos are collected in '{chosen.collection}'.")


def _collect_museum(chosen: argparse.Namespace) -> pd.DataFrame:
    from ..creation.museums import collect_museum, missing_exhibits

    table = collect_museum(
        chosen.source,
        chosen.collection,
        catalogue=chosen.catalogue,
        query=chosen.query,
        limit=chosen.limit,
        base_url=chosen.base_url,
        any_license=chosen.any_license,
        requests_per_minute=chosen.requests_per_minute,
        language=chosen.language,
    )
    if missing := len(missing_exhibits(chosen.collection)):
        print(f"{missing} were not found; data/{chosen.collection}/missing.csv says why.")
    return table


def augment(chosen: argparse.Namespace) -> None:
    """Make altered copies until each exhibit has 15 photos."""
    from ..creation.augmentation import augment as run

    table = run(chosen.collection, seed=chosen.seed, processes=chosen.processes)
    copies = int(table["augmented"].sum())
    print(f"{len(table)} photos, of which {copies} are augmented copies.")


def synthesize(chosen: argparse.Namespace) -> None:
    """Write 15 question-answer pairs an exhibit."""
    from ..creation.dialogs import synthesize as run

    table = run(chosen.collection, _writer(chosen), seed=chosen.seed)
    print(f"{len(table)} dialogs about {table['item_name'].nunique()} exhibits.")


def dataset(chosen: argparse.Namespace) -> None:
    """Join photos and dialogs, write the dataset and audit it."""
    from ..creation.dataset import audit, build_dataset

    built = build_dataset(chosen.collection)
    print(json.dumps(built | {"audit": audit(chosen.collection)}, indent=2))


def push(chosen: argparse.Namespace) -> None:
    """Upload the dataset folder to the Hugging Face Hub."""
    from ..creation.publishing import push_to_hub

    plan = push_to_hub(
        chosen.collection,
        chosen.repository,
        private=not chosen.public,
        dry_run=chosen.dry_run,
        confirm=_confirm,
    )
    print(plan if chosen.dry_run else f"{len(plan.files)} files are in {plan.repository}.")


def _confirm(question: str) -> bool:
    """Ask at the terminal; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question} Type yes: ").strip().casefold() == "yes"


def _writer(chosen: argparse.Namespace) -> Writer:
    """The writer as chosen; options of the hosted writer with the other raise MuseQuestError."""
    typed = given(chosen, ("model", *SERVER, "batch"))
    if chosen.writer == "hosted":
        from ..creation.hosted import BatchWriter, HostedWriter

        if not typed.pop("batch", False):
            return HostedWriter(**typed)
        if typed.pop("concurrency", None):
            raise MuseQuestError("--concurrency is not for --batch; leave one of them out.")
        return BatchWriter(**typed)
    if typed:
        option = f"--{next(iter(typed)).replace('_', '-')}"
        raise MuseQuestError(f"{option} is for the hosted writer; add --writer hosted.")
    from ..creation.offline_writer import OfflineWriter

    return OfflineWriter()


def _add_sources(sources: argparse._SubParsersAction) -> None:
    folder = sources.add_parser("folder", help="a folder of yours")
    folder.add_argument("folder", type=Path, metavar="DIR", help="exhibits.csv and its photos")
    add_collection(folder)
    _add_language(folder)
    made = sources.add_parser("dataset", help="a dataset made elsewhere, photos and dialogs")
    made.add_argument("dataset", metavar="SOURCE", help="its folder, or its name on the Hub")
    add_collection(made)
    for name, museum in (
        ("smithsonian", "Smithsonian Open Access; without more, the 65 published exhibits"),
        ("artic", "the Art Institute of Chicago"),
    ):
        _add_museum(sources.add_parser(name, help=museum, description=museum))


def _add_language(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--language", default="en", metavar="CODE", help="of texts and dialogs (default: en)"
    )


def _add_museum(command: argparse.ArgumentParser) -> None:
    add_collection(command)
    _add_language(command)
    which = command.add_mutually_exclusive_group()
    which.add_argument("--catalogue", type=Path, metavar="FILE", help="CSV of the exhibits wanted")
    which.add_argument("--query", metavar="Q", help="words the exhibits have to match")
    command.add_argument(
        "--limit", type=positive, default=50, help="exhibits of a query (default: 50)"
    )
    command.add_argument("--base-url", metavar="URL", help="of the API, if not the museum's own")
    command.add_argument(
        "--any-license", action="store_true", help="take photos that are not CC0 too"
    )
    command.add_argument(
        "--requests-per-minute", type=positive, default=60, metavar="N", help="(default: 60)"
    )


def _add_hosted(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", help="of the hosted writer (default: gpt-4o-mini)")
    add_server(command, calls=64)
    command.add_argument(
        "--batch", action="store_true", help="hand over for half the price, collect by a later run"
    )

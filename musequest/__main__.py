"""The commands, each one call of what the notebooks call too.

    python -m musequest collect folder DIR --collection NAME
    python -m musequest collect smithsonian | artic --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest synthesize --collection NAME --writer hosted --max-cost-usd 0.50
    python -m musequest train | infer | merge --profile P --approach A
    python -m musequest six --profile P
    python -m musequest score NAME=predictions.parquet ... --out DIR
    python -m musequest report --profile P
    python -m musequest preflight --profile P [--gpu NAME]
    python -m musequest publish --profile P --approach A --repo OWNER/NAME [--upload]

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

# Each command imports its stage itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .command_line import add, add_profile, amount, assignments, positive
from .errors import MuseQuestError
from .finetuning.commands import add_commands as add_finetuning

if TYPE_CHECKING:
    import pandas as pd

    from .creation.writers import Writer


def collect(chosen: argparse.Namespace) -> None:
    """Read exhibits and photos into data/<collection>/."""
    if chosen.source == "folder":
        from .creation.exhibits import collect_folder

        table = collect_folder(chosen.folder, chosen.collection)
    else:
        table = _collect_museum(chosen)
    photos = int(table["photos"].map(len).sum())
    print(f"{len(table)} exhibits with {photos} photos are collected in '{chosen.collection}'.")


def _collect_museum(chosen: argparse.Namespace) -> pd.DataFrame:
    from .creation.museums import collect_museum, missing_exhibits

    table = collect_museum(
        chosen.source,
        chosen.collection,
        catalogue=chosen.catalogue,
        query=chosen.query,
        limit=chosen.limit,
        base_url=chosen.base_url,
        any_license=chosen.any_license,
        requests_per_minute=chosen.requests_per_minute,
    )
    if missing := len(missing_exhibits(chosen.collection)):
        print(f"{missing} were not found; data/{chosen.collection}/missing.csv says why.")
    return table


def augment(chosen: argparse.Namespace) -> None:
    """Make altered copies until each exhibit has 15 photos."""
    from .creation.augmentation import augment as run

    table = run(chosen.collection, seed=chosen.seed, processes=chosen.processes)
    copies = int(table["augmented"].sum())
    print(f"{len(table)} photos, of which {copies} are augmented copies.")


def synthesize(chosen: argparse.Namespace) -> None:
    """Write 15 question-answer pairs an exhibit."""
    from .creation.dialogs import synthesize as run

    table = run(chosen.collection, _writer(chosen), seed=chosen.seed)
    print(f"{len(table)} dialogs about {table['item_name'].nunique()} exhibits.")


def dataset(chosen: argparse.Namespace) -> None:
    """Join photos and dialogs, write the dataset and audit it."""
    from .creation.audit import audit
    from .creation.dataset import build_dataset

    built = build_dataset(chosen.collection)
    print(json.dumps(built | {"audit": audit(chosen.collection)}, indent=2))


def score(chosen: argparse.Namespace) -> None:
    """Score the answers of any systems on the questions they share."""
    from .evaluation.scoring import score as run

    predictions = assignments(chosen.predictions, "predictions")
    paths = {name: Path(path) for name, path in predictions.items()}
    print(json.dumps(run(paths, chosen.exhibits, chosen.out), indent=2))


def report(chosen: argparse.Namespace) -> None:
    """Score all systems of a profile and write its report."""
    from .evaluation.report import build_report
    from .evaluation.scoring import evaluate

    evaluate(chosen.profile)
    print(build_report(chosen.profile))


def main(arguments: list[str] | None = None) -> int:
    """Run one command as typed in a shell; returns its exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        chosen.run(chosen)
    except MuseQuestError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was finished is kept, the same command goes on.", file=sys.stderr)
        return 130
    return 0


def _writer(chosen: argparse.Namespace) -> Writer:
    """The writer as chosen; options of the hosted writer with the other raise MuseQuestError."""
    names = ("model", "base_url", "max_cost_usd", "concurrency")
    options = {name: getattr(chosen, name) for name in names}
    given = {name: value for name, value in options.items() if value is not None}
    if chosen.writer == "hosted":
        from .creation.hosted import HostedWriter

        return HostedWriter(**given)
    if given:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise MuseQuestError(f"{option} is for the hosted writer; add --writer hosted.")
    from .creation.offline_writer import OfflineWriter

    return OfflineWriter()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m musequest", description="From a museum's photos and texts to a docent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_creation(commands)
    add_finetuning(commands)
    _add_evaluation(commands)
    return parser


def _add_creation(commands: argparse._SubParsersAction) -> None:
    command = add(commands, collect)
    _add_sources(command.add_subparsers(dest="source", required=True, metavar="SOURCE"))
    command = add(commands, augment)
    _add_collection(command)
    command.add_argument("--seed", type=int, default=0, help="of the alterations (default: 0)")
    command.add_argument("--processes", type=positive, help="at most (default: one a core)")
    command = add(commands, synthesize)
    _add_collection(command)
    command.add_argument(
        "--writer", choices=["offline", "hosted"], default="offline", help="default: offline"
    )
    command.add_argument("--seed", type=int, default=0, help="of the offline writer (default: 0)")
    _add_hosted(command)
    _add_collection(add(commands, dataset))


def _add_sources(sources: argparse._SubParsersAction) -> None:
    folder = sources.add_parser("folder", help="a folder of yours")
    folder.add_argument("folder", type=Path, metavar="DIR", help="exhibits.csv and its photos")
    _add_collection(folder)
    for name, museum in (
        ("smithsonian", "Smithsonian Open Access; without more, the 65 published exhibits"),
        ("artic", "the Art Institute of Chicago"),
    ):
        _add_museum(sources.add_parser(name, help=museum, description=museum))


def _add_museum(command: argparse.ArgumentParser) -> None:
    _add_collection(command)
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
    command.add_argument("--base-url", metavar="URL", help="its server (default: OpenAI's)")
    command.add_argument(
        "--max-cost-usd", type=amount, metavar="X", help="for all runs together (default: 1)"
    )
    command.add_argument("--concurrency", type=positive, help="calls at once (default: 64)")


def _add_evaluation(commands: argparse._SubParsersAction) -> None:
    command = add(commands, score)
    command.add_argument("predictions", nargs="+", metavar="NAME=FILE", help="a system's answers")
    command.add_argument("--exhibits", type=Path, help="exhibits.parquet, for facts and names")
    command.add_argument("--out", type=Path, required=True, help="folder for the scores")
    add_profile(add(commands, report))


def _add_collection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--collection", required=True, metavar="NAME", help="data/NAME")


if __name__ == "__main__":
    sys.exit(main())

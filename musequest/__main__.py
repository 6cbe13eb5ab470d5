"""The commands, each one call of what the notebooks call too.

    python -m musequest collect folder DIR --collection NAME
    python -m musequest collect smithsonian | artic --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest synthesize --collection NAME --writer hosted --max-cost-usd 0.50
    python -m musequest train | infer --profile P --approach A
    python -m musequest score NAME=predictions.parquet ... --out DIR
    python -m musequest report --profile P

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

# Each command imports its stage itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import MuseQuestError

if TYPE_CHECKING:
    import pandas as pd

    from .creation.writers import Writer

SERVER = ("base_url", "max_cost_usd", "concurrency")  # options of whatever is hosted


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


def train(chosen: argparse.Namespace) -> None:
    """Tune the profile's model with one approach."""
    from .finetuning.training import train as run
    from .keys import check_keys
    from .settings import load_profile, profile_keys, training_keys

    typed = _assignments(chosen.set, "--set")
    check_keys(typed, profile_keys() | training_keys(), "--set")
    trained = {key: value for key, value in typed.items() if key in training_keys()}
    rest = {key: value for key, value in typed.items() if key not in trained}
    record = run(load_profile(chosen.profile, rest), chosen.approach, trained, fresh=chosen.fresh)
    print(json.dumps(record, indent=2))


def infer(chosen: argparse.Namespace) -> None:
    """Answer the test questions with the base model, a tuned one or another system."""
    from .settings import load_profile
    from .systems import answer

    profile = load_profile(chosen.profile, _assignments(chosen.set, "--set"))
    table = answer(profile, chosen.approach, chosen.condition, **_given(chosen, SERVER))
    print(f"{len(table)} questions are answered by '{chosen.approach}'.")


def score(chosen: argparse.Namespace) -> None:
    """Score the answers of any systems on the questions they share."""
    from .evaluation.scoring import score as run
    from .settings import load_profile

    predictions = _assignments(chosen.predictions, "predictions")
    paths = {name: Path(path) for name, path in predictions.items()}
    profile = load_profile(chosen.profile) if chosen.profile else None
    print(json.dumps(run(paths, chosen.exhibits, chosen.out, profile), indent=2))


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


def _assignments(texts: list[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict; MuseQuestError at one without '=' or a name that comes twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise MuseQuestError(f"{option}: {text!r} has not the form NAME=VALUE; write it so.")
        if name in pairs:
            raise MuseQuestError(f"{option}: '{name}' is given twice; keep one of them.")
        pairs[name] = value
    return pairs


def _given(chosen: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the options that were typed."""
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) is not None}


def _writer(chosen: argparse.Namespace) -> Writer:
    """The writer as chosen; options of the hosted writer with the other raise MuseQuestError."""
    given = _given(chosen, ("model", *SERVER))
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
    _add_finetuning(commands)
    _add_evaluation(commands)
    return parser


def _add(commands: argparse._SubParsersAction, run: object) -> argparse.ArgumentParser:
    """A command named and described after the function that runs it."""
    command = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
    command.set_defaults(run=run)
    return command


def _add_creation(commands: argparse._SubParsersAction) -> None:
    command = _add(commands, collect)
    _add_sources(command.add_subparsers(dest="source", required=True, metavar="SOURCE"))
    command = _add(commands, augment)
    _add_collection(command)
    command.add_argument("--seed", type=int, default=0, help="of the alterations (default: 0)")
    command.add_argument("--processes", type=_positive, help="at most (default: one a core)")
    command = _add(commands, synthesize)
    _add_collection(command)
    command.add_argument(
        "--writer", choices=["offline", "hosted"], default="offline", help="default: offline"
    )
    command.add_argument("--seed", type=int, default=0, help="of the offline writer (default: 0)")
    _add_hosted(command)
    _add_collection(_add(commands, dataset))


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
        "--limit", type=_positive, default=50, help="exhibits of a query (default: 50)"
    )
    command.add_argument("--base-url", metavar="URL", help="of the API, if not the museum's own")
    command.add_argument(
        "--any-license", action="store_true", help="take photos that are not CC0 too"
    )
    command.add_argument(
        "--requests-per-minute", type=_positive, default=60, metavar="N", help="(default: 60)"
    )


def _add_hosted(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", help="of the hosted writer (default: gpt-4o-mini)")
    _add_server(command, calls=64)


def _add_server(command: argparse.ArgumentParser, calls: int) -> None:
    command.add_argument("--base-url", metavar="URL", help="its server (default: OpenAI's)")
    command.add_argument(
        "--max-cost-usd", type=_amount, metavar="X", help="for all runs together (default: 1)"
    )
    command.add_argument("--concurrency", type=_positive, help=f"calls at once (default: {calls})")


def _add_finetuning(commands: argparse._SubParsersAction) -> None:
    command = _add(commands, train)
    _add_profile(command)
    command.add_argument("--approach", default="lora", help="how to tune (default: lora)")
    command.add_argument("--fresh", action="store_true", help="discard an earlier run")
    _add_set(command, "a key of TrainingArguments or of the profile")
    command = _add(commands, infer)
    _add_profile(command)
    command.add_argument("--approach", default="lora", help="or base, gpt4o, retrieval, rag")
    command.add_argument("--condition", help="blank_photo, wrong_photo, no_photo or outsiders")
    _add_server(command, calls=16)
    _add_set(command, "a key of the profile")


def _add_evaluation(commands: argparse._SubParsersAction) -> None:
    command = _add(commands, score)
    command.add_argument("predictions", nargs="+", metavar="NAME=FILE", help="a system's answers")
    command.add_argument("--exhibits", type=Path, help="exhibits.parquet, for facts and names")
    command.add_argument("--out", type=Path, required=True, help="folder for the scores")
    command.add_argument("--profile", help="whose dataset gives tracks, whose model the base score")
    _add_profile(_add(commands, report))


def _add_collection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--collection", required=True, metavar="NAME", help="data/NAME")


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", required=True, help="a name in profiles/ or a YAML file")


def _add_set(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=meaning
    )


def _amount(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of 0 or more")
    return float(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

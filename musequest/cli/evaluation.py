"""The commands of stage 3, from answers to the report, and their options."""

# Each command imports what it needs itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .options import add, add_profile, assignments


def score(chosen: argparse.Namespace) -> None:
    """Score the answers of any systems on the questions they share."""
    from ..evaluation.scoring import score as run
    from ..settings import load_profile

    predictions = assignments(chosen.predictions, "predictions")
    paths = {name: Path(path) for name, path in predictions.items()}
    profile = load_profile(chosen.profile) if chosen.profile else None
    print(json.dumps(run(paths, chosen.exhibits, chosen.out, profile), indent=2))


def report(chosen: argparse.Namespace) -> None:
    """Score all systems of a profile and write its report."""
    from ..evaluation.report import build_report
    from ..evaluation.scoring import evaluate

    evaluate(chosen.profile)
    print(build_report(chosen.profile))


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands of stage 3 with their options."""
    command = add(commands, score)
    command.add_argument(
        "predictions",
        nargs="+",
        metavar="NAME=FILE",
        help="a system's answers; parquet, CSV, JSON lines",
    )
    command.add_argument("--exhibits", type=Path, help="exhibits.parquet, for facts and names")
    command.add_argument("--out", type=Path, required=True, help="folder for the scores")
    command.add_argument("--profile", help="whose dataset gives tracks, whose model the base score")
    add_profile(add(commands, report))

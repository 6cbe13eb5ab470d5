"""The commands of stage 3: infer, score, report, annotate, judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import evaluation, systems
from ..core.command_line import (
    PROFILE,
    approach,
    assignments,
    command,
    option,
    positive,
    profile_of,
    seeds,
    server,
    settings,
    show,
    typed,
)

MARGIN = option(
    "--margin",
    "a difference too small to matter, of all rates (0.05) or one metric (rouge_l=0.1)",
    nargs="+",
    action="extend",
    default=[],
    metavar="M",
)


@command(
    PROFILE,
    approach("or base, gpt4o, retrieval, rag"),
    option("--condition", "blank_photo, wrong_photo, no_photo or outsiders"),
    *server(calls=16),
    seeds("answer with the models of so many seeds"),
    settings(),
)
def infer(
    profile: str,
    approach: str,
    condition: str | None,
    seeds: int | None,
    settings: list[str],
    **hosted: Any,
) -> None:
    """Answer the test questions with the base model, a tuned one or another system."""
    from ..creation.split import check_dataset
    from ..systems.registry import check_name, seed_profiles

    own = profile_of(profile, settings)
    check_name(approach)
    check_dataset(own.collection)
    for chosen in seed_profiles(own, approach, seeds) if seeds else [own]:
        table = systems.answer(chosen, approach, condition, **typed(hosted))
        under = f" under '{condition}'" if condition else ""
        path = systems.answers_dir(chosen, approach, condition) / "predictions.parquet"
        print(f"{len(table)} questions are answered by '{approach}'{under}: {path}")


@command(
    option(
        "predictions",
        "a system's answers; parquet, CSV, JSON lines",
        nargs="+",
        metavar="NAME=FILE",
    ),
    option("--exhibits", "exhibits.parquet, for facts and names", type=Path),
    option("--out", "folder for the scores", type=Path, required=True),
    option("--profile", "whose dataset gives tracks, whose model the base score"),
    MARGIN,
)
def score(
    predictions: list[str],
    exhibits: Path | None,
    out: Path,
    profile: str | None,
    margin: list[str],
) -> None:
    """Score the answers of any systems on the questions they share."""
    paths = {name: Path(path) for name, path in assignments(predictions, "predictions").items()}
    chosen, margins = profile_of(profile) if profile else None, evaluation.margins_of(margin)
    show(evaluation.score(paths, exhibits, out, chosen, margins))


@command(PROFILE, MARGIN, seeds("of each approach (default: all that have answered)"))
def report(profile: str, margin: list[str], seeds: int | None) -> None:
    """Score all systems of a profile and write its report."""
    evaluation.evaluate(profile, evaluation.margins_of(margin), seeds)
    print(evaluation.build_report(profile))


@command(
    PROFILE,
    option("--systems", "whose answers (default: all)", nargs="+", default=[], metavar="NAME"),
    option("--rows", "answers to rate (default: 50)", type=positive, default=50, metavar="N"),
    option("--seed", "of what is drawn (default: 0)", type=int, default=0),
    option("--read", "two raters' files; says how they and the metrics agree", nargs="+"),
)
def annotate(
    profile: str, systems: list[str], rows: int, seed: int, read: list[str] | None
) -> None:
    """Write a blinded sheet of answers for two raters, or read their labels back."""
    from .raters import agreement_table, annotate, read_labels

    if read:
        record = read_labels(profile, read)
        print(agreement_table(record["errors"]).to_string())
        if judged := record.get("judge"):
            print(f"\nThe judge {judged['model']} beside what both raters say:")
            print(agreement_table(judged["errors"]).to_string())
        return
    folder = annotate(profile, systems, rows, seed)
    print(
        f"{folder} holds sheet.html and, the same for a spreadsheet, sheet.csv. Give either to two "
        "raters, but key.json to none; then run annotate with --read and their files."
    )


@command(
    PROFILE,
    option("--model", "that judges (default: gpt-4o-mini)", default="gpt-4o-mini"),
    *server(calls=16),
)
def judge(profile: str, model: str, **hosted: Any) -> None:
    """Have a hosted model fill in the sheet of `annotate`, to hold it against the raters."""
    chosen = profile_of(profile)
    from .judge import judge

    show(judge(chosen, model, **typed(hosted)))
    print("What it says is shown by `annotate --read`, beside its agreement with two raters.")

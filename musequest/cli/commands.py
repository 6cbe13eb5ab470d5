"""The commands, in the order in which a museum becomes a docent; each calls what notebooks call.

The packages import what is asked of them when it is, so that no command waits for the libraries of
another one. What may be mistyped or not be there yet is looked at before a package of models is
asked for anything: torch and its kin take seconds to import, a mistake is told at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import creation, evaluation, finetuning, systems
from ..errors import MuseQuestError
from ..home import check_env, remove_made
from . import (
    COLLECTION,
    PROFILE,
    approach,
    assignments,
    command,
    option,
    positive,
    seeds,
    server,
    settings,
    typed,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..creation.dialogs import Writer
    from ..settings import Profile

LANGUAGE = option("--language", "of texts and dialogs (default: en)", default="en", metavar="CODE")
MARGIN = option(
    "--margin",
    "a difference too small to matter, of all rates (0.05) or one metric (rouge_l=0.1)",
    nargs="+",
    action="extend",
    default=[],
    metavar="M",
)
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
    print(json.dumps({"rows": rows, "audit": creation.audit(collection)}, indent=2))


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
    table = creation.synthesize(collection, _writer(writer, typed(hosted)), seed=seed)
    print(f"{len(table)} dialogs about {table['item_name'].nunique()} exhibits.")


def _writer(writer: str, hosted: dict[str, Any]) -> Writer:
    """The writer as chosen; options of the hosted writer with the other raise MuseQuestError."""
    if writer == "hosted":
        from ..creation.hosted import BatchWriter, HostedWriter

        if not hosted.pop("batch", False):
            return HostedWriter(**hosted)
        if hosted.pop("concurrency", None):
            raise MuseQuestError("--concurrency is not for --batch; leave one of them out.")
        return BatchWriter(**hosted)
    if hosted:
        flag = f"--{next(iter(hosted)).replace('_', '-')}"
        raise MuseQuestError(f"{flag} is for the hosted writer; add --writer hosted.")
    from ..creation.offline_writer import OfflineWriter

    return OfflineWriter()


@command(
    COLLECTION,
    [
        option("--list", "print what is reviewed, and open no page", action="store_true"),
        option("--export", "write all dialogs as CSV for a spreadsheet", type=Path, metavar="FILE"),
        option("--import", "read such a file back", type=Path, metavar="FILE", dest="sheet"),
    ],
    option("--by", "who decided what is in the file", metavar="NAME"),
    option("--port", "(default: 8100)", type=int, default=8100),
)
def review(
    collection: str, list: bool, export: Path | None, sheet: Path | None, by: str | None, port: int
) -> None:
    """Open the curator's desk, a page to approve, edit or withhold dialogs."""
    from ..creation import review as reviewed

    if list:
        print(reviewed.overview(collection).to_string())
    elif export:
        print(f"{reviewed.write_sheet(collection, export)} dialogs are in {export}.")
    elif sheet:
        saved, refused = reviewed.read_sheet(collection, sheet, by or "")
        print("\n".join([f"{saved} decisions are saved.", *refused]))
    else:
        reviewed.check_dialogs(collection)  # what is absent is told before a page is made
        from ..serving import open_desk, web

        web.run(lambda: open_desk(collection), "127.0.0.1", port)


@command(
    COLLECTION,
    option("--profile", "whose strangers are added, which may require a review", metavar="P"),
)
def dataset(collection: str, profile: str | None) -> None:
    """Join photos and dialogs, write the dataset and audit it."""
    built = creation.build_dataset(collection, _profile(profile) if profile else None)
    print(json.dumps(built | {"audit": creation.audit(collection)}, indent=2))


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


@command(
    PROFILE,
    approach("how to tune (default: lora)"),
    option(
        "--processes", "of a parallel approach (default: one a GPU)", type=positive, metavar="N"
    ),
    option("--fresh", "discard an earlier run", action="store_true"),
    seeds("train so many times, each with another seed"),
    settings("a key of TrainingArguments or of the profile"),
)
def train(
    profile: str, approach: str, seeds: int | None, settings: list[str], **options: Any
) -> None:
    """Tune the profile's model with one approach."""
    from ..creation.split import check_dataset
    from ..finetuning.distributed import launched, rank
    from ..settings import load_approach, load_profile, parted, training_settings
    from ..systems.registry import seed_profile

    if seeds and launched():
        raise MuseQuestError("--seeds starts the processes of each training; call it without.")
    chosen, learning = parted(assignments(settings, "--set"))
    own = load_profile(profile, chosen)
    training_settings(own, load_approach(approach), learning)
    check_dataset(own.collection)
    creation.check_learned(own.collection, own)
    records = [finetuning.train(own, approach, learning, **options)]
    for more in range(1, seeds or 1):
        seed = records[0]["seed"] + more
        again = learning | {"seed": str(seed)}
        records.append(finetuning.train(seed_profile(own, seed), approach, again, **options))
    if rank() == 0:
        print(json.dumps(records if seeds else records[0], indent=2))


def _profile(name: str, settings: Sequence[str] = (), system: str = "") -> Profile:
    """The profile as typed, the name of a system looked at if it is given."""
    from ..settings import load_profile

    profile = load_profile(name, assignments(settings, "--set"))
    if system:
        from ..systems.registry import check_name

        check_name(system)
    return profile


def _with_run(name: str, approach: str, settings: Sequence[str] = ()) -> Profile:
    """The profile as typed, whose run with the approach is finished."""
    from ..finetuning.records import finished_record
    from ..home import run_dir
    from ..settings import load_approach

    profile = _profile(name, settings)
    finished_record(run_dir(profile.name, load_approach(approach).name))
    return profile


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
    from ..systems.registry import seed_profiles

    own = _profile(profile, settings, system=approach)
    check_dataset(own.collection)
    for chosen in seed_profiles(own, approach, seeds) if seeds else [own]:
        table = systems.answer(chosen, approach, condition, **typed(hosted))
        under = f" under '{condition}'" if condition else ""
        path = systems.answers_dir(chosen, approach, condition) / "predictions.parquet"
        print(f"{len(table)} questions are answered by '{approach}'{under}: {path}")


@command(
    PROFILE,
    approach("or base, retrieval, rag"),
    option("--photo", "JPEG, PNG and the like", required=True, metavar="FILE"),
    option(
        "--question",
        "as often as wanted (default: What is this?)",
        action="append",
        default=[],
        metavar="Q",
    ),
    option("--strict", "leave out what nothing in the catalogue bears out", action="store_true"),
    option("--json", "a JSON object a question", action="store_true", dest="json_lines"),
    settings(),
)
def ask(
    profile: str,
    approach: str,
    photo: str,
    question: list[str],
    strict: bool,
    json_lines: bool,
    settings: list[str],
) -> None:
    """Ask the base model, a tuned one or another local system about a photo of your own."""
    from ..finetuning.records import check_ready
    from ..photos import prepared_photo
    from ..systems.answering import QUESTION, check_question

    chosen = _profile(profile, settings, system=approach)
    texts = question or [QUESTION]
    for text in texts:
        check_question(text)
    shown = prepared_photo(photo)
    check_ready(chosen, approach)
    from ..serving import Guide, Question

    guide = Guide(chosen, approach, strict=strict)
    answers = guide.answer([Question(shown, text) for text in texts])
    if json_lines:
        told = [json.dumps(answer.as_json(), ensure_ascii=False) for answer in answers]
        print("\n".join(told))
    elif guide.ungated:
        print("\n\n".join(answer.text for answer in answers))
    else:
        heads = [f"> {text}\n\n" if len(texts) > 1 else "" for text in texts]
        print("\n\n\n".join(f"{head}{own}" for head, own in zip(heads, answers, strict=True)))


@command(
    PROFILE,
    approach("or base, retrieval, rag"),
    option("--strict", "leave out what no catalogue sentence bears out", action="store_true"),
    option("--host", "address to listen on (default: 127.0.0.1)", default="127.0.0.1"),
    option("--port", "to listen on (default: 8000)", type=int, default=8000, metavar="N"),
    option("--public-url", "where visitors reach it, for QR codes", metavar="URL"),
    option(
        "--keep-questions",
        "write down, without photos, those that found no answer",
        action="store_true",
    ),
    settings(),
)
def serve(profile: str, approach: str, settings: list[str], **options: Any) -> None:
    """Let visitors talk to a docent: a page for their phones, and the same over HTTP."""
    chosen = _profile(profile, settings, system=approach)
    from ..finetuning.records import check_ready

    check_ready(chosen, approach)
    from ..serving.server import serve

    serve(chosen, approach, **options)


@command(
    PROFILE,
    approach("whose adapter (default: lora)"),
    option("--rows", "to compare (default: 4)", type=positive, default=4),
    settings(),
)
def merge(profile: str, approach: str, rows: int, settings: list[str]) -> None:
    """Merge a finished run's adapter into the base model, and check that its answers stay."""
    chosen = _with_run(profile, approach, settings)
    record = finetuning.merge(chosen, approach, rows=rows)
    print(json.dumps(record, indent=2))


@command(
    PROFILE,
    option("--gpu", "a GPU's name, or its memory, as in 24GiB; all for each kind", metavar="NAME"),
)
def preflight(profile: str, gpu: str | None) -> None:
    """Say what fits on which GPU, how long it takes and costs, and what is missing."""
    chosen = _profile(profile)
    from ..finetuning.preflight import preflight, shown

    table, findings = preflight(chosen, gpu)
    print(shown(table).to_string(index=False, na_rep="-"))
    print("\n".join(findings))


@command(PROFILE, settings())
def doctor(profile: str, settings: list[str]) -> None:
    """Check that a profile's base model can be tuned: its tokens, parts, a step, an answer."""
    for finding in finetuning.examine(_profile(profile, settings)):
        print(f"{finding}\n", flush=True)


@command(
    PROFILE,
    approach("whose weights (default: lora)"),
    option("--repo", "on the Hub", required=True, metavar="OWNER/NAME"),
    option("--merged", "the merged model, not the adapter", action="store_true"),
    option(
        "--license", "of the model, as the Hub names licences", dest="license_name", metavar="L"
    ),
    option("--upload", "upload, not only make the folder", action="store_true"),
    option("--public", "for all to see, not only for you", action="store_true"),
)
def publish(
    profile: str, approach: str, repo: str, public: bool, upload: bool, **options: Any
) -> None:
    """Make the folder for the Hub with its model card; upload it only if asked to."""
    chosen = _with_run(profile, approach)
    from ..finetuning.publishing import told

    folder = finetuning.publish(
        chosen, approach, repo, private=not public, upload=upload, **options
    )
    if not upload:
        print(told(folder))
    done = "is uploaded to" if upload else "would be uploaded (add --upload) to"
    print(f"{folder} {done} {repo}.")


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
    chosen, margins = _profile(profile) if profile else None, evaluation.margins_of(margin)
    print(json.dumps(evaluation.score(paths, exhibits, out, chosen, margins), indent=2))


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
    from ..evaluation.raters import agreement_table, annotate, read_labels

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
    chosen = _profile(profile)
    from ..evaluation.judge import judge

    print(json.dumps(judge(chosen, model, **typed(hosted)), indent=2))
    print("What it says is shown by `annotate --read`, beside its agreement with two raters.")


@command(
    option("--profile", "a name in profiles/ or a YAML file", default="pocket"),
    option("--longer", "and what a demo leaves out", action="store_true"),
)
def demo(profile: str, longer: bool) -> None:
    """Walk all three stages, from photos to report.html, by their notebooks."""
    _profile(profile)
    from ..book.notebooks import DEMO, LONGER, demo

    demo(profile, (*DEMO, *LONGER) if longer else DEMO)


@command(PROFILE, option("--refresh", "replace the committed notebooks", action="store_true"))
def six(profile: str, refresh: bool) -> None:
    """Run all approaches with their notebooks, and compare them in one table."""
    _profile(profile)
    from ..book.notebooks import compare_approaches

    compare_approaches(profile, refresh=refresh)


@command()
def notebooks() -> None:
    """Walk the longer demo and put its notebooks, with outputs, where the committed ones are."""
    from ..book.notebooks import refresh

    refresh()


@command(
    option("--keep", "first keep this profile's last demo", metavar="PROFILE"),
    option("--keep-retrieval", "first keep its last 3.2", metavar="PROFILE"),
    option("--keep-six", "first keep its last `make six`", metavar="PROFILE"),
)
def readme(keep: str | None, keep_retrieval: str | None, keep_six: str | None) -> None:
    """Write the figures of the readmes from the records in benchmarks/records/."""
    from ..book.readme_tables import write_readmes

    write_readmes(demo=keep, retrieval=keep_retrieval, six=keep_six)


@command(PROFILE)
def clean(profile: str) -> None:
    """Remove data, runs and results of a profile, wherever they lie."""
    check_env()
    for removed in remove_made(profile):
        print(f"Removed {removed}.")

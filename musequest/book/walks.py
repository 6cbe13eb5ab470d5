"""Walks through the notebooks of the three stages, and records what that took.

    python -m musequest demo --profile pocket   copies under results/<profile>/notebooks/
    python -m musequest demo --longer           and those that take a demo too long
    python -m musequest notebooks               both, in place of the committed ones
    python -m musequest six --profile pocket    every approach's, and one table at the end

What is done already is not done again; an approach that fails does not stop the next one.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import psutil

from ..core.errors import MuseQuestError
from ..core.files import read_json, write_json
from ..core.home import collection_dir, results_dir, root, run_dir
from ..core.settings import Profile, approach_names, load_approach, load_profile
from ..creation import check_reach
from ..creation.split import split_path
from ..evaluation.differences import Summary
from ..evaluation.report_tables import cell, score_frame
from ..evaluation.results import load_results
from ..systems.registry import finished_runs, on_track, seed_profiles, seedless
from .notebooks import run, save_refreshed

WALK = (
    "1_synthetic_data_creation/1.1_exhibit_collection/exhibit_collection.ipynb",
    "1_synthetic_data_creation/1.2_image_augmentation/image_augmentation.ipynb",
    "1_synthetic_data_creation/1.3_dialog_generation/dialog_generation.ipynb",
    "1_synthetic_data_creation/1.4_dataset_creation/dataset_creation.ipynb",
    "2_model_finetuning/2.1_lora_finetuning/lora_finetuning.ipynb",
    "2_model_finetuning/2.2_qlora_finetuning/qlora_finetuning.ipynb",
    "2_model_finetuning/2.3_lora_finetuning_with_ddp/lora_finetuning_with_ddp.ipynb",
    "2_model_finetuning/2.4_full_finetuning/full_finetuning.ipynb",
    "2_model_finetuning/2.5_full_finetuning_with_mp/full_finetuning_with_mp.ipynb",
    "2_model_finetuning/2.6_full_finetuning_with_fsdp/full_finetuning_with_fsdp.ipynb",
    "3_model_evaluation/3.1_finetuned_vs_openai/finetuned_vs_openai.ipynb",
    "3_model_evaluation/3.2_finetuned_vs_retrieval/finetuned_vs_retrieval.ipynb",
    "3_model_evaluation/3.3_talking_docent/talking_docent.ipynb",
)
# One approach and its scores, over in minutes. `make six` walks the other approaches.
OTHERS = WALK[5:10]
LONGER = WALK[-2:]  # what the demo leaves out unless asked for
DEMO = tuple(name for name in WALK if name not in (*OTHERS, *LONGER))
# What the table of all approaches shows, on photos never seen in training.
TRACK = "unseen_photo"
SCORES = ("embedding_distance", "identity_at_1", "number_recall", "invented_number_rate")
# What makes a docent: how it has to answer about photos never seen in training.
APPROACH = "lora"
DOCENT = {"identity_at_1": 0.95, "number_recall": 0.9}


class DemoRecord:
    """Measures while it is open, as a context: `record.seconds[name]` is for the caller to fill."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.seconds: dict[str, float] = {}
        self.from_nothing = not any(folder.exists() for folder in self.folders())
        self.peak_memory_gib = 0.0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)

    def folders(self) -> list[Path]:
        """Where the walk writes what the next one would not make again."""
        name = self.profile.name
        return [collection_dir(self.profile.collection), run_dir(name, "lora").parent]

    def __enter__(self) -> DemoRecord:
        self._watch.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        self._watch.join()

    def _watch_memory(self) -> None:
        """Every half second, the resident memory of this process and all it started.

        Pages that processes share count each time.
        """
        while not self._over.wait(0.5):
            total = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            self.peak_memory_gib = max(self.peak_memory_gib, total / 1024**3)

    def save(self, path: Path) -> None:
        """Write the record, unless one of a whole walk is there and this one skipped work."""
        from ..finetuning.records import disk_gib  # loads torch, whose memory is not the walk's

        if path.exists() and not self.from_nothing:
            return
        written = [*self.folders(), results_dir(self.profile.name)]
        stamp = Path(sys.prefix) / ".ready"  # in which `make setup` left how long it took
        record = {
            "profile": self.profile.name,
            "from_nothing": self.from_nothing,
            "setup_seconds": float(stamp.read_text()) if stamp.exists() else None,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "total_seconds": round(sum(self.seconds.values()), 1),
            "peak_memory_gib": round(self.peak_memory_gib, 2),
            "disk_gib": round(sum(map(disk_gib, written)), 3),
            **where_and_when(),
        }
        write_json(path, record)

    def sentence(self) -> str:
        """One line for the end of a demo."""
        minutes = sum(self.seconds.values()) / 60
        if not self.from_nothing:
            return f"{minutes:.1f} minutes; what was there already was not made again."
        return f"{minutes:.1f} minutes, {self.peak_memory_gib:.1f} GiB of memory at the most."


def docent_scores(summary: Summary) -> dict[str, float]:
    """The scores of the tuned model by which it is a docent or is none; {} where one lacks."""
    own = summary.get(TRACK, {}).get(APPROACH, {})
    means = {name: own.get(name, {}).get("mean") for name in DOCENT}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return known if known.keys() == DOCENT.keys() else {}


def time_to_docent(record: DemoRecord, summary: Summary) -> str:
    """A sentence: the seconds from photos to a docent, or which score was not reached."""
    scores = docent_scores(summary)
    if not record.from_nothing or not scores:
        return "Time to a docent: not measured; a walk that begins with nothing and scores lora is."
    told = " and ".join(f"{name} {score:.3f}" for name, score in scores.items())
    if any(scores[name] < least for name, least in DOCENT.items()):
        asked = " and ".join(f"{least:g}" for least in DOCENT.values())
        return f"Time to a docent: not reached; {told} on unseen photos where {asked} are asked."
    seconds = sum(record.seconds.values())
    return f"Time to a docent: {seconds:.0f} seconds, from photos to {told} on unseen photos."


def where_and_when() -> dict[str, object]:
    """The keys of a record that tell on what it was measured: machine, versions, commit, date."""
    from ..finetuning.records import git_commit, hardware, versions

    return {
        "hardware": hardware(),
        "versions": versions(),
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def demo(profile: str = "pocket", names: Sequence[str] = DEMO) -> Path:
    """Walk the three stages with `profile`; returns the path of report.html.

    The notebooks are executed as copies; what they made before is not made again. A museum or a
    writer that cannot be had raises MuseQuestError before the first of them.
    """
    profile, settings = _loaded(profile)
    check_source(settings)
    results = results_dir(settings.name)
    with DemoRecord(settings) as record:
        for number, name in enumerate(names, start=1):
            source = root() / name
            first = nbformat.read(source, as_version=4).cells[0].source
            heading = first.splitlines()[0].lstrip("# ")
            print(f"\n[{number}/{len(names)}] {heading}  ({name})", flush=True)
            record.seconds[name] = run(source, results / "notebooks" / source.name, profile)
    if tuple(names) == DEMO:
        record.save(results / "demo.json")
    report = results / "report.html"
    summary = read_json(results / "summary.json")
    for track, systems in summary.items():
        print(f"\n{track}\n{score_frame(systems, short=True).to_string()}")
    docent = f"{time_to_docent(record, summary)}\n" if tuple(names) == DEMO else ""
    print(f"\n{record.sentence()}\n{docent}Report: {report}")
    return report


def _loaded(profile: str) -> tuple[str, Profile]:
    """A profile, and its name or file as a notebook in another folder finds it."""
    if profile.endswith((".yaml", ".yml")):
        profile = str(Path(profile).resolve())
    return profile, load_profile(profile)


def check_source(profile: Profile) -> None:
    """Raise MuseQuestError where there is no dataset, and no museum or writer to make it.

    A notebook would go on with the pocket museum; time on a GPU is not paid for that.
    """
    if not split_path(profile.collection, "train").is_file():
        check_reach(profile, dialogs=True)


def refresh() -> None:
    """Walk demo and longer with the profile `pocket`; what was executed replaces the committed.

    One that fails, or takes more than 400 KB, raises MuseQuestError and is not put there. The
    notebooks of the other approaches are refreshed by `musequest six --refresh`.
    """
    walked = (*DEMO, *LONGER)
    executed = demo("pocket", walked).parent / "notebooks"
    for name in walked:
        save_refreshed(executed / Path(name).name, name)


def compare_approaches(
    profile_name: str = "pocket", *, refresh: bool = False, seeds: int = 1
) -> dict[str, Any]:
    """Run every approach's notebook with the profile; returns results/<profile>/six.json.

    `refresh` puts the executed notebooks where the committed ones are. Each approach is trained
    with `seeds` seeds, its notebook's counted. Raises MuseQuestError, after the table is written,
    if an approach failed.
    """
    profile_name, profile = _loaded(profile_name)
    check_source(profile)
    results = results_dir(profile.name)
    seconds, failures = {}, {}
    books = [*approach_notebooks().values()]
    if not split_path(profile.collection, "train").is_file():
        books[:0] = [name for name in WALK if name.startswith("1_")]
    for number, name in enumerate(books, start=1):
        print(f"\n[{number}/{len(books)}] {name}", flush=True)
        start = time.monotonic()
        try:
            run(root() / name, results / "notebooks" / Path(name).name, profile_name)
        except MuseQuestError as error:
            failures[name] = str(error)
            print(f"\n{error}", flush=True)
        seconds[name] = round(time.monotonic() - start, 1)
    for approach in finished_runs(profile) if seeds > 1 else []:
        name = approach_notebooks()[approach]
        try:
            _in_seeds(profile, approach, seeds)
        except MuseQuestError as error:
            failures[name] = str(error)
            print(f"\n{error}", flush=True)
    record = _record(profile, seconds, failures)
    write_json(results / "six.json", record)
    print(f"\n{comparison_frame(record).to_string(index=False)}")
    print(f"\n{sum(seconds.values()) / 60:.1f} minutes. Record: {results / 'six.json'}")
    if failures:
        raise MuseQuestError(
            f"{len(failures)} of {len(books)} notebooks stopped: {', '.join(failures)}; what they "
            f"said stands above, and as far as they ran they are kept in {results / 'notebooks'}."
        )
    if refresh:
        for name in approach_notebooks().values():
            save_refreshed(results / "notebooks" / Path(name).name, name)
    return record


def approach_notebooks() -> dict[str, str]:
    """The notebook of each approach, relative to the repository, in the order of the folders.

    An approach belongs to them once its folder of 2_model_finetuning/ holds a config.yaml and one.
    """
    found = {}
    for name in approach_names():
        folder = load_approach(name).folder
        books = sorted(folder.glob("*.ipynb"))
        if len(books) != 1:
            raise MuseQuestError(f"{folder} has to hold one notebook, and holds {len(books)}.")
        found[name] = str(books[0].relative_to(root()))
    return found


def comparison_frame(record: dict[str, Any]) -> pd.DataFrame:
    """The record as a table: a row an approach."""
    return pd.DataFrame([_row(name, each) for name, each in record["approaches"].items()])


def _row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    run_record, scores = found["run"], found["scores"]
    row: dict[str, Any] = {"approach": name, "status": run_record.get("status", "not started")}
    if row["status"] != "done":
        return row
    peaks = run_record["peak_memory_gib"]
    gpus = [held for device, held in peaks.items() if device != "cpu"]
    row |= {
        "processes": run_record["world_size"],
        "trainable parameters": f"{run_record['trainable_parameters']:,}",
        "minutes": f"{run_record['minutes']:.1f}",
        "peak memory per process (GiB)": f"{max(gpus) if gpus else peaks['cpu']:.2f}",
        "disk (GiB)": f"{run_record['disk_gib']:.3f}",
        "best validation loss": f"{run_record['best_eval_loss']:.4f}",
    }
    for metric in SCORES:
        row[metric] = cell(scores[metric]) if metric in scores else "–"
    return row


def _in_seeds(profile: Profile, approach: str, count: int) -> None:
    """Train and answer with `count` seeds; what is done already is not done again."""
    from ..finetuning import infer, train_seeds

    print(f"\n{approach}: {count} seeds", flush=True)
    train_seeds(profile, approach, count)
    for each in seed_profiles(profile, approach, count):
        infer(each, approach)


def _record(profile: Profile, seconds: dict[str, float], failures: dict[str, str]) -> Any:
    """What came out, on which machine; the scores are those on photos never seen in training."""
    from ..evaluation.scoring import evaluate

    summary, means = {}, pd.DataFrame(columns=SCORES)
    try:
        summary = evaluate(profile).get(TRACK, {})
        scores = on_track(load_results(profile).scores, TRACK)
        means = scores.groupby("model")[[*SCORES]].mean().round(4)
    except MuseQuestError as error:
        print(f"\nThere are no scores: {error}", flush=True)
    approaches = {}
    for name in approach_names():
        path = run_dir(profile.name, name) / "run.json"
        approaches[name] = {
            "run": read_json(path) if path.exists() else {},
            "scores": summary.get(name, {}),
            "seeds": dict(seed_scores(profile, name, means)),
        }
    return {
        "profile": profile.name,
        "track": TRACK,
        "approaches": approaches,
        "failures": failures,
        "seconds": seconds,
        **where_and_when(),
    }


def seed_scores(profile: Profile, approach: str, means: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """Each seed of an approach that answered: the minutes of its training, and its mean scores."""
    for name, own in means.iterrows():
        if seedless(str(name)) == approach:
            folder = run_dir(profile.name + str(name).removeprefix(approach), approach)
            ran = read_json(folder / "run.json")
            told = own.astype(object).where(own.notna(), None)
            yield str(ran["seed"]), {"minutes": ran["minutes"], **told}

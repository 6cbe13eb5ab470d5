"""Scores every answer of the published experiment on this project's scale.

    git clone https://github.com/Gefu-Xu/MuseQuest original
    python benchmarks/published_answers.py original             some minutes
    python benchmarks/published_answers.py original --record    and keep it, in benchmarks/records/
    python benchmarks/published_answers.py --record             sum the kept figures up again

The folder holds the published repository, or one CSV file a run with museum_texts.csv beside them.
The record has figures only, a row an answer; none of the texts enters it. An invented fact is
counted twice: against the ground truth alone, and against the museum's own texts as well.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json, write_whole
from musequest.core.home import root
from musequest.core.tables import write_table
from musequest.evaluation.drawing import Picture, picture
from musequest.evaluation.intervals import Clustered, PairedDifference, holm
from musequest.evaluation.scoring import score
from musequest.systems.registry import system

RECORDS = root() / "benchmarks/records"
FIGURE = root() / "assets/figures/published_answers.png"
ITEMS, SUMMARY = RECORDS / "published_answers.csv", RECORDS / "published_answers.json"
QUESTIONS = ["data_id", "item_name", "image_name", "question", "ground_truth"]
NAMES = {
    "user_question": "question",
    "ground_truth_answer": "ground_truth",
    "model_generated_answer": "answer",
    "semantic_similarity_score": "published_similarity",
    "similarity_score": "published_similarity",
}
# Of the published repository: the folder of an approach, its runs, and what lies in a run.
FOLDERS = {
    "2.1_lora_finetuning": "lora",
    "2.2_qlora_finetuning": "qlora",
    "2.3_lora_finetuning_with_ddp": "lora_ddp",
    "2.4_full_finetuning": "full",
    "2.5_full_finetuning_with_mp": "full_mp",
    "2.6_full_finetuning_with_fsdp": "full_fsdp",
}
ANSWERS = "results/inference_results/inference_results_{}_finetuning.csv"
GPT4O = "3_model_evaluation/3.1_finetuned_vs_openai/results/inference_results/"
TEXTS = "1_synthetic_data_creation/1.2_hf_dataset_creation/smithsonian_raw_data.csv"
METRICS = ["embedding_distance", "identity_at_1", "number_recall", "name_recall"]
INVENTED = ["invented_number_rate", "invented_name_rate"]
BESIDE_TRUTHS = {name: f"{name}_beside_truths" for name in INVENTED}
FIGURES = ["published_similarity", *METRICS, *INVENTED, *BESIDE_TRUTHS.values()]
DISTANCES = FIGURES[:2]  # from 0 to 2; all others are rates
PANELS = {  # figure -> its title, and what is best
    "published_similarity": ("Published similarity", "0 is best"),
    "embedding_distance": ("Embedding distance", "0 is best"),
    "number_recall": ("Numbers recalled", "1 is best"),
    "invented_number_rate": ("Numbers invented", "0 is best"),
}


def find_runs(folder: Path) -> tuple[dict[str, Path], Path]:
    """Name of a run -> its answers, and the file of the museum's texts, in either layout."""
    if (texts := folder / "museum_texts.csv").is_file():
        return {p.stem: p for p in sorted(folder.glob("*.csv")) if p != texts}, texts
    found = {"gpt4o": folder / GPT4O / "inference_results_openai_gpt4o.csv"}
    for place, approach in FOLDERS.items():
        for run in sorted((folder / "2_model_finetuning" / place).glob("run_*")):
            name = f"{approach}_{re.sub('run_[0-9]+_', '', run.name)}"
            found[f"base_before_{name}"] = run / ANSWERS.format("before")
            found[name] = run / ANSWERS.format("after")
    if len(found) == 1:
        raise MuseQuestError(
            f"{folder} holds neither museum_texts.csv beside a CSV file a run, nor the runs of the "
            "published repository below 2_model_finetuning/; give a clone of it."
        )
    return found, folder / TEXTS


def read_run(path: Path) -> pd.DataFrame:
    """The answers of a run; the published files end with a row that holds the mean."""
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig").rename(columns=NAMES)
    except (OSError, ValueError) as error:
        raise MuseQuestError(f"{path} cannot be read ({error}); fetch it again.") from None
    if missing := [name for name in [*QUESTIONS, "answer"] if name not in table]:
        raise MuseQuestError(f"{path} has no column '{missing[0]}'; fetch it again.")
    return table[table.data_id.notna()].fillna({"answer": ""})


def read_similarities(path: Path) -> pd.DataFrame:
    """The published similarity of each answer: run, data_id, published_similarity."""
    try:
        table = pd.read_csv(path, dtype=str, usecols=["run", "data_id", "similarity_score"])
    except (OSError, ValueError) as error:
        raise MuseQuestError(
            f"{path} cannot be read ({error}); give a CSV file of run, data_id, similarity_score."
        ) from None
    return table.rename(columns=NAMES)


def write_exhibits(texts: Path, to: Path) -> None:
    """An exhibits.parquet of the museum's texts, by which invented facts are told."""
    try:
        table = pd.read_csv(texts, dtype=str, encoding="utf-8-sig")
        names, described, links = table.item_name, table.description, table.link
    except (OSError, ValueError, AttributeError) as error:
        raise MuseQuestError(f"{texts} cannot be read ({error}); fetch it again.") from None
    columns = {"item_name": names, "title": names.str.replace("-", " "), "link": links}
    frame = pd.DataFrame({"item_id": range(len(names)), **columns, "description": described})
    frame = frame.assign(record="", license="CC0", credit="", photos=[[]] * len(frame))
    write_table("exhibits", to, frame)


def split_of(texts: Path) -> dict[str, int] | None:
    """What the published split says of its photos; None where the file does not tell it."""
    table = pd.read_csv(texts, dtype=str, encoding="utf-8-sig").fillna("")
    if not {"train_images", "validation_images", "test_images"} <= set(table):
        return None
    train, validation, test = (
        [names.split() for names in table[f"{split}_images"]]
        for split in ("train", "validation", "test")
    )
    photos = [
        {_parent(name) for names in own for name in names}
        for own in zip(train, validation, test, strict=True)
    ]
    learned = [{_parent(name) for name in names} for names in train]
    return {
        "exhibits_with_a_single_photo": sum(len(own) == 1 for own in photos),
        "exhibits_whose_test_photo_is_the_parent_of_a_training_photo": sum(
            not own.isdisjoint(names) for own, names in zip(learned, test, strict=True)
        ),
        "validation_photos": sum(map(len, validation)),
        "validation_photos_that_are_altered_copies": sum(
            _parent(name) != name for names in validation for name in names
        ),
    }


def _parent(name: str) -> str:
    """The photo that an altered copy was made of; of a photo itself its own name."""
    return re.sub(r"-aug[0-9]+(?=[.])", "", name)


def score_runs(runs: dict[str, Path], texts: Path, published: pd.DataFrame | None) -> pd.DataFrame:
    """A row an answer: run, data_id, item_name and FIGURES."""
    with tempfile.TemporaryDirectory() as place:
        folder, tables = Path(place), {name: read_run(path) for name, path in runs.items()}
        for name, table in tables.items():
            table[[*QUESTIONS, "answer"]].to_csv(folder / f"{name}.csv", index=False)
        write_exhibits(texts, folder / "exhibits.parquet")
        files = {name: folder / f"{name}.csv" for name in tables}
        score(files, folder / "exhibits.parquet", folder / "museum")
        score(files, None, folder / "truths")
        keys = ["model", "data_id"]
        scores = pd.read_parquet(folder / "museum/scores.parquet").set_index(keys)
        beside = pd.read_parquet(folder / "truths/scores.parquet").set_index(keys)
    scores = scores.join(beside[INVENTED].rename(columns=BESIDE_TRUTHS)).reset_index()
    scores = scores.rename(columns={"model": "run"})[lambda table: table.run.isin(list(tables))]
    if published is None:
        own = [table.assign(run=name) for name, table in tables.items()]
        published = pd.concat(own)
        if "published_similarity" not in published:
            raise MuseQuestError(
                "These files hold no published similarities; name them with --similarities FILE."
            )
    published = published.astype({"data_id": str, "published_similarity": float})
    columns = ["run", "data_id", "published_similarity"]
    scores = scores.merge(published[columns], how="left", on=columns[:2])
    return scores[["run", "data_id", "item_name", *FIGURES]].sort_values(["run", "data_id"])


def summary_of(scores: pd.DataFrame) -> dict[str, Any]:
    """Means of runs, differences of groups of runs, and how far equal models lie apart."""
    by_run = {name: own.set_index("data_id").sort_index() for name, own in scores.groupby("run")}
    names = list(next(iter(by_run.values())).item_name)
    untuned = [name for name in by_run if name.startswith("base_before_")]
    tuned = [name for name in by_run if name not in {*untuned, "gpt4o"}]
    groups = {
        "untuned": untuned,
        "gpt4o": [name for name in by_run if name == "gpt4o"],
        "adapters": [name for name in tuned if name.startswith(("lora", "qlora"))],
        "full": [name for name in tuned if name.startswith("full")],
    }
    if missing := [group for group, names in groups.items() if not names]:
        raise MuseQuestError(
            f"There is no run of '{missing[0]}' among {', '.join(by_run)}; fetch all of them."
        )
    means = {
        group: pd.concat([by_run[name][FIGURES] for name in names]).groupby(level=0).mean()
        for group, names in groups.items()
    }
    return {
        "runs": {name: _aggregates(table, names) for name, table in by_run.items()},
        "groups": {name: _aggregates(table, names) for name, table in means.items()},
        "differences": _adjusted(
            {"what": f"{one} minus {other}", **_aggregates(ours - theirs, names, paired=True)}
            for one, other, ours, theirs in _pairs(means, by_run)
        ),
        "noise_floor": {
            figure: _spread([by_run[name][figure].mean() for name in untuned]) for figure in FIGURES
        },
        "answers_a_run": len(next(iter(by_run.values()))),
        "exhibits": int(scores.item_name.nunique()),
    }


def _pairs(
    means: dict[str, pd.DataFrame], runs: dict[str, pd.DataFrame]
) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Full against adapters, one approach's two runs, and more GPUs against fewer."""
    yield "full", "adapters", means["full"], means["adapters"]
    for one, other in itertools.combinations(sorted(n for n in runs if n.startswith("qlora")), 2):
        yield one, other, runs[one][FIGURES], runs[other][FIGURES]
    devices = {name: int(found[1]) for name in runs if (found := re.search(r"_x(\d+)$", name))}
    for approaches in (("lora_a", "lora_ddp"), ("full_mp",), ("full_fsdp",)):
        own = sorted((n for n in devices if n.startswith(approaches)), key=devices.__getitem__)
        for few, many in itertools.combinations(own, 2):
            if devices[few] < devices[many]:
                yield many, few, runs[many][FIGURES], runs[few][FIGURES]


def _adjusted(differences: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """With each figure's p-values adjusted for the number of differences, by Holm's method."""
    found = list(differences)
    for figure in FIGURES:
        own = [row[figure] for row in found if "p_value" in row[figure]]
        for numbers, p_value in zip(own, holm([each["p_value"] for each in own]), strict=True):
            numbers["p_adjusted"] = round(p_value, 4)
    return found


def _aggregates(table: pd.DataFrame, item_names: list[str], paired: bool = False) -> dict[str, Any]:
    """Figure -> mean and 95 % interval over exhibits, of scores or of paired differences."""
    found = {}
    for figure in FIGURES:
        values, distance = table[figure].to_numpy(float), figure in DISTANCES
        sample = Clustered.of(values, item_names)
        numbers: dict[str, float | None] = {"mean": sample.mean if sample.exhibits else None}
        interval = None
        if paired and sample.exhibits > 1:
            difference = PairedDifference(values, item_names, rates=not distance)
            interval, numbers["p_value"] = difference.interval(), difference.p_value()
        elif not paired:
            interval = sample.interval(2 if distance else 1)
        numbers["ci_low"], numbers["ci_high"] = interval or (None, None)
        found[figure] = {key: None if v is None else round(v, 4) for key, v in numbers.items()}
    return found


def draw(scores: pd.DataFrame) -> Picture:
    """The published figure, an exhibit a row, and three more of the same answers beside it."""
    drawn = {"base": "base_before", "gpt4o": "gpt4o", "lora": "lora_a6000", "full": "full_a100"}
    rows = pd.concat(
        {
            name: scores[scores.run.str.startswith(begin)].groupby("item_name")[list(PANELS)].mean()
            for name, begin in drawn.items()
        },
        axis=1,
    )
    rows = rows.sort_values(("lora", "published_similarity"))
    places = np.arange(len(rows))
    with picture(11, 11, layout="constrained") as figure:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (figure_name, (title, best)) in zip(panels, PANELS.items(), strict=True):
            for name in drawn:
                look, values = system(name), rows[name, figure_name]
                axes.scatter(
                    values, places, s=22, color=look.colour, marker=look.marker, label=look.label,
                    edgecolor="white", linewidth=0.4, zorder=3, clip_on=False,
                )  # fmt: skip
                axes.axvline(values.mean(), color=look.colour, ls=(0, (4, 3)), lw=1, zorder=2)
            axes.hlines(places, 0, 1, color="#eceef0", lw=0.6, zorder=0)
            axes.set(title=title, xlabel=best, xlim=(0, max(1.0, rows.max().max())))
            axes.spines["left"].set_visible(False)
        panels[0].set_yticks(
            places,
            [textwrap.shorten(name.replace("-", " "), 40, placeholder=" …") for name in rows.index],
        )
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


def _spread(means: list[float]) -> dict[str, float] | None:
    """How far the means of several runs lie apart; None of a figure that fewer than two have."""
    there = [mean for mean in means if not np.isnan(mean)]
    if len(there) < 2:
        return None
    return {
        "standard_deviation": round(float(np.std(there, ddof=1)), 4),
        "largest_difference": round(max(there) - min(there), 4),
    }


def main() -> None:
    """Score, print the means, and keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="a clone of the published repository; without it, what is kept of its answers",
    )
    parser.add_argument("--similarities", type=Path, help="CSV of run, data_id, similarity_score")
    parser.add_argument("--record", action="store_true", help=f"write {ITEMS.name} and a summary")
    chosen = parser.parse_args()
    try:
        if chosen.folder:
            runs, texts = find_runs(chosen.folder)
            similarities = read_similarities(chosen.similarities) if chosen.similarities else None
            # As they are kept, so that the kept ones sum up to the same.
            scores, split = score_runs(runs, texts, similarities).round(4), split_of(texts)
        else:
            scores = pd.read_csv(ITEMS, dtype={"data_id": str})
            split = read_json(SUMMARY)["split"]
        summary = {**summary_of(scores), "split": split}
    except MuseQuestError as error:
        sys.exit(str(error))
    print(
        pd.DataFrame({n: {f: v[f]["mean"] for f in FIGURES} for n, v in summary["runs"].items()}).T
    )
    if chosen.record:
        with write_whole(ITEMS) as path:
            scores.to_csv(path, index=False)
        write_json(SUMMARY, summary)
        draw(scores).save(FIGURE)


if __name__ == "__main__":
    main()

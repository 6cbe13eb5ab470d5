"""What each approach's run left: answers before and after tuning, losses, which parameters learned.

`keep_runs` writes the records. `assets.workshop.run_diagrams` draws them, and each approach's
readme shows two of its answers and what became of the model's parts.
"""

from __future__ import annotations

import datetime
import functools
from pathlib import Path

import pandas as pd

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_csv, write_json
from musequest.core.home import root, run_dir
from musequest.core.settings import approach_names, load_profile
from musequest.evaluation.results import Results, dataset_items, load_results
from musequest.systems.registry import system

from .blocks import BLOCKS, RECORDS, markdown, read_csv, read_record

ANSWERS, CURVES = RECORDS / "pocket_answers.csv", RECORDS / "pocket_curves.csv"
MODELS = RECORDS / "pocket_models.json"
PHOTOS = "assets/pocket_museum/photos"
BASE, DISTANCE = "base", "embedding_distance"
LOSSES = ("step", "train_loss", "eval_loss", "learning_rate")
EACH = 2  # answers that a readme shows
EXCERPT = ("Parameters by part", "Devices")  # sections of model_info.md
NOT_KEPT = "No runs are kept yet; `make six` makes some.\n"


def keep_runs(profile_name: str) -> None:
    """Write what every approach answered, how it learned and what, to where the readmes find it.

    A row a test question with the untuned model's answer and each approach's, and the distance of
    each from the reference; a row a logged step of each training; the first tables of each
    model_info.md. An approach that was not scored raises MuseQuestError.
    """
    results = load_results(load_profile(profile_name))
    names = approach_names()
    if missing := {BASE, *names} - set(results.systems):
        raise MuseQuestError(
            f"{results.folder} has no scores of {', '.join(sorted(missing))}; run `make six` first."
        )
    answers, curves = answer_frame(results, [BASE, *names]), curve_frame(results, names)
    for path, frame in ((ANSWERS, answers), (CURVES, curves)):
        rows = frame.astype(object).where(frame.notna(), "").to_dict("records")
        write_csv(root() / path, frame.columns, rows)
    folders = {name: run_dir(results.profile.name, name) for name in names}
    write_json(root() / MODELS, {name: excerpt(folder) for name, folder in folders.items()})


def answer_frame(results: Results, names: list[str]) -> pd.DataFrame:
    """A row a test question, in the dataset's order; each system's answer and its distance."""
    own = results.answers
    frame = own.items[["data_id", "item_name", "track", "question", "ground_truth"]].copy()
    for name in names:
        scores = results.scores[results.scores.model == name].set_index("data_id")
        frame[name] = own.given[name].answers
        frame[f"{name}_{DISTANCE}"] = scores.loc[frame.data_id, DISTANCE].round(4).to_numpy()
    order = list(dataset_items(results.profile).index)
    return frame.sort_values("data_id", key=lambda names: names.map(order.index))


def curve_frame(results: Results, names: list[str]) -> pd.DataFrame:
    """A row a logged step of each approach's training, with the day of its run and its seed."""
    curves = []
    for name in names:
        run = read_json(run_dir(results.profile.name, name) / "run.json")
        day = datetime.datetime.fromisoformat(run["finished_at"]).date().isoformat()
        told = results.training[name][[*LOSSES]].astype({"learning_rate": float}).round(8)
        told.insert(0, "approach", name)
        curves.append(told.assign(date=day, seed=run["seed"]))
    return pd.concat(curves)


def excerpt(run: Path) -> dict[str, str]:
    """Of model_info.md the parameters of each part, and what each device holds, as tables."""
    from musequest.finetuning.anatomy import MODEL_INFO  # loads torch

    sections = (run / MODEL_INFO).read_text(encoding="utf-8").split("\n## ")[1:]
    told = dict(section.split("\n", 1) for section in sections)
    return {heading: told[heading].strip() + "\n" for heading in EXCERPT}


def model_of(approach: str) -> str:
    """Those tables."""
    record = read_record(MODELS)
    return "\n".join(record[approach].values()) if record else NOT_KEPT


def answers_of(approach: str) -> str:
    """Two test questions with photo, reference, and the answers before and after tuning.

    Chosen by their place in the list before any answer was known: the six readmes share out
    questions that lie equally far apart.
    """
    if not (root() / ANSWERS).exists():
        return NOT_KEPT
    table, names = read_csv(root() / ANSWERS), approach_names()
    first, count = EACH * names.index(approach), EACH * len(names)
    places = [int((first + number + 0.5) * len(table) / count) for number in range(EACH)]
    rows = [_shown(row, approach) for row in table.iloc[places].to_dict("records")]
    runs = read_csv(root() / CURVES)
    date = runs[runs["approach"] == approach]["date"].iloc[0]
    return (
        f"{markdown(pd.DataFrame(rows))}\nOf {date}: 2 of {len(table)} test questions, chosen by "
        f"number. [All of them](../../{ANSWERS}), with every approach's answers, and the "
        f"[losses](../../{CURVES}).\n"
    )


def single_answers() -> str:
    """LoRA's best, middle and worst answer by distance, beside the untuned model's."""
    if not (root() / ANSWERS).exists():
        return NOT_KEPT
    key = f"lora_{DISTANCE}"
    table = read_csv(root() / ANSWERS).sort_values(key, key=pd.to_numeric, kind="stable")
    places = {"best": 0, "middle": len(table) // 2, "worst": len(table) - 1}
    rows = [
        {"LoRA's": f"{name}, {DISTANCE} {float(table[key].iloc[place]):.2f}"}
        | _shown(table.iloc[place].to_dict(), "lora")
        for name, place in places.items()
    ]
    return markdown(pd.DataFrame(rows))


def _shown(row: dict[str, str], approach: str) -> dict[str, str]:
    name, number = row["item_name"], row["data_id"].rpartition("-")[2]
    told = {
        "Question": row["question"],
        "Reference": row["ground_truth"],
        "Before tuning": row[BASE],
        f"After tuning by {system(approach).label}": row[approach],
    }
    said = "<br>".join(f"**{who}:** {text}" for who, text in told.items())
    alt = f"Photo of the exhibit {name.replace('_', ' ')}"
    photo = f'<img src="../../{PHOTOS}/{name}/{number}.jpg" width="120" alt="{alt}">'
    return {"photo": photo, "what is said": " ".join(said.split()).replace("|", "\\|")}


BLOCKS["single_answers"] = single_answers
for _name in approach_names():
    BLOCKS[f"answers_{_name}"] = functools.partial(answers_of, _name)
    BLOCKS[f"model_{_name}"] = functools.partial(model_of, _name)

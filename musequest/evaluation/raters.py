"""A blinded sheet of answers for two people, and what their labels say of the metrics.

    python -m musequest annotate --profile P                    writes results/P/annotation/
    python -m musequest annotate --profile P --read A.csv B.csv

Each row is one answer, in shuffled order and without its system's name. A rater says of it, yes or
no, whether it has an error of each kind in ERRORS: in sheet.html, a page that asks nothing of any
server and saves a CSV file, or in sheet.csv itself. Read back, the labels give Cohen's kappa, and
precision and recall of the metric that should find the same error, on the rows on which both agree,
with their 95 % intervals over exhibits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ..core.errors import MuseQuestError
from ..core.files import SHEET, read_json, write_csv, write_json, write_text
from ..core.keys import nearest_of
from ..core.settings import Profile
from ..creation.dialogs import sha256_of
from ..creation.exhibit_lists import read_whole_csv
from .intervals import Clustered
from .report import PHOTO_EDGE, digest, inlined_jpeg, printable, templates
from .results import Results, load_results

# What is asked of a rater, the metric that should find the same, and its value where it does. An
# answer for which the metric has no value counts for neither its precision nor its recall.
ERRORS: dict[str, tuple[str, str, Callable[[float], bool]]] = {
    "exhibit": (
        "Does it tell of another exhibit, or of none?", "identity_at_1", lambda value: value < 1,
    ),
    "number": (
        "Is a number in it that the texts do not bear out?", "invented_number_rate", bool,
    ),
    "name": ("Is a name in it that the texts do not bear out?", "invented_name_rate", bool),
    "property": (
        "Is its maker, date, place, material, size, culture or donor wrong?", "claims_wrong", bool,
    ),
}  # fmt: skip
LABELS = {"yes": True, "no": False}
TOLD = ("question", "ground_truth", "museum_text", "answer")
COLUMNS = ("rater", "sheet", "row", *ERRORS)
ROWS = 50
JUDGE = "judge.csv"  # labels of a hosted model (judge.py), in the form of a rater's file
Labels = dict[tuple[str, int, str], bool]  # rater, row, error -> whether it is there


def annotate(
    profile: Profile | str, systems: Sequence[str] = (), rows: int = ROWS, seed: int = 0
) -> Path:
    """Write sheet.html, sheet.csv and key.json of so many answers; returns their folder.

    Answers are drawn evenly from the evaluated `systems` (all of them by default). key.json alone
    tells whose they are. MuseQuestError for a system without scores, or where the folder holds a
    sheet of other answers, to which somebody's labels may belong.
    """
    results = load_results(profile)
    if unknown := [name for name in systems if name not in results.systems]:
        raise MuseQuestError(
            f"'{unknown[0]}' has no scores; the nearest that has is "
            f"'{nearest_of(unknown[0], results.systems)}'."
        )
    drawn = _drawn(results, systems or results.systems, rows, seed)
    answers = {name: results.record["systems"][name]["sha256"] for name in results.systems}
    key = {"rows": [list(each) for each in drawn], "answers": answers}
    folder = results.folder / "annotation"
    if (there := folder / "key.json").is_file() and read_json(there) != key:
        raise MuseQuestError(
            f"{there} belongs to a sheet of other answers; move {folder} away, so that the labels "
            "given to it keep their meaning."
        )
    shown = results.photos(PHOTO_EDGE, {data_id for _, data_id in drawn})
    items = _items(results, drawn, {data_id: inlined_jpeg(photo) for data_id, photo in shown})
    sheet = _name_of(key)
    blank = {"rater": "", "sheet": sheet, **dict.fromkeys(ERRORS, "")}
    if not (folder / "sheet.csv").is_file():  # or somebody's labels would be lost
        rows_told = [blank | {"row": item["row"]} | item["told"] for item in items]
        write_csv(folder / "sheet.csv", [*COLUMNS, *TOLD], rows_told, SHEET)
    write_text(folder / "sheet.html", _page(results, sheet, items))
    write_json(there, key)
    return folder


def read_labels(profile: Profile | str, files: Iterable[str | Path]) -> dict[str, Any]:
    """What two raters' files say: error -> kappa, and precision and recall of its metric.

    Also written to annotation/raters.json. The files are only read. MuseQuestError if they are
    of another sheet, by one rater or more than two, contradict themselves, or name an error or a
    row that is not there; and if the answers were scored anew since.
    """
    results = load_results(profile)
    key = _key_of(results)
    folder, rows = results.folder / "annotation", len(key["rows"])
    labels: Labels = {}
    for path in map(Path, files):
        _read(path, _name_of(key), rows, labels)
    raters = sorted({rater for rater, _, _ in labels})
    if len(raters) != 2:
        who = f"by {', '.join(raters)}" if raters else "by nobody"
        raise MuseQuestError(f"The labels are {who}; agreement needs those of two raters.")
    scores = results.scores.set_index(["model", "data_id"])
    names = [str(scores.at[tuple(row), "item_name"]) for row in key["rows"]]
    found = {}
    for error, (_, metric, is_error) in ERRORS.items():
        values = [scores.at[tuple(row), metric] for row in key["rows"]]
        # Whether the metric sees the error in each row; None where it cannot.
        flags = [None if value != value else is_error(value) for value in values]
        found[error] = _agreement(labels, raters, error, flags, names)
    record: dict[str, Any] = {"raters": len(raters), "rows": rows, "errors": found}
    if (folder / JUDGE).is_file():
        record["judge"] = _judged(folder / JUDGE, key, raters, labels, names)
    write_json(folder / "raters.json", record)
    return record


def read_sheet(results: Results) -> tuple[str, list[dict[str, str]]]:
    """The sheet's name, and data_id and texts (TOLD) of each of its rows."""
    key = _key_of(results)
    items = _items(results, key["rows"], photos={})
    rows = zip(items, key["rows"], strict=True)
    return _name_of(key), [item["told"] | {"data_id": data_id} for item, (_, data_id) in rows]


def _key_of(results: Results) -> dict[str, Any]:
    """key.json; MuseQuestError without one, or if the answers were scored anew since."""
    place = results.folder / "annotation/key.json"
    if not place.is_file():
        raise MuseQuestError(
            f"{place} does not exist; write a sheet by `musequest annotate` first."
        )
    key: dict[str, Any] = read_json(place)
    if key["answers"] != {n: file["sha256"] for n, file in results.record["systems"].items()}:
        raise MuseQuestError(
            f"The answers of {results.profile.name} have changed since {place} was written; put "
            "back the runs of then, or write a new sheet."
        )
    return key


def agreement_table(errors: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row an error, as people read it: a dash where there is no value."""

    def told(value: Any) -> Any:
        if value is None:
            return "–"
        if isinstance(value, list):
            return " to ".join(f"{bound:.2f}" for bound in value)
        return f"{value:.2f}" if type(value) is float else value

    rows = {
        error: {name: told(value) for name, value in own.items()} for error, own in errors.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _drawn(results: Results, systems: Sequence[str], rows: int, seed: int) -> list[tuple[str, str]]:
    """(system, data_id) of each row: systems by turns, none twice, then shuffled."""
    rng = np.random.default_rng(seed)
    ids = list(results.answers.items.data_id)
    decks = [[(name, ids[i]) for i in rng.permutation(len(ids))] for name in systems]
    drawn = [each for turn in zip(*decks, strict=True) for each in turn][:rows]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _items(
    results: Results, drawn: Sequence[Sequence[str]], photos: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    answers = results.answers
    places = {data_id: place for place, data_id in enumerate(answers.items.data_id)}
    items = []
    for number, (name, data_id) in enumerate(drawn, start=1):
        row = answers.items.iloc[places[data_id]]
        texts = [row.question, row.ground_truth, answers.sources[row.item_name]]
        texts.append(answers.given[name].answers[places[data_id]])
        told = dict(zip(TOLD, map(printable, texts), strict=True))
        items.append({"row": number, "photo": photos.get(data_id), "told": told})
    return items


def _name_of(key: Mapping[str, Any]) -> str:
    """What tells this sheet from others."""
    return sha256_of(json.dumps(key, sort_keys=True))[:12]


def _page(results: Results, sheet: str, items: list[dict[str, Any]]) -> str:
    environment = templates()
    css = environment.get_template("sheet.css.j2").render()
    script = environment.get_template("sheet.js.j2").render()
    return environment.get_template("sheet.html.j2").render(
        css=Markup(css), css_digest=digest(css), script=Markup(script),
        script_digest=digest(script), collection=results.profile.collection, sheet=sheet,
        items=items, errors={error: asked for error, (asked, _, _) in ERRORS.items()},
    )  # fmt: skip


def _read(path: Path, sheet: str, rows: int, labels: Labels) -> None:
    """Add the labels of one file; a rater without a name is called as the file is."""
    for place, _, cells in read_whole_csv(path, ("row",)):
        where = f"{path}, {place}"
        if unknown := [name for name in cells if name and name not in (*COLUMNS, *TOLD)]:
            raise MuseQuestError(
                f"{path}: '{unknown[0]}' is no property that is rated; the nearest is "
                f"'{nearest_of(unknown[0], ERRORS)}'."
            )
        if cells.get("sheet", sheet) != sheet:
            raise MuseQuestError(
                f"{where}: this label is of another sheet; give files of this one."
            )
        if not cells["row"].isdecimal() or not 1 <= int(cells["row"]) <= rows:
            raise MuseQuestError(f"{where}: row {cells['row']!r} is not of this sheet; mend it.")
        rater = cells.get("rater") or path.stem
        for error in ERRORS:
            if not (label := cells.get(error, "").strip().casefold()):
                continue
            if label not in LABELS:
                raise MuseQuestError(f"{where}: {error} is {label!r}; write yes, no or nothing.")
            entry = (rater, int(cells["row"]), error)
            if labels.setdefault(entry, LABELS[label]) != LABELS[label]:
                raise MuseQuestError(
                    f"{where}: '{rater}' says both yes and no to '{error}' of row {cells['row']}; "
                    "keep one of them."
                )


def _judged(
    path: Path, key: Mapping[str, Any], raters: Sequence[str], labels: Labels, names: Sequence[str]
) -> dict[str, Any]:
    """What the judge says of each system, and its agreement with what both raters say."""
    given: Labels = {}
    _read(path, _name_of(key), len(key["rows"]), given)
    judges = sorted({rater for rater, _, _ in given})
    if len(judges) != 1:
        raise MuseQuestError(f"{path} holds no labels of one judge; run `musequest judge` again.")
    systems = [name for name, _ in key["rows"]]
    errors: dict[str, dict[str, Any]] = {}
    for error in ERRORS:
        own = {row: label for (_, row, which), label in given.items() if which == error}
        agreed = {
            row: labels[rater, row, error]
            for rater, row, which in labels
            if which == error and len({labels.get((each, row, error)) for each in raters}) == 1
        }
        compared = [row for row in own if row in agreed]
        pairs = [(agreed[row], own[row]) for row in compared]
        errors[error] = {
            "compared": len(pairs),
            "kappa": kappa(pairs),
            **_found(pairs, [names[row - 1] for row in compared]),
        }
        for name in dict.fromkeys(systems):
            told = [label for row, label in own.items() if systems[row - 1] == name]
            errors[error][f"rate_{name}"] = round(sum(told) / len(told), 4) if told else None
    return {"model": judges[0], "errors": errors}


def _agreement(
    labels: Labels, raters: Sequence[str], error: str, flags: Sequence[bool | None],
    names: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Cohen's kappa (1960), and how well the metric finds what both raters call an error."""
    one, other = raters
    both = [
        row
        for row in range(1, len(flags) + 1)
        if (one, row, error) in labels and (other, row, error) in labels
    ]
    pairs = [(labels[one, row, error], labels[other, row, error]) for row in both]
    agreed = [
        (there, flag, names[row - 1])
        for row, (there, same) in zip(both, pairs, strict=True)
        if there == same and (flag := flags[row - 1]) is not None
    ]
    return {
        "labelled_by_both": len(pairs),
        "agreed": sum(label == same for label, same in pairs),
        "kappa": kappa(pairs),
        "metric": ERRORS[error][1],
        "errors": sum(there for there, _, _ in agreed),
        **_found([(there, flag) for there, flag, _ in agreed], [name for _, _, name in agreed]),
    }


def _found(pairs: Sequence[tuple[bool, bool]], names: Sequence[str]) -> dict[str, Any]:
    """Precision and recall of (whether an error is there, whether it was found), with intervals.

    `names` are the exhibits of the pairs; of a single one there is no interval.
    """
    shares: dict[str, Any] = {}
    for name, given in (("precision", 1), ("recall", 0)):
        hits = [float(all(pair)) if pair[given] else np.nan for pair in pairs]
        sample = Clustered.of(np.array(hits, float), names)
        interval = sample.interval(1)
        shares[name] = round(sample.mean, 4) if sample.exhibits else None
        shares[f"{name}_interval"] = interval and [round(bound, 4) for bound in interval]
    return shares


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Agreement beyond chance of two raters (Cohen 1960), 1 at best; None if chance explains all.

    Where both always give the same single label, or there is no label, nothing can be said.
    """
    from sklearn.metrics import cohen_kappa_score

    if len({label for pair in pairs for label in pair}) < 2:
        return None
    return round(float(cohen_kappa_score(*zip(*pairs, strict=True))), 4)

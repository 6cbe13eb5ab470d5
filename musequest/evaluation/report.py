"""The report: one page that needs nothing else, with scores, figures and every answer.

The page loads nothing and runs no script but its own; whatever comes from data is escaped. Each
item stands there with its photo, and every answer with its facts marked; then the things from
outside the collection, and which exhibits the answers claim them to be.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..core.files import write_text
from ..core.photos import open_photo
from ..core.settings import Profile
from ..systems.registry import OUTSIDERS, TRACK_LABELS, on_track, system
from ..text.facts import Mark, check_names, check_numbers
from ..text.sentences import is_blank
from ..text.titles import claims, telling_titles
from .differences import in_short, looking, recognising
from .figures import FIGURES, draw_figures
from .metrics import METRICS
from .report_tables import frames_of, score_table, tracks_of
from .results import REPORT, Results, load_results

# Characters that have no place in a page; HTML knows no way to write them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
LONG = 900  # characters of a text that is folded
PHOTO_EDGE, MANY_ITEMS, SMALL_EDGE = 480, 100, 320  # px, items, px


def build_report(profile: Profile | str) -> Path:
    """Write results/<profile>/report.html and figures/ from the scores; returns the page's path."""
    results = load_results(profile)
    environment = templates()
    colours = [system(name, results.answering).colour for name in results.answering]
    css = environment.get_template("report.css.j2").render(colours=colours)
    script = environment.get_template("report.js.j2").render()
    items = [*_items(results), *_outsiders(results)]
    occurring = {item["track"] for item in items}
    page = environment.get_template("report.html.j2").render(
        css=Markup(css),
        css_digest=digest(css),
        script=Markup(script),
        script_digest=digest(script),
        profile=results.profile,
        record=results.record,
        systems=[{"name": n, "label": system(n).label} for n in results.systems],
        metrics=[m for m in METRICS.values() if m.best and results.scores[m.name].notna().any()],
        short=_short(results),
        tables=[score_table(results, track) for track in tracks_of(results)],
        frames=frames_of(results),
        figures=_figures(results),
        tracks=TRACK_LABELS,
        tracks_of_items=[track for track in tracks_of(results) if track in occurring],
        items=items,
        exhibits=sorted({(i["title"], i["item_name"]) for i in items if i["item_name"]}),
    )
    write_text(results.folder / REPORT, page)
    return results.folder / REPORT


def templates() -> Environment:
    """What pages are made of; whatever comes from data is escaped."""
    return Environment(
        loader=PackageLoader("musequest.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def digest(text: str) -> str:
    """How a page's own policy names the one style sheet and the one script it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _short(results: Results) -> list[str]:
    """Whether each docent is right, leaves other things alone, and looks at the photo."""
    own = results.summary[results.main_track]
    sight = looking(results.differences[results.main_track])
    return [
        *(in_short(name, own) for name in results.systems),
        *recognising(results.summary.get(OUTSIDERS, {}), own),
        *sight.values(),
    ]


def _figures(results: Results) -> list[dict[str, Any]]:
    found = []
    for name, path in draw_figures(results).items():
        png, kind = path.read_bytes(), FIGURES[name]
        size = open_photo(png, name="a figure of the report").size
        told = {"name": name, "text": kind.caption, "told": kind.tell(results)}
        found.append(told | _inlined(png, "png", size))
    return found


def _items(results: Results) -> list[dict[str, Any]]:
    """Every scored item with its photo, question, ground truth and answers, for the template."""
    answers = results.answers
    on_items = on_track(results.scores, "all")
    scores = {key: own.set_index("data_id") for key, own in on_items.groupby("model")}
    shown = results.photos(_edge(len(answers.items)), set(answers.items.data_id))
    photos = {data_id: inlined_jpeg(photo) for data_id, photo in shown}
    items = []
    for place, row in enumerate(answers.items.itertuples()):
        source, title = answers.sources[row.item_name], results.titles.get(row.item_name)
        _, truth = _checked(row.ground_truth, row.ground_truth, source)
        stated = [(start, end, "stated") for start, end, _ in truth]
        said = []
        for number, name in enumerate(results.systems):
            text = answers.given[name].answers[place]
            facts, marks = _checked(text, row.ground_truth, source)
            own = _scored(scores[name].loc[row.data_id], row.item_name, results.titles)
            said.append(_answer(name, number, text, marks, **facts, **own))
        item = _item(row, title or row.item_name, photos, said)
        truth_is_long = len(row.ground_truth) > LONG
        items.append(
            item | {"ground_truth": segments(row.ground_truth, stated), "long": truth_is_long}
        )
    return items


def _outsiders(results: Results) -> list[dict[str, Any]]:
    """Every outside thing with its photo, question and answers, for the template.

    It has no ground truth: what counts is whether an answer claims an exhibit. Systems that were
    asked something else about a thing of the same number stand in an item of their own.
    """
    tables = [
        table.assign(model=name, place=results.systems.index(name), track=OUTSIDERS)
        for name, table in results.answers.outsiders.items()
    ]
    if not tables:
        return []
    rows = pd.concat(tables, ignore_index=True)
    rates = results.scores[results.scores.track == OUTSIDERS].set_index(["model", "data_id"])
    titles = telling_titles(results.answers.titles)
    shown = results.outsider_photos(_edge(rows.data_id.nunique()))
    photos = {data_id: inlined_jpeg(photo) for data_id, photo in shown.items()}
    items = []
    for _, own in rows.groupby(["data_id", "question"]):
        said = []
        for row in own.sort_values("place").itertuples():
            scores = _scored(rates.loc[row.model, row.data_id], "", {})
            claimed = [title.text for title in claims(row.answer, titles)] if titles else None
            said.append(_answer(row.model, row.place, row.answer, claimed=claimed, **scores))
        first = next(own.assign(item_name="").itertuples())
        shows = first.ground_truth
        items.append(_item(first, shows or first.data_id, photos, said, shows=shows))
    return items


def _edge(photos: int) -> int:
    """How long a photo's longer side is in a page of so many, in px."""
    return PHOTO_EDGE if photos <= MANY_ITEMS else SMALL_EDGE


def _item(
    row: Any,
    title: str,
    photos: Mapping[str, dict[str, Any]],
    answers: list[dict[str, Any]],
    shows: str | None = None,
) -> dict[str, Any]:
    title, photo = printable(title), photos.get(row.data_id)
    shows = f"Photo of {title}" if shows is None else shows
    return {
        "data_id": row.data_id,
        "item_name": row.item_name,
        "title": title,
        "track": row.track,
        "photo": None if photo is None else {"shows": printable(shows), **photo},
        "question": printable(row.question),
        "ground_truth": [],
        "long": False,
        "answers": answers,
        "values": json.dumps({each["name"]: each["values"] for each in answers}),
    }


def _answer(
    name: str, place: int, text: str, marks: Sequence[Mark] = (), **more: Any
) -> dict[str, Any]:
    """One answer with its facts marked; `claimed` are exhibits, None where no title can be told."""
    told = {"name": name, "label": system(name).label, "place": place, "long": len(text) > LONG}
    lists: dict[str, Any] = {"claimed": None, "invented": [], "missing": []}
    shown = [] if is_blank(text) else segments(text, marks)
    return {**told, "segments": shown, **lists, **more}


def _checked(answer: str, truth: str, source: str) -> tuple[dict[str, list[str]], list[Mark]]:
    """The answer's wrong facts, and where all of its facts stand."""
    checks = check_numbers(answer, truth, source), check_names(answer, truth, source)
    facts = {
        kind: [printable(fact) for check in checks for fact in getattr(check, kind)]
        for kind in ("invented", "missing")
    }
    return facts, [mark for check in checks for mark in check.marks]


def _scored(own: pd.Series, item_name: str, titles: Mapping[str, str]) -> dict[str, Any]:
    """An answer's scores, and for which exhibit it could be taken if not for its own."""
    metrics = [metric for metric in METRICS.values() if not pd.isna(own[metric.name])]
    nearest = own.nearest_exhibit
    mistaken = isinstance(nearest, str) and nearest != item_name
    return {
        "values": {metric.name: float(own[metric.name]) for metric in metrics},
        "shown": [(metric, metric.show(own[metric.name])) for metric in metrics],
        "taken_for": titles.get(nearest, nearest) if mistaken else "",
    }


def segments(text: str, marks: Sequence[Mark]) -> list[tuple[str, str]]:
    """`text` cut at its marks: pieces with the kind of their mark, "" between marks."""
    pieces, done = [], 0
    for start, end, kind in sorted(marks):
        start = max(start, done)
        if start < end:
            pieces += [(text[done:start], ""), (text[start:end], kind)]
            done = end
    pieces.append((text[done:], ""))
    return [(printable(piece), kind) for piece, kind in pieces if piece]


def printable(text: str) -> str:
    """`text` without control characters."""
    return CONTROL.sub("\ufffd", text)


def inlined_jpeg(photo: Image.Image) -> dict[str, Any]:
    """A photo as a page holds it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80, optimize=True)
    return _inlined(buffer.getvalue(), "jpeg", photo.size)


def _inlined(content: bytes, kind: str, size: tuple[int, int]) -> dict[str, Any]:
    """A picture inside a URL, and its width and height in px, by which a page keeps room."""
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"url": url, "width": size[0], "height": size[1]}

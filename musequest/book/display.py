"""What notebook cells show: tables with photos, photo strips, coloured tokens, scores.

Every function takes what the stages return and gives something a notebook draws by itself. Photos
are shown as small JPEGs, so that a notebook with its outputs stays small; all text is escaped.
"""

import base64
import html
import importlib.util
import io
import itertools
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import wrap
from typing import Any

import pandas as pd
from IPython.display import HTML, Image
from PIL import Image as Photo
from PIL import ImageDraw, ImageFont, ImageOps

from ..core.home import collection_dir, root
from ..core.photos import open_photo
from ..core.tables import PHOTOS
from ..creation.exhibits import Exhibit
from ..creation.split import given, shown_photos
from ..evaluation.report_tables import score_frame

THUMBNAIL, TILE = 72, 128
LONGEST_LINE = 20  # of a caption, in characters
ANSWERS = ("answer_1", "answer_2", "answer_3")  # the names that exercises give to answers
WHOLE = ".turn:not([aria-busy])"  # an answer on a docent's page that has ended
LEARNED = "background:#ffe08a;color:#000"


def jpeg(photo: Photo.Image, quality: int = 80) -> bytes:
    """The bytes of a photo as JPEG."""
    buffer = io.BytesIO()
    photo.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def thumbnail(photo: Photo.Image | Path, edge: int = THUMBNAIL) -> str:
    """An <img> tag holding the photo itself, at most `edge` px on its longer side."""
    small = (open_photo(photo) if isinstance(photo, Path) else photo).copy()
    small.thumbnail((edge, edge))
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg(small)).decode()}">'


def table(rows: Sequence[Mapping[str, Any]], ready: Iterable[str] = ("photo",)) -> HTML:
    """A table of rows; columns named in `ready` hold HTML already, all others are escaped."""

    def cell(name: str, value: Any) -> str:
        shown = value if name in ready else html.escape(str(value))
        return f'<td style="text-align:left">{shown}</td>'

    if not rows:
        return HTML("")  # a sentence above says why
    ready = set(ready)
    head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in rows[0])
    body = "".join(
        f"<tr>{''.join(cell(name, value) for name, value in row.items())}</tr>" for row in rows
    )
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def listing(record: Mapping[str, Any], keys: Iterable[str] | None = None) -> HTML:
    """Names and values of a record, one a line; `keys` chooses and orders them."""
    chosen = record if keys is None else {key: record[key] for key in keys}
    return table([{"name": key, "value": readable(value)} for key, value in chosen.items()])


def readable(value: Any) -> str:
    """A value as a reader expects it: five significant digits, JSON for what is nested."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def strip(photos: Sequence[tuple[Photo.Image | Path, str]], columns: int = 8) -> Image:
    """Photos with a caption each, side by side in tiles of 128 px, as one JPEG."""
    captions = ["\n".join(wrap(caption, LONGEST_LINE)) for _, caption in photos]
    height = TILE + 3 + 13 * max(caption.count("\n") + 1 for caption in captions)
    size = min(columns, len(photos)) * TILE, math.ceil(len(photos) / columns) * height
    sheet = Photo.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, ((photo, _), caption) in enumerate(zip(photos, captions, strict=True)):
        left, top = index % columns * TILE, index // columns * height
        tile = open_photo(photo) if isinstance(photo, Path) else photo
        tile = ImageOps.pad(tile.convert("RGB"), (TILE - 4, TILE - 4), color="white")
        sheet.paste(tile, (left + 2, top + 2))
        pen.text((left + 4, top + TILE), caption, fill="black", font=font)
    return Image(data=jpeg(sheet), format="jpeg")


def exhibit_table(collection: str, exhibits: Sequence[Exhibit]) -> HTML:
    """One row an exhibit: its first photo, title, number of photos, beginning of its text."""
    folder = collection_dir(collection)
    rows = [
        {
            "photo": thumbnail(folder / exhibit.photos[0]),
            "title": exhibit.title,
            "photos": len(exhibit.photos),
            "description": " ".join(exhibit.description.split()[:18]) + " …",
        }
        for exhibit in exhibits
    ]
    return table(rows)


def photo_wall(collection: str, exhibits: Sequence[Exhibit]) -> Image:
    """The first photo of every exhibit."""
    folder = collection_dir(collection)
    return strip([(folder / exhibit.photos[0], exhibit.title) for exhibit in exhibits])


def family(collection: str, photos: pd.DataFrame, item_name: str) -> Image:
    """The 15 photos of an exhibit, each copy captioned with the photo it was made from."""
    folder = collection_dir(collection)
    mine = photos[photos.item_name == item_name].sort_values("slot")
    slots = dict(zip(mine.image_name, mine.slot, strict=True))
    tiles = []
    for row in mine.itertuples():
        made_from = f": of {slots[row.source_photo]}" if row.augmented else ""
        tiles.append((folder / row.path, f"{row.slot}{made_from}"))
    return strip(tiles)


def photo_counts(photos: pd.DataFrame) -> pd.DataFrame:
    """Per exhibit, how many of its 15 photos are real and how many are augmented copies."""
    counts = photos.groupby("item_name").augmented.agg(augmented="sum", photos="size")
    counts.insert(0, "real", counts.photos - counts.augmented)
    return counts.sort_values("real")


def text_of(exhibit: Exhibit) -> HTML:
    """An exhibit's text, and its facts one a line."""
    facts = table([{"fact": name, "value": value} for name, value in exhibit.facts.items()])
    heading = f"<h4>{html.escape(exhibit.title)}</h4><p>{html.escape(exhibit.description)}</p>"
    return HTML(heading + (facts.data if exhibit.facts else ""))


def dialog_table(dialogs: pd.DataFrame, item_name: str, each: int = 1) -> HTML:
    """The first pairs of an exhibit at every temperature."""
    mine = dialogs[dialogs.item_name == item_name].sort_values("pair_index")
    first = mine.groupby("temperature", dropna=False).head(each)
    return table(first[["temperature", "question", "answer"]].to_dict("records"))


def dialog_preview(
    collection: str, exhibits: Sequence[Exhibit], dialogs: pd.DataFrame, count: int = 4
) -> HTML:
    """Photo, title, question and answer of one pair each of `count` exhibits far apart."""
    written = [exhibit for exhibit in exhibits if exhibit.item_name in set(dialogs.item_name)]
    rows = []
    for number, exhibit in enumerate(written[:: max(1, len(written) // count)][:count]):
        mine = dialogs[dialogs.item_name == exhibit.item_name].sort_values("pair_index")
        pair = mine.iloc[(5 * number) % len(mine)]  # another temperature each
        rows.append(
            {
                "photo": thumbnail(collection_dir(collection) / exhibit.photos[0], edge=TILE),
                "title": exhibit.title,
                "temperature": pair.temperature,
                "question": pair.question,
                "answer": pair.answer,
            }
        )
    return table(rows)


def temperatures(dialogs: pd.DataFrame) -> pd.DataFrame:
    """Per temperature: pairs, mean words an answer, different words among all words."""
    words = dialogs.answer.str.lower().str.split()
    table = dialogs.assign(words=words, count=words.str.len())
    grouped = table.groupby("temperature", dropna=False)
    return pd.DataFrame(
        {
            "pairs": grouped.size(),
            "words an answer": grouped["count"].mean().round(1),
            "different questions": grouped.question.nunique(),
            "different words": grouped.words.agg(lambda lists: len(set().union(*lists))),
        }
    )


def dataset_row(row: Mapping[str, Any]) -> HTML:
    """One row of the dataset: its photos, and every other column as it is stored."""
    columns = {name: value for name, value in row.items() if name not in PHOTOS}
    photos = "".join(thumbnail(photo, edge=240) for photo in shown_photos(row))
    return HTML(photos + listing(columns).data)


def tokens(coloured: Sequence[tuple[str, bool]]) -> HTML:
    """A sample's tokens; the marked ones are learned, runs of image tokens are counted."""
    pieces: list[str] = []
    for (text, learned), run in itertools.groupby(coloured):
        shown, count = html.escape(text).replace("\n", "⏎<br>"), len(list(run))
        if learned:
            pieces += [f'<mark style="{LEARNED}"><b>{shown}</b></mark>'] * count
        else:
            pieces.append(f"{shown} × {count}" if count > 1 else shown)
    learned_count = sum(learned for _, learned in coloured)
    summary = f"<p>{learned_count} of {len(coloured)} tokens are learned (marked).</p>"
    return HTML(f"<code>{'|'.join(pieces)}</code>{summary}")


def answers(rows: Any, systems: Mapping[str, pd.DataFrame], count: int = 3) -> HTML:
    """Photo, question, ground truth and each system's answer for `count` rows far apart.

    A system that left a question unanswered has a dash there.
    """
    step = max(1, len(rows) // count)
    said = {name: dict(zip(of.data_id, of.answer, strict=True)) for name, of in systems.items()}
    cards = []
    for row in (rows[index] for index in range(0, len(rows), step)[:count]):
        asked = given(row)
        texts = {"question": asked["question"], "ground truth": asked["ground_truth"]}
        texts |= {name: own.get(row["data_id"], "–") for name, own in said.items()}
        lines = (f"<p><b>{html.escape(n)}</b><br>{html.escape(t)}</p>" for n, t in texts.items())
        cards.append({"photo": thumbnail(row["image"], edge=144), "dialog": "".join(lines)})
    return table(cards, ready=("photo", "dialog"))


def shown_otherwise(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], tables: Mapping[str, pd.DataFrame]
) -> HTML:
    """What a system says to the first row of each way of showing: photo, question and answer.

    `rows` and `tables` hold, by way of showing, what was shown and what was answered.
    """
    cards = []
    for way, answered in tables.items():
        row = rows[way][0]
        said = answered.set_index("data_id").loc[row["data_id"]]
        photo = "none" if row["image"] is None else thumbnail(row["image"], edge=96)
        cards.append(
            {"shown": way, "photo": photo, "question": said.question, "answer": said.answer}
        )
    return table(cards)


def check(notebook: str, names: Mapping[str, Any]) -> HTML:
    """Which exercises of a notebook are solved, by `answer_1`, `answer_2`, ... among its `names`.

    The solutions, exercises/<notebook>.py, are run among these names, on the reader's data.
    """
    solution = (root() / "exercises" / f"{notebook}.py").read_text(encoding="utf-8")
    rows = []
    for number, answer in enumerate(itertools.takewhile(names.__contains__, ANSWERS), start=1):
        known: dict[str, Any] = dict(names)
        if names[answer] is None:
            state = "open"
        else:
            exec(solution, known)
            state = "solved" if _equal(names[answer], known[answer]) else "not yet"
        rows.append({"exercise": number, "state": state})
    return table(rows)


def _equal(answer: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(answer, int | float):
        return math.isclose(answer, wanted, rel_tol=1e-3)
    return bool(answer == wanted)


def whole(frame: pd.DataFrame) -> HTML:
    """A frame of which no cell is cut short."""
    with pd.option_context("display.max_colwidth", None):
        return HTML(frame.to_html(escape=True))


def scores(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> HTML:
    """The tables of all tracks of summary.json."""
    tables = {track: whole(score_frame(systems)).data for track, systems in summary.items()}
    return HTML("".join(f"<h4>{html.escape(name)}</h4>{told}" for name, told in tables.items()))


def page(path: Path) -> HTML:
    """A link to a page on disk, from the notebook's own folder."""
    link = Path(os.path.relpath(path)).as_posix()
    size = path.stat().st_size / 1e6
    shown = html.escape(link)
    return HTML(f'<a href="{shown}" target="_blank">{shown}</a> ({size:.1f} MB)')


def data_url(photo: Path) -> str:
    """A photo as OpenAI's chat format takes it, a JPEG in base64."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(open_photo(photo), 90)).decode()


def docent_page(address: str, photo: Path, width: int = 390) -> Image | str:
    """A picture of a served docent's page, `width` px wide, after it was given a photo.

    Chromium is driven as a visitor would (Playwright). Without one, a sentence says so.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or importlib.util.find_spec("playwright") is None:
        return f"Open {address} yourself: no browser (Chromium, Playwright) is here to draw it."
    with ThreadPoolExecutor(1) as thread:  # beside the loop of the notebook
        drawn = thread.submit(_draw_page, browser, address, photo, width).result()
    colours = Photo.open(io.BytesIO(drawn)).convert("RGB").quantize(128)
    colours.save(small := io.BytesIO(), "PNG", optimize=True)
    return Image(small.getvalue(), format="png", width=width, alt="The docent's page")


def _draw_page(browser: str, address: str, photo: Path, width: int) -> bytes:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(reduced_motion="reduce", color_scheme="light")
        page.set_viewport_size({"width": width, "height": 1100})
        page.goto(address)
        page.set_input_files("#file", photo)
        page.wait_for_selector(WHOLE, state="attached", timeout=120_000)
        page.wait_for_timeout(200)  # until it is drawn
        return page.screenshot()

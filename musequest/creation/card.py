"""The dataset card: what a stranger has to know about a dataset, and what the Hub reads from it.

`CARD` is what every card says, with the places that are filled from the data.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pyarrow.parquet as pq
import yaml

from ..files import read_remade, write_text
from ..home import collection_dir
from ..languages import ENGLISH, language_name
from ..tables import read_table
from .exhibits import Exhibit, credit_rows, load_exhibits
from .hosted.ledger import paid_usd_of
from .hosted.requests import FORMS
from .split import SPLITS, fingerprint, split_path

# Licences the Hub knows by these names; anything else is called "other".
KNOWN_LICENSES = {"cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))


def write_card(collection: str) -> None:
    """Write dataset/README.md from what lies on disk: exhibits, dialogs, dataset, ledger, audit.

    An imported dataset, without exhibits of its own, keeps the card it came with.
    """
    folder = collection_dir(collection)
    if (folder / "exhibits.parquet").is_file() and (folder / "dialogs.parquet").is_file():
        write_text(folder / "dataset/README.md", dataset_card(collection))


def dataset_card(collection: str) -> str:
    """Return the card as Markdown with a YAML head."""
    folder = collection_dir(collection)
    rows, names = _rows(collection)
    exhibits = [each for each in load_exhibits(collection) if each.item_name in names]
    dialogs = read_table("dialogs", folder / "dialogs.parquet")
    dialogs = dialogs[dialogs["item_name"].isin(names)]
    head = yaml.safe_dump(_head(collection, exhibits, rows), sort_keys=False, allow_unicode=True)
    return CARD.format(
        head=head,
        collection=collection,
        exhibits=len(exhibits),
        photos=sum(len(exhibit.photos) for exhibit in exhibits),
        splits="\n".join(f"| {split} | {count} |" for split, count in rows.items()),
        sources=_lines(_sources(exhibits)),
        texts=_lines(_counted(_credits(exhibits), "exhibits")),
        rights=_lines(_counted((row["license"] for row in credit_rows(exhibits)), "photos")),
        dialogs=_lines(_dialogs(dialogs, folder)),
        audit=_audit(collection, folder / "audit.json"),
        languages=_languages(exhibits),
    )


def _rows(collection: str) -> tuple[dict[str, int], set[str]]:
    """Rows by split, and the names of the exhibits that have any."""
    rows, names = {}, set()
    for split in SPLITS:
        column = pq.read_table(split_path(collection, split), columns=["item_name"])["item_name"]
        rows[split] = len(column)
        names |= set(column.to_pylist())
    return rows, names


def _head(collection: str, exhibits: list[Exhibit], rows: dict[str, int]) -> dict[str, object]:
    licenses = {row["license"].strip().lower().replace(" ", "-") for row in credit_rows(exhibits)}
    licenses |= {exhibit.license.strip().lower().replace(" ", "-") for exhibit in exhibits}
    only = licenses.pop() if len(licenses) == 1 else "other"
    total = sum(rows.values())
    files = [{"split": split, "path": f"data/{split}-*"} for split in rows]
    return {
        "license": only if only in KNOWN_LICENSES else "other",
        "language": sorted({exhibit.language for exhibit in exhibits}),
        "pretty_name": f"MuseQuest {collection}",
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "tags": ["museum", "docent"],
        "size_categories": [next(name for limit, name in SIZES if total < limit)],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _languages(exhibits: list[Exhibit]) -> str:
    """In which languages the dialogs are, and what was not checked in others than English."""
    codes = sorted({exhibit.language for exhibit in exhibits})
    told = f"The dialogs are in {' and '.join(map(language_name, codes))}."
    if codes == [ENGLISH]:
        return told
    return f"{told} Numbers written in words are known in English alone and were not checked."


def _sources(exhibits: list[Exhibit]) -> list[str]:
    """From which sites texts and photos came, with how many of each."""
    texts = _counted((_site(exhibit.link or exhibit.record) for exhibit in exhibits), "texts")
    photos = _counted((_site(row["source"]) for row in credit_rows(exhibits)), "photos")
    return texts + photos


def _site(address: str) -> str:
    return urlsplit(address).hostname or "a folder of the museum's own"


def _credits(exhibits: list[Exhibit]) -> Iterable[str]:
    for exhibit in exhibits:
        licence = exhibit.license or "no licence given"
        yield f"{exhibit.credit or 'no credit given'} ({licence})"


def _counted(texts: Iterable[str], noun: str) -> list[str]:
    """One line for each text, with how many bear it."""
    counts = Counter(text or "no licence given" for text in texts)
    return [f"{_plain(text)}: {count} {noun}" for text, count in sorted(counts.items())]


def _dialogs(dialogs: pd.DataFrame, folder: Path) -> list[str]:
    """Who wrote the pairs, from which prompts, with how many tokens, for how much."""
    prompts = sorted(set(dialogs["prompt_sha256"]))
    digest = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    prompt, completion = (int(dialogs[f"{kind}_tokens"].sum()) for kind in ("prompt", "completion"))
    lines = [
        *_counted(dialogs["writer"], "pairs"),
        f"{len(prompts)} different prompts, the SHA-256 of each in `provenance.csv`, that of the "
        f"sorted list of them `{digest}`",
        f"{prompt:,} prompt and {completion:,} completion tokens, "
        f"{dialogs['cost_usd'].sum():.4f} USD for these pairs",
    ]
    if paid_usd := paid_usd_of(folder / "ledger.jsonl", FORMS):
        lines.append(f"{paid_usd:.4f} USD for all responses, those that were not accepted included")
    return lines


def _audit(collection: str, path: Path) -> str:
    """What the audit found, if it looked at this very dataset."""
    found = read_remade(path)
    if found.get("fingerprint") != fingerprint(collection):
        return NOT_AUDITED
    tracks = ", ".join(f"{count} of the track `{name}`" for name, count in found["tracks"].items())
    real = Counter(each["real_photos"] for each in found["per_exhibit"])
    photos = ", ".join(f"{count} exhibits with {number}" for number, count in sorted(real.items()))
    return _lines(
        [
            f"test rows: {tracks}",
            "test photos of `unseen_photo` that training learns from: "
            f"{len(found['lineage_leaks'])} by lineage, {len(found['near_duplicates'])} by looks",
            f"photos that look the same in two splits: {len(found['alike_across_splits'])}",
            f"rows that share their answer with another: {found['repeated_answers']}",
            f"real photos: {photos}",
        ]
    )


def _lines(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _plain(text: str) -> str:
    """A museum's text within Markdown, its brackets and line ends taken as letters."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)[1:-1].replace("<", "&lt;")


CARD = """---
{head}---

# {collection}

Photos of {exhibits} exhibits with visitors' questions and a docent's answers, made by MuseQuest.
Each exhibit has 15 rows; {photos} photos are real, the others augmented copies of them.

| split | rows |
|---|---|
{splits}

## Columns

- `image`: the photo; `image_name` and `data_id` name photo and row, `item_name` the exhibit.
- `dialog`: JSON, `{{"messages": [user: image and question, assistant: answer]}}`.
- `source_photo`: the photo a copy was made from (a real photo names itself); `augmented`: whether
  it is one.
- `temperature`: at which the pair was written; the lowest is the most complete in facts, and none
  is given where the model chose its own.
- `track`: on test rows, `unseen_photo`, or `seen_photo` where training has copies of that photo.

## The split

Test holds real photos and lowest-temperature pairs, and so does validation as far as they go;
training holds the rest. A test photo of the track `unseen_photo` is never the parent of a training
photo. Report scores by track.

## Sources and rights

{sources}

Of the texts:

{texts}

Of the photos, each of which stands with its licence, credit line, record and source in
[credits.csv](credits.csv) under its `image_name`:

{rights}

## Dialogs

{languages}

{dialogs}

`provenance.csv` holds for each row who wrote its pair, at which temperature, from which prompt, in
which response, and at what cost.

## Audit

{audit}

## Limits

The answers repeat what the museum's texts say; they are as right as these are. They were not
checked one by one: where a language model wrote them, only their numbers were held against the
texts. A docent that learned them answers about these exhibits alone, and from memory.
"""

NOT_AUDITED = "- not made yet of this state of the dataset"

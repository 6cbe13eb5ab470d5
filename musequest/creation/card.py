"""The dataset card: what a stranger has to know about a dataset, and what the Hub reads from it."""

from __future__ import annotations

import json

import yaml

from .credits import credit_rows
from .exhibits import Exhibit

# Licences the Hub knows by these names; anything else is called "other".
KNOWN_LICENSES = {"cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))


def dataset_card(
    collection: str, exhibits: list[Exhibit], rows: dict[str, int], writers: list[str]
) -> str:
    """Return the card as Markdown with a YAML head; `rows` counts rows by split."""
    head = yaml.safe_dump(_head(collection, exhibits, rows), sort_keys=False, allow_unicode=True)
    photos = sum(len(exhibit.photos) for exhibit in exhibits)
    table = "\n".join(f"| {split} | {count} |" for split, count in rows.items())
    credit = "\n".join(f"- {line}" for line in _credits(exhibits))
    rights = "\n".join(f"- {line}" for line in _photo_licenses(exhibits))
    return f"""---
{head}---

# {collection}

Photos of {len(exhibits)} exhibits with visitors' questions and a docent's answers, made by
MuseQuest. Each exhibit has 15 rows: {photos} photos are real, the others augmented copies of them;
the dialogs were written by: {", ".join(writers)}.

| split | rows |
|---|---|
{table}

## Columns

- `image`: the photo; `image_name` and `data_id` name photo and row, `item_name` the exhibit.
- `dialog`: JSON, `{{"messages": [user: image and question, assistant: answer]}}`.
- `source_photo`: the photo a copy was made from (a real photo names itself); `augmented`: whether
  it is one.
- `temperature`: at which the pair was written; the lowest is the most complete in facts.
- `track`: on test rows, `unseen_photo`, or `seen_photo` where the exhibit has a single photo, of
  which copies are in the other splits.

## The split

Test and validation hold real photos and lowest-temperature pairs; training holds the rest. A test
photo of the track `unseen_photo` is never the parent of a training photo. Report scores by track.

## Credits and limits

Of the texts:

{credit}

Of the photos, each of which stands with its licence, credit line, record and source in
`credits.csv`:

{rights}

The answers repeat what the museum's texts say; they are as right as these are. They were not
checked one by one.
"""


def _head(collection: str, exhibits: list[Exhibit], rows: dict[str, int]) -> dict[str, object]:
    licenses = {exhibit.license.strip().lower().replace(" ", "-") for exhibit in exhibits}
    only = licenses.pop() if len(licenses) == 1 else "other"
    total = sum(rows.values())
    files = [{"split": split, "path": f"data/{split}-*"} for split in rows]
    return {
        "license": only if only in KNOWN_LICENSES else "other",
        "language": ["en"],
        "pretty_name": f"MuseQuest {collection}",
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "tags": ["museum", "docent"],
        "size_categories": [next(name for limit, name in SIZES if total < limit)],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _credits(exhibits: list[Exhibit]) -> list[str]:
    """One line for each credit and licence, with how many exhibits bear it."""
    counts: dict[tuple[str, str], int] = {}
    for exhibit in exhibits:
        key = (exhibit.credit or "no credit given", exhibit.license or "no licence given")
        counts[key] = counts.get(key, 0) + 1
    return [
        f"{_plain(credit)} ({_plain(licence)}): {count} exhibits"
        for (credit, licence), count in sorted(counts.items())
    ]


def _photo_licenses(exhibits: list[Exhibit]) -> list[str]:
    """One line for each licence, with how many real photos bear it."""
    counts: dict[str, int] = {}
    for row in credit_rows(exhibits):
        licence = row["license"] or "no licence given"
        counts[licence] = counts.get(licence, 0) + 1
    return [f"{_plain(licence)}: {count} photos" for licence, count in sorted(counts.items())]


def _plain(text: str) -> str:
    """A museum's text within Markdown, its brackets and line ends taken as letters."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)[1:-1].replace("<", "&lt;")

"""The items that are answered: rows of the evaluation split, their tracks and photos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..creation.dataset import split_path
from ..errors import MuseQuestError
from ..photos import open_photo
from ..settings import Profile
from ..systems.registry import OUTSIDERS, record_beside


def dataset_items(profile: Profile) -> pd.DataFrame:
    """item_name, ground_truth and track of every item by its data_id, read without the photos."""
    from ..finetuning.generation import given

    table = _columns(profile, ["data_id", "item_name", "image_name", "dialog", "track"]).to_pandas()
    truths = [given(row)["ground_truth"] for row in table.to_dict("records")]
    columns = {"item_name": table.item_name, "ground_truth": truths, "track": table.track}
    return pd.DataFrame(columns).fillna({"track": ""}).set_index(table.data_id)


def photos_of(profile: Profile, edge: int) -> dict[str, Image.Image]:
    """data_id -> the item's photo in RGB, its longer side at most `edge` px."""
    path, photos = split_path(profile.collection, profile.evaluation_split), {}
    _columns(profile, ["data_id", "image"])
    for batch in pq.ParquetFile(path).iter_batches(32, columns=["data_id", "image"]):
        for row in batch.to_pylist():
            photos[row["data_id"]] = _small(
                row["image"]["bytes"], edge, f"{path}: {row['data_id']}"
            )
    return photos


def outsider_photos(
    profile: Profile, answered: Iterable[Path], edge: int
) -> dict[str, Image.Image]:
    """data_id -> photo of what the predictions.parquet files `answered` are about, so small.

    Empty where the profile's set is not there, or is not the one that their infer.json tells of.
    """
    from ..systems.conditions import asked_under, outsider_rows, outsiders_folder

    try:
        present = asked_under(OUTSIDERS, profile)
        rows = outsider_rows(outsiders_folder(profile))
    except MuseQuestError:
        return {}
    if any(not present.items() <= record_beside(path, "infer.json").items() for path in answered):
        return {}
    for row in rows:
        row["image"].thumbnail((edge, edge))
    return {row["data_id"]: row["image"] for row in rows}


def _small(photo: bytes | None, edge: int, where: str) -> Image.Image:
    try:
        small = open_photo(photo or b"")
    except MuseQuestError as error:
        reason = str(error).rstrip(".")
        raise MuseQuestError(
            f"{where} has no readable photo ({reason}); run dataset again."
        ) from None
    small.thumbnail((edge, edge))
    return small


def _columns(profile: Profile, names: list[str]) -> pa.Table:
    """Columns of the split, photos only by their schema; MuseQuestError if one is missing."""
    path = split_path(profile.collection, profile.evaluation_split)
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; {_remedy(profile)} first.")
    try:
        there = pq.read_schema(path).names
        for name in names:
            if name not in there:
                raise MuseQuestError(f"{path} lacks the column '{name}'; {_remedy(profile)} again.")
        return pq.read_table(path, columns=[name for name in names if name != "image"])
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise MuseQuestError(
            f"{path} is unreadable ({reason}); {_remedy(profile)} again."
        ) from None


def _remedy(profile: Profile) -> str:
    return f"run `python -m musequest dataset --collection {profile.collection}`"

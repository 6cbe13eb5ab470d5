"""The tracks: parts of the scored answers that are told apart."""

from __future__ import annotations

import pandas as pd

from .systems import OUTSIDERS

ITEM_TRACKS = ("unseen_photo", "seen_photo")  # of the items; an item may belong to neither
TRACK_LABELS = {
    "all": "All items",
    "unseen_photo": "Photos unseen in training",
    "seen_photo": "Photos seen in training",
    OUTSIDERS: "Things that are not in the collection",
}


def on_track(scores: pd.DataFrame, track: str) -> pd.DataFrame:
    """Those rows of scores.parquet; on "all", the answers about any item, and no outsiders."""
    return scores[scores.track != OUTSIDERS] if track == "all" else scores[scores.track == track]

"""The largest training row a run can meet: the longest dialog beside the largest photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from ..creation.dataset import messages
from ..settings import Profile
from .collator import DocentCollator
from .kept_for_backward import RowShape

# Where there is no dataset yet: the longest published answers have about 300 words.
SUPPOSED = messages("What can you tell me about this exhibit?", "and so it went on " * 60)


def largest_row(profile: Profile, rows: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """A dataset row with the longest dialog of `rows` and a square photo of `image_size` px."""
    photo = Image.new("RGB", (profile.image_size, profile.image_size), "white")
    dialog = max(rows["dialog"], key=len) if rows is not None else SUPPOSED
    return {"data_id": "largest", "dialog": dialog, "image": photo}


def shape_of(encoded: Mapping[str, torch.Tensor], patch_size: int) -> RowShape:
    """What an encoded row costs: its tokens, photos (crops included) and patches a photo."""
    photos, _, height, width = encoded["pixel_values"].shape
    patches = (height // patch_size) * (width // patch_size)
    return RowShape(tokens=len(encoded["input_ids"]), photos=photos, patches=patches)


def row_shape(
    profile: Profile, collator: DocentCollator, rows: Any | None, patch_size: int
) -> RowShape:
    """The shape of the largest row under the profile's processor."""
    return shape_of(collator.encode(largest_row(profile, rows)), patch_size)

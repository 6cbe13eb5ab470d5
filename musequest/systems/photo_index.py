"""The index of retrieval: every training photo's features, and its question and answer.

A photo's features are what the base model's frozen vision tower makes of its patches, averaged;
from all of them the training photos' mean is taken away, since what all photos share (a plinth, a
wall) would else drown what tells them apart. Two photos are as near as the cosine of the rest. Two
questions are as near as the frozen sentence encoder says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..files import write_whole
from ..finetuning.generation import given
from ..text import encoder as encoders
from .system import Rows

FEATURES = "mean of the vision tower's patches, centred"
TEXTS = ("data_id", "item_name", "image_name", "question", "ground_truth")


@dataclass(frozen=True)
class PhotoIndex:
    """n training rows, and what they are found by."""

    texts: dict[str, list[str]]  # TEXTS -> n values each; `ground_truth` is the answer
    photo_vectors: np.ndarray  # (n, width) float32, as the tower gave them
    question_vectors: np.ndarray  # (n, 384) float32 unit vectors
    seconds: float  # that building it took
    size_bytes: int  # of its file

    @property
    def item_names(self) -> np.ndarray:
        """(n,) the exhibit of each row."""
        return np.array(self.texts["item_name"], dtype=object)

    def nearest_photos(self, vectors: np.ndarray) -> np.ndarray:
        """(m, width) features of photos -> (m,) the row with the nearest training photo."""
        mean = self.photo_vectors.mean(axis=0)
        return (_unit(vectors - mean) @ _unit(self.photo_vectors - mean).T).argmax(axis=1)

    def nearest_question(self, vector: np.ndarray, item_name: str | None = None) -> int:
        """(384,) a question's vector -> the row, of an exhibit or any, with the nearest one."""
        likeness = self.question_vectors @ vector
        if item_name is not None:
            likeness = np.where(self.item_names == item_name, likeness, -np.inf)
        return int(likeness.argmax())


def open_index(
    path: Path,
    asked: dict[str, Any],
    collection: str,
    model: PreTrainedModel,
    processor: ProcessorMixin,
    batch_size: int,
) -> PhotoIndex:
    """Read the index at `path`, or build it anew unless it was made for the same `asked`."""
    made_for = json.dumps({**asked, "features": FEATURES}, sort_keys=True)
    if (index := _read(path, made_for)) is not None:
        return index
    start = time.monotonic()
    rows = load_split(collection, "train")
    texts = [{name: (row | given(row))[name] for name in TEXTS} for row in rows]
    photos = (row["image"] for row in rows)
    columns: dict[str, Any] = {name: [row[name] for row in texts] for name in TEXTS}
    columns["photo"] = _lists(photo_features(model, processor, photos, batch_size))
    columns["question_vector"] = _lists(encoders.load_encoder().encode(columns["question"]))
    seconds = round(time.monotonic() - start, 3)
    metadata = {"made_for": made_for, "seconds": json.dumps(seconds)}
    with write_whole(path) as temporary:
        table = pa.table(columns, metadata=metadata)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    index = _read(path, made_for)
    if index is None:
        raise MuseQuestError(f"{path} changed while it was written; run one at a time.")
    return index


@torch.inference_mode()
def photo_features(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    photos: Iterable[Image.Image],
    batch_size: int,
) -> np.ndarray:
    """n photos -> (n, width) float32: the mean of what the vision tower makes of their patches.

    Photos of one size go through it together, so that none is padded: a photo's features do not
    depend on the others. Of a photo in several crops all patches count alike.
    """
    features: dict[int, np.ndarray] = {}
    for places, pixels in _by_shape(processor, photos, batch_size):
        output = model.get_image_features(pixels.to(model.device), return_dict=True)
        patches = output.last_hidden_state.float()
        if len(patches) != pixels.shape[0] * pixels.shape[1]:
            raise MuseQuestError(
                "A photo of nothing but mid-grey is taken for padding by the vision tower; leave "
                "that photo out of the collection."
            )
        means = patches.reshape(len(places), -1, patches.shape[-1]).mean(dim=1)
        features |= zip(places, means.cpu().numpy(), strict=True)
    return np.stack([features[place] for place in range(len(features))])


def encode_questions(rows: Rows) -> np.ndarray:
    """(n, 384) unit vectors of the rows' questions."""
    return encoders.load_encoder().encode([given(row)["question"] for row in rows])


def _by_shape(
    processor: ProcessorMixin, photos: Iterable[Image.Image], batch_size: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Batches of pixel values (batch, crops, 3, height, width), with the photos' places."""
    waiting: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for place, photo in enumerate(photos):
        inputs = processor.image_processor([[photo.convert("RGB")]], return_tensors="pt")
        pixels = inputs["pixel_values"][0]
        group = waiting.setdefault(pixels.shape, [])
        group.append((place, pixels))
        if len(group) == batch_size:
            yield _stacked(waiting.pop(pixels.shape))
    for group in waiting.values():
        yield _stacked(group)


def _stacked(group: list[tuple[int, torch.Tensor]]) -> tuple[list[int], torch.Tensor]:
    return [place for place, _ in group], torch.stack([pixels for _, pixels in group])


def _read(path: Path, made_for: str) -> PhotoIndex | None:
    """The index, unless there is none or it was made for something else."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    metadata = {
        key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
    }
    whole = {*TEXTS, "photo", "question_vector"} <= {*table.column_names}
    if not whole or metadata.get("made_for") != made_for:
        return None
    return PhotoIndex(
        texts={name: table[name].to_pylist() for name in TEXTS},
        photo_vectors=_matrix(table["photo"]),
        question_vectors=_matrix(table["question_vector"]),
        seconds=float(metadata["seconds"]),
        size_bytes=path.stat().st_size,
    )


def _lists(vectors: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return np.stack(column.to_numpy())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

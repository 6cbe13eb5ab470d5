"""The index by which photos and questions find the exhibit they are about.

It holds every training photo's features, and its question and answer. A photo's features are what
the base model's frozen vision tower makes of its patches, averaged in four bands from top to
bottom. Retrieval averages the bands too; from all photos the training photos' mean is taken away,
since what all share (a plinth, a wall) would else drown what tells them apart. Two photos are as
near as the cosine of the rest. The gate (`gate`) looks at the bands. Two questions are as near as
the frozen sentence encoder says.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from ..core.errors import MuseQuestError, refusal
from ..core.files import write_whole
from ..core.predictions import Rows
from ..creation.review import Review, text_digest
from ..creation.split import given
from ..finetuning.collator import PHOTO_MASK
from ..text.encoder import load_encoder

BANDS = 4  # of a photo, from top to bottom; a flip, which is no other exhibit, changes none
FEATURES = f"means of the vision tower's patches in {BANDS} bands"
TEXTS = ("data_id", "item_name", "image_name", "question", "ground_truth")
PHOTO, QUESTION = "photo", "question_vector"  # the columns beside them


@dataclass(frozen=True)
class PhotoIndex:
    """n training rows, and what they are found by."""

    texts: dict[str, list[str]]  # TEXTS -> n values each; `ground_truth` is the answer
    photo_vectors: np.ndarray  # (n, bands, width) float32, as the tower gave them
    question_vectors: np.ndarray  # (n, 384) float32 unit vectors
    seconds: float  # that building it took
    size_bytes: int  # of its file
    told: np.ndarray | None = None  # (n,) whether a row may be told; None: all may

    @cached_property
    def item_names(self) -> np.ndarray:
        """(n,) the exhibit of each row."""
        return np.array(self.texts["item_name"], dtype=object)

    @cached_property
    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """(width,) the photos' mean, and (n, width) unit vectors of what each has besides."""
        known = self.photo_vectors.mean(axis=1)
        mean = known.mean(axis=0)
        return mean, _unit(known - mean)

    def nearest_photos(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m, bands, width) features of photos -> (m,) the row with the nearest training photo, and
        (m,) its cosine; of exhibits that have a row which is told."""
        mean, known = self.centred
        cosines = _unit(vectors.mean(axis=1) - mean) @ known.T
        if self.told is not None:
            names = set(self.item_names[self.told])
            cosines = np.where([name in names for name in self.item_names], cosines, -np.inf)
        return cosines.argmax(axis=1), cosines.max(axis=1)

    def nearest_question(self, vector: np.ndarray, item_name: str | None = None) -> int:
        """(384,) a question's vector -> the row, of an exhibit or any, with the nearest one."""
        own = np.ones(len(self.item_names), bool) if self.told is None else self.told
        own = own if item_name is None else own & (self.item_names == item_name)
        return int(np.where(own, self.question_vectors @ vector, -np.inf).argmax())

    def decided(self, review: Review) -> PhotoIndex:
        """The index as curators have decided since: without what is withheld, edits in their words.

        MuseQuestError where nothing is left to tell.
        """
        texts, vectors = {name: [*own] for name, own in self.texts.items()}, self.question_vectors
        told = np.array([name not in review.withheld for name in self.item_names])
        edited = []
        for place, pair in enumerate(zip(texts["question"], texts["ground_truth"], strict=True)):
            digest = text_digest(dict(zip(("question", "answer"), pair, strict=True)))
            if (now := review.changed.get(digest)) is not None:
                texts["question"][place], texts["ground_truth"][place] = now.values()
                edited.append(place)
            told[place] &= digest not in review.changed or now is not None
        if edited:
            vectors = vectors.copy()
            vectors[edited] = load_encoder().encode([texts["question"][each] for each in edited])
        if not told.any():
            raise MuseQuestError(
                "Every exhibit is withheld, so there is nothing to tell; give one free again with "
                "`python -m musequest review`."
            )
        return replace(self, texts=texts, question_vectors=vectors, told=told)


@torch.inference_mode()
def photo_features(
    model: PreTrainedModel, processor: ProcessorMixin, photos: Iterable[Image.Image]
) -> np.ndarray:
    """n photos -> (n, BANDS, width) float32: what the vision tower makes of their patches, averaged
    within bands.

    Of a photo in several crops each has its bands, and these are averaged. One that the tower
    would take for padding raises MuseQuestError.
    """
    return np.stack([_feature(model, processor, photo) for photo in photos])


def _feature(model: PreTrainedModel, processor: ProcessorMixin, photo: Image.Image) -> np.ndarray:
    options = {"return_tensors": "pt", **getattr(processor, "images_kwargs", {})}
    inputs = processor.image_processor([[photo.convert("RGB")]], **options)
    # A single photo is not padded, so no mask is needed.
    known = inspect.signature(model.get_image_features).parameters.keys() - {PHOTO_MASK}
    inputs = {name: held.to(model.device) for name, held in inputs.items() if name in known}
    patches = model.get_image_features(**inputs, return_dict=True).last_hidden_state
    pixels = inputs["pixel_values"]  # (1, crops, 3, height, width), of many models
    if pixels.ndim == 5 and len(patches) != pixels.shape[1]:
        raise MuseQuestError(
            "A photo of nothing but mid-grey is taken for padding by the vision tower; leave "
            "that photo out of the collection."
        )
    crops = patches.float().reshape(-1, *patches.shape[-2:])  # (crops, patches, width)
    bands = torch.nn.functional.adaptive_avg_pool1d(crops.transpose(1, 2), BANDS)
    return bands.mean(dim=0).T.cpu().numpy()


def read_index(path: Path, made_for: str) -> PhotoIndex | None:
    """The index, unless there is none or it was made for something else."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        if refusal(error):  # the machine's fault, not that of the file
            raise
        return None
    metadata = {
        key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
    }
    whole = {*TEXTS, PHOTO, QUESTION} <= {*table.column_names}
    if not whole or metadata.get("made_for") != made_for:
        return None
    return PhotoIndex(
        texts={name: table[name].to_pylist() for name in TEXTS},
        photo_vectors=np.stack(table[PHOTO].to_numpy()).reshape(len(table), BANDS, -1),
        question_vectors=np.stack(table[QUESTION].to_numpy()),
        seconds=float(metadata["seconds"]),
        size_bytes=path.stat().st_size,
    )


def build_index(
    path: Path, made_for: str, rows: Rows, model: PreTrainedModel, processor: ProcessorMixin
) -> PhotoIndex:
    """Make the index of training rows and write it; it says what it was `made_for`."""
    start = time.monotonic()
    texts = [{name: {**row, **given(row)}[name] for name in TEXTS} for row in rows]
    columns: dict[str, Any] = {name: [row[name] for row in texts] for name in TEXTS}
    columns[PHOTO] = _lists(photo_features(model, processor, (row["image"] for row in rows)))
    columns[QUESTION] = _lists(load_encoder().encode(columns["question"]))
    seconds = round(time.monotonic() - start, 3)
    metadata = {"made_for": made_for, "seconds": json.dumps(seconds)}
    with write_whole(path) as temporary:
        table = pa.table(columns, metadata=metadata)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    if (index := read_index(path, made_for)) is None:
        raise MuseQuestError(f"{path} changed while it was written; run one at a time.")
    return index


def _lists(vectors: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors[0].size)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

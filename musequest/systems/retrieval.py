"""Retrieval: what one might build instead of tuning. It looks up a photo and quotes an answer."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import logging as transformers_logging

from ..creation.dataset import fingerprint
from ..finetuning.generation import given
from ..finetuning.models import base_fingerprint, load_model, load_processor
from ..home import run_dir
from ..text import encoder as encoders
from .photo_index import PhotoIndex, encode_questions, open_index, photo_features
from .system import Rows, System


class Retriever(System):
    """Finds the exhibit of a photo by the nearest training photo."""

    def asked(self, split: str) -> dict[str, Any]:
        """What index and answers depend on."""
        return {"system": self.name, "split": split, **self._index_asked()}

    def cost(self) -> dict[str, float]:
        """How large the index is, and how long building it took."""
        return {"index_bytes": self.index.size_bytes, "index_seconds": self.index.seconds}

    @cached_property
    def model(self) -> PreTrainedModel:
        """The base model, untuned."""
        transformers_logging.disable_progress_bar()
        return load_model(self.profile)

    @cached_property
    def processor(self) -> ProcessorMixin:
        """The base model's processor."""
        return load_processor(self.profile)

    @cached_property
    def index(self) -> PhotoIndex:
        """The index, which all systems of this kind share; built if it is not there."""
        path = run_dir(self.profile.name, "retrieval") / "index.parquet"
        return open_index(
            path, self._index_asked(), self.profile.collection, self.model, self.processor,
            self.profile.generation_batch_size,
        )  # fmt: skip

    def prepare(self) -> None:
        """Load all that answering needs, so that no answer's seconds hold it."""
        encoders.load_encoder().encode(self.index.texts["question"][:1])

    def nearest_photo_rows(self, rows: Rows) -> list[int]:
        """For each row, all of which have a photo, the training row with the nearest one."""
        photos, size = (row["image"] for row in rows), self.profile.generation_batch_size
        vectors = photo_features(self.model, self.processor, photos, size)
        return self.index.nearest_photos(vectors).tolist()

    def nearest_rows(self, rows: Rows) -> list[int]:
        """For each row the training row to quote: the exhibit by photo, the answer by question.

        A row without a photo is looked up by its question alone.
        """
        shown = [row for row in rows if row["image"] is not None]
        found = iter(self.nearest_photo_rows(shown) if shown else [])
        names = [
            None if row["image"] is None else self.index.item_names[next(found)] for row in rows
        ]
        questions = encode_questions(rows)
        pairs = zip(questions, names, strict=True)
        return [self.index.nearest_question(question, name) for question, name in pairs]

    def _index_asked(self) -> dict[str, Any]:
        profile = self.profile
        return {
            "profile": profile.name,
            "dataset_fingerprint": fingerprint(profile.collection),
            "base_model_fingerprint": base_fingerprint(profile),
            "image_size": profile.image_size,
            "image_splitting": profile.image_splitting,
            "dtype": profile.dtype,
            "encoder_sha256": encoders.SHA256,
        }


class Retrieval(Retriever):
    """Returns the training answer of the retrieved exhibit whose question is nearest."""

    name = "retrieval"

    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """Answers in batches; `seconds` is a row's share of its batch's time."""
        self.prepare()
        predictions, size = [], self.profile.generation_batch_size
        answers = self.index.texts["ground_truth"]
        tokenizer = self.processor.tokenizer
        for first in range(0, len(rows), size):
            start = time.monotonic()
            batch = [rows[index] for index in range(first, min(first + size, len(rows)))]
            nearest = self.nearest_rows(batch)
            seconds = round((time.monotonic() - start) / len(batch), 4)
            for row, place in zip(batch, nearest, strict=True):
                answer = answers[place]
                tokens = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
                said = {"answer": answer, "new_tokens": tokens, "seconds": seconds, "ended": True}
                source = {"retrieved_item_name": self.index.texts["item_name"][place]}
                predictions.append({**given(row), **said, **source})
        return predictions

"""The base model and the tuned ones, which answer from the photo and their own weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import logging as transformers_logging

from ..finetuning.generation import BASE, asked_of, find_problems, generate
from ..finetuning.models import load_model, load_processor, load_tuned
from ..settings import Profile
from .system import Rows, System


class LocalDocent(System):
    """The model of one approach, or the base model; its name is that of its run."""

    def __init__(self, profile: Profile, name: str = BASE) -> None:
        super().__init__(profile)
        self.name = name

    def asked(self, split: str) -> dict[str, Any]:
        """As `infer` has it, so that neither answers what the other did."""
        return asked_of(self.profile, self.name, split)

    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """Greedy answers, in batches."""
        predictions = generate(
            self.model, self.processor, rows, self.profile, progress=progress, journal=self.journal
        )
        self.problems = find_problems(predictions)
        return predictions

    @cached_property
    def model(self) -> PreTrainedModel:
        """The weights, loaded at the first answer and kept for the next ones."""
        transformers_logging.disable_progress_bar()
        base = self.name == BASE
        return load_model(self.profile) if base else load_tuned(self.profile, self.name)

    @cached_property
    def processor(self) -> ProcessorMixin:
        """The base model's processor."""
        return load_processor(self.profile)

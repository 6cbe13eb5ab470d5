"""Answers of a base or tuned model, which is shown a split's photos and questions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from accelerate.utils.memory import should_reduce_batch_size
from peft import PeftModel
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin, StoppingCriteria
from transformers.utils import logging as transformers_logging

from ..core.errors import MuseQuestError
from ..core.home import run_dir
from ..core.predictions import Journal, OnWords, Rows, System, answers_of
from ..core.settings import Profile, load_approach, load_profile
from ..creation.split import exhibit_rows, fingerprint, given
from ..text.sentences import is_blank
from .activations import empty_model
from .collator import DocentCollator
from .models import base_fingerprint, free_memory, load_model, load_processor, load_tuned
from .processors import closing_token, special_tokens
from .records import finished_record
from .vision import seeing_parameters

BASE = "base"
MOST_ROWS = 64  # answered together where nobody says how many
CACHE_SHARE = 0.5  # of the free memory, for the keys and values of the tokens
HALF_A_SIGN = "\ufffd"  # at the end of a text whose last sign takes another token


def infer(
    profile: str | Path | Profile,
    system: str = "lora",
    split: str | None = None,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Answer the questions of a split with `base` or a finished run's weights.

    Writes runs/<profile>/<system>/predictions.parquet and infer.json; where they are there
    already, from the same weights, data and settings, they are read. `split` is the profile's
    evaluation_split unless given. A run on another dataset raises MuseQuestError; an answer that
    is empty or does not end is written down and reported.
    """
    profile = load_profile(profile)
    docent, split = Docent(profile, system), split or profile.evaluation_split
    return answers_of(
        docent, run_dir(profile.name, system), docent.asked(split),
        lambda: exhibit_rows(profile.collection, split), progress=progress,
    )  # fmt: skip


class ModelSystem(System):
    """A system that needs a model, loaded at the first answer and kept for the next ones."""

    approach: str | None = None  # which tuned the model; None for the base model

    @cached_property
    def model(self) -> PreTrainedModel:
        """The base model, or the tuned one; an adapter in float32 is merged into the weights.

        Beside them it takes two products more for each of theirs. In bfloat16 the sum would be
        rounded to less than was learned, and in 4 bits all the more: there it stays beside them.
        """
        transformers_logging.disable_progress_bar()
        free_memory()  # of the system before
        if self.approach is None:
            return load_model(self.profile)
        model = load_tuned(self.profile, self.approach)
        exact = model.dtype == torch.float32 and not getattr(model, "is_quantized", False)
        return model.merge_and_unload() if isinstance(model, PeftModel) and exact else model

    @cached_property
    def sees_as_base(self) -> bool:
        """Whether its vision model is the base model's: no run tuned it, and it is in no few bits.

        What the run was asked, as run.json says it, tells what was tuned.
        """
        if self.approach is None:
            return True
        approach = load_approach(self.approach)
        record = finished_record(run_dir(self.profile.name, approach.name))
        asked = replace(approach, tuning=record["tuning"], lora=record["lora"])
        profile = replace(self.profile, anatomy=record.get("anatomy") or {})
        if any(p.requires_grad for p in seeing_parameters(empty_model(profile, asked))):
            return False
        return all(p.is_floating_point() for p in seeing_parameters(self.model))

    @cached_property
    def processor(self) -> ProcessorMixin:
        """The base model's processor."""
        return load_processor(self.profile)

    def seen_with(self, dataset: str) -> dict[str, Any]:
        """What decides how the model sees the photos of the dataset of this fingerprint."""
        return {
            "profile": self.profile.name,
            "dataset_fingerprint": dataset,
            "base_model_fingerprint": base_fingerprint(self.profile),
            "image_size": self.profile.image_size,
            "image_splitting": self.profile.image_splitting,
            "dtype": self.profile.dtype,
        }

    def generated_with(self) -> dict[str, int | None]:
        """How answers are generated; as many together as fit where `batch_size` is None."""
        most, size = self.profile.max_new_tokens, self.profile.generation_batch_size
        return {"max_new_tokens": most, "batch_size": size}


class Docent(ModelSystem):
    """The model of one approach, or the base model; its name is that of its run."""

    def __init__(self, profile: Profile, name: str = BASE) -> None:
        super().__init__(profile)
        self.name, self.approach = name, None if name == BASE else name

    def asked(self, split: str) -> dict[str, Any]:
        """Model, data and settings; a tuned model is known by when its run was finished."""
        dataset = fingerprint(self.profile.collection)
        own = {"system": self.name, "run_finished_at": self._finished_at(dataset), "split": split}
        return own | self.seen_with(dataset) | self.generated_with()

    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """Greedy answers, in batches."""
        predictions = generate(
            self.model, self.processor, rows, self.profile, progress=progress,
            journal=self.journal, on_words=self.on_words,
        )  # fmt: skip
        self.problems = find_problems(predictions)
        return predictions

    def _finished_at(self, dataset: str) -> str | None:
        """When the run was finished; MuseQuestError unless it learned from the same dataset."""
        if self.approach is None:
            return None
        folder = run_dir(self.profile.name, load_approach(self.approach).name)
        record = finished_record(folder)
        if record["dataset_fingerprint"] != dataset:
            raise MuseQuestError(
                f"{folder} was trained on another dataset than "
                f"data/{self.profile.collection}/dataset holds now; train again with fresh=True "
                "(--fresh), or build the old one again."
            )
        return record["finished_at"]


def generate(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Rows,
    profile: Profile,
    *,
    progress: bool = True,
    journal: Journal | None = None,
    on_words: OnWords | None = None,
) -> list[dict[str, Any]]:
    """Greedy answers to all rows, in their order, `generation_batch_size` rows together.

    Where the profile leaves that open, it is as many as fit (`rows_together`). Rows for which the
    memory of a GPU is too small are answered in halves. With a `journal` each batch is written
    down, and what stands there is not answered again. `on_words` is called in this thread with the
    place of a row and its answer so far, whenever a step of the model has added to it; what it
    raises ends the batch.

    Returns rows of predictions.parquet with one column more, `ended`: whether the model closed
    its answer within `max_new_tokens`. `seconds` is a row's share of its batch's time.
    """
    collator = DocentCollator(processor, learn=False)
    config = generation_config(processor, profile.max_new_tokens)
    size = profile.generation_batch_size or rows_together(model, collator, rows, config)
    predictions = journal.begin(rows, size) if journal else []
    done, total = len(predictions), len(rows)
    with tqdm(total=total, initial=done, desc="answering", unit="row", disable=not progress) as bar:
        while len(predictions) < total:
            batch = next(batches(rows, size, len(predictions)))
            try:
                answers = _answer(model, collator, batch, config, on_words, len(predictions))
            except RuntimeError as error:
                if len(batch) == 1 or not should_reduce_batch_size(error):
                    raise
                size = len(batch) // 2
                continue
            if journal:
                journal.add(answers)
            predictions += answers
            bar.update(len(batch))
    return predictions


def rows_together(
    model: PreTrainedModel, collator: DocentCollator, rows: Rows, config: GenerationConfig
) -> int:
    """How many of the rows are answered together: all, or so that batches are of about one size.

    The more, the faster, up to MOST_ROWS. Keys and values of prompt and answer, a layer each, have
    to fit into CACHE_SHARE of the memory that is free; prompts may be twice as long as the first.
    """
    if not len(rows):
        return 1
    text, device = model.config.get_text_config(), model.device
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = 2 * collator([rows[0]])["input_ids"].shape[1] + config.max_new_tokens
    numbers = 2 * text.num_hidden_layers * text.num_key_value_heads * head_width * tokens
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    fitting = int(CACHE_SHARE * free) // (numbers * model.dtype.itemsize)
    count = math.ceil(len(rows) / min(max(fitting, 1), MOST_ROWS))
    return math.ceil(len(rows) / count)


def batches(rows: Rows, size: int, first: int = 0) -> Iterator[list[Mapping[str, Any]]]:
    """The rows from the `first` on, up to `size` at a time."""
    for start in range(first, len(rows), size):
        yield [rows[index] for index in range(start, min(start + size, len(rows)))]


def generation_config(processor: ProcessorMixin, max_new_tokens: int) -> GenerationConfig:
    """Greedy, ended as answers are or by the tokenizer's own end, and no other special token.

    They replace what a base model brings itself, so that all systems answer by the same rules.
    """
    tokenizer = processor.tokenizer
    special = special_tokens(processor)
    ends = {special[closing_token(processor)], tokenizer.eos_token_id} - {None}
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        suppress_tokens=sorted(set(special.values()) - ends) or None,
    )


def find_problems(predictions: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for every answer that is empty or does not end."""
    problems = []
    for row in predictions:
        where = f"the answer to {row['data_id']}"
        if is_blank(row["answer"]):
            problems.append(f"{where} is empty; train longer, or look at its photo and question")
        elif not row["ended"]:
            problems.append(
                f"{where} does not end within {row['new_tokens']} tokens; raise max_new_tokens if "
                "it was cut off in a good sentence, else train longer"
            )
    return problems


class Words(StoppingCriteria):
    """Tells what each row of a batch says so far, after every step; it stops none.

    `prompt` is the number of tokens before the answers, `first` the place of the first row.
    """

    def __init__(
        self, collator: DocentCollator, config: GenerationConfig, prompt: int, on_words: OnWords,
        first: int,
    ) -> None:  # fmt: skip
        self.collator, self.config, self.prompt = collator, config, prompt
        self.on_words, self.first = on_words, first
        self.told: dict[int, str] = {}

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any
    ) -> torch.Tensor:
        """(rows, tokens so far) -> (rows,) bool, False each."""
        for place, tokens in enumerate(input_ids[:, self.prompt :].tolist(), self.first):
            text = _text_of(_own(tokens, self.config), self.collator)
            if text and text != self.told.get(place) and not text.endswith(HALF_A_SIGN):
                self.told[place] = text
                self.on_words(place, text)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _own(tokens: list[int], config: GenerationConfig) -> list[int]:
    """A row's tokens up to its end, without those that fill it up to the batch's longest."""
    ends = (place for place, token in enumerate(tokens) if token in config.eos_token_id)
    return tokens[: next(ends, len(tokens)) + 1]


def _text_of(tokens: list[int], collator: DocentCollator) -> str:
    return collator.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()


@torch.inference_mode()
def _answer(
    model: PreTrainedModel,
    collator: DocentCollator,
    rows: list[Mapping[str, Any]],
    config: GenerationConfig,
    on_words: OnWords | None = None,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Answer one batch of rows, of which the first has the place `first`."""
    start = time.monotonic()
    batch = {name: values.to(model.device) for name, values in collator(rows).items()}
    prompt, criteria = batch["input_ids"].shape[1], []
    if on_words:
        criteria.append(Words(collator, config, prompt, on_words, first))
    output = model.generate(**batch, generation_config=config, stopping_criteria=criteria)
    answers = output[:, prompt:].tolist()
    seconds = round((time.monotonic() - start) / len(rows), 4)
    predictions = []
    for row, tokens in zip(rows, answers, strict=True):
        tokens = _own(tokens, config)
        text, ended = _text_of(tokens, collator), tokens[-1] in config.eos_token_id
        said = {"answer": text, "new_tokens": len(tokens), "seconds": seconds, "ended": ended}
        predictions.append(given(row) | said)
    return predictions

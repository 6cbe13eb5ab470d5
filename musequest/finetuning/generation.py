"""Answers: a tuned or base model is shown a split's photos and questions, and is written down."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import logging as transformers_logging

from ..creation.dataset import fingerprint, load_split
from ..creation.split import dialog_of
from ..errors import MuseQuestError
from ..home import run_dir
from ..locks import hold
from ..predictions import Journal, keep_answers, kept_answers
from ..settings import Profile, load_approach, load_profile
from .collator import END, DocentCollator
from .models import base_fingerprint, load_model, load_processor, load_tuned
from .records import finished_record

BASE = "base"


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
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    folder = run_dir(profile.name, system)
    asked = asked_of(profile, system, split or profile.evaluation_split)
    if (kept := kept_answers(folder, asked)) is not None:
        return kept
    transformers_logging.disable_progress_bar()
    with hold(folder):
        start = time.monotonic()
        model = load_model(profile) if system == BASE else load_tuned(profile, system)
        rows = load_split(profile.collection, asked["split"])
        journal, processor = Journal(folder, asked), load_processor(profile)
        predictions = generate(model, processor, rows, profile, progress=progress, journal=journal)
        seconds, problems = time.monotonic() - start, find_problems(predictions)
        return keep_answers(folder, asked, predictions, seconds=seconds, problems=problems)


def generate(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Sequence[Mapping[str, Any]],
    profile: Profile,
    *,
    progress: bool = True,
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """Greedy answers to all rows, in their order, `generation_batch_size` rows together.

    With a `journal` each batch is written down, and what stands there is not answered again.

    Returns rows of predictions.parquet with one column more, `ended`: whether the model closed
    its answer within `max_new_tokens`. `seconds` is a row's share of its batch's time.
    """
    collator = DocentCollator(processor, learn=False)
    config = generation_config(processor, profile.max_new_tokens)
    size, predictions = profile.generation_batch_size, []
    if journal is not None:
        predictions = journal.begin(rows, size)
    done = len(predictions)
    with tqdm(
        total=len(rows), initial=done, desc="answering", unit="row", disable=not progress
    ) as bar:
        for start in range(done, len(rows), size):
            batch = [rows[index] for index in range(start, min(start + size, len(rows)))]
            predictions += _answer(model, collator, batch, config)
            if journal is not None:
                journal.add(predictions[start:])
            bar.update(len(batch))
    return predictions


def generation_config(processor: ProcessorMixin, max_new_tokens: int) -> GenerationConfig:
    """Greedy, ended by <end_of_utterance> or the tokenizer's own end, and no other special token.

    They replace what a base model brings itself, so that all systems answer by the same rules.
    """
    tokenizer = processor.tokenizer
    special = {key for key, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends = {tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id} - {None}
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        suppress_tokens=sorted(special - ends) or None,
    )


def find_problems(predictions: list[dict[str, Any]]) -> list[str]:
    """A sentence for every answer that is empty or does not end."""
    problems = []
    for row in predictions:
        where = f"the answer to {row['data_id']}"
        if not row["answer"]:
            problems.append(f"{where} is empty; train longer, or look at its photo and question")
        elif not row["ended"]:
            problems.append(
                f"{where} does not end within {row['new_tokens']} tokens; raise max_new_tokens if "
                "it was cut off in a good sentence, else train longer"
            )
    return problems


@torch.inference_mode()
def _answer(
    model: PreTrainedModel,
    collator: DocentCollator,
    rows: list[Mapping[str, Any]],
    config: GenerationConfig,
) -> list[dict[str, Any]]:
    """Answer one batch of rows."""
    start = time.monotonic()
    batch = {name: values.to(model.device) for name, values in collator(rows).items()}
    output = model.generate(**batch, generation_config=config)
    answers = output[:, batch["input_ids"].shape[1] :].tolist()
    seconds = (time.monotonic() - start) / len(rows)
    decode = collator.processor.tokenizer.decode
    predictions = []
    for row, tokens in zip(rows, answers, strict=True):
        ends = [place for place, token in enumerate(tokens) if token in config.eos_token_id]
        tokens = tokens[: ends[0] + 1] if ends else tokens
        predictions.append(
            {
                **given(row),
                "answer": decode(tokens, skip_special_tokens=True).strip(),
                "new_tokens": len(tokens),
                "seconds": round(seconds, 4),
                "ended": bool(ends),
            }
        )
    return predictions


def given(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a prediction that come from the dataset."""
    *_, user, assistant = dialog_of(row)
    question, truth = (
        "".join(part["text"] for part in message["content"] if part["type"] == "text")
        for message in (user, assistant)
    )
    names = {name: row[name] for name in ("data_id", "item_name", "image_name")}
    return {**names, "question": question, "ground_truth": truth}


def asked_of(profile: Profile, system: str, split: str) -> dict[str, Any]:
    """What decides the answers; a tuned system is known by when its run was finished."""
    dataset = fingerprint(profile.collection)
    finished_at = None
    if system != BASE:
        folder = run_dir(profile.name, load_approach(system).name)
        record = finished_record(folder)
        finished_at = record["finished_at"]
        if record["dataset_fingerprint"] != dataset:
            raise MuseQuestError(
                f"{folder} was trained on another dataset than data/{profile.collection}/dataset "
                "holds now; train again with fresh=True (--fresh), or build the old one again."
            )
    return {
        "profile": profile.name,
        "system": system,
        "base_model_fingerprint": base_fingerprint(profile),
        "run_finished_at": finished_at,
        "dataset_fingerprint": dataset,
        "split": split,
        "image_size": profile.image_size,
        "image_splitting": profile.image_splitting,
        "dtype": profile.dtype,
        "max_new_tokens": profile.max_new_tokens,
        "batch_size": profile.generation_batch_size,
    }

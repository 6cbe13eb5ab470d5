"""A base model of random weights and dialogs on photos of noise: for speed and memory alone."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PretrainedConfig

from musequest.core.home import root
from musequest.core.settings import Profile
from musequest.core.tables import write_table
from musequest.finetuning.models import default_device, load_processor

POCKET = root() / "assets/pocket_docent"  # whose processor gives the tokens
TEXT_TOKENS = (153, 364)  # of a published sequence, without its image tokens
DIALOGS = 64
WORDS = """a the of and in was made by from stone silver house old red small year long wood bridge
village copper winter market river guild master weaver""".split()  # noqa: SIM905


def make_base_model(shape: Path, folder: Path) -> None:
    """Write a model of that shape with random weights, and a processor that goes with it."""
    config = make_config(shape, folder)
    torch.manual_seed(0)
    with torch.device(default_device()):
        model = AutoModelForImageTextToText.from_config(config, dtype=config.dtype)
    model.save_pretrained(folder)


def make_config(shape: Path, folder: Path) -> PretrainedConfig:
    """Write its configuration alone, fitted to the processor, which is written beside it."""
    processor, config = AutoProcessor.from_pretrained(POCKET), AutoConfig.from_pretrained(shape)
    tokens = processor.tokenizer
    config.image_token_id = tokens.convert_tokens_to_ids("<image>")
    for part in (config, config.text_config):
        part.pad_token_id = tokens.pad_token_id
        part.bos_token_id, part.eos_token_id = tokens.bos_token_id, tokens.eos_token_id
    processor.image_seq_len = config.perceiver_config.resampler_n_latents
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    return config


class Dialogs:
    """Rows of the dataset, made up: photos of noise, answers of the published lengths."""

    def __init__(self, profile: Profile, photo_px: int, longest: int, count: int = DIALOGS) -> None:
        tokens = load_processor(profile).tokenizer
        rng, shape = random.Random(0), (photo_px, photo_px, 3)
        self.rows = []
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(noise).save(buffer, "JPEG")
            words = rng.choices(WORDS, k=longest)
            wanted = longest if number == 0 else rng.randint(min(TEXT_TOKENS[0], longest), longest)
            ids = tokens(" ".join(words), add_special_tokens=False).input_ids[:wanted]
            self.rows.append(_dialog(number, Image.open(buffer), tokens.decode(ids)))

    def full_steps(self, rows: int) -> list[dict[str, Any]]:
        """The dialogs as often as full steps of so many rows take, or at least once."""
        count = max(rows, len(self.rows) // rows * rows)
        return (self.rows * -(-count // len(self.rows)))[:count]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def write_dataset(home: Path, collection: str, dialogs: Dialogs, counts: dict[str, int]) -> None:
    """Write so many of the dialogs as each split of a collection's dataset, one after another."""
    rows = iter(dialogs.rows)
    for split, count in counts.items():
        stored = [_stored(next(rows)) for _ in range(count)]
        file = f"{split}-00000-of-00001.parquet"
        write_table("dataset", home / "data" / collection / "dataset/data" / file, stored)


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    """A row as parquet holds it."""
    name, buffer = f"{row['data_id']}.jpg", io.BytesIO()
    row["image"].save(buffer, "JPEG")
    return row | {
        "image": {"bytes": buffer.getvalue(), "path": name},
        "item_name": row["data_id"],
        "image_name": name,
        "source_photo": name,
        "augmented": False,
        "temperature": 0.4,
        "track": None,
    }


def _dialog(number: int, photo: Image.Image, answer: str) -> dict[str, Any]:
    question = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    dialog = json.dumps({"messages": messages})
    return {"image": photo, "data_id": f"{number:04d}", "dialog": dialog}

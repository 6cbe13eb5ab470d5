"""A docent that is served: retrieval on a small drawn museum, with the pocket docent's eyes.

It has all parts of one that was trained (gate, catalogue, batches) and needs no training.
"""

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import PIECES, draw_photo
from PIL import Image
from served import served

from musequest.__main__ import main
from musequest.serving import DocentPages, Guide
from musequest.settings import load_profile

BELL = "Harbour Bell of Ost"  # a yellow triangle
PUBLIC = "https://docent.example/ask"  # where visitors reach it, as its labels say
SETTINGS = {"collection": "t", "outsiders": "null"}


@contextmanager
def talking(dialogs_home: Path, folder: Path) -> Iterator[str]:
    """The address of a docent; its home, `folder`, is this process's while the block lasts."""
    home = folder / "home"
    shutil.copytree(dialogs_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        assert main(["dataset", "--collection", "t"]) == 0
        profile = load_profile("pocket", SETTINGS)
        pages = DocentPages(profile, "retrieval", PUBLIC, keep_questions=True)
        with served(pages.site(Guide(profile, "retrieval"))) as address:
            yield address


def bell() -> bytes:
    """A photo of an exhibit, as a visitor takes it."""
    _, kind, colour, _ = PIECES[2]
    return as_file(draw_photo(kind, colour, 1))


def stranger() -> bytes:
    """A photo of something else."""
    return as_file(Image.effect_mandelbrot((320, 240), (-2, -1, 1, 1), 60).convert("RGB"))


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

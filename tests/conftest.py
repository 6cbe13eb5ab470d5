"""What every test may ask for: a tiny docent, a small museum, a home of its own."""

import csv
import gc
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw
from tqdm import tqdm

from musequest.core.home import root

if TYPE_CHECKING:
    from fork_server import ForkServer

# What jsonschema reads a grammar of web addresses with, for seconds; no notebook is checked by it.
sys.modules["rfc3987_syntax"] = None

# The lock of progress bars is one of all forks: where a test kills one that draws, the others would
# wait for ever. Here each has its own.
tqdm.set_lock(RLock())
tqdm.monitor_interval = 0

# The same few examples each time, however slow the machine.
settings.register_profile(
    "same", derandomize=True, max_examples=60, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Let no client read the store of certificates, and no worker import what another has.

    To read that store takes longer than most tests. All servers of the tests speak plain HTTP on
    loopback, but for the hosted ones of `-m key`. Workers are forks of this process, unless there
    is a GPU, which would be closed to forks of a process that has looked for it.
    """
    if "not key" in config.option.markexpr:
        os.environ |= {"SSL_CERT_FILE": "", "SSL_CERT_DIR": str(Path(__file__).parent)}
    several = getattr(config.option, "numprocesses", None)
    if several and not import_module("torch").cuda.is_available():
        logging.disable(logging.WARNING)  # of what is optional and not installed
        for helper in Path(__file__).parent.glob("helpers/*.py"):
            import_module(helper.stem)
        logging.disable(logging.NOTSET)
        server = import_module("fork_server").ForkServer().__enter__()
        config.add_cleanup(server.__exit__)
        config.option.tx = [f"popen//python={server.python}"] * len(config.option.tx)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: of ten seconds one waits for a browser, a server or a pipe."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the largest files first, so that no worker ends alone with a long one."""
    items.sort(key=lambda item: -item.path.stat().st_size)


# title, kind drawn, colour, number of photos: every branch of the split rule occurs.
PIECES = [
    ("The Lantern of Brod", "rectangle", (200, 60, 50), 1),
    ("The Sela Bowl", "ellipse", (60, 110, 200), 2),
    ("Harbour Bell of Ost", "triangle", (210, 170, 60), 3),
    ("The Orme Casket", "rectangle", (70, 150, 90), 4),
    ("Dial of the Upper Mill", "ellipse", (150, 80, 170), 6),
]


def draw_photo(kind: str, colour: tuple[int, int, int], view: int) -> Image.Image:
    """One object on a grey ground, 240 x 180 px, seen from viewpoint number `view`."""
    noise = np.random.default_rng(view).integers(170, 200, (180, 240, 3), dtype=np.uint8)
    photo = Image.fromarray(noise)
    left, top = 50 + 9 * view, 30 + 5 * (view % 4)
    box = (left, top, left + 100, top + 110)
    draw = ImageDraw.Draw(photo)
    if kind == "triangle":
        draw.polygon([(left, box[3]), (box[2], box[3]), (left + 50, top)], fill=colour)
    else:
        getattr(draw, kind)(box, fill=colour)
    return photo


def facts_of(index: int) -> dict[str, str]:
    """Invented facts, different in every number from one exhibit to the next."""
    return {
        "maker": ["Ilse Varn", "Tomas Reke", "Ada Holm", "Juri Sand", "Mira Quell"][index],
        "place": ["Brod", "Sela", "Ost", "Orme", "Tarn"][index],
        "date": str(1710 + 31 * index),
        "material": ["copper", "clay", "bronze", "oak", "brass"][index],
        "measures": f"{17 + 6 * index} cm high",
        "significance": "It was carried through the town on the first day of spring.",
    }


def written() -> dict[Path, int]:
    """What lies where the stages write in the checkout: path -> when it was changed, in ns."""
    folders = [root() / name for name in ("data", "runs", "results")]
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: path.stat().st_mtime_ns for path in found if path.exists()}


@pytest.fixture(scope="session", autouse=True)
def checkout_left_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Who asks for no home of its own writes to one of the session, and nobody to the checkout."""
    before = written()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(tmp_path_factory.mktemp("anybodys")))
        yield
    assert written() == before, "a test wrote to data/, runs/ or results/ of the checkout"


@pytest.fixture(scope="module", autouse=True)
def old_objects_left_alone() -> None:
    """What libraries hold is not searched for garbage again, which takes longer than a training."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def forks() -> "Iterator[ForkServer]":
    """Forks of the tests that run as interpreters, where a fresh one would import for seconds."""
    from fork_server import ForkServer

    with ForkServer() as server:
        yield server


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that whoever asks first makes, of all workers of a run; to be copied, not changed.

    As pytest-xdist's documentation has it, they share the folder above their own.
    """
    shared = factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder, whole = shared / name, shared / f"{name}.whole"
    with FileLock(shared / f"{name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one who failed
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def drawn_museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The museum as it is drawn once; to be copied, not changed."""
    return draw_museum(tmp_path_factory.mktemp("drawn") / "museum")


@pytest.fixture
def museum(drawn_museum: Path, tmp_path: Path) -> Path:
    """A folder museum of five exhibits with 1, 2, 3, 4 and 6 photos; nothing in it is real."""
    return shutil.copytree(drawn_museum, tmp_path / "museum")


@pytest.fixture(scope="session")
def dialogs_home(drawn_museum: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a collection `t` of this museum up to its dialogs; to be copied, not changed."""
    from musequest.__main__ import main

    def make(home: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MUSEQUEST_HOME", str(home))
            of_folder = ["folder", str(shutil.copytree(drawn_museum, home / "museum"))]
            for step in (["collect", *of_folder], ["augment", "--processes", "1"], ["synthesize"]):
                assert main([*step, "--collection", "t"]) == 0

    return made_once(tmp_path_factory, "dialogs", make)


@pytest.fixture(scope="session")
def talking_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a docent of the pocket museum is ready to talk; to be copied, not changed."""
    from talking import make_ready

    return made_once(tmp_path_factory, "talking", make_ready)


@pytest.fixture(scope="session")
def reported_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a made-up museum is answered and reported; only to be read."""
    from scored_museum import make_reported

    return made_once(tmp_path_factory, "reported", make_reported)


@pytest.fixture(scope="module")
def encoded_once() -> Iterator[None]:
    """A text that was encoded for a test of this file is not encoded for another."""
    from scored_museum import encode_once

    with pytest.MonkeyPatch.context() as patch:
        encode_once(patch)
        yield


def draw_museum(folder: Path) -> Path:
    """Write the museum's photos and exhibits.csv."""
    rows = []
    for index, (title, kind, colour, count) in enumerate(PIECES):
        name = title.lower().replace(" ", "-")
        photos = [f"photos/{name}/{view:02d}.png" for view in range(count)]
        for view, photo in enumerate(photos):
            (folder / photo).parent.mkdir(parents=True, exist_ok=True)
            draw_photo(kind, colour, view).save(folder / photo)
        facts = facts_of(index)
        description = (
            f"{title} was made of {facts['material']} by {facts['maker']} in {facts['place']} "
            f"in {facts['date']}. It is {facts['measures']}. {facts['significance']} "
            "The workshop kept its drawings, and a later owner gave the piece to the museum. "
            "Whoever walks around it sees that one side was worn by many hands, while the other "
            "still shows the marks of the tools. It was mended with care, and what was lost is "
            "left open, so that the old parts can be told from the new."
        )
        rows.append(
            {
                "item_id": index + 1,
                "item_name": name,
                "title": title,
                "link": "",
                "record": f"test-{index + 1}",
                "description": description,
                "photos": "\n".join(photos),
                "license": "CC0-1.0",
                "credit": "drawn for the tests",
                "facts": json.dumps(facts),
            }
        )
    with (folder / "exhibits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which data/, runs/ and results/ of this test lie."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("MUSEQUEST_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_docent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a randomly initialised Idefics2 of about 0.1 M parameters and its processor."""
    from tiny import save_tiny_docent

    return save_tiny_docent(tmp_path_factory.mktemp("tiny_docent"))

"""Takes the pictures of pages that the readmes show, in a real browser.

    python -m assets.workshop.pictures desk         # the curator's desk, stage 1
    python -m assets.workshop.pictures copies       # an exhibit's photos in 1.2, after `make demo`
    python -m assets.workshop.pictures tensorboard  # the curves of 2.1, after `make demo`
    python -m assets.workshop.pictures docent       # the visitors' page, after `make demo`

The desk reviews a few dialogs of the pocket museum in a folder of its own, one of them spoilt with
a date that is not in the museum's text, so that the picture shows a flag. The docent's page is that
of the finished LoRA run, asked about a test photo. Needs requirements-dev.txt, and all but the
copies need Chromium.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from musequest import display, load_profile
from musequest.core.home import collection_dir, home, root, run_dir
from musequest.core.tables import read_table, write_table
from musequest.creation import collect_folder, synthesize
from musequest.creation.offline_writer import OfflineWriter
from musequest.serving import DocentPages, Guide, in_thread, open_desk

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIGURES = root() / "assets/figures"
DESK, DOCENT, CURVES = (
    FIGURES / f"{name}.png" for name in ("curators_desk", "docent_page", "tensorboard")
)
COPIES = FIGURES / "copies.jpg"
SHOWN = "assets/pocket_museum/photos/heron_vase/00.jpg"
FAMILY = "heron_vase"
CURVE = "line-chart svg, vz-line-chart2 svg, canvas"
TAGS = "loss|learning_rate|grad_norm"
SIZE, CURVES_SIZE = {"width": 1240, "height": 900}, {"width": 1040, "height": 760}  # px
SPOILT = ("pilot_coin", 4, "1487", "1478")  # exhibit, pair, a year of its text and a wrong one


def main() -> None:
    """Write one of the pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    taken = {
        "desk": take_desk,
        "copies": take_copies,
        "tensorboard": take_curves,
        "docent": take_docent,
    }
    parser.add_argument("page", choices=taken)
    picture = taken[parser.parse_args().page]()
    print(f"{picture} is written, {picture.stat().st_size / 1024:.0f} KiB.")


def take_copies() -> Path:
    """All photos of an exhibit, real ones and copies."""
    profile = load_profile("pocket")
    photos = read_table("photos", collection_dir(profile.collection) / "photos.parquet")
    COPIES.write_bytes(display.family(profile.collection, photos, FAMILY).data)
    return COPIES


def take_curves() -> Path:
    """TensorBoard's page of scalars, of the run that `make demo` left."""
    with _tensorboard(run_dir("pocket", "lora") / "tensorboard") as address, _page() as page:
        page.set_viewport_size(CURVES_SIZE)
        page.goto(f"{address}?darkMode=false#scalars&tagFilter={TAGS}&_smoothingWeight=0")
        page.wait_for_selector(CURVE, timeout=60_000)
        page.wait_for_timeout(3_000)  # until all of them are drawn
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(128)
    shot.save(CURVES, optimize=True)
    return CURVES


@contextmanager
def _tensorboard(folder: Path) -> Iterator[str]:
    """The address of TensorBoard on this machine, while it shows the folder."""
    place = str(folder.relative_to(home()))
    asked = [sys.executable, "-m", "tensorboard.main", "--logdir", place, "--port", "0"]
    process = subprocess.Popen(asked, cwd=home(), stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        yield next(
            found[0] for line in process.stderr if (found := re.search(r"http://[\w.:]+", line))
        )
    finally:
        process.terminate()
        process.wait()


def take_docent() -> Path:
    """The visitors' page, as wide as a phone."""
    profile = load_profile("pocket")
    with in_thread(DocentPages(profile, "lora").site(Guide(profile, "lora"))) as address:
        DOCENT.write_bytes(display.docent_page(address, root() / SHOWN).data)
    return DOCENT


def take_desk() -> Path:
    """The desk, with a flag."""
    from playwright.sync_api import expect

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["MUSEQUEST_HOME"] = folder
        _prepare()
        page = stack.enter_context(_page())
        page.goto(stack.enter_context(in_thread(open_desk("pocket"))))
        page.fill("#by-name", "A curator")
        page.keyboard.press("Enter")
        for key in ("a", "a", "w", "a"):
            before = page.url
            page.keyboard.press(key)
            expect(page).not_to_have_url(before)
        page.evaluate(f"location.hash = '{SPOILT[0]}-{SPOILT[1]:02d}'")
        page.reload()
        page.wait_for_selector("#sentences td:last-child:not(.waits)")
        page.screenshot(path=DESK)
    return DESK


@contextmanager
def _page() -> Iterator[Page]:
    """A new page of Chromium, light."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        browser.close()


def _prepare() -> None:
    """The pocket museum up to its dialogs, with one wrong year."""
    collect_folder(root() / "assets/pocket_museum", "pocket", progress=False)
    table = synthesize("pocket", OfflineWriter(), progress=False)
    name, pair, year, wrong = SPOILT
    here = (table["item_name"] == name) & (table["pair_index"] == pair)
    table.loc[here, "answer"] = table.loc[here, "answer"].str.replace(year, wrong)
    write_table("dialogs", _dialogs(), table)
    assert wrong in read_table("dialogs", _dialogs()).loc[here, "answer"].item()


def _dialogs() -> Path:
    return collection_dir("pocket") / "dialogs.parquet"


if __name__ == "__main__":
    main()

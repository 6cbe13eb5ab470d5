"""Takes the pictures of pages that the readmes show, in a real browser.

    python -m assets.workshop.pictures desk      # the curator's desk, stage 1
    python -m assets.workshop.pictures docent    # the visitors' page, after `make demo`

The desk reviews a few dialogs of the pocket museum in a folder of its own, one of them spoilt with
a date that is not in the museum's text, so that the picture shows a flag. The docent's page is that
of the finished LoRA run, asked about a test photo. Needs requirements-dev.txt and Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from musequest import display, load_profile
from musequest.core.home import collection_dir, root
from musequest.core.tables import read_table, write_table
from musequest.creation import collect_folder, synthesize
from musequest.creation.offline_writer import OfflineWriter
from musequest.serving import DocentPages, Guide, in_thread, open_desk

DESK, DOCENT = (root() / f"assets/figures/{name}.png" for name in ("curators_desk", "docent_page"))
SHOWN = "assets/pocket_museum/photos/heron_vase/00.jpg"
SIZE = {"width": 1240, "height": 900}  # px
SPOILT = ("pilot_coin", 4, "1487", "1478")  # exhibit, pair, a year of its text and a wrong one


def main() -> None:
    """Write one of the pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page", choices=["desk", "docent"])
    picture = take_desk() if parser.parse_args().page == "desk" else take_docent()
    print(f"{picture} is written, {picture.stat().st_size / 1024:.0f} KiB.")


def take_docent() -> Path:
    """The visitors' page, as wide as a phone."""
    profile = load_profile("pocket")
    with in_thread(DocentPages(profile, "lora").site(Guide(profile, "lora"))) as address:
        DOCENT.write_bytes(display.docent_page(address, root() / SHOWN).data)
    return DOCENT


def take_desk() -> Path:
    """The desk, with a flag."""
    from playwright.sync_api import expect, sync_playwright

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        playwright = stack.enter_context(sync_playwright())
        os.environ["MUSEQUEST_HOME"] = folder
        _prepare()
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
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
        browser.close()
    return DESK


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

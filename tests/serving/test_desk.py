"""The curator's desk in a browser: by keyboard, in two windows, over changes and a kill."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import CHROMIUM, assert_accessible
from playwright.sync_api import expect, sync_playwright

from musequest.core.tables import read_table, write_table
from musequest.creation.dialogs import synthesize
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.review import Decision, decide, read_review, review_path, withheld
from musequest.serving import open_desk
from musequest.serving.desk import Desk
from musequest.serving.web import in_thread

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
LANTERN, BOWL = "the-lantern-of-brod", "the-sela-bowl"
CLIENT = httpx.Client(trust_env=False, verify=False, headers={"Connection": "close"})


@pytest.fixture(scope="module")
def address(
    dialogs_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The desk of a collection `t`, and its folder."""
    home = tmp_path_factory.mktemp("desk")
    shutil.copytree(dialogs_home / "data", home / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        with in_thread(open_desk("t")) as where:
            yield where, home / "data/t"


@pytest.fixture
def where(address: tuple[str, Path]) -> str:
    """The desk, with nothing reviewed yet."""
    review_path("t").unlink(missing_ok=True)
    return address[0]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Any, where: str) -> Iterator[Any]:
    """Opens windows of one curator; at the end none has asked elsewhere or has failed."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(20_000)
    seen: list[str] = []

    def open_window(name: str = "Ada Holm", at: str = where, path: str = "/") -> Any:
        page = context.new_page()
        page.on("request", lambda request: seen.append(request.url))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.goto(at + path)
        if not page.evaluate("localStorage.getItem('curator')"):
            page.wait_for_selector("#who[open]")
            page.keyboard.type(name)
            page.keyboard.press("Enter")
            expect(page.locator("#name")).to_have_text(f"You: {name}")
        page.wait_for_selector("#sentences td:last-child:not(.waits)")
        return page

    yield open_window
    context.close()
    assert [each for each in seen if not each.startswith("http://127.0.0.1:")] == []


def shows(page: Any, dialog_id: str) -> None:
    """Wait until a dialog is shown."""
    expect(page).to_have_url(re.compile(f"#{re.escape(dialog_id)}$"))


def states() -> dict[str, str]:
    """dialog_id -> what was decided last, in the file."""
    return {
        about[1] or about[0]: own[-1].decision for about, own in read_review("t").history.items()
    }


@needs_browser
def test_a_curator_approves_edits_withholds_and_undoes_by_keyboard(window):
    page = window()
    shows(page, f"{LANTERN}-00")
    page.keyboard.press("a")
    shows(page, f"{LANTERN}-01")
    page.keyboard.press("e")
    answer = "This is a lantern, and whoever carries it sees the whole street of Brod at night."
    page.locator("#answers").fill(answer)
    page.keyboard.press("Control+Enter")
    shows(page, f"{LANTERN}-02")
    page.fill("#note", "says nothing")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    shows(page, f"{LANTERN}-03")
    shown = "3 of 75 reviewed: 1 approved, 1 edited, 1 withheld"
    expect(page.locator("#counts")).to_contain_text(shown)
    expect(page.locator("#said")).to_contain_text("Withheld. Dialog 4:")
    edited = next(own[-1] for own in read_review("t").history.values() if own[-1].answer)
    assert (edited.answer, edited.by, edited.dialog_id) == (answer, "Ada Holm", f"{LANTERN}-01")
    page.keyboard.press("z")
    shows(page, f"{LANTERN}-02")
    page.keyboard.press("z")
    shows(page, f"{LANTERN}-01")
    expect(page.locator("#word")).to_contain_text("Unreviewed")
    expect(page.locator("#sentences")).not_to_contain_text(answer)
    assert states() == {
        f"{LANTERN}-00": "approved", f"{LANTERN}-01": "open", f"{LANTERN}-02": "open",
    }  # fmt: skip
    page.keyboard.press("k")
    shows(page, f"{LANTERN}-00")
    expect(page.locator("#by")).to_contain_text("by Ada Holm")
    page.keyboard.press("n")
    shows(page, f"{LANTERN}-01")


@needs_browser
def test_an_exhibit_is_withheld_after_a_question_and_shown_again(window):
    page = window()
    page.keyboard.press("x")
    page.keyboard.type("on loan")
    page.keyboard.press("Escape")
    page.wait_for_selector("#hold:not([open])", state="attached")
    page.keyboard.press("x")
    page.keyboard.type("asked for by the town")
    page.keyboard.press("Enter")
    page.wait_for_selector("#word[data-state=withheld]")
    assert withheld("t") == {LANTERN}
    assert read_review("t").history[LANTERN, None][-1].note == "asked for by the town"
    key = {"key": "x", "bubbles": True}  # as typed before the closed dialog has lost the focus
    page.locator("#hold-note").dispatch_event("keydown", key)
    expect(page.locator("#hold-title")).to_contain_text("again?")
    page.keyboard.press("Escape")
    page.wait_for_selector("#hold:not([open])", state="attached")
    page.keyboard.press("n")  # nothing of it is left to be reviewed
    shows(page, f"{BOWL}-00")
    page.keyboard.press("z")
    page.wait_for_selector("#exhibits .off", state="detached")
    assert withheld("t") == frozenset()


@needs_browser
def test_the_second_of_two_windows_is_told_and_shown_what_the_first_decided(window):
    first, second = window(), window()
    first.keyboard.press("w")
    shows(first, f"{LANTERN}-01")
    second.keyboard.press("e")
    second.locator("#answers").fill("Mine.")
    second.keyboard.press("Control+Enter")
    told = "Ada Holm has decided (withheld) about this meanwhile"
    expect(second.locator("#trouble")).to_contain_text(told)
    assert states() == {f"{LANTERN}-00": "withheld"}
    expect(second.locator("#answers")).to_have_value("Mine.")  # what was typed is not lost
    second.keyboard.press("Control+Enter")
    shows(second, f"{LANTERN}-01")
    expect(second.locator("#trouble")).to_be_hidden()
    assert states() == {f"{LANTERN}-00": "edited"}


@needs_browser
def test_a_text_written_anew_meanwhile_is_told_and_shown(window, address):
    page, path = window(), address[1] / "dialogs.parquet"
    before = path.read_bytes()
    try:
        synthesize("t", OfflineWriter(), seed=1, progress=False)
        page.keyboard.press("a")
        expect(page.locator("#trouble")).to_contain_text("was written anew meanwhile")
        assert states() == {}
        answer = read_table("dialogs", path)["answer"][0]
        cell = page.locator("#sentences td").first
        expect(cell).to_have_text(re.compile(f"^{re.escape(answer.partition('. ')[0])}"))
        page.keyboard.press("a")
        shows(page, f"{LANTERN}-01")
        assert states() == {f"{LANTERN}-00": "approved"}
    finally:
        path.write_bytes(before)


@needs_browser
def test_dialogs_are_chosen_by_words_state_and_flag_and_keys_can_be_off(window, address):
    path = address[1] / "dialogs.parquet"
    before, table = path.read_bytes(), read_table("dialogs", path)
    try:
        table.loc[20, "answer"] = table.loc[20, "answer"].replace(".", " in 1999.", 1)
        write_table("dialogs", path, table)
        page = window(path=f"/#{BOWL}-02")
        shows(page, f"{BOWL}-02")
        page.fill("#search", "1999")
        shows(page, f"{BOWL}-05")
        page.select_option("#flag", "number")
        expect(page.locator("#flags")).to_contain_text("“1999” is not in the museum's text.")
        expect(page.locator("#sentences mark")).to_have_text("1999")
        expect(page.locator("#shown")).to_have_text("1 of 75 dialogs shown")
        page.uncheck("#keys")
        page.keyboard.press("a")
        page.click("#title")
        page.keyboard.press("a")
        page.keyboard.press("Escape")
        assert states() == {}
        page.click("#approve")
        page.wait_for_selector("#counts:text('1 of 75')")
        page.select_option("#state", "open")
        page.wait_for_selector("#nothing:visible")
        page.select_option("#flag", "")
        page.fill("#search", "SELA bowl")
        page.wait_for_selector("#shown:text('14 of 75')")
        page.reload()
        page.wait_for_selector("#sentences td:last-child:not(.waits)")
        expect(page.locator("#keys")).not_to_be_checked()
        expect(page.locator("#name")).to_have_text("You: Ada Holm")
    finally:
        path.write_bytes(before)


@needs_browser
def test_no_rule_of_accessibility_is_broken(window):
    page = window()
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("w")
    shows(page, f"{LANTERN}-01")
    page.keyboard.press("k")
    page.keyboard.press("t")
    for keys in ([], ["e"], ["Escape", "x"], ["Escape", "?"]):
        for key in keys:
            page.keyboard.press(key)
        assert_accessible(page)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 360, "height": 700})
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@needs_browser
def test_a_killed_desk_is_told_and_nothing_is_half_saved(window, where, address):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "musequest", "review", "--collection", "t", "--port", port]

    def start() -> subprocess.Popen:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().startswith(f"Open http://127.0.0.1:{port}/")
        return process

    def end(process: subprocess.Popen) -> None:
        process.kill()
        process.wait()
        process.stdout.close()

    process = start()
    try:
        page = window(at=f"http://127.0.0.1:{port}")
        page.keyboard.press("a")
        shows(page, f"{LANTERN}-01")
        process.send_signal(signal.SIGSTOP)
        page.keyboard.press("a")
        end(process)
        expect(page.locator("#trouble")).to_contain_text("out of reach, so nothing was saved")
        assert states() == {f"{LANTERN}-00": "approved"}
        process = start()
        page.keyboard.press("a")
        shows(page, f"{LANTERN}-02")
        lines = review_path("t").read_text().splitlines()
        assert [json.loads(line)["dialog_id"][-2:] for line in lines] == ["00", "01"]
    finally:
        end(process)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "That is no decision"),
        ('{"version": "0", "decision": {}}', "That is no decision"),
        ('{"version": 0, "decision": {"item_name": "x", "decision": "withheld", "by": "A", '
         '"at": ""}}', "There is no 'x'"),
        ("[" * 70_000, "larger than 64 KB; shorten it"),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused_in_a_sentence(where: str, body: str, told: str):
    answer = CLIENT.post(f"{where}/decisions", content=body)
    assert answer.status_code in (400, 409, 413)
    assert told in answer.json()["error"]["message"] and not review_path("t").exists()


def test_only_photos_that_were_collected_are_shown(where: str, address):
    path = address[1] / "exhibits.parquet"
    assert CLIENT.get(f"{where}/photos/{BOWL}/1").headers["content-type"] == "image/jpeg"
    for place in (f"{BOWL}/2", "x/0", f"{BOWL}/-1", "%2e%2e/0"):
        assert CLIENT.get(f"{where}/photos/{place}").status_code == 404
    before, table = path.read_bytes(), read_table("exhibits", path)
    try:
        table.at[1, "photos"] = ["/etc/hostname", "originals/../exhibits.parquet"]
        write_table("exhibits", path, table)
        for number in (0, 1):
            assert CLIENT.get(f"{where}/photos/{BOWL}/{number}").status_code == 404
    finally:
        path.write_bytes(before)


def test_an_answer_has_its_sources_beside_it_and_its_history(where: str):
    shown = CLIENT.get(f"{where}/dialogs").json()
    assert len(shown["dialogs"]) == 75 and shown["collection"] == "t"
    one = shown["dialogs"][0]
    word = Decision(one["item_name"], "approved", "Juri", one["dialog_id"], one["text_sha256"])
    decide("t", word, one["version"])
    told = CLIENT.get(f"{where}/dialogs/{one['dialog_id']}").json()
    assert " ".join(each["text"] for each in told["sentences"]) == one["answer"]
    texts = Desk("t").texts.exhibits[one["item_name"]].description
    sources = [each["source"] for each in told["sentences"] if each["source"]]
    assert sources and any(source in texts for source in sources)
    assert [each["by"] for each in told["history"]] == ["Juri"]
    assert CLIENT.get(f"{where}/dialogs/none").status_code == 404

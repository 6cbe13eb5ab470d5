"""The docent's page in a real browser, as visitors with a phone, a laptop or a keyboard meet it."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, assert_accessible
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from talking import MAKER, NAME, PUBLIC, SETTINGS, TITLE, as_file, stranger, talking, vase

from musequest.core.home import collection_dir
from musequest.core.keys import read_yaml
from musequest.core.settings import load_profile
from musequest.core.tables import read_table
from musequest.creation.exhibits import load_exhibits
from musequest.serving import DocentPages, Entry, Guide, in_thread
from musequest.serving.sources import GAP
from musequest.serving.words import FOLDER

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
PHONE = {
    "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True,
    "user_agent": "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile",
}  # fmt: skip
DESK = {"viewport": {"width": 1280, "height": 860}}
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def docent(talking_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = shutil.copytree(talking_home, tmp_path_factory.mktemp("page") / "home")
    with talking(home) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *FAKE_CAMERA]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, docent: str) -> Iterator[Opened]:
    """Opens a page of the docent; at the end nothing may have gone wrong or elsewhere."""
    elsewhere: list[str] = []
    wrong: list[Any] = []
    contexts = []

    def open_page(
        path: str = "/", device: dict[str, Any] = PHONE, at: str = docent, **more: Any
    ) -> Page:
        contexts.append(chromium.new_context(**device, **{"reduced_motion": "reduce"} | more))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(error))
        page.on("console", lambda line: wrong.append(line.text) if refused(line) else None)
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(at + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    here = ("http://127.0.0.1:", "data:", "blob:")
    assert [each for each in elsewhere if not each.startswith(here)] == []
    assert wrong == []


def refused(line: Any) -> bool:
    """Whether the browser complains, of more than an answer that is no 200."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


def give(page: Page, photo: bytes) -> None:
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo})


def answered(page: Page, count: int = 1) -> Any:
    """The newest of so many turns, once it is whole."""
    expect(page.locator(".turn:not([aria-busy]) .text")).to_have_count(count)
    return page.locator(".turn").last


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
def test_from_a_photo_to_an_answer_its_sources_and_a_follow_up(opened: Opened, device):
    page = opened("/", device)
    expect(page.get_by_text("A machine speaks, trained on the museum’s texts.")).to_be_visible()
    expect(page.get_by_label("Your question about this photo")).to_be_hidden()
    give(page, vase())
    turn = answered(page)
    expect(turn.locator(".question")).to_have_text("What is this?")
    expect(turn.locator(".recognised")).to_have_text(TITLE)
    expect(page.locator("[role=status]")).to_contain_text(TITLE)  # a screen reader says it
    evidence = turn.locator(".evidence")
    expect(evidence.locator("li").first).to_be_hidden()
    turn.locator(".mark").first.click()
    expect(evidence.locator(".borne").first).to_be_visible()
    expect(evidence.locator("li").first).to_be_focused()
    expect(evidence.locator(".record")).to_contain_text("CC0-1.0")
    page.get_by_label("Your question about this photo").fill("Who made this?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(answered(page, 2).locator(".text")).to_contain_text(MAKER)
    expect(page.get_by_text("A machine speaks, trained on the museum’s texts.")).to_be_in_viewport()
    suggested = page.locator("#suggested button")
    words = suggested.first.inner_text()
    suggested.first.click()
    expect(answered(page, 3).locator(".question")).to_have_text(words)
    expect(suggested.filter(has_text=words)).to_have_count(0)
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0  # nothing is wider than the screen


def test_a_stranger_is_not_known_and_what_it_resembles_is_offered(opened: Opened):
    page = opened()
    give(page, stranger())
    turn = answered(page)
    expect(turn.locator(".text")).to_contain_text("I do not know this one")
    expect(turn.locator(".recognised")).to_be_hidden()
    expect(turn.locator(".evidence")).to_be_hidden()
    resembled = turn.locator(".resembles a").first
    title = resembled.inner_text()
    resembled.click()
    expect(page.locator("h1")).to_have_text(title)


def test_the_camera_of_a_kiosk_takes_the_photo(opened: Opened):
    page = opened("/", DESK)
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("video")).to_be_visible()
    expect(page.locator("video")).to_have_js_property("readyState", 4)
    page.get_by_role("button", name="Take this photo").click()
    answered(page)
    expect(page.locator("video")).to_be_hidden()
    expect(page.locator("video")).to_have_js_property("srcObject", None)
    expect(page.locator("#photo img")).not_to_have_js_property("naturalWidth", 0)


def test_a_phone_offers_its_own_camera(opened: Opened):
    page = opened()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").click()
    assert chooser.value.element.evaluate("e => e.getAttribute('capture')") == "environment"
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": vase()})
    expect(answered(page).locator(".recognised")).to_have_text(TITLE)


def test_a_photo_is_made_smaller_and_loses_where_it_was_taken(opened: Opened):
    large = Image.open(io.BytesIO(vase())).resize((3000, 2250))
    exif = Image.Exif()
    exif[0x010F] = "A phone of mine"
    page = opened()
    with page.expect_request("**/v1/chat/completions") as asked:
        give(page, as_file(large, exif=exif.tobytes()))
    answered(page)
    url = json.loads(asked.value.post_data or "")["messages"][0]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.size == (1536, 1152) and not sent.getexif()


def test_by_keyboard_alone(opened: Opened):
    page = opened(f"/exhibits/{NAME}", DESK)
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        label = "e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent"
        seen.append(page.locator(":focus").evaluate(label).strip())
        if seen[-1] == "Your question about this photo":
            break
    assert seen[0] == "Skip to the content"
    assert {"Take a photo", "Choose a photo", "Your question about this photo"} <= set(seen)
    page.keyboard.type("Who made this?")
    page.keyboard.press("Enter")
    turn = answered(page)
    expect(turn.locator(".text")).to_contain_text(MAKER)
    expect(page.locator("#question")).to_be_focused()
    for _ in range(20):  # back up to the last mark
        page.keyboard.press("Shift+Tab")
        if "mark" in (page.locator(":focus").get_attribute("class") or ""):
            break
    page.keyboard.press("Enter")
    expect(turn.locator(".evidence li").last).to_be_focused()


def test_what_went_wrong_is_said_and_the_question_is_not_lost(opened: Opened, docent: str):
    page = opened()
    give(page, b"no photo at all")
    expect(page.get_by_role("alert")).to_contain_text("I cannot read this photo")
    page.route("**/v1/**", lambda route: route.abort())
    give(page, vase())
    expect(page.get_by_role("alert")).to_contain_text("The docent cannot be reached")
    expect(page.locator("#question")).to_have_value("What is this?")
    page.unroute("**/v1/**")
    page.get_by_role("button", name="Ask", exact=True).click()
    answered(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.route("**/v1/**", lambda route: route.abort())
    page.get_by_label("Your question about this photo").fill("How high is it?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The docent cannot be reached")
    expect(page.locator("#question")).to_have_value("How high is it?")
    page.unroute("**/v1/**")
    page.keyboard.press("Enter")
    answered(page, 2)


def test_a_hostile_question_stays_words(opened: Opened):
    page = opened(f"/exhibits/{NAME}")
    page.locator("#question").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("ask in plain words")
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_read_aloud_by_the_browser(opened: Opened):
    page = opened(f"/exhibits/{NAME}")
    page.evaluate("""() => {
        window.heard = [];
        speechSynthesis.speak = (words) => window.heard.push([words.text, words.lang]);
    }""")
    page.locator("#suggested button").first.click()
    turn = answered(page)
    speak = turn.get_by_role("button", name="Read aloud")
    speak.click()
    expect(turn.get_by_role("button", name="Stop")).to_have_attribute("aria-pressed", "true")
    ((text, language),) = page.evaluate("window.heard")
    expect(page.locator("[role=status]")).to_have_text(text)
    assert language == "en"


def test_a_label_leads_to_the_page_of_its_exhibit(opened: Opened, docent: str):
    page = opened(f"/exhibits/{NAME}/label", DESK)
    expect(page.locator("h1")).to_have_text(TITLE)
    code = page.get_by_role("img", name=f"QR code of {PUBLIC}/exhibits/{NAME}")
    box = code.bounding_box()
    assert box and box["width"] > 150 and box["height"] == pytest.approx(box["width"], abs=2)
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Print this label")).to_be_hidden()
    expect(code).to_be_visible()


@pytest.mark.parametrize("device", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_no_violation(opened: Opened, device):
    for path in ("/", "/exhibits", f"/exhibits/{NAME}/label", f"/exhibits/{NAME}"):
        page = opened(path, device)
        if path.endswith(NAME):
            page.locator("#suggested button").first.click()
            answered(page).locator(".mark").first.click()
        assert_accessible(page)


SHOWN = """() => {
    const texts = [document.title], words = document.createTreeWalker(document.body, 4);
    for (let word; (word = words.nextNode()); ) {
        if (!word.parentElement.closest("noscript")) texts.push(word.data);
    }
    for (const name of ["aria-label", "alt", "placeholder"]) {
        const named = document.querySelectorAll(`[${name}]`);
        texts.push(...[...named].map((element) => element.getAttribute(name)));
    }
    return texts.map((text) => text.trim()).filter((text) => /\\p{L}/u.test(text));
}"""


def test_in_a_german_museum_all_but_the_museums_own_texts_is_german(opened: Opened):
    profile = load_profile("pocket", SETTINGS | {"language": "de"})
    dialogs = read_table("dialogs", collection_dir("t") / "dialogs.parquet")
    museum = [
        text for each in load_exhibits("t") for text in (*Entry(each).statements, each.credit)
    ]
    known = "\n".join([*museum, *dialogs.question, *dialogs.answer])
    said = [each for words in read_yaml(FOLDER / "de.yaml").values() for each in words.values()]
    forms = "|".join(re.escape(each).replace(r"\{\}", ".+") for each in said)
    german = re.compile(rf"(?:(?:{forms})\s*)+|https?://\S+")

    def check(page: Page) -> None:
        expect(page.locator("html")).to_have_attribute("lang", "de")
        shown = [part for each in page.evaluate(SHOWN) for part in each.split(GAP)]
        foreign = [each for each in shown if each not in known]
        assert [each for each in foreign if not german.fullmatch(each)] == []

    pages = DocentPages(profile, "retrieval")
    with in_thread(pages.site(Guide(profile, "retrieval"))) as address:
        page = opened(at=address)
        check(page)
        for photo in (stranger(), vase()):
            give(page, photo)
            turn = answered(page)
            check(page)
        turn.locator(".mark").first.click()
        turn.get_by_role("button", name="Vorlesen").click()
        check(page)
        give(page, b"no photo at all")
        expect(page.get_by_role("alert")).to_contain_text("Dieses Foto kann ich nicht lesen")
        check(page)
        assert_accessible(page)
        for path in ("/exhibits", f"/exhibits/{NAME}", f"/exhibits/{NAME}/label", "/nowhere"):
            check(opened(path, at=address))
        page = opened("/", DESK, at=address)
        page.get_by_role("button", name="Foto aufnehmen").click()
        expect(page.get_by_role("button", name="Dieses Foto nehmen")).to_be_visible()
        check(page)


def test_every_exhibit_has_a_page(opened: Opened):
    page = opened("/exhibits")
    titles = [each.title for each in load_exhibits("t")]
    expect(page.locator(".exhibits a:first-child")).to_have_text(titles)

"""The report: complete, self-contained, escaped, usable in a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scored_museum import answered_museum

from musequest.errors import MuseQuestError
from musequest.evaluation.report import build_report
from musequest.evaluation.report_items import segments
from musequest.evaluation.results import load_results
from musequest.evaluation.scoring import evaluate
from musequest.settings import Profile
from musequest.tables import read_table, write_table

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Counts the tags of a page, and keeps what they refer to and the text of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.marks: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.references += [given[name] for name in ("src", "href", "srcset") if given.get(name)]
        self.marks += [given["class"]] if tag == "mark" else []
        self.ids.add(given.get("id") or "")


def answer_with(home: Path, answer: str, column: str = "answer") -> None:
    """Let LoRA answer the first item so (or every system be asked so)."""
    for system in ("lora",) if column == "answer" else ("base", "lora"):
        path = home / "runs/made_up" / system / "predictions.parquet"
        table = read_table("predictions", path)
        table.loc[0, column] = answer
        write_table("predictions", path, table)


def reported(profile: Profile) -> str:
    evaluate(profile)
    return build_report(profile).read_text(encoding="utf-8")


@pytest.fixture
def profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A made-up museum of eight answered items, whose figures are not drawn."""
    monkeypatch.setattr("musequest.evaluation.figures.draw_figures", lambda results: {})
    return answered_museum(home)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of such a museum, figures and all."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        profile = answered_museum(home)
        evaluate(profile)
        return build_report(profile)


def test_the_report_is_one_page_with_every_item(whole):
    page = Page(whole.read_text("utf-8"))
    assert page.tags.count("article") == 8
    assert page.tags.count("img") == 8 + 5
    assert page.tags.count("table") == 3 + 2  # tracks; differences and costs
    for reference in page.references:
        assert re.match(r"data:image/(png|jpeg);base64,|#", reference)
        if reference.startswith("#"):
            assert reference[1:] in page.ids


def test_photos_are_small(whole):
    photos = re.findall(r"data:image/jpeg;base64,([^\"]+)", whole.read_text("utf-8"))
    assert max(len(photo) for photo in photos) < 100_000


def test_numbers_are_marked_and_missing_ones_listed(home, profile):
    answer_with(home, "Made in 1400 and 99 km long. Catalogue number 7000.")
    text = reported(profile)
    article = text.split("<article")[1]
    assert '<mark class="recalled" title="recalled">1400</mark>' in article
    assert '<mark class="invented" title="invented">99 km</mark>' in article
    assert '<mark class="known" title="known">7000</mark>' in article
    assert "Invented: 99 km · Catalogue" not in article  # It begins a sentence.
    assert "Invented: 99 km" in article
    assert "Missing: " in article and "11 cm" in article


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}\x00 \'"'


@pytest.mark.parametrize("column", ["answer", "question", "ground_truth"])
def test_whatever_comes_from_data_is_escaped(column, home, profile):
    clean = Page(reported(profile)).tags
    answer_with(home, HOSTILE, column)
    text = reported(profile)
    tags = Page(text).tags
    for tag in ("script", "img", "style", "article"):
        assert tags.count(tag) == clean.count(tag)
    assert "alert(1)" in text or "alert(<mark" in text
    assert "{{ " in text
    assert "\x00" not in text


def test_the_page_allows_its_own_script_only(whole):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', whole.read_text("utf-8"))[1]
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[^']+'", policy)


def test_an_empty_answer_is_shown_as_such(home, profile):
    answer_with(home, "")
    text = reported(profile)
    assert "an empty answer" in text
    assert "lora gives 1 empty answers" in text


def test_the_same_scores_give_the_same_page(profile):
    assert reported(profile) == reported(profile)


def test_the_summary_comes_first_and_says_what_matters(whole):
    text = whole.read_text("utf-8")
    short = text.split('id="scores"')[0]
    assert "LoRA fits the right exhibit best in 86% (" in short
    assert "Base (untuned) fits" in short and "states no numbers of its own" in short
    assert "LoRA vs Base (untuned)" in text
    assert "Control: wrong numbers" in text


def test_names_are_marked_and_an_answer_about_another_exhibit_says_so(home, profile):
    other = load_answer(home, place=3)
    answer_with(home, other)
    article = reported(profile).split("<article")[1]
    assert "Fits better: The " in article
    assert '<mark class="invented"' in article


def load_answer(home: Path, place: int) -> str:
    return read_table("predictions", home / "runs/made_up/lora/predictions.parquet").answer[place]


def test_a_docent_that_does_not_look_is_reported(home, profile):
    runs = home / "runs/made_up"
    shutil.copytree(runs / "lora", runs / "lora__blank_photo")
    (runs / "lora__blank_photo/run.json").unlink()
    text = reported(profile)
    assert "LoRA is not looking, as far as these exhibits can tell: with blank photo" in text
    assert "With and without the photo, photos unseen in training" in text
    assert "<small>" in text and "LoRA, blank photo" in text


def test_a_report_of_changed_answers_is_refused(home, profile):
    evaluate(profile)
    answer_with(home, "Something new.")
    with pytest.raises(MuseQuestError, match="has changed since it was scored"):
        build_report(profile)


def test_a_report_needs_scores(profile):
    with pytest.raises(MuseQuestError, match="holds no scores"):
        build_report(profile)


def test_segments_cover_the_text_and_survive_overlaps():
    text = "in 1742 or 1743\x07."
    pieces = segments(text, [(3, 7, "recalled"), (5, 9, "invented"), (11, 15, "invented")])
    assert "".join(piece for piece, _ in pieces) == text.replace("\x07", "\ufffd")
    assert pieces[1] == ("1742", "recalled")
    assert segments("", []) == []


# What a reader does, appended to a copy of the page whose policy would forbid it.
READER = """<script>
const choose = (id, value) => { document.getElementById(id).value = value; };
choose("metric", "embedding_distance"); choose("track", "unseen_photo"); choose("find", "of");
choose("bound", "0");
document.getElementById("controls").dispatchEvent(new Event("input", { bubbles: true }));
document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
const fits = document.documentElement.scrollWidth <= window.innerWidth;
document.title = document.activeElement.id + (fits ? " fits" : " is too wide");
</script>"""


def browse(page: Path, home: Path) -> str:
    """The page as a browser has it once its script has run."""
    options = [
        "--window-size=500,800",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=2000",
        "--allow-file-access-from-files",
    ]
    command = [CHROMIUM, *options, f"--user-data-dir={home / 'browser'}", "--dump-dom"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_works_in_a_browser(home, profile):
    answer_with(home, HOSTILE)
    evaluate(profile)
    path = build_report(profile)
    shown = browse(path, home)
    assert "8 of 8 items" in shown
    assert '<form id="controls">' in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_reader_can_filter_sort_and_step(home, profile):
    text = reported(profile)
    policy = re.search(r"<meta http-equiv[^>]+>", text)[0]
    page = home / "copy.html"
    page.write_text(text.replace(policy, "").replace("</body>", READER + "</body>"), "utf-8")
    shown = browse(page, home)
    assert "7 of 8 items" in shown
    articles = re.findall(r"<article id=\"item-(\d)\"([^>]*)>", shown)
    worst = load_results(profile).scores.query("model == 'lora'").embedding_distance
    expected = [str(place + 1) for place in worst.reset_index(drop=True).sort_values()[::-1].index]
    assert [number for number, _ in articles] == expected
    assert [number for number, rest in articles if "hidden" in rest] == ["5"]
    first_shown = next(number for number, rest in articles if "hidden" not in rest)
    assert f"<title>item-{first_shown} fits</title>" in shown  # on a phone, nothing is cut off


# A window of Chromium cannot be narrower than 500 px, a frame in it can. Of these 320 px the scroll
# bar takes some, so a phone has more.
PHONE = """<iframe src="{page}" width="320" height="800" style="border: 0"></iframe><script>
document.querySelector("iframe").onload = ({{ target }}) => {{
  const page = target.contentDocument.documentElement;
  document.title = page.scrollWidth <= page.clientWidth ? "fits" : `${{page.scrollWidth}} px`;
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_on_a_narrow_phone_nothing_is_cut_off(home, profile):
    exhibits = home / "data/made_up/exhibits.parquet"
    table = read_table("exhibits", exhibits)
    table["title"] += ", whose name is longer than a telephone is wide"
    write_table("exhibits", exhibits, table)
    evaluate(profile)
    frame = home / "phone.html"
    frame.write_text(PHONE.format(page=build_report(profile).as_uri()), "utf-8")
    shown = browse(frame, home)
    assert "<title>fits</title>" in shown

"""The report: complete, self-contained, escaped, usable in a browser."""

import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, browser
from scored_museum import PROFILE, TITLE, answered_museum, make_exhibit, reported

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.evaluation import figures
from musequest.evaluation.drawing import Picture
from musequest.evaluation.figures import FIGURES, draw_figures
from musequest.evaluation.report import build_report, segments
from musequest.evaluation.results import load_results
from musequest.evaluation.scoring import evaluate

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
pytestmark = pytest.mark.usefixtures("encoded_once")

MADE_UP = "results/made_up/figures"
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}\x00 \'"'
# LoRA's odd answers, by the number of the item; that to item 3 is the right one to item 5.
ODD = {
    1: "Made in 1402 and 99 km long. Catalogue number 7001.",
    2: "",
    4: "A bowl of clay. " * 200,
    6: HOSTILE,
}


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


def answer_with(home: Path, answers: dict[int, str], column: str = "answer") -> None:
    """Let LoRA answer items of these numbers so (or every system be asked so)."""
    for system in ("lora",) if column == "answer" else ("base", "lora"):
        path = home / "runs/made_up" / system / "predictions.parquet"
        table = read_table("predictions", path)
        table.loc[list(answers), column] = list(answers.values())
        write_table("predictions", path, table)


@pytest.fixture
def profile(home: Path) -> Profile:
    """A made-up museum of eight answered items."""
    return answered_museum(home)


@pytest.fixture
def whole(reported_home: Path) -> Path:
    """The report of such a museum, figures and all; only read."""
    return reported_home / "results/made_up/report.html"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one whose answers are odd; text of the first exhibit and a question are too."""
    home = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        profile = answered_museum(home, description=f"{HOSTILE}. Catalogue number 7000.")
        right = read_table("predictions", home / "runs/made_up/lora/predictions.parquet").answer
        answer_with(home, ODD | {3: right[5]})
        answer_with(home, {5: HOSTILE}, "question")
        evaluate(profile)
        return build_report(profile)


def article(page: Path, item: int) -> str:
    """What a page says of the item of that number."""
    return page.read_text("utf-8").split("<article")[item + 1].split("</article>")[0]


def test_the_report_is_one_page_with_every_item(whole):
    page = Page(whole.read_text("utf-8"))
    assert page.tags.count("article") == 8
    assert page.tags.count("img") == 8 + 5
    assert page.tags.count("table") == 3 + 3 + 1 + 1  # scores, differences by track; needed; costs
    for reference in page.references:
        assert re.match(r"data:image/(png|jpeg);base64,|#", reference)
        if reference.startswith("#"):
            assert reference[1:] in page.ids


def test_the_legend_names_every_kind_of_mark(whole):
    kinds = set(re.findall(r"mark\.(\w+) ", whole.read_text("utf-8").split("</style>")[0]))
    legend = whole.read_text("utf-8").split('class="legend"')[1].split("</p>")[0]
    assert kinds == set(re.findall(r'<mark class="(\w+)"', legend)) == {
        "stated", "recalled", "known", "invented",
    }  # fmt: skip


def test_only_metrics_with_a_best_value_have_a_worst(whole):
    choices = whole.read_text("utf-8").split('<optgroup label="worst first by">')[1]
    offered = re.findall(r'value="(\w+)"', choices.split("</optgroup>")[0])
    assert "embedding_distance" in offered and "answer_tokens" not in offered
    assert "similarity_score" not in offered  # No base model, no value.


def test_photos_are_small(whole):
    photos = re.findall(r"data:image/jpeg;base64,([^\"]+)", whole.read_text("utf-8"))
    assert max(len(photo) for photo in photos) < 100_000


def test_numbers_are_marked_and_missing_ones_listed(odd):
    told = article(odd, 1)
    assert '<mark class="recalled" title="recalled">1402</mark>' in told
    assert '<mark class="invented" title="invented">99 km</mark>' in told
    assert '<mark class="known" title="known">7001</mark>' in told
    assert "Invented: 99 km · Catalogue" not in told  # It begins a sentence.
    assert "Invented: 99 km" in told
    assert "Missing: " in told and "12 cm" in told


@pytest.mark.parametrize("item", [0, 5, 6], ids=["ground_truth", "question", "answer"])
def test_whatever_comes_from_data_is_escaped(item, odd):
    told = article(odd, item)
    assert "alert(1)" in told or "alert(<mark" in told
    assert "{{ " in told


def test_nothing_that_comes_from_data_adds_a_tag(odd, whole):
    text = odd.read_text("utf-8")
    tags, clean = Page(text).tags, Page(whole.read_text("utf-8")).tags
    for tag in ("script", "img", "style", "article"):
        assert tags.count(tag) == clean.count(tag)
    assert "\x00" not in text


def test_the_page_allows_its_own_script_only(whole):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', whole.read_text("utf-8"))[1]
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[^']+'", policy)


def test_an_empty_answer_is_shown_as_such(odd):
    assert "an empty answer" in article(odd, 2)
    assert "lora gives 1 empty answers" in odd.read_text("utf-8")


def test_the_same_scores_give_the_same_page(home, whole):
    assert reported(answered_museum(home, title=TITLE)) == whole.read_text("utf-8")


def test_the_summary_comes_first_and_says_what_matters(whole):
    text = whole.read_text("utf-8")
    short = unescape(text.split('id="scores"')[0])
    assert "LoRA fits the right exhibit's text best in 86% (" in short
    assert "Base (untuned) fits" in short and "states no numbers of its own" in short
    assert "LoRA vs Base (untuned)" in text
    assert "Control: changed numbers" in text


def test_names_are_marked_and_an_answer_about_another_exhibit_says_so(odd):
    told = article(odd, 3)
    assert "Fits better: The " in told
    assert '<mark class="invented"' in told


def test_a_docent_that_does_not_look_is_reported(home, profile):
    runs = home / "runs/made_up"
    shutil.copytree(runs / "lora", runs / "lora__blank_photo")
    (runs / "lora__blank_photo/run.json").unlink()
    text = reported(profile)
    assert "LoRA is not shown to look at the photo: with blank photo" in text
    assert "With and without the photo, photos unseen in training" in text
    assert "<small>" in text and "LoRA, blank photo" in text


def test_differences_are_told_track_by_track_and_how_small_they_could_be(whole):
    text = whole.read_text("utf-8")
    notes = {
        "all items": "8 exhibits would likely have shown",
        "photos unseen in training": "7 exhibits would likely have shown",
        "photos seen in training": "1 exhibits cannot show a difference, however large: it takes 6",
    }
    for where, note in notes.items():
        table = text.split(f"<summary>Differences between systems, {where}</summary>")[1]
        assert note in table.split("</details>")[0]
        assert "not corrected" in table.split("</details>")[0]


def test_a_report_of_changed_answers_is_refused(home, profile):
    evaluate(profile)
    answer_with(home, {0: "Something new."})
    with pytest.raises(MuseQuestError, match="has changed since it was scored"):
        build_report(profile)


def test_a_report_needs_scores(profile):
    with pytest.raises(MuseQuestError, match="holds no scores.*musequest report"):
        build_report(profile)


def test_segments_cover_the_text_and_survive_overlaps():
    text = "in 1742 or 1743\x07."
    pieces = segments(text, [(3, 7, "recalled"), (5, 9, "invented"), (11, 15, "invented")])
    assert "".join(piece for piece, _ in pieces) == text.replace("\x07", "\ufffd")
    assert pieces[1] == ("1742", "recalled")
    assert segments("", []) == []


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that the tests of this file share."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def items_shown(reader: Browser) -> list[int]:
    """The numbers of the items that are to be seen, from above."""
    shown = "[...document.querySelectorAll('article:not([hidden])')]"
    return reader.ask(f"{shown}.map((node) => Number(node.id.replace('item-', '')))")


def worst_first(page: Path, metric: str) -> list[int]:
    """LoRA's items, those of high values first."""
    scores = read_table("scores", page.parent / "scores.parquet").query("model == 'lora'")
    values = scores[metric].reset_index(drop=True)
    return [place + 1 for place in values.sort_values(ascending=False).index]


@needs_chromium
def test_the_page_works_in_a_browser_under_its_own_policy(odd, reader):
    reader.open(odd)
    assert reader.ask("document.getElementById('count').value") == "8 of 8 items"
    assert reader.ask("document.getElementById('controls').hidden") is False
    figures = [*odd.parent.glob("figures/*.png")]
    assert reader.ask("document.images.length") == 8 + len(figures)


@needs_chromium
def test_a_reader_can_sort_and_filter_by_metric_exhibit_and_track(whole, reader):
    reader.open(whole)
    assert items_shown(reader) == list(range(1, 9))
    assert reader.ask("document.getElementById('system').disabled") is True
    reader.choose("sort", "embedding_distance")
    worst = worst_first(whole, "embedding_distance")
    assert items_shown(reader) == worst
    reader.choose("track", "unseen_photo")
    assert items_shown(reader) == [number for number in worst if number != 5]
    reader.choose("track", "")
    reader.choose("sort", "track")
    assert items_shown(reader) == [1, 2, 3, 4, 6, 7, 8, 5]
    reader.choose("sort", "exhibit")
    titles = [TITLE, *(make_exhibit(index)["title"] for index in range(1, 8))]
    assert items_shown(reader) == [titles.index(title) + 1 for title in sorted(titles)]
    reader.choose("exhibit", "item-002")
    assert items_shown(reader) == [3]
    assert reader.ask("document.getElementById('count').value") == "1 of 8 items"
    reader.choose("find", "nothing of this kind")
    assert items_shown(reader) == []
    assert reader.ask("document.getElementById('none').hidden") is False


@needs_chromium
def test_a_bound_leaves_the_worst(whole, reader):
    reader.open(whole)
    scores = read_table("scores", whole.parent / "scores.parquet").query("model == 'lora'")
    reader.choose("sort", "embedding_distance")
    reader.choose("bound", str(scores.embedding_distance.nlargest(3).min()))
    assert items_shown(reader) == worst_first(whole, "embedding_distance")[:3]


@needs_chromium
def test_keys_lead_from_item_to_item_and_to_the_search(whole, reader):
    reader.open(whole)
    focused = "document.activeElement.id"
    seen = []
    for key in "jjjk":
        reader.press(key)
        seen.append(reader.ask(focused))
    assert seen == ["item-1", "item-2", "item-3", "item-2"]
    reader.press(*"/1404")
    assert reader.ask(focused) == "find"
    assert reader.ask("document.getElementById('find').value") == "1404"
    assert items_shown(reader) == [3]  # the exhibit made in that year
    reader.press("Tab")
    assert reader.ask(focused) == "exhibit"


@needs_chromium
@pytest.mark.parametrize("width", [800, 1024, 1280])
def test_keys_and_links_lead_to_below_the_form(width, whole, reader):
    reader.open(whole, width)
    top = "document.getElementById('item-{}').getBoundingClientRect().top"
    bottom = "document.getElementById('controls').getBoundingClientRect().bottom"
    reader.press(*"jjj")
    assert 0 <= reader.ask(f"{top.format(3)} - {bottom}") < 40
    reader.ask("location.hash = 'item-5'")
    assert 0 <= reader.ask(f"{top.format(5)} - {bottom}") < 40


@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_a_link_to_an_item_leads_there_though_photos_come_late(width, whole, reader):
    reader.open(whole, width, fragment="item-7")
    reader.ask(LOADED)
    form = "document.getElementById('controls')"
    bar = f"getComputedStyle({form}).position === 'sticky' ? {form}.offsetHeight : 0"
    top = "document.getElementById('item-7').getBoundingClientRect().top"
    assert 0 <= reader.ask(f"{top} - ({bar})") < 40


# Every photo is there and drawn.
LOADED = """Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode();
})).then(() => new Promise(requestAnimationFrame))"""


@needs_chromium
def test_on_a_phone_a_score_keeps_its_name_and_its_meaning(whole, reader):
    reader.open(whole, 360)
    reader.ask("document.querySelector('.wide').scrollLeft = 120")
    assert reader.ask("document.querySelector('.wide').scrollLeft") == 120
    away = f"{CELL}.getBoundingClientRect().left - {CELL}.closest('.wide').offsetLeft"
    assert abs(reader.ask(away)) < 2
    assert reader.ask(BROKEN) == []
    meaning = "How often the answer fits its own exhibit better than any other."
    assert meaning in reader.ask("document.getElementById('scores').innerText")
    reader.open(whole, 1200)
    assert reader.ask("document.getElementById('scores').innerText").count(meaning) == 1


CELL = "document.querySelector('.wide tbody th')"
# Words of the first column that stand on two lines.
BROKEN = """[...document.querySelectorAll(".wide th[scope=row]")].flatMap((cell) => {
  const text = cell.firstChild;
  return [...text.data.matchAll(/\\S+/g)].filter((word) => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map((word) => word[0]);
})"""


@needs_chromium
@pytest.mark.parametrize("width", [320, 360, 500, 1200])
def test_nothing_is_wider_than_the_window(width, whole, reader):
    reader.open(whole, width)
    reader.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert reader.ask("window.innerWidth") == width
    assert reader.ask("document.documentElement.scrollWidth") <= width
    assert reader.ask(WIDER) == []


# Whatever reaches beyond the window without lying in something that scrolls by itself.
WIDER = """[...document.body.querySelectorAll("*")].filter((node) =>
  !node.closest(".wide, .skip, [hidden]") && node.getBoundingClientRect().right > innerWidth + 1
).map((node) => node.outerHTML.slice(0, 80))"""


@needs_chromium
def test_what_is_chosen_stands_in_the_address_and_comes_back_with_it(whole, reader):
    reader.open(whole)
    reader.choose("sort", "embedding_distance")
    reader.choose("track", "unseen_photo")
    address, shown = reader.ask("location.hash"), items_shown(reader)
    assert "track=unseen_photo" in address and "sort=embedding_distance" in address
    reader.open(whole, fragment=address.removeprefix("#"))
    assert items_shown(reader) == shown == items_shown(reader)
    assert reader.ask("document.getElementById('track').value") == "unseen_photo"
    reader.ask("""new Promise((resolve) => {
      addEventListener("hashchange", resolve, { once: true });
      location.hash = "sort=nothing&find=1404";
    }).then(() => null)""")
    assert items_shown(reader) == [3]
    assert reader.ask("document.getElementById('sort').value") == ""


@needs_chromium
def test_long_answers_fold_and_open_for_a_search_and_for_print(odd, reader):
    reader.open(odd)
    high = "document.querySelector('.long').offsetHeight"
    folded = reader.ask(high)
    reader.choose("find", "bowl")
    assert reader.ask(high) > 3 * folded
    reader.choose("find", "")
    assert reader.ask(high) == folded
    button = "document.querySelector('.long + button')"
    assert reader.ask(f"[{button}.textContent, {button}.ariaExpanded]") == ["Show all", "false"]
    reader.ask(f"{button}.click()")
    assert reader.ask(high) > 3 * folded and reader.ask(f"{button}.ariaExpanded") == "true"
    assert reader.ask("document.querySelectorAll('.long').length") == 1


@needs_chromium
def test_closed_sections_open_for_print_alone(whole, reader):
    reader.open(whole)
    closed = "document.querySelectorAll('details:not([open])').length"
    before = reader.ask(closed)
    reader.ask("dispatchEvent(new Event('beforeprint'))")
    assert before > 0 == reader.ask(closed)
    reader.ask("dispatchEvent(new Event('afterprint'))")
    assert reader.ask(closed) == before


def test_every_head_of_a_table_is_named_and_every_figure_tells_its_values(whole):
    text = whole.read_text("utf-8")
    assert not re.findall(r"<th[^>]*>\s*</th>", text)
    figures = re.findall(r'alt="([^"]+)"', text.split('id="figures"')[1].split("</section>")[0])
    values = [told for told in figures if re.search(r"LoRA \d", told)]
    assert len(figures) == 5 and len(values) == 4
    assert [told for told in figures if told not in values][0].endswith("No run states its costs.")


def test_the_best_of_unlike_items_is_not_marked(whole):
    """Base states no number, so that its invented ones are counted on other items than LoRA's."""
    table = whole.read_text("utf-8").split("<table>")[1].split("</table>")[0]
    rows = table.split('<th scope="row">')[1:]
    marked = [row.split(" <")[0] for row in rows if 'class="winner"' in row]
    assert "Embedding distance" in marked and "Invented numbers" not in marked


def test_systems_that_were_asked_otherwise_are_not_said_to_be_asked_the_same(home, profile):
    path = home / "runs/made_up/lora/predictions.parquet"
    table = read_table("predictions", path)
    table.loc[:2, "question"] = "Who made it?"
    write_table("predictions", path, table)
    text = reported(profile)
    assert "lora was asked another question, or shown another photo, than base for 3 of 8" in text
    assert "the same 8 questions" not in text and 'class="winner"' not in text


def test_scores_of_before_a_metric_was_there_are_still_reported(home, profile):
    evaluate(profile)
    folder = home / "results/made_up"
    younger = ["repetition", "wrong_refusal_rate", "confidence"]
    scores = read_table("scores", folder / "scores.parquet").drop(columns=younger)
    write_table("scores", folder / "scores.parquet", scores)
    summary, record = (read_json(folder / f"{name}.json") for name in ("summary", "scoring"))
    for own in (own for track in summary.values() for own in track.values()):
        for name in younger[:2]:
            own.pop(name, None)
    for key in ("asked_otherwise", "margins", "seeds", "intervals"):
        record.pop(key)
    write_json(folder / "summary.json", summary)
    write_json(folder / "scoring.json", record)
    text = build_report(profile).read_text("utf-8")
    assert "Embedding distance" in text and "Repetition" not in text


def test_figures_are_drawn_again_only_where_something_of_them_has_changed(
    reported_home, tmp_path, monkeypatch
):
    home, drawn, png = tmp_path / "home", [], (reported_home / MADE_UP / "facts.png").read_bytes()
    shutil.copytree(reported_home, home)
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    monkeypatch.setattr(Picture, "png", lambda own: drawn.append(own) or png)
    folder, metrics = home / MADE_UP, home / "runs/made_up/lora/metrics.parquet"
    names = {path.stem for path in folder.iterdir()}
    assert draw_figures(load_results(PROFILE)).keys() == names and not drawn  # by the report
    few = {name: FIGURES[name] for name in ("facts", "loss_curves")}
    monkeypatch.setattr(figures, "FIGURES", few)
    for change in (
        lambda: None,  # but for FIGURES
        lambda: (folder / "facts.png").write_bytes(b""),
        lambda: (folder / "facts.png").unlink(),
        lambda: (folder / "more.png").write_bytes(png),
        lambda: (folder.parent / ".cache/figures.json").write_text("[]"),
        lambda: metrics.unlink(),
    ):
        change()
        left = few.keys() if metrics.exists() else {"facts"}
        for times in (len(left), 0):
            assert draw_figures(load_results(PROFILE)).keys() == left and len(drawn) == times
            assert {path.stem for path in folder.iterdir()} == left
            assert (folder / "facts.png").read_bytes() == png
            drawn.clear()

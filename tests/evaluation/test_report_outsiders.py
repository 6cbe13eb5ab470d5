"""The report on things from outside the collection: what was answered, and what it claims."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, browser
from scored_museum import PROFILE, answer_outsiders, answered_museum, reported

from musequest.core.files import read_json, write_json
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.evaluation.report_tables import score_table
from musequest.evaluation.results import load_results
from musequest.evaluation.scoring import evaluate
from musequest.systems.registry import exhibits_path

pytestmark = pytest.mark.usefixtures("encoded_once")

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture
def profile(home: Path) -> Profile:
    """A made-up museum of eight answered items."""
    return answered_museum(home)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a lora that knows one outside thing, is silent on one, and mistakes six."""
    home = tmp_path_factory.mktemp("outsiders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        profile = answered_museum(home)
        answer_outsiders(home, profile, "I do not know this bicycle.", "")
        reported(profile)
    return home / "results/made_up/report.html"


def note_on_outsiders(profile: Profile) -> str:
    """What stands beneath the table of outside things."""
    return score_table(load_results(profile), "outsiders")["note"]


def articles(text: str) -> list[str]:
    """The outside things of a page."""
    return [each for each in text.split("<article")[1:] if 'data-track="outsiders"' in each]


def test_the_table_of_outside_things_stands_in_the_report_with_its_note(whole):
    text = whole.read_text("utf-8")
    table = text.split("Things that are not in the collection <span")[1].split("</details>")[0]
    assert "False recognition" in table and "a garbled title does not count" in table
    assert table.count("is weak evidence that it would leave a visitor") == 1


@pytest.mark.parametrize(("museum", "told"), [("assets/pocket_museum", 0), (None, 1), ("artic", 1)])
def test_drawings_shown_to_a_docent_of_real_exhibits_are_called_weak_evidence(
    museum, told, whole, monkeypatch
):
    monkeypatch.setenv("MUSEQUEST_HOME", str(whole.parents[2]))
    note = note_on_outsiders(replace(PROFILE, museum=museum))
    assert note.count("is weak evidence that it would leave") == told


def test_titles_that_cannot_be_told_are_counted_beside_the_rate(home, profile):
    path = exhibits_path(profile)
    exhibits = read_table("exhibits", path)
    write_table("exhibits", path, exhibits.assign(title=["Vase", *exhibits.title[1:]]))
    answer_outsiders(home, profile)
    evaluate(profile)
    told = "Only 7 of the 8 exhibits have a title that can be told"
    assert told in note_on_outsiders(profile)


def test_every_answer_about_an_outside_thing_is_shown_with_what_it_claims(whole):
    shown = articles(whole.read_text("utf-8"))
    assert len(shown) == 8
    assert "I do not know this bicycle." in shown[0] and "Claims no exhibit" in shown[0]
    assert "an empty answer" in shown[1] and "Claims no exhibit" in shown[1]
    assert "Claims to see: The Stag Chair of Eskwick" in shown[2]
    for article in shown:
        assert "data:image/jpeg" in article and "What am I looking at" in article
        assert 'alt="This is a thing from elsewhere."' in article
        assert "Ground truth" not in article and "<mark" not in article
        assert "Base (untuned)" not in article  # It was not asked.


def test_a_report_without_outside_things_does_not_speak_of_them(reported_home):
    text = (reported_home / "results/made_up/report.html").read_text("utf-8")
    assert not articles(text)
    assert "other things" not in text and "False recognition" not in text


def test_false_recognition_is_told_at_the_top(whole):
    short = unescape(whole.read_text("utf-8").split('id="scores"')[0])
    assert re.search(
        "LoRA mistook 6 of 8 unknown objects for exhibits: "
        r"75% \(\d\d% to 9\d%\), and refuses 0% \(0% to [345]\d%\) of the questions about exhibits",
        short,
    )
    assert "Base (untuned) mistook" not in short


def test_where_no_title_can_be_told_nothing_is_said_of_claims(home, profile):
    path = exhibits_path(profile)
    write_table("exhibits", path, read_table("exhibits", path).assign(title="Vase"))
    answer_outsiders(home, profile)
    text = reported(profile)
    assert len(articles(text)) == 8
    assert "Claims " not in text and "claims one of" not in text


def test_what_was_answered_about_outside_things_is_escaped(home, profile):
    path = home / "runs/made_up/lora__outsiders/predictions.parquet"
    answer_outsiders(home, profile, HOSTILE)
    table = read_table("predictions", path)
    table.loc[1, "question"] = table.loc[2, "ground_truth"] = HOSTILE
    write_table("predictions", path, table)
    text = reported(profile)
    assert text.count("&lt;script&gt;alert(1)") >= 3
    assert "<script>alert" not in text and "<img src=x" not in text


def test_photos_of_another_set_than_was_shown_are_left_out(home, profile):
    answer_outsiders(home, profile)
    record = home / "runs/made_up/lora__outsiders/infer.json"
    write_json(record, read_json(record) | {"outsiders_sha256": "of another set"})
    shown = articles(reported(profile))
    assert len(shown) == 8
    for article in shown:
        assert "data:image" not in article and "The photo is not at hand." in article


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_reader_can_filter_and_sort_outside_things(whole, tmp_path):
    tracks = "[...document.querySelectorAll('article:not([hidden])')].map((a) => a.dataset.track)"
    with browser(tmp_path) as reader:
        reader.open(whole)
        reader.choose("track", "outsiders")
        assert reader.ask(tracks) == ["outsiders"] * 8
        reader.choose("track", "")
        reader.choose("sort", "false_recognition_rate")
        assert reader.ask(tracks)[:8] == ["outsiders"] * 8
        reader.choose("bound", "1")
        assert reader.ask("document.getElementById('count').value") == "6 of 16 items"

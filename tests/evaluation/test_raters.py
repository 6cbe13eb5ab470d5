"""A sheet for two raters: blinded, self-contained, kept by the browser, read back with care."""

import codecs
import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, browser
from scored_museum import answered_museum

from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.evaluation.raters import (
    ERRORS,
    agreement_table,
    annotate,
    kappa,
    read_labels,
)
from musequest.evaluation.scoring import evaluate


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Profile, Path]]:
    """An evaluated museum, and the folder of a sheet of ten of its answers."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        profile = answered_museum(home)
        evaluate(profile)
        yield profile, annotate(profile, rows=10, seed=1)


def labels_of(folder: Path, rater: str, wrong: dict[str, set[int]], to: Path) -> Path:
    """A rater's file: yes where a row is in `wrong`, else no."""
    with (folder / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        said = {e: "yes" if int(row["row"]) in wrong.get(e, set()) else "no" for e in ERRORS}
        row |= said | {"rater": rater}
    with to.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return to


def test_kappa_is_that_of_cohens_formula():
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10
    assert kappa(pairs + [(False, False)] * 15) == pytest.approx(0.4)
    assert kappa([(True, False), (False, True)]) == -1
    assert kappa([(True, True)] * 3) is None
    assert kappa([]) is None


def test_agreement_is_shown_with_its_interval_and_a_dash_where_there_is_none():
    found = {"labelled_by_both": 9, "kappa": 0.5, "recall": 1.0, "recall_interval": [0.4, 1.0]}
    nothing = {"labelled_by_both": 0, "kappa": None, "recall": None, "recall_interval": None}
    table = agreement_table({"exhibit": found, "number": nothing})
    assert table.loc["exhibit"].tolist() == [9, "0.50", "1.00", "0.40 to 1.00"]
    assert table.loc["number"].tolist() == [0, "–", "–", "–"]
    assert agreement_table({"number": nothing}).loc["number"].tolist() == [0, "–", "–", "–"]


def test_a_sheet_is_blinded_shuffled_and_asks_nothing_of_any_server(museum):
    profile, folder = museum
    page, key = (folder / "sheet.html").read_text("utf-8"), read_json(folder / "key.json")
    systems = [name for name, _ in key["rows"]]
    assert sorted(systems) == ["base"] * 5 + ["lora"] * 5 and systems != sorted(systems)
    assert page.count("<article") == page.count("data:image/jpeg;base64,") == 10
    assert (folder / "sheet.csv").read_bytes().startswith(codecs.BOM_UTF8)  # as Excel wants it
    for text in (page, (folder / "sheet.csv").read_text("utf-8")):
        assert not re.search(r"\blora\b|\bbase\b|runs/|-00\b", text.replace("base64", ""))
    assert not re.search(r"https?://|<link|<iframe|src=\"(?!data:)", page)
    assert "default-src 'none'" in page
    assert annotate(profile, rows=10, seed=1) == folder  # again the same
    with pytest.raises(MuseQuestError, match="belongs to a sheet of other answers"):
        annotate(profile, rows=10, seed=2)
    with pytest.raises(
        MuseQuestError, match="'lara' has no scores; the nearest that has is 'lora'"
    ):
        annotate(profile, ["lara"])


def test_labels_give_agreement_and_the_worth_of_each_metric(museum, tmp_path: Path):
    profile, folder = museum
    scores = read_table("scores", folder.parent / "scores.parquet").set_index(["model", "data_id"])
    rows = [scores.loc[tuple(row)] for row in read_json(folder / "key.json")["rows"]]
    off = {n for n, row in enumerate(rows, 1) if row.identity_at_1 < 1}
    assert 2 <= len(off) < 10
    first = labels_of(folder, "Ann", {"exhibit": off}, tmp_path / "a.csv")
    missed = off - {min(off)} | {n for n in range(1, 11) if n not in off and n == 10}
    second = labels_of(folder, "Bob", {"exhibit": off}, tmp_path / "b.csv")
    exhibit = read_labels(profile, [first, second])["errors"]["exhibit"]
    assert (exhibit["kappa"], exhibit["precision"], exhibit["recall"]) == (1, 1, 1)
    assert exhibit["labelled_by_both"] == exhibit["agreed"] == 10
    assert exhibit["recall_interval"][0] < 1 and exhibit["recall_interval"][1] == 1
    second = labels_of(folder, "Bob", {"exhibit": missed}, tmp_path / "b.csv")
    errors = read_labels(profile, [first, second])["errors"]
    assert errors["exhibit"]["agreed"] == 10 - len(off ^ missed)
    assert errors["exhibit"]["kappa"] < 1 and errors["exhibit"]["precision"] == 1
    assert errors["number"]["kappa"] is errors["number"]["recall"] is None
    assert read_json(folder / "raters.json")["errors"] == errors


def replaced(path: Path, old: str, new: str) -> Path:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def test_labels_that_cannot_be_used_are_a_sentence_each(museum, tmp_path: Path):
    profile, folder = museum
    sheet = (folder / "sheet.csv").read_text("utf-8").splitlines()[1].split(",")[1]

    def given(rater: str = "Ann") -> Path:
        return labels_of(folder, rater, {}, tmp_path / f"{rater}.csv")

    def refused(sentence: str, *files: Path) -> None:
        before = [path.read_bytes() for path in files]
        with pytest.raises(MuseQuestError, match=sentence):
            read_labels(profile, files)
        assert before == [path.read_bytes() for path in files]

    refused("The labels are by Ann; agreement needs those of two raters", given())
    refused("by nobody", folder / "sheet.csv")
    refused("by Ann, Bob, Cy; agreement", given(), given("Bob"), given("Cy"))
    other = labels_of(folder, "Ann", {"number": {3}}, tmp_path / "again.csv")
    refused("row 4: 'Ann' says both yes and no to 'number' of row 3", given(), other)
    refused(
        "'numbr' is no property that is rated; .* 'number'", replaced(given(), "number", "numbr")
    )
    refused("exhibit is 'perhaps'; write yes, no", replaced(given(), ",no,", ",perhaps,"))
    refused("row '99' is not of this sheet", replaced(given(), f"{sheet},1,", f"{sheet},99,"))
    refused("of another sheet", replaced(given(), sheet, "0123456789ab"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_rater_answers_saves_and_goes_on_later(museum, tmp_path: Path):
    """What the page saves is what `read_labels` reads."""
    profile, folder = museum
    with browser(tmp_path) as reader:
        reader.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        reader.open(folder / "sheet.html")
        reader.choose("rater", "Ann Oh")
        for error in ERRORS:
            for row in range(1, 11):
                label = "yes" if row == 4 else "no"
                reader.ask(f"document.querySelector('[name={error}-{row}][value={label}]').click()")
        rater, deadline = "", time.monotonic() + 20
        while rater != "Ann Oh" and time.monotonic() < deadline:
            time.sleep(0.1)  # the same browser, later: it writes down what is kept in its own time
            reader.open(folder / "sheet.html")
            rater = reader.ask("document.getElementById('rater').value")
        assert rater == "Ann Oh"
        assert reader.ask("document.getElementById('count').value") == "40 of 40 questions answered"
        reader.ask("document.getElementById('save').click()")
        saved, deadline = tmp_path / "labels-Ann-Oh.csv", time.monotonic() + 20
        while not saved.is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
    other = labels_of(folder, "Bob", {error: {4} for error in ERRORS}, tmp_path / "b.csv")
    assert {each["kappa"] for each in read_labels(profile, [saved, other])["errors"].values()} == {
        1
    }


def test_scores_from_before_a_metric_have_no_value_of_it(museum, tmp_path: Path):
    profile, folder = museum
    path = folder.parent / "scores.parquet"
    whole = path.read_bytes()
    table = read_table("scores", path)
    write_table("scores", path, table.drop(columns="claims_wrong"))
    files = [labels_of(folder, name, {}, tmp_path / f"{name}.csv") for name in ("Ann", "Bob")]
    assert read_labels(profile, files)["errors"]["property"]["precision"] is None
    path.write_bytes(whole)

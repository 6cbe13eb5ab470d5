"""A curator's word: kept whole, never over another's, and followed by dataset, training, card."""

import codecs
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.creation import review as reviewed
from musequest.creation.dataset import audit, build_dataset
from musequest.creation.dialogs import synthesize
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.publishing import push_to_hub
from musequest.creation.review import (
    Conflict,
    Decision,
    check_learned,
    decide,
    read_review,
    text_digest,
    withheld,
)
from musequest.creation.review_sheet import read_sheet
from musequest.creation.split import fingerprint, split_path

STRICT = Profile("strict", "", "t", 64, require_review=True)
BOWL, CASKET = "the-sela-bowl", "the-orme-casket"


@pytest.fixture
def folder(dialogs_home: Path, home: Path) -> Path:
    """A collection with everything but its dataset."""
    shutil.copytree(dialogs_home / "data", home / "data")
    return home / "data/t"


def dialogs(folder: Path) -> dict[str, dict]:
    return {
        row["dialog_id"]: row
        for row in read_table("dialogs", folder / "dialogs.parquet").to_dict("records")
    }


def say(row: dict, decision: str, version: int | None = None, **more) -> Decision:
    """Decide about a dialog as a window does that has just been loaded."""
    name, dialog_id = row["item_name"], row["dialog_id"]
    given = {"by": "Ada", "dialog_id": dialog_id, "text_sha256": text_digest(row)} | more
    seen = read_review("t").version(name, dialog_id) if version is None else version
    return decide("t", Decision(name, decision, **given), seen)


def hold(item_name: str, decision: str = "withheld") -> Decision:
    return decide("t", Decision(item_name, decision, "Ada"), read_review("t").version(item_name))


def rows(*splits: str) -> pd.DataFrame:
    chosen = splits or ("train", "validation", "test")
    return pd.concat([read_table("dataset", split_path("t", split)) for split in chosen])


def approve_all(folder: Path, *names: str) -> None:
    for row in dialogs(folder).values():
        if row["item_name"] in names:
            say(row, "approved")


def test_without_a_review_nothing_is_different_and_undone_decisions_leave_no_trace(folder: Path):
    first = build_dataset("t")
    made = {path: path.read_bytes() for path in (folder / "dataset").rglob("*.*")}
    assert not reviewed.review_path("t").exists() and withheld("t") == frozenset()
    row = dialogs(folder)[f"{BOWL}-03"]
    say(row, "withheld")
    say(row, "open")
    assert build_dataset("t") == first and fingerprint("t") == first["fingerprint"]
    same = {path for path, content in made.items() if path.read_bytes() == content}
    assert {path.name for path in made.keys() - same} <= {"README.md", "provenance.csv"}


def test_what_was_learned_is_known_by_its_text_and_told_as_decided_since(folder: Path):
    row, other = (dialogs(folder)[f"{BOWL}-{number}"] for number in ("00", "01"))
    edits = [
        say(row, "edited", question="Who used it?", answer=answer * 8).texts
        for answer in ("Nobody knows who drank from it. ", "Nobody knows who ate from it. ")
    ]
    first, second = map(text_digest, edits)
    say(other, "approved")
    hold(BOWL)
    assert read_review("t").changed == {text_digest(row): edits[1], first: edits[1]}
    say(row, "withheld")
    assert read_review("t").changed == dict.fromkeys([text_digest(row), first, second])
    say(row, "approved")  # as its writer wrote it, so no longer as edited
    assert read_review("t").changed == dict.fromkeys([first, second])
    say(row, "open")
    assert read_review("t").changed == {}


def test_what_is_withheld_stays_out_and_an_edit_comes_in_with_who_and_when(folder: Path):
    texts = dialogs(folder)
    say(texts[f"{BOWL}-00"], "withheld", note="too grim")
    answer = "The bowl was thrown in Sela, and nobody knows who drank from it."
    kept = say(texts[f"{BOWL}-01"], "edited", question="Who used it?", answer=answer)
    say(texts[f"{BOWL}-02"], "approved", by="  Juri   Sand ")
    build_dataset("t")
    own = rows()[lambda table: table["item_name"] == BOWL]
    assert len(own) == 14 and texts[f"{BOWL}-00"]["answer"] not in "".join(own["dialog"])
    # The next pair takes its place among the tested, so that the exhibit is tested still.
    (tested,) = rows("test")[lambda table: table["item_name"] == BOWL]["dialog"]
    assert answer in tested and texts[f"{BOWL}-01"]["answer"] not in "".join(own["dialog"])
    table = pd.read_csv(folder / "dataset/provenance.csv").set_index("data_id")
    assert list(table.loc[f"{BOWL}-00", ["dialog_id", "review", "reviewed_by", "reviewed_at"]]) == [
        f"{BOWL}-01", "edited", "Ada", kept.at,
    ]  # fmt: skip
    assert table.loc[f"{BOWL}-01", "reviewed_by"] == "Juri Sand"
    assert table["review"].isna().sum() == len(table) - 2
    card = (folder / "dataset/README.md").read_text()
    assert "approved by a curator: 1 pairs" in card and "edited by a curator: 1 pairs" in card
    assert "not reviewed: 72 pairs" in card and "offline: 74 pairs" in card
    assert "Those not reviewed were not\nchecked" in card


def test_nothing_unapproved_enters_where_a_review_is_required(folder: Path, caplog):
    approve_all(folder, BOWL)
    texts = dialogs(folder)
    for number in range(4):  # of one test, one validation and training rows, just enough
        say(texts[f"{CASKET}-{number:02d}"], "approved")
    say(texts["dial-of-the-upper-mill-00"], "approved")
    built = build_dataset("t", STRICT)
    assert built["exhibits"] == 2 and built["rows"] == {"train": 15, "validation": 2, "test": 2}
    assert "Only 2 of the 5 exhibits of 't'" in caplog.text and "musequest review" in caplog.text
    audit("t")
    check_learned("t", STRICT)
    assert "not reviewed" not in (folder / "dataset/README.md").read_text()
    assert "checked one by one" not in (folder / "dataset/README.md").read_text()


def test_one_sentence_tells_that_too_little_is_approved_and_the_old_dataset_stays(folder: Path):
    before = build_dataset("t")["fingerprint"]
    say(dialogs(folder)[f"{BOWL}-00"], "approved")
    with pytest.raises(MuseQuestError, match="None of the 5 exhibits of 't'.*musequest review"):
        build_dataset("t", STRICT)
    assert fingerprint("t") == before
    with pytest.raises(
        MuseQuestError, match="holds 74 rows that no curator approved.*--profile strict"
    ):
        check_learned("t", STRICT)
    for row in dialogs(folder).values():
        say(row, "withheld") if row["item_name"] == BOWL else None
    assert build_dataset("t")["exhibits"] == 4  # without the key, too, when nothing is left


def test_a_withheld_exhibit_leaves_the_dataset_and_comes_back(folder: Path, caplog):
    whole = build_dataset("t")["fingerprint"]
    hold(BOWL)
    assert withheld("t") == {BOWL}
    for what in (lambda: check_learned("t"), lambda: push_to_hub("t", "a/b", dry_run=True)):
        with pytest.raises(MuseQuestError, match="15 rows that a curator withheld or edited since"):
            audit("t")
            what()
    assert build_dataset("t")["exhibits"] == 4 and BOWL not in set(rows()["item_name"])
    assert not caplog.records  # it is wanted so
    check_learned("t")
    hold(BOWL, "open")
    assert withheld("t") == frozenset() and build_dataset("t")["fingerprint"] == whole
    for name in set(rows()["item_name"]):
        hold(name)
    with pytest.raises(MuseQuestError, match="None of the 0 exhibits"):
        build_dataset("t")


def test_a_dataset_with_the_text_from_before_an_edit_is_not_learned(folder: Path):
    build_dataset("t")
    check_learned("t")
    say(dialogs(folder)[f"{BOWL}-05"], "edited", question="Why?", answer="For soup, in winter.")
    with pytest.raises(MuseQuestError, match="holds 1 rows"):
        check_learned("t")
    build_dataset("t")
    check_learned("t")


@pytest.mark.parametrize(
    ("decision", "more"),
    [("edited", {"question": "Why?", "answer": "For soup, whenever it froze."}), ("withheld", {})],
)
def test_a_dataset_with_an_edit_that_was_decided_about_again_is_not_learned(
    folder: Path, decision: str, more: dict[str, str]
):
    row = dialogs(folder)[f"{BOWL}-05"]
    say(row, "edited", question="Why?", answer="For soup, in winter.")
    build_dataset("t")
    say(row, decision, **more)
    with pytest.raises(MuseQuestError, match="holds 1 rows that a curator withheld or edited"):
        check_learned("t")


def test_a_text_that_was_written_anew_is_unreviewed_and_an_old_window_is_told(folder: Path):
    before = dialogs(folder)[f"{BOWL}-00"]
    say(before, "approved")
    synthesize("t", OfflineWriter(), seed=1, progress=False)
    after = dialogs(folder)[f"{BOWL}-00"]
    assert before["answer"] != after["answer"] and read_review("t").of(after) is None
    with pytest.raises(Conflict, match=f"text of '{BOWL}-00' was written anew"):
        say(before, "withheld")
    say(after, "withheld")
    assert read_review("t").of(before).decision == "approved"


def test_a_dataset_from_before_dialogs_were_written_anew_is_not_learned(folder: Path):
    build_dataset("t")
    synthesize("t", OfflineWriter(), seed=1, progress=False)
    with pytest.raises(
        MuseQuestError, match=r"rows that are of texts that have changed since; run .*t`"
    ):
        check_learned("t")
    say(dialogs(folder)[f"{BOWL}-00"], "approved")
    with pytest.raises(MuseQuestError, match="rows that are of texts that have changed since"):
        check_learned("t")
    build_dataset("t")
    check_learned("t")
    exhibits = read_table("exhibits", folder / "exhibits.parquet")
    changed = exhibits.assign(description=exhibits["description"].str.replace("is", "was", n=1))
    write_table("exhibits", folder / "exhibits.parquet", changed)
    with pytest.raises(MuseQuestError, match="holds 75 rows that are of texts that have changed"):
        check_learned("t")
    (folder / "dialogs.parquet").unlink()  # moved away, for another writer
    check_learned("t")


def test_two_windows_do_not_overwrite_each_other(folder: Path):
    row = dialogs(folder)[f"{BOWL}-00"]
    say(row, "approved", version=0)
    with pytest.raises(Conflict, match=r"Ada has decided \(approved\) about this meanwhile"):
        say(row, "withheld", version=0, by="Juri")
    assert read_review("t").of(row).decision == "approved"
    say(row, "withheld", version=1, by="Juri")
    with pytest.raises(Conflict, match="Juri has decided"):
        say(row, "open", version=1)
    hold(BOWL)
    with pytest.raises(Conflict):
        decide("t", Decision(BOWL, "open", "Juri"), 0)


@pytest.mark.parametrize(
    ("decision", "more", "told"),
    [
        ("approved", {"by": " "}, "Nobody is named"),
        ("approved", {"by": "A" * 81}, "by has more than 80 characters"),
        ("approved", {"note": "<b>no</b>"}, "The note contains HTML"),
        ("edited", {"question": "Why?", "answer": " "}, "The answer is empty"),
        ("edited", {"question": "Why?", "answer": "So.<end_of_utterance>"}, "own marker"),
        ("edited", {"question": "Why?", "answer": "a" * 5001}, "answer has more than 5,000"),
        ("adopted", {}, "'adopted' is no decision"),
        ("approved", {"dialog_id": "x"}, "There is no 'x' in 't'"),
        ("approved", {"dialog_id": None}, "An exhibit can be withheld or not"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(folder: Path, decision, more, told):
    with pytest.raises(MuseQuestError, match=told):
        say(dialogs(folder)[f"{BOWL}-00"], decision, version=0, **more)
    assert not reviewed.review_path("t").exists()


def test_an_edit_that_changes_nothing_is_an_approval(folder: Path):
    row = dialogs(folder)[f"{BOWL}-00"]
    say(row, "edited", question=f" {row['question']} ", answer=row["answer"])
    assert read_review("t").of(row).decision == "approved"


def test_a_line_that_was_not_finished_counts_for_nothing_and_is_cleared(folder: Path):
    texts, path = dialogs(folder), reviewed.review_path("t")
    say(texts[f"{BOWL}-00"], "approved")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-20])
    assert len(read_review("t").history) == 1
    say(texts[f"{BOWL}-01"], "withheld")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["dialog_id"] for line in lines] == [f"{BOWL}-00", f"{BOWL}-01"]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"item_name": "a"}', '{"item_name": 1, "decision": "withheld"}', ""]
)
def test_a_spoilt_line_is_an_error_for_it_may_withhold_something(folder: Path, line: str):
    hold(BOWL)
    path = reviewed.review_path("t")
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(MuseQuestError, match=r"review.jsonl, line 1, is no decision.*mend that"):
        withheld("t")
    with pytest.raises(MuseQuestError, match="line 1"):
        hold(CASKET)


def test_keys_that_a_later_version_adds_are_passed_over(folder: Path):
    hold(BOWL)
    path = reviewed.review_path("t")
    path.write_text(path.read_text().replace("{", '{"later": [1], ', 1))
    assert withheld("t") == {BOWL}


def test_what_was_said_to_be_saved_outlives_a_kill_at_any_moment(folder: Path):
    saying = (
        "from musequest.creation.review import *\n"
        "for number in range(10**6):\n"
        f"    decide('t', Decision({BOWL!r}, ('withheld', 'open')[number % 2], 'Ada'), number)\n"
        "    print(number + 1, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", saying], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    acknowledged = int(["1", *process.stdout.read().split()][-1])
    process.wait()
    process.stdout.close()
    assert acknowledged <= read_review("t").version(BOWL) <= acknowledged + 1
    hold(BOWL)
    assert withheld("t") == {BOWL}


def test_a_full_disk_leaves_the_file_as_it_was(folder: Path, monkeypatch):
    hold(BOWL)
    before = reviewed.review_path("t").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reviewed.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        hold(CASKET)
    assert reviewed.review_path("t").read_bytes() == before and withheld("t") == {BOWL}


def test_a_spreadsheet_goes_out_and_what_was_changed_in_it_comes_back(folder: Path, capsys):
    texts, path = dialogs(folder), folder / "sheet.csv"
    assert main(["review", "--collection", "t", "--export", str(path)]) == 0
    assert path.read_bytes().startswith(codecs.BOM_UTF8)  # or Excel would misread the umlauts
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    table.loc[0, "review"] = "approved"
    table.loc[1, "answer"] = "It is a lantern of copper, and it still burns."
    table.loc[2, "review"], table.loc[2, "note"] = "Withheld", "dull"
    table.loc[3, "review"] = "nonsense"
    table.loc[4, "review"] = "approved"
    say(texts[table.loc[4, "dialog_id"]], "withheld", by="Juri")
    table.to_csv(path, index=False, sep=";", lineterminator="\r\n")
    again = ["review", "--collection", "t", "--import", str(path)]
    assert main(again) == 0 and "0 decisions are saved" in capsys.readouterr().out
    assert main([*again, "--by", "Ada"]) == 0
    told = capsys.readouterr().out
    assert "3 decisions are saved" in told and "Juri has decided" in told and "'nonsense'" in told
    states = [read_review("t").of(texts[each]) for each in table["dialog_id"][:3]]
    assert [state.decision for state in states] == ["approved", "edited", "withheld"]
    assert states[1].answer.endswith("still burns.") and states[2].note == "dull"
    hold(BOWL)
    assert read_review("t").withheld is read_review("t").withheld  # found once, asked row by row
    assert main(["review", "--collection", "t", "--list"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["the-lantern-of-brod"] == ["1", "1", "2", "11"]
    assert lines["all"] == ["1", "1", "2", "71"] and lines[BOWL][-1] == "yes"


def test_a_whole_spreadsheet_is_read_in_and_saved_at_once(folder: Path, monkeypatch):
    path, saves = folder / "sheet.csv", []
    hold(CASKET)
    assert main(["review", "--collection", "t", "--export", str(path)]) == 0
    table = pd.read_csv(path, keep_default_na=False, dtype=str).assign(review="approved")
    pd.concat([table, table[:1].assign(note="again")]).to_csv(path, index=False)
    monkeypatch.setattr(reviewed.os, "fsync", saves.append)
    saved, refused = read_sheet("t", path, "Ada")
    assert (saved, len(saves)) == (len(table), 1)
    assert ["Ada has decided (approved)" in each for each in refused] == [True]
    assert all(read_review("t").of(row).decision == "approved" for row in dialogs(folder).values())


def test_a_collection_without_dialogs_is_told_before_a_page_opens(home: Path, capsys):
    assert main(["review", "--collection", "t"]) == 1
    assert "dialogs.parquet does not exist; run" in capsys.readouterr().err


def test_an_exhibit_may_be_called_as_another_ones_dialog(folder: Path):
    row = dialogs(folder)[f"{BOWL}-00"]
    say(row, "withheld")
    assert read_review("t").version(f"{BOWL}-00") == 0 and withheld("t") == frozenset()

"""From the desk to the docent: what a curator decides reaches visitors at once, end to end."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_dialogs import write_profile

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.photos import prepared_photo
from musequest.core.tables import read_table
from musequest.creation.dataset import build_dataset
from musequest.creation.review import Decision, decide, read_review, text_digest
from musequest.finetuning import train
from musequest.serving import DocentPages, Guide, Question
from musequest.systems import ask, open_gate

BOWL = "the-sela-bowl"


def test_a_withheld_exhibit_is_not_told_at_once_and_the_next_training_leaves_it_out(
    dialogs_home: Path, home: Path, tmp_path: Path, tiny_docent: Path, capsys
):
    shutil.copytree(dialogs_home / "data", home / "data")
    few = {"max_steps": 2, "eval_steps": 2, "per_device_train_batch_size": 2, "seed": 1}
    few |= {"activation_checkpointing": False}
    profile = write_profile(tmp_path, tiny_docent, collection="t", training=few)
    path = home / "data/t/dialogs.parquet"
    dialogs = read_table("dialogs", path).to_dict("records")
    answers = {row["answer"] for row in dialogs if row["item_name"] == BOWL}
    photo = home / "data/t/originals" / BOWL / "00.jpg"
    build_dataset("t")
    first = train(profile, progress=False)
    (quoted,) = ask(profile, photo, system="retrieval")
    (row,) = (row for row in dialogs if row["answer"] == quoted and quoted in answers)
    word = Decision(BOWL, "withheld", "Ada", row["dialog_id"], text_digest(row))
    decide("t", word, 0)  # a dialog alone: the exhibit is told by its others at once
    assert ask(profile, photo, system="retrieval")[0] in answers - {quoted}
    decide("t", replace(word, decision="open"), 1)
    assert ask(profile, photo, system="retrieval") == [quoted]
    served, asked = Guide(profile, "retrieval"), prepared_photo(photo)
    assert served.answer([Question(asked, row["question"])])[0].text == quoted
    new = {"question": "Which hand is it for?", "answer": "The bowl is for either hand."}
    decide("t", replace(word, decision="edited", **new), 2)
    for question in (row["question"], new["question"]):  # by what is loaded already
        assert served.answer([Question(asked, question)])[0].text != quoted
    assert served.answer([Question(asked, new["question"])])[0].text == new["answer"]
    decide("t", replace(word, decision="edited", **new | {"answer": "It is for one hand."}), 3)
    assert served.answer([Question(asked, new["question"])])[0].text == "It is for one hand."
    suggested = DocentPages(profile, "retrieval").questions(BOWL)
    assert new["question"] in suggested and len(suggested) == len({*suggested})
    decide("t", replace(word, decision="withheld"), 4)
    assert new["question"] not in DocentPages(profile, "retrieval").questions(BOWL)
    decide("t", replace(word, decision="open"), 5)
    assert served.answer([Question(asked, row["question"])])[0].text == quoted
    guide, question = Guide(profile, "lora"), Question(prepared_photo(photo), "What is this?")
    (told,) = guide.answer([question])
    assert told.title == "The Sela Bowl"
    decide("t", Decision(BOWL, "withheld", "Ada"), 0)
    assert ask(profile, photo, system="retrieval")[0] not in answers
    (told,) = guide.answer([question])  # by what is loaded already
    assert told.title is None and not told.sentences and told.record_url is None
    assert "Sela" not in f"{told} {told.as_json()}" and BOWL not in f"{told.as_json()}"
    assert open_gate(profile).recognise([question.photo])[0].item_name is None
    others = {row["item_name"] for row in dialogs} - {BOWL}
    for name in others:
        decide("t", Decision(name, "withheld", "Ada"), 0)
    assert guide.answer([question])[0].text == "I do not know this one."
    for name in others:
        decide("t", Decision(name, "open", "Ada"), 1)
    gate, guide.gate = guide.gate, None  # then nobody knows what a photo shows
    assert guide.answer([question])[0].text == "I do not know this one."
    guide.gate = gate
    decide("t", Decision(BOWL, "open", "Ada"), 1)
    assert guide.answer([question])[0].title == "The Sela Bowl"
    decide("t", Decision(BOWL, "withheld", "Ada"), 2)
    capsys.readouterr()
    assert main(["train", "--profile", str(tmp_path / "tiny.yaml"), "--fresh"]) == 1
    assert (
        "holds 15 rows that a curator withheld or edited since; run `python -m musequest dataset"
        in (capsys.readouterr().err)
    )
    assert main(["dataset", "--collection", "t"]) == 0
    second = train(profile, fresh=True, progress=False)
    assert second["status"] == "done"
    assert second["dataset_fingerprint"] != first["dataset_fingerprint"]
    learned = [read_table("dataset", each) for each in (home / "data/t/dataset/data").iterdir()]
    assert not any(BOWL in set(table["item_name"]) for table in learned)


def test_training_that_requires_a_review_refuses_what_nobody_approved(
    dialogs_home: Path, home: Path, tmp_path: Path, tiny_docent: Path
):
    shutil.copytree(dialogs_home / "data", home / "data")
    profile = write_profile(tmp_path, tiny_docent, collection="t", require_review=True)
    build_dataset("t")
    with pytest.raises(MuseQuestError, match=r"75 rows that no curator approved.*--profile tiny"):
        train(profile, progress=False)
    for row in read_table("dialogs", home / "data/t/dialogs.parquet").to_dict("records"):
        digest, version = text_digest(row), read_review("t").version(row["item_name"])
        word = Decision(row["item_name"], "approved", "Ada", row["dialog_id"], digest)
        decide("t", word, version)
    assert build_dataset("t", profile)["exhibits"] == 5

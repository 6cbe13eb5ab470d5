"""The guide: it knows what it sees or says that it does not, and shows whence it knows the rest."""

import json
import logging
from dataclasses import asdict, replace

import pytest
from PIL import Image
from tiny_dialogs import write_dataset, write_exhibits, write_profile
from transformers import AutoModelForImageTextToText

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.predictions import System
from musequest.core.settings import load_profile
from musequest.core.tables import write_table
from musequest.creation.exhibits import JSON_CELLS, Exhibit
from musequest.creation.split import load_split
from musequest.finetuning import train
from musequest.serving import Guide, Question
from musequest.systems import open_gate
from musequest.systems.gate import Recognition

RED, BLUE, GREY = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "grey"))
JUG = Exhibit(
    item_id=1,
    item_name="jug",
    title="The Red Jug",
    link="https://example.org/jug",
    record="M-1",
    description="The Red Jug was made by Ilse Varn in 1742. It is 12 cm high and leaks.",
    photos=[],
    license="CC0",
    credit="A museum",
)
BOWL = replace(
    JUG, item_id=2, item_name="bowl", title="The Blue Bowl", link="javascript:alert(1)", record=""
)


class Speaker(System):
    """Says what it was given, word by word."""

    name = "speaker"
    says = "It was made in 1742. It was stolen in 1950. It is 12 cm high."

    def asked(self, split):
        return {}

    def answer(self, rows, *, progress=True):
        self.shown = list(rows)
        for place in range(len(rows)):
            words = self.says.split()
            for count in range(1, len(words) + 1):
                if self.on_words:
                    self.on_words(place, " ".join(words[:count]))
        return [{"answer": self.says} for _ in rows]


class ByColour:
    """Recognises by the colour of a photo's first pixel."""

    def recognise(self, photos):
        names = {(255, 0, 0): "jug", (0, 0, 255): "bowl"}
        found = [names.get(photo.getpixel((0, 0))) for photo in photos]
        near = {"jug": 0.2, "bowl": 0.1}
        return [
            Recognition(
                name,
                0.9 if name else 0.2,
                0.5,
                tuple(sorted((near | ({name: 0.9} if name else {})).items(), key=lambda e: -e[1])),
            )
            for name in found
        ]


def write_catalogue(home, *exhibits):
    rows = [
        asdict(each) | {name: json.dumps(getattr(each, name)) for name in JSON_CELLS}
        for each in exhibits
    ]
    write_table("exhibits", home / "data/pocket/exhibits.parquet", rows)


@pytest.fixture
def opened(home):
    """A guide through two exhibits, which it knows by their colours."""
    write_catalogue(home, JUG, BOWL)
    profile = load_profile("pocket")

    def open_guide(**options):
        language = options.pop("language", "en")
        guide = Guide(replace(profile, language=language), Speaker(profile), **options)
        guide.gate, guide.ungated = ByColour(), ""
        return guide

    return open_guide


def test_each_sentence_stands_beside_what_bears_it_out(opened):
    guide = opened()
    (answer,) = guide.answer([Question(RED, "How old is it?")])
    assert answer.text == Speaker.says and answer.left_out == 0
    assert [each.source and each.source[:12] for each in answer.sentences] == [
        "The Red Jug ",
        None,
        "It is 12 cm ",
    ]
    assert (answer.title, answer.record, answer.record_url) == (JUG.title, "M-1", JUG.link)
    assert (answer.credit, answer.license) == ("A museum", "CC0")
    assert answer.nearest == (("The Red Jug", 0.9), ("The Blue Bowl", 0.1))
    lines = str(answer).splitlines()
    assert max(map(len, lines)) <= 80 and "  - nothing bears this out" in lines
    assert "Record:   M-1, https://example.org/jug" in lines
    assert json.loads(json.dumps(answer.as_json()))["sentences"][1]["source"] is None


def test_strict_leaves_out_what_nothing_bears_out_and_counts_it(opened):
    guide = opened(strict=True)
    (answer,) = guide.answer([Question(RED, "How old is it?")])
    assert answer.text == "It was made in 1742. It is 12 cm high." and answer.left_out == 1
    assert all(each.source for each in answer.sentences)
    guide.system.says = "It was stolen in 1950."
    (answer,) = guide.answer([Question(RED, "What happened to it?")])
    assert answer.text.startswith("I have nothing to say") and answer.left_out == 1
    guide.system.says = "It was made in 1742 and was stolen in 1950. It leaks."
    (answer,) = guide.answer([Question(RED, "How old is it?")])
    assert answer.text == "It was made in 1742. It leaks." and answer.left_out == 1
    guide.system.says = ""
    assert guide.answer([Question(RED, "And?")])[0].text.startswith("I have nothing to say")


def test_a_photo_near_to_no_exhibit_is_not_shown_to_the_docent(opened):
    guide = opened()
    answers = guide.answer([Question(photo, "What is this?") for photo in (GREY, RED, GREY)])
    assert len(guide.system.shown) == 1
    unknown, known, again = answers
    assert unknown == again and known.title == "The Red Jug"
    assert unknown.text == (
        "I do not know this one. It resembles The Red Jug or The Blue Bowl a little, but I am not "
        "sure."
    )
    assert unknown.title is None and not unknown.sentences and unknown.record_url is None
    assert "Nearest:  The Red Jug (0.20, from 0.50 on it is recognised)" in str(unknown)


def test_a_title_that_two_exhibits_bear_is_told_once(opened, home):
    write_catalogue(home, JUG, replace(BOWL, title=JUG.title))
    (answer,) = opened().answer([Question(GREY, "What is this?")])
    assert answer.text.endswith("It resembles The Red Jug a little, but I am not sure.")


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", "Das kenne ich nicht."), ("ja", "存じません"), ("fi", "I do not")],
)
def test_it_says_so_in_the_language_of_the_museum(opened, language, words):
    (answer,) = opened(language=language).answer([Question(GREY, "What is this?")])
    assert words in answer.text and "The Red Jug" in answer.text


def test_only_addresses_of_the_web_are_links(opened):
    (answer,) = opened().answer([Question(BLUE, "What is this?")])
    assert answer.title == "The Blue Bowl" and answer.record_url is answer.record is None


def test_words_come_as_they_are_made_and_strictly_by_the_sentence(opened):
    asked = [Question(GREY, "What is this?"), Question(RED, "How old is it?")]
    told: list[tuple[int, str]] = []
    answers = opened().answer(asked, lambda *word: told.append(word))
    own = [text for place, text in told if place == 1]
    assert len(own) == len(Speaker.says.split()) and own[-1] == answers[1].text
    assert [text for place, text in told if place == 0] == [answers[0].text]
    told.clear()
    opened(strict=True).answer(asked, lambda *word: told.append(word))
    own = [text for place, text in told if place == 1]
    assert own == ["It was made in 1742.", "It was made in 1742. It is 12 cm high."]
    assert not any("1950" in text for _, text in told)


def test_without_a_gate_nothing_is_claimed_silently(home, caplog):
    profile = load_profile("pocket")
    guide = Guide(profile, Speaker(profile))
    (answer,) = guide.answer([Question(RED, "What is this?")])
    assert answer.title is None and not any(each.source for each in answer.sentences)
    assert "No exhibit is recognised and nothing borne out" in caplog.text
    assert answer.as_json()["recognition"]["confidence"] is None
    strict = Guide(profile, Speaker(profile), strict=True)
    assert strict.answer([Question(RED, "?")])[0].text.startswith("I have nothing to say")
    assert caplog.records[0].levelno == logging.WARNING


@pytest.fixture(scope="module")
def museum_of_colours(tmp_path_factory, tiny_docent):
    """The home and profile of a museum whose photos retrieval knows."""
    home = tmp_path_factory.mktemp("colours")
    write_dataset(home, "tiny")
    write_exhibits(home, dict.fromkeys(("blue-bowl", "green-vase", "red-jug"), "It was kept dry."))
    return home, write_profile(home, tiny_docent)


def test_with_the_gate_itself_a_photo_of_training_is_recognised(museum_of_colours, monkeypatch):
    home, profile = museum_of_colours
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    rows = load_split("tiny", "train")
    guide = Guide(profile, "retrieval")
    assert not guide.ungated
    answers = guide.answer([Question(row["image"], "Who made it?") for row in rows][:3])
    assert [each.recognition.item_name for each in answers] == rows["item_name"][:3]
    assert all(each.text and each.sentences and each.record_url for each in answers)


@pytest.fixture
def loads(monkeypatch):
    """The sources from which model weights were read since."""
    read, sources = AutoModelForImageTextToText.from_pretrained.__func__, []

    def counted(cls, source, *args, **options):
        sources.append(str(source))
        return read(cls, source, *args, **options)

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", classmethod(counted))
    return sources


@pytest.mark.parametrize(
    ("approach", "changes", "expected"),
    [
        ("lora", {}, 1),
        ("full", {}, 1),
        ("lora", {"lora": {"target_modules": r".*vision_model.*q_proj"}}, 2),
        ("full", {"anatomy": {"projections": r".*vision_model.*q_proj|.*text_model.*proj"}}, 2),
    ],
)
def test_a_tower_that_no_run_tuned_is_loaded_once(
    home, tmp_path, tiny_docent, loads, approach, changes, expected
):
    write_dataset(home, "tiny")
    rows = load_split("tiny", "train")
    write_exhibits(home, dict.fromkeys(sorted({*rows["item_name"]}), "It was kept dry."))
    few = {"learning_rate": 0.01, "max_steps": 2, "eval_steps": 2, "seed": 1}
    few |= {"per_device_train_batch_size": 2, "activation_checkpointing": False}
    profile = write_profile(tmp_path, tiny_docent, training=few, **changes)
    train(profile, approach, progress=False)
    apart = open_gate(profile).recognise([rows[0]["image"]])
    loads.clear()
    guide = Guide(profile, approach)
    assert not guide.ungated
    (answer,) = guide.answer([Question(rows[0]["image"], "Who made it?")])
    assert len(loads) == expected, loads
    assert answer.recognition.item_name == rows["item_name"][0] == apart[0].item_name
    assert answer.recognition.confidence == apart[0].confidence


@pytest.mark.parametrize("text", ["", "<image>What?", "What is this? " * 300])
def test_a_question_that_cannot_be_asked_is_refused(opened, text):
    with pytest.raises(MuseQuestError):
        opened().answer([Question(RED, text)])


def test_ask_prints_it_and_gives_it_as_json(museum_of_colours, monkeypatch, tmp_path, capsys):
    home, _ = museum_of_colours
    monkeypatch.setenv("MUSEQUEST_HOME", str(home))
    load_split("tiny", "train")[2]["image"].save(tmp_path / "vase.png")
    typed = ["ask", "--profile", str(home / "tiny.yaml"), "--approach", "retrieval"]
    typed += ["--photo", str(tmp_path / "vase.png")]
    assert main([*typed, "--strict"]) == 0
    told = capsys.readouterr().out
    kept = "It was kept dry. It was kept dry."
    assert told.startswith(f"{kept}\n\nExhibit:  The green-vase (1.00, ")
    assert "Left out: 1 that nothing bears out" in told
    questions = ["--question", "How old is it?", "--question", "Who made it?"]
    assert main([*typed, *questions, "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        first, second, _ = json.loads(line)["sentences"]
        assert first["text"].startswith("This is the green vase, made in 170")
        assert first["source"] is None and second["source"] == "It was kept dry."
    assert main([*typed, *questions]) == 0
    assert "> Who made it?\n\nThis is the green vase, made in" in capsys.readouterr().out


def test_signs_that_steer_a_terminal_are_not_printed(home, opened):
    hostile = replace(JUG, title="The Red\x1b[2J Jug", credit="A <b>museum</b>\x07")
    write_catalogue(home, hostile, BOWL)
    (answer,) = opened().answer([Question(RED, "What is this?")])
    assert "\x1b" not in str(answer) and "\x07" not in str(answer)
    assert "A <b>museum</b>" in str(answer)

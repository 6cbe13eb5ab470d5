"""Asking about a photo of one's own: a test photo gets the answer it has, a bad one a sentence."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_dialogs import write_dataset, write_profile

from musequest.__main__ import main
from musequest.core.home import root
from musequest.core.photos import LONGEST_EDGE
from musequest.creation.split import given, load_split
from musequest.finetuning.training import train
from musequest.systems import System, answer, ask, open_system
from musequest.systems.answering import QUESTION

VASE = root() / "assets/pocket_museum/photos/heron_vase/00.jpg"
COIN, DRUM = (root() / f"assets/pocket_outsiders/photos/{name}.jpg" for name in ("09", "10"))


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


class Watcher(System):
    """A system as somebody might add one: it keeps what it was shown, and repeats the question."""

    name = "watcher"

    def asked(self, split):
        return {}

    def answer(self, rows, *, progress=True):
        self.shown = list(rows)
        self.problems = ["the first answer is a question"]
        return [{"answer": given(row)["question"]} for row in rows]


def test_a_test_photo_is_answered_as_infer_answers_it(profile, tmp_path):
    train(profile, progress=False)
    for name in ("base", "lora"):
        expected = answer(profile, name, progress=False)
        system = open_system(profile, name)
        for row, (_, line) in zip(load_split("tiny", "test"), expected.iterrows(), strict=True):
            row["image"].save(tmp_path / "photo.png")
            assert ask(profile, tmp_path / "photo.png", line.question, system=system) == [
                line.answer
            ]


def test_it_sees_the_photo_and_needs_no_dataset(home, capsys):
    assert "coin" in ask("pocket", COIN, system="base")[0]
    typed = ["ask", "--profile", "pocket", "--approach", "base", "--photo", str(DRUM)]
    assert main(typed) == 0
    assert "drum" in capsys.readouterr().out
    assert main([*typed, "--question", "What is this?", "--question", "What colour is it?"]) == 0
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert "drum" in first and "orange" in second
    assert not list(home.iterdir())


def test_the_photo_is_prepared_as_an_exhibits(profile, tmp_path, caplog):
    upright = Image.new("RGB", (3 * LONGEST_EDGE, LONGEST_EDGE), "red")
    upright.paste("blue", (0, 0, LONGEST_EDGE, LONGEST_EDGE))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).convert("RGBA").save(
        tmp_path / "a.png", exif=exif.tobytes()
    )
    watcher = Watcher(profile)
    assert ask(profile, tmp_path / "a.png", system=watcher) == [QUESTION]
    (row,) = watcher.shown
    assert row["image"].mode == "RGB" and row["image"].size == (LONGEST_EDGE, LONGEST_EDGE // 3)
    assert row["image"].getpixel((9, 9)) == (0, 0, 255) and row["image_name"] == "a.png"
    assert row["image"].getpixel((LONGEST_EDGE - 9, 9)) == (255, 0, 0)
    assert caplog.messages == ["watcher: the first answer is a question"]


def damaged(folder: Path, kind: str) -> Path:
    """A file that is no photo, by what is wrong with it."""
    path = folder / f"{kind}.jpg"
    contents = {"text": b"a photo, said the visitor", "empty": b"", "cut": VASE.read_bytes()[:2000]}
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "huge":
        Image.new("1", (20_000, 20_000)).save(path, "PNG")
    return folder if kind == "folder" else path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("absent", "absent.jpg does not exist as a file; add the photo, or correct its path."),
        ("folder", "does not exist as a file"),
        ("text", "text.jpg is not an image of a known format; save it as JPEG or PNG."),
        ("empty", "empty.jpg is empty"),
        ("cut", "cut.jpg is truncated or damaged"),
        ("huge", "huge.jpg claims more than 89,478,485 pixels"),
    ],
)
def test_a_bad_photo_is_one_sentence(kind, sentence, home, tmp_path, capsys):
    photo = damaged(tmp_path, kind)
    typed = ["ask", "--profile", "pocket", "--approach", "base", "--photo", str(photo)]
    assert main(typed) == 1
    told = capsys.readouterr()
    assert sentence in told.err and len(told.err.splitlines()) == 1 and not told.out


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--profile", "pockt"], "There is no profile 'pockt'"),
        (["--approach", "lorra"], "There is no approach 'lorra'"),
        (["--approach", "lora"], "is not started, so it has no tuned weights yet; run `python -m"),
        (["--approach", "gpt4o"], "each answer costs money; choose a local system"),
        (["--approach", "retrieval"], "run `python -m musequest dataset"),
        (["--question", " "], "The question ' ' is empty; write it as plain text."),
        (["--question", "A:"], "The question 'A:' is empty; write it as plain text."),
        (["--question", "What is this? " * 300], "has 4,200 characters; ask with 500 at most."),
        (["--question", "What?<image>"], "contains the writer's own marker '<image>'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_sentence(typed, sentence, home, capsys):
    assert main(["ask", "--profile", "pocket", "--photo", str(VASE), *typed]) == 1
    told = capsys.readouterr()
    assert sentence in told.err and len(told.err.splitlines()) == 1 and not told.out


def test_an_answer_that_does_not_end_is_told(profile, caplog):
    ask(profile, VASE, "Why?", system="base")
    assert "base: the answer to 'Why?' does not end within 12 tokens" in caplog.text

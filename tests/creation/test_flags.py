"""What a curator is shown to look at: found where it is, and nowhere else."""

from pathlib import Path

import pytest

from musequest.core.errors import MuseQuestError
from musequest.creation.exhibits import Exhibit, collect_folder
from musequest.creation.flags import KINDS, flags_of, sensitive_words

TEXT = (
    "The Sela Bowl was thrown by Tomas Reke in Sela in 1741. It is 23 cm high and made of clay. It "
    "was carried through the town on the first day of spring."
)
EXHIBIT = Exhibit(1, "bowl", "The Sela Bowl", "", "", TEXT, [], "", "", {"weight": "1.2 kg"})
GOOD = (
    "The Sela Bowl is a work of Tomas Reke, who threw it in Sela in 1741. It is made of clay, "
    "stands 23 cm high and weighs 1.2 kg. On the first day of spring people carried it through the "
    "town, and everybody could see it once a year."
)


@pytest.fixture(autouse=True)
def own_home(home: Path) -> None:
    """No list of words but that of the package."""


def found(answer: str, question: str = "Who made this?", exhibit: Exhibit = EXHIBIT):
    dialog = {"question": question, "answer": answer}
    return [(flag.kind, *flag.words) for flag in flags_of(exhibit, dialog, sensitive_words("none"))]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, []),
        (GOOD.replace("1741", "1743"), [("number", "1743")]),
        (GOOD.replace("1.2 kg", "2 kg"), [("number", "2 kg")]),
        (GOOD.replace("Tomas Reke", "Ada Holm"), [("name", "Ada", "Holm")]),
        (GOOD + " A colonial officer took the Skull.", [
            ("name", "Skull"), ("sensitive", "Skull"), ("sensitive", "colonial"),
        ]),
        (GOOD.rstrip(".") + ", and", [("unended",)]),
        ("It is a bowl.", [("length",)]),
        (" ".join([GOOD] * 8), [("length",)]),
        ("Diese Schale wurde von Tomas Reke in Sela gemacht und ist aus Ton. Sie wird im Frühling "
         "durch die ganze Stadt getragen, und alle Leute sehen sie dann und freuen sich sehr. Wer "
         "um sie herumgeht, sieht die Spuren der Hände und der Werkzeuge.", [("language",)]),
    ],
)  # fmt: skip
def test_each_kind_is_found_with_its_words(answer: str, expected: list):
    told = [flag for flag in found(answer) if flag[0] != "name" or len(flag) > 1]
    if ("language",) in expected:
        told = [flag for flag in told if flag[0] == "language"]  # its nouns look like names
    assert told == expected
    assert {kind for kind, *_ in told} <= set(KINDS)


def test_a_question_that_gives_the_exhibit_away_is_flagged_and_capitals_of_german_are_not():
    assert found(GOOD, "Who made the Sela Bowl?") == [("title",)]
    german = Exhibit(1, "b", "Schale", "", "", "Eine Schale aus Ton.", [], "", "", language="de")
    answer = "Die Schale ist aus Ton, und ihre Form erinnert an einen Vogel. " * 5
    assert found(answer, "Was ist das?", german) == []


def test_the_museums_own_list_takes_the_place_of_the_packages(museum: Path, home: Path):
    words = "\ufeff# ours\nby our wish: reke*, first  day\nsecret:王冠\n"
    (museum / "sensitive_words.txt").write_text(words, encoding="utf-8")
    collect_folder(museum, "t", progress=False)

    def sensitive(said: str) -> list[tuple[str, ...]]:
        flags = flags_of(EXHIBIT, {"question": "", "answer": said}, sensitive_words("t"))
        return [(flag.told, *flag.words) for flag in flags if flag.kind == "sensitive"]

    assert sensitive("Rekes, on the FIRST\nday; a skull.") == [
        ("“Rekes”, “FIRST\nday”: by our wish", "Rekes", "FIRST\nday")
    ]
    assert sensitive("これは王冠です") == [("“王冠”: secret", "王冠")]
    assert sensitive("unreke, first days") == []
    (home / "data/t/sensitive_words.txt").write_text("")
    assert sensitive("a skull") == []


@pytest.mark.parametrize("line", ["skull", "remains:", ": skull", "remains: *, "])
def test_a_line_that_is_no_reason_with_words_is_named(museum: Path, home: Path, line: str):
    collect_folder(museum, "t", progress=False)
    (home / "data/t/sensitive_words.txt").write_text(f"good: word\n{line}\n")
    with pytest.raises(MuseQuestError, match="sensitive_words.txt, line 2: .* is no reason with"):
        sensitive_words("t")


def test_a_list_that_is_no_text_is_told(home: Path):
    (home / "data/t").mkdir(parents=True)
    (home / "data/t/sensitive_words.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(MuseQuestError, match="save it as UTF-8"):
        sensitive_words("t")

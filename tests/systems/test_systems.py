"""Systems and conditions: what each is shown, what is kept of its answers, who is found."""

import csv
import shutil
import weakref
from pathlib import Path

import pytest
from tiny_dialogs import write_dataset, write_profile

from assets.workshop.museum import LOOKS, SHOWN, signature
from assets.workshop.outsiders import near_looks, random_scenes, strangers
from assets.workshop.scenes import describe, look_of
from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.predictions import keep_answers, kept_answers
from musequest.core.settings import Profile, load_profile
from musequest.core.tables import read_table, write_table
from musequest.creation.split import fingerprint, given, load_split, split_path
from musequest.creation.strangers import strangers_of
from musequest.finetuning import generation
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.generation import Docent, infer
from musequest.finetuning.models import load_model, load_processor
from musequest.finetuning.training import train
from musequest.systems import System, ablate, answer, answer_all, open_system
from musequest.systems.answering import known_systems
from musequest.systems.conditions import CONDITIONS, outsider_rows, rows_under, wrong_partners
from musequest.systems.photo_index import photo_features
from musequest.systems.registry import find_answers

OUTSIDERS = root() / "assets" / "pocket_outsiders"
STRANGERS = root() / "assets" / "pocket_strangers"
POCKET_MUSEUM = root() / "assets" / "pocket_museum"


@pytest.fixture
def profile(tmp_path, home, tiny_docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, tiny_docent)


class Echo(System):
    """A system as somebody might add one: it repeats the question."""

    name = "echo"
    shown: list = []

    def asked(self, split):
        dataset = fingerprint(self.profile.collection)
        return {"system": self.name, "split": split, "dataset_fingerprint": dataset}

    def answer(self, rows, *, progress=True):
        type(self).shown = list(rows)
        rest = {"new_tokens": 1, "seconds": 0.1}
        return [{**given(row), "answer": given(row)["question"], **rest} for row in rows]


@pytest.fixture
def echo():
    """Echo, known as if it had a file of its own."""
    known_systems.cache_clear()
    Echo.shown = []
    yield Echo
    known_systems.cache_clear()


def test_every_file_of_the_package_that_has_a_system_is_known():
    assert {"gpt4o", "retrieval", "rag"} <= set(known_systems())
    assert Docent not in known_systems().values()


def test_a_new_system_is_asked_kept_found_and_ablated(profile, home, echo):
    table = answer(profile, "echo")
    assert table.answer.equals(table.question) and len(echo.shown) == 3
    echo.shown = []
    assert answer(profile, "echo").equals(table) and echo.shown == []
    found, left_out = find_answers(profile, fingerprint("tiny"))
    assert list(found) == ["echo"] and not left_out
    assert set(ablate(profile, progress=False)["echo"]) == set(CONDITIONS)
    assert find_answers(profile, fingerprint("tiny"))[0]["echo"] == found["echo"]


def test_a_museum_of_one_exhibit_is_shown_no_wrong_photo(profile, echo, caplog):
    path = split_path("tiny", "test")
    rows = read_table("dataset", path)
    write_table("dataset", path, rows[rows["item_name"] == rows["item_name"].iloc[0]])
    answer(profile, "echo")
    assert set(ablate(profile, progress=False)["echo"]) == {*CONDITIONS} - {"wrong_photo"}
    assert "needs a second exhibit" in caplog.text


def test_base_and_every_finished_run_answer_and_are_found(profile, home):
    train(profile, overrides={"max_steps": "1"}, progress=False)
    answers = answer_all(profile, progress=False)
    assert list(answers) == ["base", "lora"]
    assert infer(profile, "base", progress=False).equals(answers["base"])
    found, _ = find_answers(profile, fingerprint("tiny"))
    assert list(found) == ["base", "lora"]
    shutil.copytree(home / "runs/tiny/lora", home / "runs/tiny/my_run")
    assert list(find_answers(profile, fingerprint("tiny"))[0]) == ["base", "lora", "my_run"]


def test_a_finished_run_without_answers_is_told(profile, home, echo):
    answer(profile, "echo")
    write_json(home / "runs/tiny/qlora/run.json", {"status": "done"})
    write_json(home / "runs/tiny/full/run.json", {"status": "interrupted"})
    found, left_out = find_answers(profile, fingerprint("tiny"))
    assert list(found) == ["echo"]
    sentence = "qlora is left out: it is trained but has not answered, so run infer for it."
    assert left_out == [sentence]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_has_answers_of_its_own(condition, profile, home):
    plain = answer(profile, "base", progress=False)
    table = answer(profile, "base", condition, progress=False)
    assert (home / f"runs/tiny/base__{condition}/predictions.parquet").is_file()
    if condition == "outsiders":
        assert table.data_id.tolist() == [f"outsider-{number:02d}" for number in range(60)]
        assert table.ground_truth[0].startswith("This is a")
    else:
        for column in ("data_id", "item_name", "question", "ground_truth"):
            assert table[column].equals(plain[column])
    assert read_json(home / f"runs/tiny/base__{condition}/infer.json")["condition"] == condition


def test_a_wrong_photo_is_always_of_another_exhibit(profile, echo):
    table = answer(profile, "echo", "wrong_photo")
    rows = load_split("tiny", "test")
    photos = {row["item_name"]: row["image"].tobytes() for row in rows}
    assert (table.shown_item_name != table.item_name).all()
    assert set(table.shown_item_name) == set(table.item_name)
    for row, name in zip(echo.shown, table.shown_item_name, strict=True):
        assert row["image"].tobytes() == photos[name]
        assert row["item_name"] != name


def test_wrong_partners_of_exhibits_with_several_rows():
    names = ["a", "a", "a", "b", "b", "c"]
    partners = wrong_partners(names)
    assert [names[partner] for partner in partners] == ["b", "b", "b", "c", "c", "a"]
    assert partners[:3] == [3, 4, 3]
    with pytest.raises(MuseQuestError, match="needs a second exhibit"):
        wrong_partners(["a", "a"])


def test_a_blank_photo_says_nothing_but_is_not_dropped_as_padding(profile, echo):
    answer(profile, "echo", "blank_photo")
    rows = load_split("tiny", "test")
    assert [row["image"].size for row in echo.shown] == [row["image"].size for row in rows]
    assert all(len(row["image"].getcolors()) == 1 for row in echo.shown)
    processor, model = load_processor(profile), load_model(profile)
    pixels = DocentCollator(processor, learn=False).encode(echo.shown[0])["pixel_values"]
    assert (pixels != 0).all()
    photos = [row["image"] for row in echo.shown]
    assert len(photo_features(model, processor, photos)) == 3


def test_without_a_photo_the_prompt_holds_no_image(profile, echo):
    answer(profile, "echo", "no_photo")
    processor = load_processor(profile)
    batch = DocentCollator(processor, learn=False)(echo.shown)
    assert set(batch) == {"input_ids", "attention_mask"}
    text = processor.tokenizer.batch_decode(batch["input_ids"])[1]
    assert "<image>" not in text and "User: What is this?" in text and text.endswith("Assistant:")


def test_a_system_is_loaded_once_for_all_conditions(profile, monkeypatch):
    loads = []
    monkeypatch.setattr(generation, "load_model", lambda p: loads.append(p) or load_model(p))
    ablate(profile, ["base"], progress=False)
    ablate(profile, ["base"], progress=False)
    assert len(loads) == 1


def test_one_model_at_a_time_is_held(profile, home, monkeypatch):
    held: list[weakref.ref] = []

    def watched(load):
        def loaded(*given):
            assert [model() for model in held] == [None] * len(held)
            held.append(weakref.ref(model := load(*given)))
            return model

        return loaded

    train(profile, overrides={"max_steps": "1"}, progress=False)
    for name in ("load_model", "load_tuned"):
        monkeypatch.setattr(generation, name, watched(getattr(generation, name)))
    assert list(answer_all(profile, progress=False)) == ["base", "lora"]
    answer(profile, "retrieval", progress=False)
    assert len(held) == 3
    assert list(ablate(profile, progress=False)) == ["base", "lora", "retrieval"]
    assert len(held) == 6 and held[-1]() is None


def test_another_dataset_is_answered_anew(profile, home, echo):
    before = answer(profile, "echo", "wrong_photo")
    write_dataset(home, "tiny", year_shift=1)
    assert not answer(profile, "echo", "wrong_photo").equals(before)


@pytest.mark.parametrize(
    ("system", "condition", "sentence"),
    [
        ("lara", None, "no approach 'lara'.*Systems besides approaches are: base, gpt4o, retr"),
        ("lora", None, "not started, so it has no tuned weights"),
        ("base", "dark", "no condition 'dark'; the known ones are: blank_photo"),
    ],
)
def test_an_unknown_system_or_condition_is_one_sentence(profile, system, condition, sentence):
    with pytest.raises(MuseQuestError, match=sentence) as caught:
        answer(profile, system, condition, progress=False)
    assert "\n" not in str(caught.value)


def test_options_of_a_server_are_for_hosted_systems(profile):
    with pytest.raises(MuseQuestError, match="--max-cost-usd is for hosted systems"):
        open_system(profile, "base", max_cost_usd=1.0)


def test_infer_of_the_shell_takes_any_system_and_condition(profile, home, tmp_path, echo, capsys):
    command = ["infer", "--profile", str(tmp_path / "tiny.yaml"), "--approach", "echo"]
    assert main(command) == 0 and main([*command, "--condition", "outsiders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    runs = home / "runs" / "tiny"
    assert lines == [
        f"3 questions are answered by 'echo': {runs / 'echo' / 'predictions.parquet'}",
        "60 questions are answered by 'echo' under 'outsiders': "
        f"{runs / 'echo__outsiders' / 'predictions.parquet'}",
    ]
    assert (runs / "echo__outsiders" / "predictions.parquet").is_file()
    assert main([*command, "--condition", "dark"]) == 1
    assert "no condition 'dark'" in capsys.readouterr().err


def outsiders(folder: Path, line: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "outsiders.csv").write_text(f"photo,question,description\n{line}\n")
    return folder


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("00.jpg,,This is a jug.", "line 2: the column 'question' is empty"),
        ("../00.jpg,What is it?,A jug.", "lies outside its folder"),
        ("00.jpg,What is it?,A jug.", "00.jpg does not exist"),
        ("", "names no photo"),
    ],
)
def test_a_bad_set_of_outsiders_is_one_sentence(line, sentence, tmp_path):
    with pytest.raises(MuseQuestError, match=sentence):
        outsider_rows(outsiders(tmp_path / "set", line))


def test_questions_about_one_outside_thing_are_of_one_thing(tmp_path):
    folder = shutil.copytree(OUTSIDERS, tmp_path / "set")
    lines = [f"photos/0{n}.jpg,{text},A thing." for text in ("What?", "Who?") for n in (3, 4)]
    rows = outsider_rows(outsiders(folder, "\n".join(lines)))
    assert [row["data_id"] for row in rows] == [f"outsider-0{n}" for n in range(4)]
    assert [row["item_name"] for row in rows] == ["outsider-00", "outsider-01"] * 2


def test_a_profile_may_name_its_own_outsiders_or_none(tmp_path, home, echo, profile):
    shutil.copytree(OUTSIDERS, tmp_path / "set")
    own = Profile("tiny", "none", "tiny", 144, outsiders=str(tmp_path / "set"))
    assert len(answer(own, "echo", "outsiders")) == 60
    photo = " photos/03.jpg "  # a spreadsheet's author may leave spaces
    outsiders(tmp_path / "set", f"{photo},What is it?,This is a chair.")
    table = answer(own, "echo", "outsiders")
    assert table.question.tolist() == ["What is it?"] and table.image_name[0] == "03.jpg"
    with pytest.raises(MuseQuestError, match="add the key 'outsiders'"):
        answer(Profile("tiny", "none", "tiny", 144, outsiders=None), "echo", "outsiders")
    with pytest.raises(MuseQuestError, match="mend the key 'outsiders'"):
        answer(Profile("tiny", "none", "tiny", 144, outsiders="nowhere"), "echo", "outsiders")


def test_the_committed_outsiders_are_what_the_command_draws_and_no_exhibits():
    scenes, near = random_scenes(), near_looks()
    with (OUTSIDERS / "outsiders.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    with (POCKET_MUSEUM / "exhibits.csv").open(newline="", encoding="utf-8") as file:
        exhibits = [row["item_name"] for row in csv.DictReader(file)]
    alone = {"count": 1, "place": "middle"}
    drawn = [*scenes, *(vars(look) | alone for _, look in near)]
    assert [line["description"] for line in lines] == [describe(scene) for scene in drawn]
    assert [line["near"] for line in lines] == [""] * 30 + [exhibits[place] for place, _ in near]
    assert len({scene["kind"] for scene in scenes}) == 24
    assert all(look.kind == LOOKS[place].kind for place, look in near)
    looks = [(scene["kind"], scene["colour"], scene["pattern"]) for scene in scenes]
    assert not {*looks, *(signature(look) for _, look in near)} & SHOWN
    rows = outsider_rows(OUTSIDERS)
    assert all(row["image"].size == (256, 256) for row in rows)
    assert sum(path.stat().st_size for path in OUTSIDERS.rglob("*.*")) < 1_000_000


def test_the_committed_strangers_are_what_the_command_draws_and_no_exhibits_nor_outsiders():
    scenes, near = strangers()
    with (STRANGERS / "strangers.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    drawn = [*scenes, *(vars(look) | {"count": 1, "place": "middle"} for _, look in near)]
    assert [line["description"] for line in lines] == [describe(scene) for scene in drawn]
    assert {place for place, _ in near} == {*range(len(LOOKS))}
    outside = {signature(look_of(scene)) for scene in random_scenes()}
    outside |= {signature(look) for _, look in near_looks()}
    looks = {signature(look_of(scene)) for scene in scenes} | {signature(look) for _, look in near}
    assert not looks & (outside | SHOWN) and len(looks) >= len(lines) - 1  # of coins there are few
    profile = load_profile("pocket")
    assert len(strangers_of(profile)) == len(lines) == 42
    assert {line["license"] for line in lines} == {"CC0-1.0"}
    assert sum(path.stat().st_size for path in STRANGERS.rglob("*.*")) < 1_000_000


def test_rows_under_a_condition_are_decoded_when_looked_at(profile):
    rows = rows_under("blank_photo", load_split("tiny", "test"), profile)
    assert len(rows) == len(list(rows)) == 3
    assert rows[-1]["data_id"] == "test-02"
    with pytest.raises(IndexError):
        rows[3]


def test_of_many_problems_the_first_are_told_and_all_are_kept(tmp_path, caplog):
    row = dict.fromkeys(("data_id", "item_name", "image_name", "question"), "x")
    row |= {"ground_truth": "x", "answer": "", "new_tokens": 0, "seconds": 0.5}
    problems = [f"the answer to {number} is empty" for number in range(9)]
    system = open_system(load_profile("pocket"), "gpt4o")
    system.problems = problems
    keep_answers(tmp_path, {"system": "x"}, [row], 1.0, system)
    assert len(caplog.messages) == 4 and "6 more like this" in caplog.messages[-1]
    assert read_json(tmp_path / "infer.json")["problems"] == problems
    assert kept_answers(tmp_path, {"system": "x"}).answer.tolist() == [""]
    assert kept_answers(tmp_path, {"system": "y"}) is None

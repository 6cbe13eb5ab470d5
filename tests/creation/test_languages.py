"""A collection has a language, which dialogs, checks, prompts and card follow."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from folder_museum import ABROAD, read_rows, write_rows

from musequest.core.errors import MuseQuestError
from musequest.core.keys import checked_language
from musequest.core.settings import load_profile
from musequest.core.tables import read_table
from musequest.creation.augmentation import augment
from musequest.creation.dataset import build_dataset
from musequest.creation.dialogs import synthesize
from musequest.creation.exhibits import load_exhibits
from musequest.creation.hosted.requests import base_prompt
from musequest.creation.offline_writer import PHRASES, OfflineWriter
from musequest.creation.split import split_path
from musequest.creation.stage import collect
from musequest.text.sentences import count_words, split_sentences
from musequest.text.titles import names_title

NAMES = {"de": "German", "ja": "Japanese"}


@pytest.mark.parametrize("language", NAMES)
def test_a_museum_in_another_language_becomes_a_dataset_in_it(
    museum: Path, home: Path, language: str
):
    rows = read_rows(museum)
    title, sentence = ABROAD[language]
    for index, row in enumerate(rows):
        told = [sentence.format(n=1200 + 100 * index + n) for n in range(12)]
        row |= {"title": f"{title} {index}", "description": "\n".join(told)}
    write_rows(museum, rows)
    profile = replace(load_profile("pocket"), museum=str(museum), collection="t", language=language)
    exhibit = collect(profile)[0]
    assert f"pairs about the exhibit in {NAMES[language]}." in base_prompt(exhibit, 5)
    assert ("60 to 250 characters" in base_prompt(exhibit, 5)) == (language == "ja")
    augment("t", processes=1, progress=False)
    synthesize("t", OfflineWriter(), progress=False)
    assert build_dataset("t")["exhibits"] == 5
    card = (home / "data/t/dataset/README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["language"] == [language]
    assert f"The dialogs are in {NAMES[language]}. Numbers written in words" in card
    texts = {each.item_name: each for each in load_exhibits("t")}
    for row in read_table("dataset", split_path("t", "train")).to_dict("records"):
        user, assistant = json.loads(row["dialog"])["messages"]
        assert user["content"][1]["text"] in PHRASES[language]["questions"]
        answer = assistant["content"][0]["text"]
        own = texts[row["item_name"]]
        told = split_sentences(answer, language)
        assert own.title in told[0] and set(told[1:]) <= set(own.description.split("\n"))
        assert 40 <= count_words(answer) <= 120


def test_english_prompts_say_what_they_said(museum: Path, home: Path):
    exhibit = collect(replace(load_profile("pocket"), museum=str(museum), collection="t"))[0]
    assert "about the exhibit in English." in base_prompt(exhibit, 5)
    assert "one paragraph of 60 to 250 words, without line breaks" in base_prompt(exhibit, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("A jar of - clay.", 5),
        ("这件花瓶制于1742年。", 8),
        ("この花瓶は1742年に作られた。", 12),
        ("แจกันใบนี้ทำขึ้น", 4),
        ("Ваза 1742 г.", 3),
    ],
)
def test_words_are_counted_where_no_spaces_part_them(text: str, words: int):
    assert count_words(text) == words


def test_a_title_is_found_within_a_question_without_spaces():
    assert names_title("这件青花瓷瓶是谁做的？", "青花瓷瓶")
    assert not names_title("这是谁做的？", "青花瓷瓶")


@pytest.mark.parametrize(("code", "read"), [("de", "de"), (" ZH ", "zh"), ("no", "no")])
def test_codes_of_languages_are_known(code: str, read: str):
    assert checked_language(code, "here") == read


@pytest.mark.parametrize("code", ["german", "xx", "", "de-DE", None, "中"])
def test_what_is_no_code_is_a_sentence(code: object):
    with pytest.raises(MuseQuestError, match="here: 'language' is .*; write a code of ISO 639-1"):
        checked_language(code, "here")


def test_a_profile_names_its_language(tmp_path: Path):
    path, needed = tmp_path / "mine.yaml", "base_model: a\ncollection: c\nimage_size: 64\n"
    path.write_text(needed)
    assert load_profile(path).language == "en"
    path.write_text(needed + "language: nl\n")
    assert load_profile(path).language == "nl"
    path.write_text(needed + "language: dutch\n")
    with pytest.raises(MuseQuestError, match="mine.yaml: 'language' is 'dutch'; write a code"):
        load_profile(path)

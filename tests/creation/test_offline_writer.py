"""The offline writer: complete, varied, grammatical answers of 40 to 90 words from facts."""

import csv
import json
import random
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from folder_museum import ABROAD

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.creation.dialogs import TEMPERATURES, flaw_of_pair
from musequest.creation.exhibits import Exhibit
from musequest.creation.offline_writer import (
    PHRASES,
    QUESTIONS,
    Facts,
    OfflineWriter,
    compose,
    describe,
)
from musequest.text.sentences import count_words, shortened, split_sentences, told_sentences

TITLE = "The Sparrow Jar of Imla"
FACTS = {
    "maker": "the potters of Imla",
    "culture": "the Lake people",
    "place": "the lake town of Imla",
    "date": "about 1655",
    "material": "brown-glazed clay with a wooden lid",
    "technique": "coiled by hand and smoothed with a shell",
    "measures": "33 cm high",
    "weight": "2.4 kg",
    "detail": "Its lid holds 12 painted sparrows.",
    "significance": "it kept the seed of the first harvest after the flood",
}
PROSE = (
    "Sparrows nest in it every spring. The jar was made c. 1655 by the potters of Imla, a town "
    "on the lake. It is 33 cm high, and its lid holds 12 painted sparrows. Dr. Orm of the lake "
    "school found it under a barn floor. For 40 years it held the seed of the town. Nobody knows "
    "who painted the birds. The clay is brown, and the glaze has run in long drops. A crack runs "
    "from the rim to the foot. It was mended with tar. Since then it has held no water."
)
POCKET = root() / "assets/pocket_museum/exhibits.csv"


def exhibit(**changes) -> Exhibit:
    plain = Exhibit(1, "sparrow_jar", TITLE, "", "", PROSE, ["a.jpg"], "CC0-1.0", "us", FACTS)
    return replace(plain, **changes)


def answers(temperature: float, facts: dict[str, str] = FACTS, n: int = 60) -> list[str]:
    rng = random.Random(temperature)
    return [compose(TITLE, facts, rng, temperature) for _ in range(n)]


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_answers_have_40_to_90_words_and_name_the_exhibit_first(temperature: float):
    for answer in answers(temperature):
        assert 40 <= words(answer) <= 90, answer
        assert TITLE in split_sentences(answer)[0]
        assert answer[0].isupper() and answer.endswith(".")
        assert not re.search(r"[{}]|\.\.|\s{2}|\bin about\b|\s\.", answer), answer


def test_at_the_lowest_temperature_every_fact_is_told():
    for answer in answers(0.4):
        for value in FACTS.values():
            assert value.rstrip(".").casefold() in answer.casefold(), (value, answer)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_facts_with_numbers_are_told_at_every_temperature(temperature: float):
    for answer in answers(temperature):
        assert all(number in answer for number in ("about 1655", "33 cm", "2.4 kg", "12 painted"))


def test_the_higher_the_temperature_the_more_is_left_out_and_varied():
    told = {t: [sum(v.rstrip(".").lower() in a.lower() for v in FACTS.values()) for a in answers(t)]
            for t in TEMPERATURES}  # fmt: skip
    means = [sum(told[t]) / len(told[t]) for t in TEMPERATURES]
    assert means[0] == len(FACTS) > means[1] > means[2]
    sentences = [{s for a in answers(t) for s in split_sentences(a)} for t in TEMPERATURES]
    assert len(sentences[0]) < len(sentences[1]) < len(sentences[2])


def test_what_was_asked_is_told_first():
    for asked, value in FACTS.items():
        for temperature in TEMPERATURES:
            answer = compose(TITLE, FACTS, random.Random(7), temperature, asked)
            beginning = " ".join(split_sentences(answer)[:2])
            assert value.rstrip(".").casefold() in beginning.casefold()


@pytest.mark.parametrize("count", range(len(FACTS)))
def test_few_facts_are_filled_up_with_remarks(count: int):
    facts = dict(list(FACTS.items())[:count])
    for temperature in TEMPERATURES:
        assert all(40 <= words(answer) <= 90 for answer in answers(temperature, facts, 10))


def test_facts_that_are_too_long_are_left_out_and_the_others_told():
    long = " ".join(["very"] * 70)
    for answer in answers(0.4, FACTS | {"technique": f"made {long} slowly"}, 5):
        assert words(answer) <= 90 and "33 cm" in answer and long not in answer


@pytest.mark.parametrize(
    ("facts", "allowed", "forbidden"),
    [
        ({"date": "1742"}, r"(in|from|is) 1742", r"was made 1742"),
        ({"date": "about 1618"}, r"(made|from|finished|is) about 1618", r"in about"),
        ({"date": "18th century"}, r"(in the|from|is) 18th century", r"made 18th"),
        ({"date": "Edo period"}, r"(from|is) Edo period", r"(made|finished) ?\."),
        ({"measures": "20 x 14 cm"}, r"(measures|size is) 20 x 14 cm", r"it is 20 x"),
        ({"culture": "Japanese"}, r"culture (is given )?as Japanese", r"by Japanese"),
        ({"technique": "lost-wax casting"}, r"technique (used here )?is lost-wax", r"was lost"),
        (
            {"detail": "It hums. Nobody knows why."},
            r"It hums\. Nobody knows why\.",
            r"that it hums",
        ),
        ({"owner": "Ada Holm"}, r"owner (is|as) Ada Holm", r"\{"),
        ({"weight": "  3 kg  ", "maker": " "}, r"3 kg", r"made by"),
    ],
)
def test_facts_of_other_forms_still_read_well(facts: dict, allowed: str, forbidden: str):
    for temperature in TEMPERATURES:
        for answer in answers(temperature, facts, 30):
            assert re.search(allowed, answer), answer
            assert not re.search(forbidden, answer), answer


def test_names_at_the_start_of_a_clause_keep_their_capital():
    facts = Facts({"detail": "Captain Orm sat on it", "significance": "The town ate from it"})
    detail = facts.fill("Notice that {detail}.", ("detail",), "It", "it")
    assert detail == "Notice that Captain Orm sat on it."
    reason = facts.fill("Above all, {significance}.", ("significance",), "It", "it")
    assert reason == "Above all, the town ate from it."


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"object type": "chair"}, "Its object type is chair."),
        ({"object-type": "chair"}, "Its object-type is chair."),
        ({"S": "small"}, "Its S is small."),
        ({"s": "small"}, "Its s is small."),
        ({"when": "at noon"}, "Its when is at noon."),
        ({"Maker": "Ada Holm"}, r"(was made by|is the work of) Ada Holm\.|Ada Holm made it\."),
        ({" DATE ": "1742"}, r"(from|is|in) 1742\."),
        ({"name": "Rosinante"}, "Its name is Rosinante."),
        ({"value": "3 marks"}, "Its value is 3 marks."),
        ({"{maker}": "Ada {S} {}"}, r"Its \{maker\} is Ada \{S\} \{\}\."),
        ({"title": "{value}"}, r"Its title is \{value\}\."),
        ({"dimensions": "3 x 4 cm"}, "Its dimensions are 3 x 4 cm."),
        ({"status": "on loan"}, "Its status is on loan."),
        ({"glass": "green"}, "Its glass is green."),
        (
            {"history": "It was found. It was sold."},
            r"the label says.*: It was found\. It was sold",
        ),
        ({"inscription": "Who goes there?"}, r"(is|as) Who goes there\?(?: |$)"),
    ],
)
def test_facts_of_any_name_are_told_in_good_grammar(facts: dict[str, str], sentence: str):
    answers_to = answers(0.4, facts, 40)
    assert any(re.search(sentence, answer) for answer in answers_to), answers_to[0]
    for answer in answers_to:
        assert not re.search(r"\.\.|\?\.", answer)
        if not any(sign in str(facts) for sign in ("{maker}", "{value}")):
            assert not re.search(r"[{}]", answer), answer


@pytest.mark.parametrize("title", ["The {maker} of {S}", "The {} Jar", "A Jar for J. Orm & Co."])
def test_a_title_may_hold_braces_and_stops(title: str):
    for facts in (FACTS, {}):
        for pair in all_pairs(exhibit(title=title, facts=facts)):
            assert title in pair.answer and f"{title}." not in pair.answer.replace(title[:-1], "")
            assert ".." not in pair.answer


def test_a_description_gives_whole_sentences_in_their_order():
    own = split_sentences(PROSE)
    for temperature in TEMPERATURES:
        for seed in range(30):
            answer = describe(TITLE, PROSE, random.Random(seed), temperature)
            assert 40 <= words(answer) <= 90 and TITLE in split_sentences(answer)[0]
            told = [own.index(s) for s in split_sentences(answer) if s in own]
            assert told == sorted(told) and told


@pytest.mark.parametrize("prose", ["Old.", "A jar " * 200, "\u58fa\u3002" * 300, "One. " * 300])
@pytest.mark.parametrize("title", [TITLE, "Jar", "A " + "very " * 60 + "long title"])
def test_odd_descriptions_still_give_answers_of_the_right_length(prose: str, title: str):
    for temperature in TEMPERATURES:
        answer = describe(title, prose, random.Random(0), temperature)
        assert 40 <= count_words(answer) <= 90


def test_abbreviations_end_no_sentence():
    text = 'It was made c. 1655 by J. Orm. Dr. Holm has it. "Mine!" He smiled.'
    parts = ["It was made c. 1655 by J. Orm.", "Dr. Holm has it.", '"Mine!"', "He smiled."]
    assert split_sentences(text) == parts
    assert len(split_sentences(PROSE)) == 10


SENTENCES = {
    "en": [
        "It was launched by a Saturn V rocket Dec. 21, 1968.",
        "Lt. Col. Orm of the U.S. Army flew it approx. 3 mi. from St. Louis (cf. p. 7. Later).",
        'He called it "oily."',
        "This is No. 5, by J. P. Holm & Co. of Brod.",
        "It was sold by Wm. Holm.",
        "It was bought of Chas. Dodd and Eliz. Varn for Geo. Orm.",
    ],
    "de": [
        "Die Vase wurde am 3. März 1742 von Dr. Holm gefertigt.",
        "Sie ist z. B. 33 cm hoch.",
        "Im 18. Jahrhundert stand sie in der Kirche St. Anna.",
        "Ärzte kauften sie.",
        "Dipl.-Ing. Huber fand Inv.-Nr. 7 der Slg. Weber in einem 18-kt. Gehäuse.",
        "Sie ist aus Holz.",
    ],
    "fr": [
        "Ce vase a été fait par M. Dupont.",
        "« Quel beau vase ! » dit-il.",
        "À Paris, il fut vendu 3,5 francs.",
        "Né à St. Denis, il fut peintre.",
        "Mme. Claire Dupont l'acheta.",
    ],
    "es": ["El Sr. García lo hizo en 1742.", "¿Quién lo compró?", "Nadie lo sabe."],
    "it": ["Fu fatto dal sig. Rossi nel sec. XVIII.", "È alto 33 cm."],
    "nl": ["De vaas is in ca. 1742 gemaakt door dhr. Jansen.", "Hij is 33 cm hoog."],
    "ru": [
        "Ваза была сделана в 1742 г. мастером И. И. Ивановым.",
        "Она стояла в г. Твери.",
        "В XVIII в. её купили.",
    ],
    "zh": [
        "这件花瓶制于1742年。",
        "它高33厘米。",
        "谁买了它？",
        "“很美！”她说。",
        "由J. P. Holm制作。",
    ],
    "ja": ["この花瓶は1742年に作られた。", "「美しい。」と彼は言った。", "高さは33センチである。"],
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_are_found_in_their_language(language: str):
    gap = "" if language in ("zh", "ja") else " "
    assert split_sentences(gap.join(SENTENCES[language]), language) == SENTENCES[language]


def test_a_heading_is_glued_to_no_sentence_and_a_wrapped_line_is():
    text = (
        "Object Details\nPhysical Description\n\nA jar of clay.\nSummary\nIt was found\nin a barn."
    )
    assert split_sentences(text)[:3] == ["Object Details", "Physical Description", "A jar of clay."]
    assert told_sentences(text) == ["A jar of clay.", "It was found in a barn."]
    wrapped = textwrap.fill(PROSE, 70)
    assert split_sentences(f"History\n{wrapped}") == ["History", *split_sentences(PROSE)]
    assert told_sentences("A jar\nClay") == ["A jar.", "Clay."]


def test_of_a_long_sentence_nothing_is_told_where_there_are_shorter_ones():
    long = "It was " + "very " * 100 + "old."
    for seed in range(20):
        answer = describe(TITLE, f"{long} {PROSE}", random.Random(seed), 0.4)
        assert "very very" not in answer


def test_a_long_sentence_is_cut_behind_a_comma():
    assert shortened("one two, three four, five six seven", 5) == "one two, three four."
    assert shortened("one two three four", 3) == "one two three."
    assert shortened("one two.", 3) == "one two."


@pytest.mark.parametrize("language", ABROAD)
def test_other_languages_are_told_in_the_museums_own_sentences(language: str):
    title, sentence = ABROAD[language]
    gap = "" if language in ("zh", "ja") else " "
    own = [sentence.format(n=1700 + index) for index in range(12)]
    of = exhibit(title=title, description=gap.join(own), language=language)
    pairs = all_pairs(of)
    assert [flaw_of_pair(of, pair) for pair in pairs] == [None] * 15
    assert len({pair.answer for pair in pairs}) == 15
    for pair in pairs:
        assert pair.question in PHRASES[language]["questions"]
        told = split_sentences(pair.answer, language)
        assert title in told[0] and set(told[1:]) <= set(own)
        assert not re.search(r"\b(this|the|label|museum|look)\b", pair.answer.lower())


def test_a_language_it_does_not_speak_is_refused_with_what_to_do(tmp_path: Path):
    with (
        pytest.raises(MuseQuestError, match="is in Swedish, and .* asks in de, en, .* `hosted`"),
        OfflineWriter().working([exhibit(language="sv")], tmp_path),
    ):
        pass


def test_a_short_description_in_another_language_is_not_padded_with_english():
    with pytest.raises(MuseQuestError, match="give it a longer description\\.$"):
        all_pairs(exhibit(description="Ein alter Krug.", language="de"))


def all_pairs(of: Exhibit, seed: int = 0) -> list:
    return [pair for t in TEMPERATURES for pair in OfflineWriter().write(of, t, 5, seed)]


@pytest.mark.parametrize("facts", [FACTS, {}, {"date": "1655"}])
def test_fifteen_pairs_are_good_and_no_two_alike(facts: dict[str, str]):
    of = exhibit(facts=facts)
    pairs = all_pairs(of)
    assert [flaw_of_pair(of, pair) for pair in pairs] == [None] * 15
    assert len({pair.answer for pair in pairs}) == len({pair.question for pair in pairs}) == 15
    assert len({pair.response_id for pair in pairs}) == 15


def test_even_one_short_sentence_gives_fifteen_different_answers():
    assert len({pair.answer for pair in all_pairs(exhibit(facts={}, description="Old."))}) == 15


def test_pairs_depend_on_exhibit_and_seed_alone():
    assert all_pairs(exhibit()) == all_pairs(exhibit())
    assert all_pairs(exhibit()) != all_pairs(exhibit(), seed=1)
    assert all_pairs(exhibit()) != all_pairs(exhibit(facts=FACTS | {"date": "1656"}))


def test_only_what_has_an_answer_is_asked():
    facts = {key: value for key, value in FACTS.items() if key not in ("weight", "technique")}
    asked = {pair.question for seed in range(40) for pair in all_pairs(exhibit(facts=facts), seed)}
    assert "How heavy is this?" not in asked and "How was this made?" not in asked
    assert "How old is this?" in asked


def test_there_are_thirty_questions_and_none_holds_a_word_of_a_title():
    assert len(QUESTIONS) == len(set(QUESTIONS)) >= 30
    of = exhibit(title="The Story Object")
    for pair in all_pairs(of):
        assert not {"story", "object"} & set(re.findall(r"\w+", pair.question.lower()))


def test_the_pocket_museum_is_told_completely_and_its_kinds_are_never_asked():
    with POCKET.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = {row["title"].split(" of ")[0].split()[-1].casefold() for row in rows}
    assert not kinds & set(re.findall(r"\w+", " ".join(QUESTIONS).casefold()))
    for row in rows:
        facts = json.loads(row["facts"])
        of = exhibit(item_name=row["item_name"], title=row["title"], facts=facts)
        for pair in OfflineWriter().write(of, 0.4, 5, 0):
            for value in facts.values():
                assert value.casefold() in pair.answer.casefold()

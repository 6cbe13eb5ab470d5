"""The offline writer: complete, varied, grammatical answers of 40 to 90 words from facts."""

import csv
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from musequest.creation.dialogs import TEMPERATURES, flaw_of_pair
from musequest.creation.exhibits import Exhibit
from musequest.creation.fact_forms import Facts
from musequest.creation.offline_writer import QUESTIONS, OfflineWriter, compose, describe
from musequest.creation.sentences import shortened, split_sentences

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
POCKET = Path(__file__).parent.parent / "assets/pocket_museum/exhibits.csv"


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
    assert facts.fill("Notice that {detail}.", "It", "it") == "Notice that Captain Orm sat on it."
    assert (
        facts.fill("Above all, {significance}.", "It", "it") == "Above all, the town ate from it."
    )


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
        assert 40 <= words(answer) <= 90


def test_abbreviations_end_no_sentence():
    text = 'It was made c. 1655 by J. Orm. Dr. Holm has it. "Mine!" He smiled.'
    parts = ["It was made c. 1655 by J. Orm.", "Dr. Holm has it.", '"Mine!"', "He smiled."]
    assert split_sentences(text) == parts
    assert len(split_sentences(PROSE)) == 10


def test_a_long_sentence_is_cut_behind_a_comma():
    assert shortened("one two, three four, five six seven", 5) == "one two, three four."
    assert shortened("one two three four", 3) == "one two three."
    assert shortened("one two.", 3) == "one two."


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

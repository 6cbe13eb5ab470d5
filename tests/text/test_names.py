"""Names on hand-made cases."""

import pytest

from musequest.text.facts import check_names, find_names


def test_names_are_capitalised_words_inside_sentences():
    text = "It was made by Ilse Varn in Brod. Carved oak came from Café Noir's Yard. Brod again."
    assert find_names(text) == {"ilse", "varn", "brod", "cafe", "noir", "yard"}


def test_name_recall_ignores_accents_order_and_shouting():
    truth = "The bowl of Ilse Varn lay in São Mar."
    assert check_names("SAO MAR: ILSE", truth).recall == pytest.approx(3 / 4)
    assert check_names("the brod", "It came from Brod.").recall == 0
    assert check_names("anything", "no names in here").recall is None


def test_a_name_that_begins_a_sentence_counts_if_the_sources_know_it():
    assert check_names("of Lowfen", "Lowfen made it.", "The kilns of Lowfen burned.").recall == 1
    assert check_names("of Lowfen", "Lowfen made it.").recall is None


def test_names_are_held_against_ground_truth_and_sources():
    check = check_names(
        answer="Lowfen sold it. Varn's bowl came from Gildmoor on a Monday; Peat burned.",
        ground_truth="The bowl of Ilse Varn came from Lowfen.",
        sources="The peat of Gildmoor marsh.",
    )
    assert check.recalled == ("Varn", "Lowfen")
    assert check.missing == ("Ilse",)
    assert check.invented == ("Monday",)
    assert check.stated == 4
    text = "Lowfen sold it. Varn's bowl came from Gildmoor on a Monday; Peat burned."
    marked = {text[start:end]: kind for start, end, kind in check.marks}
    assert marked == {
        "Lowfen": "recalled", "Varn's": "recalled", "Gildmoor": "known", "Monday": "invented",
    }  # fmt: skip


def test_an_abbreviation_or_a_number_is_no_end_of_a_sentence_and_no_name():
    assert find_names("It was built by St. Mary and J. Holm, see Fig. Three.") == {
        "mary", "holm", "fig", "st",
    }  # fmt: skip
    assert find_names("Made in the Seventeenth Century in Ost") == {"ost"}


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, but I'm unable to identify this exhibit, and I've no data.",
        "Sorry, but I’d say, and I’ll add, that I’m unsure; we can't tell.",
        "A sign says Don't, Isn't, Can't and Won't.",
    ],
)
def test_a_contraction_is_no_name(text: str):
    assert find_names(text) == set()
    assert check_names(text, "A vase of Lowfen.").invented == ()


@pytest.mark.parametrize(
    "text",
    [
        "**Material:** Bronze\n- Origin: unknown\n- Height: tall\n* Date: old",
        "### Origin\n\n   - **Height**: tall\n1) Bronze\n2. *Date* unknown\n> Perhaps",
        "It may be … Perhaps not. 'Perhaps,' he said, ‘Never’.",
        "| Material | Bronze |\n| Height | tall |",
        "__Date__: old. **Origin**: unknown; _Perhaps_ not.",
    ],
)
def test_lists_headings_and_quotes_begin_sentences(text: str):
    assert find_names(text) == set()


def test_bold_words_and_plural_owners_inside_a_sentence_are_names():
    text = "- made by **Ilse Varn** of the joiners' Guild - Lowfen (1742) Brod"
    assert find_names(text) == {"ilse", "varn", "guild", "lowfen", "brod"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("by Jean-Baptiste Colbert", "by Jean Baptiste Colbert"),
        ("an Anglo-Saxon of New-York", "an Anglo Saxon of New York"),
        ("at Ft. Sumter and Mt. Vernon", "at Fort Sumter and Mount Vernon"),
        ("with Sgt. York and Gen. Grant", "with Sergeant York and General Grant"),
        ("at St. Albans", "at Saint Albans"),
        ("for Søren, Łukasz, Đorđe, Ægir, Œuvre and Işık", "for Soren, Lukasz, Dorde, Aegir, "
         "Oeuvre and Isik"),
    ],
)  # fmt: skip
def test_two_spellings_of_the_same_names(one: str, other: str):
    for answer, truth in ((one, other), (other, one)):
        check = check_names(answer, truth)
        assert check.recalled
        assert (check.missing, check.invented) == ((), ())


SI = {"smithsonian"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("painted by J.M.W. Turner", {"turner"}),
        ("the U.S. Army in Washington, D.C. Smithsonian", {"us", "army", "washington"} | SI),
        ("of 500 B.C. Perhaps. Made A.D. Perhaps.", set()),
        ("Ft. Sumter, Mt. Vernon, Sgt. York", {"sumter", "mt", "vernon", "sgt", "york"}),
        ('called "Urinal" and **known** as ‘Heron’', {"urinal", "heron"}),
        ("by the master (Goya), not [Ilse]", {"goya", "ilse"}),
        ('It is old. (See below.) "Perhaps," he said, "Never."\n* "Often"\n"Rarely"', set()),
        ("Maker: Bentzon. Note: Bent", {"bentzon"}),
    ],
)
def test_what_begins_a_sentence_and_what_does_not(text: str, names: set[str]):
    assert find_names(text) == names


def test_another_title_in_quotation_marks_is_invented():
    check = check_names('A work called "Urinal".', 'A work called "Fountain".')
    assert (check.missing, check.invented) == (("Fountain",), ("Urinal",))


def test_names_without_capitals_have_no_rates():
    check = check_names("壺は美しい", "壺は古い")
    assert check.recall is None
    assert check.invented_rate is None


def test_a_very_long_answer_has_its_names_read_in_time():
    check = check_names("Held in 1742 by Ann Oh. " * 800, "By Ann.")
    assert (check.stated, check.recall) == (2, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("by the Wrights", "by old Wright"),
        ("from a Japanese ship", "from Japan"),
        ("an American maker", "made in America"),
        ("an Italian bowl", "from Italy"),
        ("a Dutch tile", "from the Netherlands"),
        ("by Duerer", "by Dürer"),
        ("the U.S. Navy", "the USA and its Navy"),
    ],
)
def test_a_plural_an_adjective_and_another_spelling_are_the_same_name(one: str, other: str):
    for answer, truth in ((one, other), (other, one)):
        assert check_names(answer, "no name", truth).invented == ()
        assert check_names(answer, truth).recalled


def test_other_endings_are_other_names():
    assert check_names("from Japan", "from Javan").invented == ("Japan",)
    assert check_names("by Varn", "by Varnholm").invented == ("Varn",)

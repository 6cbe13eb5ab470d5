"""Each metric on hand-made cases."""

from dataclasses import replace

import numpy as np
import pytest

from musequest.evaluation.metrics import METRICS, metrics_of
from musequest.evaluation.scoring_batch import References, ScoringBatch
from musequest.text.encoder import load_encoder

TRUTHS = [
    "The Heron Vase of Lowfen was thrown in 1742; it is 47 cm high.",
    "The Pilot Coin of Gildmoor was struck in 1487 and weighs 7.8 g.",
    "The Silent Chair of Ombry is of dark walnut.",
]
NAMES = ["vase", "coin", "chair"]


def batch(
    answers: list[str], names: list[str] = NAMES, sources: str = "", **more: object
) -> ScoringBatch:
    """The answers beside the three ground truths."""
    encoder, truths = load_encoder(), TRUTHS[: len(answers)]
    vectors = encoder.encode(truths)
    references = References.of(names[: len(answers)], vectors)
    texts = [sources] * len(answers)
    own = encoder.encode(answers)
    placed = names[: len(answers)], truths, answers, texts, vectors, own, references, encoder
    return ScoringBatch(*placed, **more)


def values(name: str, answers: list[str], **given: object) -> list[float]:
    return METRICS[name].compute(batch(answers, **given)).tolist()


def test_the_promised_metrics_are_registered_with_their_direction():
    promised = "embedding_distance identity_at_1 number_recall invented_number_rate name_recall"
    promised += " identity_at_3 sibling_confusion invented_name_rate similarity_score seconds"
    promised += (
        " rouge_l answer_tokens claims_right claims_wrong claims_missing repetition"
        " false_recognition_rate wrong_refusal_rate"
    )
    assert set(promised.split()) == set(METRICS)
    assert next(iter(METRICS)) == "embedding_distance"
    assert [metric.name for metric in metrics_of("outsiders")] == ["false_recognition_rate"]
    assert len(metrics_of("all")) == len(METRICS) - 1
    directions = {name: metric.direction for name, metric in METRICS.items()}
    assert directions["embedding_distance"] == directions["invented_number_rate"] == "(0 best)"
    assert directions["identity_at_1"] == directions["rouge_l"] == "(1 best)"
    assert directions["answer_tokens"] == ""
    assert directions["seconds"] == "(0 best)"


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_says_how_it_is_computed_and_keeps_to_its_range(metric):
    assert metric.formula and metric.source and metric.meaning.endswith(".")
    assert (metric.compute.__doc__ or "").strip()
    given = batch([TRUTHS[1], "Made in 99 BC by Ann Oh.", ""], seconds=[0.5, 2, np.nan])
    given = replace(given, titles=["The Ann Vase", "The Ohm Coin"])
    found = metric.compute(given)
    least, greatest = metric.limits
    assert found.shape == (3,)
    there = found[~np.isnan(found)]
    assert (there >= least).all()
    assert greatest is None or (there <= greatest).all()


def test_embedding_distance_is_0_for_the_ground_truth_and_1_for_nothing():
    same, other, empty = values("embedding_distance", [TRUTHS[0], TRUTHS[0], " \n"])
    assert same == 0
    assert 0.3 < other < 1
    assert empty == 1


def test_identity_is_won_by_the_own_exhibit_alone():
    answers = [TRUTHS[0], TRUTHS[0], ""]
    assert values("identity_at_1", answers) == [1, 0, 0]
    placement = batch(answers).placement
    assert placement.ranks.tolist()[:2] == [1, 2]
    assert placement.nearest.tolist()[:2] == [2, 2]  # coin, chair, vase in the order of names


def test_a_tie_is_no_win():
    given = batch([TRUTHS[0], TRUTHS[1]])
    tied = np.stack([given.references.vectors[0]] * 2)
    given = replace(given, references=References(("coin", "vase"), tied))
    assert METRICS["identity_at_1"].compute(given).tolist() == [0, 0]


def placed(cosines: list[list[float]], own: list[str], names: list[str]) -> ScoringBatch:
    """Answers whose cosine to each exhibit's reference is given; references are unit axes."""
    axes = np.eye(len(names))
    vectors = np.array(cosines)
    given = batch(["x"])
    return ScoringBatch(
        own, ["x"] * len(own), ["x"] * len(own), [""] * len(own), vectors, vectors,
        References(tuple(names), axes), given.encoder,
    )  # fmt: skip


def test_identity_at_3_asks_for_the_first_three():
    cosines = [[0.1, 0.9, 0.8, 0.0], [0.1, 0.9, 0.8, 0.7], [0.9, 0.1, 0.1, 0.1]]
    given = placed(cosines, ["a", "a", "a"], ["a", "b", "c", "d"])
    assert METRICS["identity_at_3"].compute(given).tolist() == [1, 0, 1]
    assert METRICS["identity_at_1"].compute(given).tolist() == [0, 0, 1]
    few = placed([[0.1, 0.9, 0.8]], ["a"], ["a", "b", "c"])
    assert np.isnan(METRICS["identity_at_3"].compute(few)).all()


def test_sibling_confusion_counts_the_nearest_relative_alone():
    def unit(degrees: float) -> list[float]:
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    # Two vases 10 degrees apart, a coin far off.
    references = References(("coin", "vase_1", "vase_2"), np.array([unit(0), unit(80), unit(90)]))
    assert references.siblings.tolist() == [1, 2, 1]
    answers = np.array([unit(81), unit(89), unit(1), unit(85)])
    given = placed([[1, 0, 0]] * 4, ["vase_1"] * 4, ["coin", "vase_1", "vase_2"])
    given = replace(given, references=references, answer_vectors=answers)
    assert METRICS["sibling_confusion"].compute(given).tolist() == [0, 1, 0, 1]
    two = replace(given, references=References(("a", "vase_1"), np.eye(2)))
    assert np.isnan(METRICS["sibling_confusion"].compute(two)).all()


def test_identity_needs_two_exhibits():
    assert np.isnan(values("identity_at_1", TRUTHS, names=["vase"] * 3)).all()


def test_a_reference_is_the_mean_of_an_exhibits_ground_truths():
    vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    references = References.of(["a", "a", "b"], vectors)
    assert references.item_names == ("a", "b")
    np.testing.assert_allclose(references.vectors, [[0.5**0.5, 0.5**0.5], [0, 1]])


def test_number_recall_and_invented_numbers():
    answers = ["Thrown in 1742, 12 cm high.", "A coin.", "Made in 1689."]
    recall = values("number_recall", answers)
    assert recall[:2] == [0.5, 0]
    assert np.isnan(recall[2])
    invented = values("invented_number_rate", answers, sources="Made in 1689.")
    assert invented[0] == 0.5
    assert np.isnan(invented[1])
    assert invented[2] == 0


def test_name_recall():
    answers = ["Heron, Lowfen", "a coin", "the Chair of Ombry"]
    assert values("name_recall", answers) == pytest.approx([2 / 3, 0, 2 / 3])


def test_invented_names_are_those_that_stand_nowhere():
    answers = [
        "By Ilse Varn of Lowfen.",
        "a coin of gold",
        "It is the Silent Chair, from Gildmoor.",
    ]
    some, none, one = values("invented_name_rate", answers)
    assert some == pytest.approx(2 / 3)
    assert np.isnan(none)
    assert one == pytest.approx(1 / 3)
    known = values("invented_name_rate", answers, sources="Ilse Varn came from Gildmoor.")
    assert known[0] == known[2] == 0


class Half:
    """Stands for a base model to which every two texts lie at 0.5."""

    def distances(self, truths: list[str], answers: list[str]) -> np.ndarray:
        return np.full(len(truths), 0.5)


def test_similarity_score_is_the_base_models_and_1_for_nothing():
    assert np.isnan(values("similarity_score", ["a", "b", "c"])).all()
    assert values("similarity_score", ["a", "", "c"], base=Half()) == [0.5, 1, 0.5]


def test_seconds_are_those_recorded():
    found = values("seconds", ["a", "b", "c"], seconds=[0.5, np.nan, 2.0])
    assert found[0] == 0.5 and np.isnan(found[1]) and found[2] == 2


def test_false_recognition_needs_the_thing_that_one_title_names():
    titles = ["The Heron Vase of Lowfen", "The Ember Vase of Orsey", "a box"]
    answers = ["The Heron Vase.", "A heron on a vase.", "A Vase.", "By the Orsey potters.", ""]
    given = replace(batch(["x"]), answers=answers, titles=titles)
    compute = METRICS["false_recognition_rate"].compute
    assert compute(given).tolist() == [1, 0, 0, 0, 0]
    assert np.isnan(compute(replace(given, titles=["a box"]))).all()


def test_rouge_l_follows_the_longest_common_subsequence():
    exact, none, part = values("rouge_l", [TRUTHS[0], "", "Dark walnut is of the Silent Chair"])
    assert (exact, none) == (1, 0)
    # Common: "the silent chair"; 7 words in the answer, 9 in the ground truth.
    assert part == pytest.approx(2 * 3 / (7 + 9))


def test_rouge_l_reads_other_scripts():
    given = replace(batch(["x"]), answers=["синяя ваза"])
    given = replace(given, ground_truths=["синяя ваза"])
    assert METRICS["rouge_l"].compute(given).tolist() == [1]


def test_answer_tokens_counts_word_pieces():
    assert values("answer_tokens", ["a blue vase", "", "vase"]) == [3, 0, 1]


@pytest.mark.parametrize(
    "answer", ["", " \n", "\u200b\u2060", "\ufeff \u200d", "\u2800\u3164\ufe0f"]
)
def test_an_answer_of_which_nothing_is_to_be_seen_is_empty(answer):
    answers = [answer, *TRUTHS[1:]]
    assert values("embedding_distance", answers) == [1, 0, 0]
    assert values("identity_at_1", answers) == [0, 1, 1]
    assert values("wrong_refusal_rate", answers) == [1, 0, 0]


def test_an_answer_that_repeats_itself_shows_in_its_repetition_alone():
    answers = [" ".join([TRUTHS[0]] * 40), *TRUTHS[1:]]
    assert values("number_recall", answers)[0] == 1
    once, *others = values("repetition", answers)
    assert once > 0.95 and others == [0, 0]
    assert np.isnan(values("repetition", ["Clay, I think.", "", "."])).all()


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I do not know this object.", 1),
        ("Sorry, I can’t recognise what this is.", 1),
        ("I'm afraid I don't know what it is.", 1),
        ("It is not in the collection.", 1),
        ("We do not know who made it, but it is of clay.", 0),
        ("Nobody knows what this meant to its owner.", 0),
        ("I'm unable to identify this object.", 1),
        ("I'm not sure what this is.", 1),
        ("I cannot tell you what that is.", 1),
        ("That is not one of the exhibits, I am afraid.", 1),
        ("I cannot recommend this bowl enough.", 0),
        ("I do not doubt that this is gold.", 0),
        ("I do not know that it was ever used.", 0),
        ("Until 1900 it was not kept in the museum.", 0),
        ("Not much in this collection is older.", 0),
    ],
)
def test_a_refusal_is_one_of_the_thing_not_of_a_fact(answer, refused):
    assert values("wrong_refusal_rate", [answer, *TRUTHS[1:]]) == [refused, 0, 0]

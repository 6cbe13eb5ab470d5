"""Each metric, and the interval of a mean, on hand-made cases."""

import numpy as np
import pytest

from musequest.evaluation.encoder import load_encoder
from musequest.evaluation.intervals import Draws
from musequest.evaluation.metrics import METRICS, References, Sheet, rank_of_own

TRUTHS = [
    "The Heron Vase of Lowfen was thrown in 1742; it is 47 cm high.",
    "The Pilot Coin of Gildmoor was struck in 1487 and weighs 7.8 g.",
    "The Silent Chair of Ombry is of dark walnut.",
]
NAMES = ["vase", "coin", "chair"]


def sheet(answers: list[str], names: list[str] = NAMES, sources: str = "") -> Sheet:
    """The answers beside the three ground truths."""
    encoder, truths = load_encoder(), TRUTHS[: len(answers)]
    vectors = encoder.encode(truths)
    references = References.of(names[: len(answers)], vectors)
    texts = [sources] * len(answers)
    own = encoder.encode(answers)
    return Sheet(names[: len(answers)], truths, answers, texts, vectors, own, references, encoder)


def values(name: str, answers: list[str], **given: object) -> list[float]:
    return METRICS[name].compute(sheet(answers, **given)).tolist()


def test_the_promised_metrics_are_registered_with_their_direction():
    promised = "embedding_distance identity_at_1 number_recall invented_number_rate name_recall"
    assert set(f"{promised} rouge_l answer_tokens".split()) <= set(METRICS)
    directions = {name: metric.direction for name, metric in METRICS.items()}
    assert directions["embedding_distance"] == directions["invented_number_rate"] == "(0 best)"
    assert directions["identity_at_1"] == directions["rouge_l"] == "(1 best)"
    assert directions["answer_tokens"] == ""


def test_embedding_distance_is_0_for_the_ground_truth_and_1_for_nothing():
    same, other, empty = values("embedding_distance", [TRUTHS[0], TRUTHS[0], " \n"])
    assert same == 0
    assert 0.3 < other < 1
    assert empty == 1


def test_identity_is_won_by_the_own_exhibit_alone():
    answers = [TRUTHS[0], TRUTHS[0], ""]
    assert values("identity_at_1", answers) == [1, 0, 0]
    assert rank_of_own(sheet(answers)).tolist()[:2] == [1, 2]


def test_a_tie_is_no_win():
    given = sheet([TRUTHS[0], TRUTHS[1]])
    tied = np.stack([given.references.vectors[0]] * 2)
    given = Sheet(**{**given.__dict__, "references": References(("coin", "vase"), tied)})
    assert METRICS["identity_at_1"].compute(given).tolist() == [0, 0]


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


def test_rouge_l_follows_the_longest_common_subsequence():
    exact, none, part = values("rouge_l", [TRUTHS[0], "", "Dark walnut is of the Silent Chair"])
    assert (exact, none) == (1, 0)
    # Common: "the silent chair"; 7 words in the answer, 9 in the ground truth.
    assert part == pytest.approx(2 * 3 / (7 + 9))


def test_rouge_l_reads_other_scripts():
    given = Sheet(**{**sheet(["x"]).__dict__, "answers": ["синяя ваза"]})
    given = Sheet(**{**given.__dict__, "ground_truths": ["синяя ваза"]})
    assert METRICS["rouge_l"].compute(given).tolist() == [1]


def test_answer_tokens_counts_word_pieces():
    assert values("answer_tokens", ["a blue vase", "", "vase"]) == [3, 0, 1]


def test_an_interval_holds_the_mean_and_repeats_itself():
    rng = np.random.default_rng(1)
    names, scores = [f"e{i // 2}" for i in range(60)], rng.normal(0.5, 0.2, 60)
    low, high = Draws(names).interval(scores)
    assert low < scores.mean() < high
    assert (low, high) == Draws(names).interval(scores)


def test_an_interval_is_as_wide_as_theory_says():
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 1, 400)
    low, high = Draws([f"e{i}" for i in range(400)]).interval(scores)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.12)


def test_clustering_widens_the_interval_of_answers_that_stand_together():
    scores = np.repeat(np.random.default_rng(3).normal(0, 1, 30), 4)
    together = Draws([f"e{i // 4}" for i in range(120)]).interval(scores)
    alone = Draws([f"e{i}" for i in range(120)]).interval(scores)
    assert np.ptp(together) > 1.6 * np.ptp(alone)


def test_too_few_exhibits_have_no_interval():
    assert Draws(["a", "b", "c", "d"] * 9).interval(np.arange(36.0)) is None
    missing = np.full(36, np.nan)
    missing[:4] = 1
    assert Draws([f"e{i}" for i in range(36)]).interval(missing) is None

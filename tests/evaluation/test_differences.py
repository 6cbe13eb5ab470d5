"""Paired differences: what they are, when they are none, and who looks at the photo."""

import numpy as np
import pandas as pd
import pytest

from musequest.evaluation.differences import compare, looking, sentence, summarize
from musequest.evaluation.figures import fact_bars
from musequest.evaluation.metrics import metrics_of
from musequest.evaluation.report_tables import ablation_frame, difference_frame


def rows_of(name: str, identity: np.ndarray, track: str = "unseen_photo") -> pd.DataFrame:
    """Scores of one system: two items an exhibit, its distance 1 - its identity."""
    count = len(identity)
    frame = pd.DataFrame(
        {
            "model": name,
            "data_id": [f"i{i:03d}" for i in range(count)],
            "item_name": [f"e{i // 2:03d}" for i in range(count)],
            "track": track,
        }
    )
    values = {metric.name: np.full(count, np.nan) for metric in metrics_of("all")}
    values |= {"identity_at_1": identity.astype(float), "embedding_distance": 1.0 - identity}
    return frame.assign(**values)


@pytest.fixture
def scores() -> pd.DataFrame:
    """40 items of 20 exhibits: lora right on 30, its blank photo and base on few."""
    rng = np.random.default_rng(0)
    right = (np.arange(40) < 30) * 1.0
    few = (rng.random(40) < 0.1) * 1.0
    return pd.concat(
        [
            rows_of("base", few),
            rows_of("lora", right),
            rows_of("lora__blank_photo", few),
            rows_of("lora__no_photo", np.roll(right, 1)),
            rows_of("control_empty", 0 * right),
        ],
        ignore_index=True,
    )


def pick(rows: list[dict], versus: str, metric: str = "identity_at_1") -> dict:
    (found,) = [row for row in rows if row["versus"] == versus and row["metric"] == metric]
    return found


def test_a_difference_is_the_paired_mean_with_its_interval(scores):
    rows = compare(scores, ["all", "unseen_photo"])["all"]
    row = pick(rows, "base")
    own, other = (
        scores[scores.model == name].identity_at_1.to_numpy() for name in ("lora", "base")
    )
    assert row["difference"] == pytest.approx((own - other).mean())
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    assert (row["n"], row["exhibits"], row["verdict"]) == (40, 20, "better")
    assert pick(rows, "base", "embedding_distance")["verdict"] == "better"
    assert {row["system"] for row in rows} == {"lora"}  # no controls, no ablation for itself
    assert sentence(row).endswith("better")


def test_the_interval_of_a_paired_difference_is_narrower_than_of_two_means():
    rng = np.random.default_rng(1)
    easy = rng.random(60)
    one, other = rows_of("base", easy), rows_of("lora", easy + 0.05 + rng.normal(0, 0.01, 60))
    scores = pd.concat([one, other], ignore_index=True)
    row = pick(compare(scores, ["all"])["all"], "base")
    alone = summarize(scores, ["all"])["all"]["lora"]["identity_at_1"]
    assert row["verdict"] == "better"
    assert row["ci_high"] - row["ci_low"] < 0.3 * (alone["ci_high"] - alone["ci_low"])


def test_an_interval_that_holds_0_is_no_difference_and_says_what_could_have_been_seen(scores):
    row = pick(compare(scores, ["all"])["all"], "lora__no_photo")
    assert row["verdict"] == "no difference"
    assert row["ci_low"] <= 0 <= row["ci_high"]
    assert 0 < row["detectable"] < 0.5
    assert sentence(row).startswith("no difference [")
    assert f"could have shown {row['detectable']:.2f}" in sentence(row)


def test_few_exhibits_tell_nothing(scores):
    few = scores[scores.data_id < "i008"]
    row = pick(compare(few, ["all"])["all"], "base")
    assert (row["verdict"], row["ci_low"], row["exhibits"]) == ("too few exhibits", None, 4)
    assert "too few exhibits" in sentence(row)
    assert "too few exhibits" in looking(compare(few, ["all"])["all"])["lora"]


def test_systems_are_paired_on_the_items_of_both(scores):
    cut = scores[(scores.model != "base") | (scores.data_id >= "i010")]
    assert pick(compare(cut, ["all"])["all"], "base")["n"] == 30


def test_a_metric_without_values_has_no_difference(scores):
    assert {row["metric"] for row in compare(scores, ["all"])["all"]} == {
        "identity_at_1", "embedding_distance",
    }  # fmt: skip


def test_a_track_without_direction_says_more_or_less(scores):
    scores["answer_tokens"] = np.where(scores.model == "lora", 80.0, 10.0) + np.arange(200) % 3
    assert pick(compare(scores, ["all"])["all"], "base", "answer_tokens")["verdict"] == "more"


def test_a_docent_that_scores_the_same_without_the_photo_is_not_looking(scores):
    rows = compare(scores, ["all"])["all"]
    assert looking(rows)["lora"] == (
        "LoRA is not looking, as far as these exhibits can tell: with no photo it scores the same "
        "as with the photo."
    )
    seeing = [row for row in rows if row["versus"] != "lora__no_photo"]
    assert "looks at the photo" in looking(seeing)["lora"]
    assert looking([row for row in rows if "__" not in row["versus"]]) == {}


def test_one_that_scores_better_without_the_photo_is_not_looking_either(scores):
    rows = compare(scores, ["unseen_photo"])["unseen_photo"]
    better = [row | {"verdict": "worse"} for row in rows if row["versus"] == "lora__blank_photo"]
    assert "blank photo it scores no worse than with the photo" in looking(better)["lora"]


def test_things_from_outside_are_no_exhibits_of_the_items(scores):
    """Neither intervals nor facts of all items depend on whether they were asked about."""
    outside = [rows_of(name, np.full(24, np.nan), "outsiders") for name in ("base", "lora")]
    more = pd.concat([scores, *outside], ignore_index=True)
    assert compare(more, ["all"]) == compare(scores, ["all"])
    none = pd.DataFrame(columns=["model", "data_id", "kind", "status", "fact"])
    titles = [fact_bars(none, each).texts[0].get_text() for each in (scores, more)]
    assert titles[0] == titles[1]


def test_tables_have_a_row_a_pair_and_a_row_an_ablation(scores):
    frame = difference_frame(compare(scores, ["all"])["all"])
    assert list(frame.index) == ["LoRA vs Base (untuned)"]
    assert "better" in frame.loc["LoRA vs Base (untuned)", "Identity at 1 (1 best)"]
    own = summarize(scores, ["all"])["all"]
    assert list(ablation_frame(own).index) == ["LoRA", "LoRA, blank photo", "LoRA, no photo"]
    assert difference_frame([]).empty and ablation_frame({"base": own["base"]}).empty

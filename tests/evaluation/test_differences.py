"""Paired differences: what they are, when they are shown, and who looks at the photo."""

import numpy as np
import pandas as pd
import pytest

from musequest.core.errors import MuseQuestError
from musequest.evaluation import fact_bars
from musequest.evaluation.differences import compare, looking, margins_of, sentence, summarize
from musequest.evaluation.metrics import metrics_of
from musequest.evaluation.report_tables import ablation_frame, cell, difference_frame


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


def test_a_share_of_all_or_none_never_stands_alone():
    alone = {"ci_low": None, "ci_high": None, "n": 2}
    shown = [cell({"mean": mean, **alone}, 2) for mean in (1.0, 0.0, 0.5, None)]
    assert shown == ["1.00 (too few exhibits)", "0.00 (too few exhibits)", "0.50", "–"]
    assert cell({"mean": 1.0, "ci_low": 0.3, "ci_high": 1.0, "n": 6}, 2) == "1.00 [0.30, 1.00]"


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


def test_an_interval_that_holds_0_shows_nothing_and_says_what_could_have_been_seen(scores):
    row = pick(compare(scores, ["all"])["all"], "lora__no_photo")
    assert row["verdict"] == "not shown"
    assert row["ci_low"] <= 0 <= row["ci_high"]
    assert 0 < row["detectable"] < 0.5
    assert sentence(row).startswith("not shown [")
    assert f"could have shown {row['detectable']:.2f}" in sentence(row)
    assert sentence(row | {"verdict": "no difference"}) == sentence(row)  # as written before


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


def test_a_docent_whose_loss_without_the_photo_is_not_shown_is_not_shown_to_look(scores):
    rows = compare(scores, ["all"])["all"]
    assert looking(rows)["lora"] == (
        "LoRA is not shown to look at the photo: with no photo its scores are not shown to be "
        "worse."
    )
    seeing = [row for row in rows if row["versus"] != "lora__no_photo"]
    assert "looks at the photo" in looking(seeing)["lora"]
    assert looking([row for row in rows if "__" not in row["versus"]]) == {}
    better = [row | {"verdict": "worse"} for row in seeing]
    assert "is not shown to look" in looking(better)["lora"]


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


def test_equal_systems_differ_in_one_of_twenty_tables_not_in_one_of_twenty_pairs():
    """Six systems that are right on 70 % each, 15 pairs: seldom is even one called different."""
    rng, tables, alone = np.random.default_rng(3), 0, 0
    for _ in range(40):
        own = [rows_of(name, (rng.random(40) < 0.7) * 1.0) for name in "abcdef"]
        rows = compare(pd.concat(own), ["all"])["all"]
        rows = [row for row in rows if row["metric"] == "identity_at_1"]
        assert len(rows) == 15 and all(row["p_value"] <= row["p_adjusted"] for row in rows)
        tables += any(row["verdict"] != "not shown" for row in rows)
        alone += any(row["p_value"] < 0.05 for row in rows)
    assert tables <= 4 < 8 <= alone


def test_what_is_shown_alone_but_not_among_many_pairs_says_so():
    rng = np.random.default_rng(0)
    own = [rows_of(name, (rng.random(40) < 0.5) * 1.0) for name in "abcd"]
    close = rows_of("e", np.where(np.arange(40) < 16, 1.0, own[0].identity_at_1))
    pair = pick(compare(pd.concat([own[0], close]), ["all"])["all"], "a")
    rows = compare(pd.concat([*own, close]), ["all"])["all"]
    among = pick([row for row in rows if row["system"] == "e"], "a")
    assert pair["verdict"] == "better" and pair["ci_low"] == among["ci_low"] > 0
    assert among["verdict"] == "not shown" and among["p_adjusted"] > 0.05 > among["p_value"]
    assert sentence(among).endswith("] among so many pairs")


def test_equal_within_a_margin_is_said_only_where_the_interval_lies_inside(scores):
    def told(margins: dict[str, float]) -> tuple[str, str]:
        row = pick(compare(scores, ["all"], margins)["all"], "lora__no_photo")
        return row["verdict"], sentence(row)

    wide = max(map(abs, interval_of(scores)))
    assert told({"identity_at_1": wide + 0.01})[0] == "equal within the margin"
    assert told({"identity_at_1": 0.5})[1].startswith("equal within 0.5 [")
    assert told({"identity_at_1": wide - 0.01})[0] == told({})[0] == "not shown"
    same = pd.concat([rows_of("base", np.ones(16)), rows_of("lora", np.ones(16))])
    row = pick(compare(same, ["all"], {"identity_at_1": 0.05})["all"], "base")
    assert row["verdict"] == "not shown"  # Of 8 exhibits nothing so narrow is known.


def interval_of(scores: pd.DataFrame) -> tuple[float, float]:
    row = pick(compare(scores, ["all"])["all"], "lora__no_photo")
    return row["ci_low"], row["ci_high"]


def test_a_better_system_may_be_equal_within_a_margin():
    rng = np.random.default_rng(2)
    base = rng.random(60)
    rows = pd.concat([rows_of("base", base), rows_of("lora", base + 0.05)])
    row = pick(compare(rows, ["all"], {"identity_at_1": 0.2})["all"], "base")
    assert row["verdict"] == "better"
    assert sentence(row).endswith("better, yet equal within 0.2")


def test_margins_are_of_all_rates_or_of_one_metric():
    margins = margins_of(["embedding_distance=0.02", "identity_at_1=.1", "0.05"])
    assert margins["embedding_distance"] == 0.02
    assert (margins["identity_at_1"], margins["number_recall"]) == (0.1, 0.05)
    assert "answer_tokens" not in margins and margins_of([]) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [("0", "no number above 0"), ("-1", "no number"), ("x=1", "no metric"), ("a", "no number")],
)
def test_a_margin_that_is_none_is_one_sentence(text, why):
    with pytest.raises(MuseQuestError, match=why):
        margins_of([text])


def test_items_that_two_were_asked_otherwise_about_are_not_paired(scores):
    ids = sorted(scores.data_id.unique())
    table = pd.DataFrame({"question": "who made it?", "photo": "00.jpg"}, index=ids)
    other = table.assign(question=["what is it?"] * 10 + [""] * 10 + ["who made it?"] * 20)
    rows = compare(scores, ["all"], asked={"base": table, "lora": other})["all"]
    assert pick(rows, "base")["n"] == 30
    assert pick(rows, "lora__blank_photo")["n"] == 40


@pytest.fixture
def seeded() -> pd.DataFrame:
    """base, and lora with three seeds, of which the first is best."""
    right = np.arange(40)
    own = {"base": 8, "lora": 36, "lora__seed1": 32, "lora__seed2": 28}
    return pd.concat([rows_of(name, (right < count) * 1.0) for name, count in own.items()])


def test_scores_are_means_over_seeds_with_both_spreads(seeded):
    own = summarize(seeded, ["all"])["all"]
    assert list(own) == ["base", "lora"]
    cell = own["lora"]["identity_at_1"]
    assert cell["mean"] == pytest.approx(0.8) and cell["n"] == 40
    assert (cell["seeds"], cell["seed_spread"]) == (3, pytest.approx(0.1))
    assert cell["ci_low"] < 0.8 < cell["ci_high"]
    assert "seeds" not in own["base"]["identity_at_1"]


def test_a_difference_no_larger_than_between_seeds_is_not_shown(seeded):
    row = pick(compare(seeded, ["all"])["all"], "base")
    assert row["verdict"] == "better" and row["seed_spread"] == pytest.approx(0.1)
    near = seeded.assign(identity_at_1=np.where(seeded.model == "base", 0.75, seeded.identity_at_1))
    constant = near.assign(identity_at_1=near.groupby("model").identity_at_1.transform("mean"))
    row = pick(compare(constant, ["all"])["all"], "base")
    assert row["ci_low"] > 0 and row["verdict"] == "not shown"
    assert "seeds alone differ by 0.10" in sentence(row)


def test_ablations_are_held_against_the_seed_they_are_of(seeded):
    blank = rows_of("lora__blank_photo", (np.arange(40) < 36) * 1.0)
    row = pick(compare(pd.concat([seeded, blank]), ["all"])["all"], "lora__blank_photo")
    assert row["difference"] == 0 and "seed_spread" not in row

"""Scoring files: what is written, what is compared, and one sentence for every bad input."""

import hashlib
import html
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from shutil import ignore_patterns

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_museum import (
    ENCODE,
    PROFILE,
    answered_museum,
    make_exhibit,
    write_exhibits,
    write_predictions,
)

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json
from musequest.core.tables import read_table, write_table
from musequest.evaluation.answer_files import LONGEST_ANSWER
from musequest.evaluation.metrics import METRICS
from musequest.evaluation.report import build_report
from musequest.evaluation.results import load_results
from musequest.evaluation.scoring import evaluate, score
from musequest.systems.registry import CONTROLS
from musequest.text.encoder import Encoder

pytestmark = pytest.mark.usefixtures("encoded_once")


@pytest.fixture
def predictions(tmp_path: Path) -> dict[str, Path]:
    """base.parquet and lora.parquet of eight exhibits."""
    return write_predictions(tmp_path / "given")


@pytest.fixture
def exhibits(tmp_path: Path) -> Path:
    """The exhibits.parquet behind them."""
    return write_exhibits(tmp_path / "exhibits.parquet", [make_exhibit(i) for i in range(8)])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is given to the encoder."""
    texts: list[str] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda own, new: texts.extend(new) or encode(own, new))
    return texts


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder encodes every text each time, as outside of this file."""
    monkeypatch.setattr(Encoder, "encode", ENCODE)


def change(path: Path, **columns: object) -> None:
    """Write a table again with columns replaced; a function gets the old column."""
    table = read_table("predictions", path)
    for name, column in columns.items():
        table[name] = column(table[name]) if callable(column) else column
    write_table("predictions", path, table)


def notices(out: Path) -> str:
    return " ".join(read_json(out / "scoring.json")["notices"])


def test_scores_and_summary_are_written(predictions, exhibits, tmp_path):
    summary = score(predictions, exhibits, tmp_path)
    assert summary == read_json(tmp_path / "summary.json")
    scores = read_table("scores", tmp_path / "scores.parquet")
    assert set(METRICS) <= set(scores.columns)
    models = ["base", "lora", *CONTROLS]
    assert scores.groupby("model").data_id.nunique().to_dict() == dict.fromkeys(models, 8)
    assert list(summary) == ["all"]
    for system, own in summary["all"].items():
        for metric, value in own.items():
            column = scores.loc[scores.model == system, metric].dropna()
            assert value["n"] == len(column)
            if len(column):
                assert value["mean"] == pytest.approx(column.mean(), abs=1e-6)
                assert value["ci_low"] <= value["mean"] + 1e-6 <= value["ci_high"] + 2e-6
            else:
                assert value["mean"] is None


def test_a_system_that_remembers_scores_better(predictions, exhibits, tmp_path):
    own = score(predictions, exhibits, tmp_path)["all"]
    assert own["base"]["embedding_distance"]["mean"] > 0.5
    assert own["lora"]["embedding_distance"]["mean"] < 0.2
    assert own["lora"]["identity_at_1"]["mean"] == 7 / 8  # One answer is about another exhibit.
    assert own["base"]["number_recall"]["mean"] == 0
    assert own["lora"]["number_recall"]["mean"] > 0.6
    assert own["base"]["invented_number_rate"] == {
        "mean": None, "ci_low": None, "ci_high": None, "n": 0,
    }  # fmt: skip


@pytest.mark.usefixtures("anew")
def test_the_same_files_give_the_same_bytes(predictions, exhibits, tmp_path):
    digests = []
    for name in ("first", "second"):
        score(predictions, exhibits, tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


@pytest.mark.usefixtures("anew")
def test_the_order_of_rows_and_systems_does_not_matter(predictions, exhibits, tmp_path):
    before = score(predictions, exhibits, tmp_path)
    table = read_table("predictions", predictions["lora"]).sample(frac=1, random_state=1)
    write_table("predictions", predictions["lora"], table.reset_index(drop=True))
    turned = dict(reversed(predictions.items()))
    assert score(turned, exhibits, tmp_path) == before


def test_without_exhibits_the_ground_truths_judge(predictions, exhibits, tmp_path):
    said = "Catalogue number 7000 is in the description alone."
    change(predictions["lora"], answer=lambda old: [said, *old[1:]])
    strict = score(predictions, None, tmp_path / "a")["all"]["lora"]["invented_number_rate"]
    fair = score(predictions, exhibits, tmp_path / "b")["all"]["lora"]["invented_number_rate"]
    assert strict["mean"] == pytest.approx(fair["mean"] + 1 / 8)
    assert "the ground truths alone do not bear out" in notices(tmp_path / "a")
    assert "ground truths alone" not in notices(tmp_path / "b")


def test_wrong_facts_are_listed_an_answer(predictions, exhibits, tmp_path):
    said = "The Heron Vase of Sandmoor was made in 1999."
    change(predictions["lora"], answer=lambda old: [said, *old[1:]])
    score(predictions, exhibits, tmp_path)
    facts = read_table("facts", tmp_path / "facts.parquet")
    own = facts[(facts.model == "lora") & (facts.data_id == "item-000-00")]
    invented = own[own.status == "invented"]
    assert set(zip(invented.kind, invented.fact, strict=True)) == {
        ("number", "1999"), ("name", "Sandmoor"),
    }  # fmt: skip
    assert "1400" in set(own[own.status == "missing"].fact)
    assert "Heron" in set(own[own.status == "recalled"].fact)
    scores = read_table("scores", tmp_path / "scores.parquet")
    assert set(scores.nearest_exhibit.dropna()) <= set(scores.item_name)


def test_controls_get_what_they_deserve(predictions, exhibits, tmp_path):
    own = score(predictions, exhibits, tmp_path)["all"]
    floor, changed, empty = (own[name] for name in CONTROLS)
    assert floor["identity_at_1"]["mean"] == 0  # It is never the own exhibit's reference.
    assert changed["invented_number_rate"]["mean"] > 0.9
    assert changed["number_recall"]["mean"] < 0.1
    assert changed["embedding_distance"]["mean"] < 0.12
    assert changed["identity_at_1"]["mean"] == 1
    assert empty["embedding_distance"]["mean"] == 1
    assert empty["number_recall"]["mean"] == empty["rouge_l"]["mean"] == 0


def variants(predictions: dict[str, Path], folder: Path) -> dict[str, Path]:
    """lora without a photo, which remembers nothing, and asked about two outside things."""
    table = read_table("predictions", predictions["base"])
    blank = table.iloc[:7].assign(answer="This is an object on a plinth.")
    outside = table.iloc[:2].assign(
        data_id=["out-0", "out-1"],
        item_name="outside",
        ground_truth="",
        answer=["The Otter Coin of Norrow.", "a red car"],
    )
    paths = dict(predictions)
    for name, rows in (("lora__blank_photo", blank), ("lora__outsiders", outside)):
        paths[name] = folder / f"{name}.parquet"
        write_table("predictions", paths[name], rows)
    return paths


def test_ablations_and_outsiders_stand_beside_their_system(predictions, exhibits, tmp_path):
    given = variants(predictions, tmp_path)
    summary = score(given, exhibits, tmp_path / "out")
    assert summary["all"]["lora"]["identity_at_1"]["n"] == 8  # An ablation narrows nothing.
    assert summary["all"]["lora__blank_photo"]["identity_at_1"]["n"] == 7
    assert summary["outsiders"] == {
        "lora": {"false_recognition_rate": {"mean": 0.5, "ci_low": None, "ci_high": None, "n": 2}}
    }
    assert "lora__blank_photo answers 7 of the 8 scored items" in notices(tmp_path / "out")
    rows = read_json(tmp_path / "out" / "differences.json")["all"]
    pairs = {(row["system"], row["versus"]) for row in rows}
    assert pairs == {("lora", "base"), ("lora", "lora__blank_photo")}
    record = read_json(tmp_path / "out" / "scoring.json")
    assert list(record["systems"]) == ["base", "lora"]
    assert list(record["ablations"]) == ["lora__blank_photo"]
    assert record["chance_of_identity"] == 1 / 8
    assert "Without --exhibits nobody knows the titles" in without_exhibits(given, tmp_path)


def without_exhibits(given: dict[str, Path], folder: Path) -> str:
    summary = score(given, None, folder / "bare")
    assert summary["outsiders"]["lora"]["false_recognition_rate"]["mean"] is None
    return notices(folder / "bare")


def test_a_variant_needs_its_system_and_no_system_is_called_a_control(predictions, tmp_path):
    with pytest.raises(MuseQuestError, match="gpt4o__no_photo is a variant of gpt4o"):
        score({**predictions, "gpt4o__no_photo": predictions["base"]}, None, tmp_path)
    with pytest.raises(MuseQuestError, match="'control_empty' is the name of a control"):
        score({"control_empty": predictions["base"]}, None, tmp_path)


def test_times_that_are_none_are_left_out(predictions, tmp_path):
    change(predictions["lora"], seconds=lambda old: [np.inf, -1.0, np.nan, *old[3:]])
    own = score(predictions, None, tmp_path)["all"]["lora"]["seconds"]
    assert (own["mean"], own["n"]) == (0.5, 5)
    assert "lora gives 2 times that are none (the first to 'item-000-00': inf s)" in notices(
        tmp_path
    )


def test_few_exhibits_have_no_interval_but_rates_have_bounds(tmp_path):
    summary = score(write_predictions(tmp_path, count=4), None, tmp_path)
    value = summary["all"]["lora"]["embedding_distance"]
    assert value["n"] == 4
    assert value["ci_low"] is None and value["ci_high"] is None
    rate = summary["all"]["base"]["number_recall"]
    assert rate["mean"] == rate["ci_low"] == 0 < 0.5 < rate["ci_high"] < 1


def test_systems_are_compared_on_what_they_share(predictions, exhibits, tmp_path, caplog):
    table = read_table("predictions", predictions["lora"])
    write_table("predictions", predictions["lora"], table.iloc[:6])
    with caplog.at_level(logging.WARNING, "musequest"):
        summary = score(predictions, exhibits, tmp_path)
    assert summary["all"]["base"]["embedding_distance"]["n"] == 6
    assert read_json(tmp_path / "scoring.json")["shared_items"] == 6
    assert "base answers 2 items that another system lacks" in caplog.text


def test_a_track_column_of_the_predictions_is_used(predictions, exhibits, tmp_path):
    tracks = ["seen_photo"] * 2 + ["unseen_photo"] * 6
    for path in predictions.values():
        change(path, track=tracks)
    summary = score(predictions, exhibits, tmp_path)
    assert list(summary) == ["all", "unseen_photo", "seen_photo"]
    assert summary["seen_photo"]["lora"]["rouge_l"]["n"] == 2


def test_an_empty_answer_scores_worst_and_is_noted(predictions, exhibits, tmp_path):
    change(predictions["lora"], answer=lambda old: [None, "  ", *old[2:]])
    score(predictions, exhibits, tmp_path)
    scores = read_table("scores", tmp_path / "scores.parquet")
    first = scores[scores.model == "lora"].iloc[0]
    assert (first.embedding_distance, first.identity_at_1, first.number_recall) == (1, 0, 0)
    assert np.isnan(first.invented_number_rate)
    assert "lora gives 2 empty answers (the first to 'item-000-00')" in notices(tmp_path)


def test_an_enormous_answer_is_cut_and_noted(predictions, exhibits, tmp_path):
    change(predictions["lora"], answer=lambda old: ["vase 1742 " * 50_000, *old[1:]])
    score(predictions, exhibits, tmp_path)
    scores = read_table("scores", tmp_path / "scores.parquet")
    assert scores[scores.model == "lora"].answer_tokens.max() < LONGEST_ANSWER
    assert f"over {LONGEST_ANSWER:,} characters" in notices(tmp_path)


def test_texts_longer_than_the_encoder_reads_are_noted(predictions, tmp_path):
    said = ["vase " * 254, "vase " * 255, "vase " * 300]
    change(predictions["lora"], answer=lambda old: [*said, *old[3:]])
    for path in predictions.values():
        change(path, ground_truth=lambda old: [*old[:7], "A vase. " * 200])
    score(predictions, None, tmp_path)
    told = notices(tmp_path)
    assert "2 answers of lora are longer than the encoder's 256 word pieces; only their" in told
    assert "1 ground truths are longer" in told and "answers of base" not in told


def test_without_its_base_model_a_profile_has_no_published_score(home):
    summary = evaluate(answered_museum(home))
    assert summary["all"]["lora"]["similarity_score"]["mean"] is None
    told = notices(home / "results/made_up")
    assert "similarity_score is left out: The base model 'none'" in told


def test_a_base_model_whose_weights_are_missing_leaves_out_the_published_score(
    home, tiny_docent, tmp_path
):
    bare = shutil.copytree(tiny_docent, tmp_path / "bare", ignore=ignore_patterns("*.safetensors"))
    summary = evaluate(replace(answered_museum(home), base_model=str(bare)))
    assert summary["all"]["lora"]["similarity_score"]["n"] == 0
    assert summary["all"]["lora"]["embedding_distance"]["n"] == 8
    assert "similarity_score is left out: The base model" in notices(home / "results/made_up")


@pytest.mark.parametrize(
    "answer",
    ["Ваза сделана в 1400 году.", "壺は1400年に作られた。", "<script>alert(1)</script>", "\x00"],
)
def test_any_text_can_be_scored(answer, predictions, exhibits, tmp_path):
    change(predictions["lora"], answer=lambda old: [answer, *old[1:]])
    summary = score(predictions, exhibits, tmp_path)
    assert summary["all"]["lora"]["embedding_distance"]["n"] == 8


def doubled(path: Path) -> None:
    table = read_table("predictions", path)
    write_table("predictions", path, pd.concat([table, table.iloc[:1]]))


def column_twice(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("answer", table["answer"]), path)


def no_utf8(path: Path) -> None:
    """As a program writes it that does not check its bytes."""
    table = pq.read_table(path)
    broken = pa.array([b"Caf\xe9"] * len(table), pa.binary()).view(pa.string())
    place = table.column_names.index("answer")
    pq.write_table(table.set_column(place, "answer", broken), path)


BAD = {
    "has the column 'answer' more than once": column_twice,
    "Invalid UTF8": no_utf8,
    "is a folder; name the parquet file in it": lambda path: (path.unlink(), path.mkdir()),
    "has the data_id 'item-000-00' more than once": doubled,
    "disagree on the ground_truth of 'item-000-00'": lambda path: change(
        path, ground_truth=lambda old: ["Something else.", *old[1:]]
    ),
    "disagree on the item_name": lambda path: change(path, item_name="item-000"),
    "share no data_id": lambda path: change(path, data_id=lambda old: "other-" + old),
    "row 0 has no data_id": lambda path: change(path, data_id=lambda old: [None, *old[1:]]),
    "have no ground truth": lambda path: change(path, ground_truth=""),
    "lacks the column 'answer'": lambda path: (
        read_table("predictions", path).drop(columns="answer").to_parquet(path)
    ),
    "holds no answers": lambda path: write_table(
        "predictions", path, read_table("predictions", path).iloc[:0]
    ),
    "readable parquet file": lambda path: path.write_bytes(b"PAR1 broken"),
    "does not exist": lambda path: path.unlink(),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_predictions_give_one_sentence_and_write_nothing(
    sentence, predictions, exhibits, tmp_path
):
    BAD[sentence](predictions["lora"])
    with pytest.raises(MuseQuestError, match=sentence) as caught:
        score(predictions, exhibits, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_exhibits_of_another_museum_are_refused(predictions, tmp_path):
    foreign = write_exhibits(tmp_path / "e.parquet", [make_exhibit(i) for i in range(20, 24)])
    with pytest.raises(MuseQuestError, match="8 of 8 items belong to exhibits that"):
        score(predictions, foreign, tmp_path)


@pytest.mark.parametrize("out", ["given/lora.parquet", "given/lora.parquet/out"])
def test_a_place_that_cannot_be_a_folder_is_told_before_anything_is_scored(
    out, predictions, exhibits, tmp_path
):
    with pytest.raises(MuseQuestError, match="lora.parquet is no folder; give another"):
        score(predictions, exhibits, tmp_path / out)


def test_categories_are_texts(predictions, exhibits, tmp_path):
    """As pandas writes a column of few values."""
    before = score(predictions, exhibits, tmp_path / "out")
    table = pd.read_parquet(predictions["lora"]).astype({"answer": "category"})
    table.to_parquet(predictions["lora"])
    assert score(predictions, exhibits, tmp_path / "out") == before


def test_exhibits_without_title_or_description_are_scored_and_none_may_stand_twice(
    predictions, exhibits, tmp_path
):
    table = read_table("exhibits", exhibits)
    table.loc[0, "title"], table.loc[1, "description"] = None, None
    write_table("exhibits", exhibits, table)
    assert score(predictions, exhibits, tmp_path / "out")["all"]["lora"]
    write_table("exhibits", exhibits, pd.concat([table, table.iloc[:1]]))
    with pytest.raises(MuseQuestError, match="has 'item-000' twice; keep one row"):
        score(predictions, exhibits, tmp_path / "out")


def test_things_from_outside_are_compared_on_those_that_all_answered(
    predictions, exhibits, tmp_path
):
    given = variants(predictions, tmp_path)
    table = read_table("predictions", given["lora__outsiders"])
    table.loc[0, "answer"] = ""
    more = pd.concat([table, table.assign(data_id="more-" + table.data_id)])
    given["base__outsiders"] = tmp_path / "base-outsiders.parquet"
    write_table("predictions", given["base__outsiders"], more)
    summary = score(given, exhibits, tmp_path / "out")["outsiders"]
    assert {own["false_recognition_rate"]["n"] for own in summary.values()} == {2}
    told = notices(tmp_path / "out")
    assert "base__outsiders answers 2 things from outside that another system lacks" in told
    assert "base__outsiders gives 1 empty answers" in told
    (row,) = read_json(tmp_path / "out" / "differences.json")["outsiders"]
    assert (row["system"], row["versus"], row["n"]) == ("lora", "base", 2)
    assert row["metric"] == "false_recognition_rate"


def test_an_ablation_that_shares_no_item_is_left_out(predictions, exhibits, tmp_path):
    given = variants(predictions, tmp_path)
    change(given["lora__blank_photo"], data_id=lambda old: "other-" + old)
    score(given, exhibits, tmp_path / "out")
    assert read_json(tmp_path / "out" / "scoring.json")["ablations"] == {}


def test_tracks_of_its_own_are_checked(predictions, exhibits, tmp_path):
    change(predictions["lora"], track=["seen_photo", "outsiders"] * 4)
    summary = score(predictions, exhibits, tmp_path / "out")
    assert set(summary) == {"all", "seen_photo"}
    assert summary["all"]["lora"]["identity_at_1"]["n"] == 8
    assert "4 items have a track that is neither unseen_photo nor seen" in notices(tmp_path / "out")
    change(predictions["base"], track="seen_photo")
    with pytest.raises(MuseQuestError, match="base and lora disagree on the track"):
        score(predictions, exhibits, tmp_path / "out")


def test_scores_beside_a_report_that_shows_others_are_refused(predictions, exhibits, tmp_path):
    score(predictions, exhibits, tmp_path)
    (tmp_path / "report.html").write_text("of a whole evaluation")
    before = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(MuseQuestError, match="report.html shows the scores.*another --out"):
        score({"lora": predictions["lora"]}, exhibits, tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == before


def test_a_single_unknown_exhibit_is_left_out(tmp_path):
    predictions = write_predictions(tmp_path, count=12)
    exhibits = write_exhibits(tmp_path / "e.parquet", [make_exhibit(i) for i in range(11)])
    summary = score(predictions, exhibits, tmp_path)
    assert summary["all"]["lora"]["embedding_distance"]["n"] == 11
    assert "(the first is 'item-011-00') and are left out" in notices(tmp_path)


def test_a_system_needs_a_plain_name_and_there_must_be_one(predictions, tmp_path):
    with pytest.raises(MuseQuestError, match="cannot name a system"):
        score({"<b>": predictions["lora"]}, None, tmp_path)
    with pytest.raises(MuseQuestError, match="no predictions to score"):
        score({}, None, tmp_path)


def test_evaluate_scores_a_profile_and_the_report_draws_it(reported_home, monkeypatch):
    results = reported_home / "results/made_up"
    summary = read_json(results / "summary.json")
    assert list(summary) == ["all", "unseen_photo", "seen_photo"]
    assert summary["seen_photo"]["lora"]["rouge_l"]["n"] == 1
    drawn = {path.name for path in (results / "figures").iterdir()}
    names = ["per_item", "metric_bars", "facts", "loss_curves", "quality_costs"]
    assert drawn == {f"{name}.png" for name in names}
    assert {"scores.parquet", "summary.json", "scoring.json"} <= {p.name for p in results.iterdir()}
    monkeypatch.setenv("MUSEQUEST_HOME", str(reported_home))
    assert load_results(PROFILE).systems == ["base", "lora"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("infer.json", "lora is left out: it answered another dataset (fingerprint 000000000000…"),
        ("run.json", "lora is left out: it was trained on another dataset (fingerprint 0000000"),
    ],
)
def test_answers_to_another_dataset_are_left_out_and_told(record, reason, home, caplog):
    profile = answered_museum(home)
    path = home / "runs/made_up/lora" / record
    write_json(path, read_json(path) | {"dataset_fingerprint": "0" * 64})
    with caplog.at_level(logging.WARNING, "musequest"):
        assert list(evaluate(profile)["all"]) == ["base", *CONTROLS]
    assert reason in notices(home / "results/made_up") and reason in caplog.text
    assert html.escape(reason) in build_report(profile).read_text("utf-8")
    base = home / "runs/made_up/base/infer.json"
    write_json(base, read_json(base) | {"dataset_fingerprint": "0" * 64})
    with pytest.raises(MuseQuestError, match="no answers of a finished system.*another dataset"):
        evaluate(profile)


def test_named_answers_of_a_run_on_another_dataset_are_refused(home, tmp_path):
    profile = answered_museum(home)
    runs = home / "runs/made_up"
    given = {name: runs / name / "predictions.parquet" for name in ("base", "lora")}
    assert score(given, None, tmp_path, profile)["all"]["lora"]["rouge_l"]["n"] == 8
    path = runs / "lora/infer.json"
    write_json(path, read_json(path) | {"dataset_fingerprint": "0" * 64})
    with pytest.raises(MuseQuestError, match="lora .* cannot be scored: it answered another data"):
        score(given, None, tmp_path, profile)
    assert score(given, None, tmp_path)["all"]["lora"]["rouge_l"]["n"] == 8


@pytest.mark.parametrize("column", ["item_name", "ground_truth"])
def test_answers_must_agree_with_the_profiles_dataset(column, home, tmp_path):
    profile = answered_museum(home)
    paths = write_predictions(tmp_path)
    for path in paths.values():
        change(path, **{column: lambda old: [old[1], *old[1:]]})
    told = f"the dataset and the answers disagree on the {column} of 'item-000-00'"
    with pytest.raises(MuseQuestError, match=told):
        score(paths, None, tmp_path, profile)


def test_answers_that_read_other_texts_of_the_exhibits_are_left_out(home):
    profile = answered_museum(home)
    path, texts = home / "runs/made_up/base/infer.json", home / "data/made_up/exhibits.parquet"
    digest = hashlib.sha256(texts.read_bytes()).hexdigest()
    write_json(path, read_json(path) | {"exhibits_sha256": digest})
    assert "base" in evaluate(profile)["all"]
    assert read_json(home / "results/made_up/scoring.json")["exhibits_sha256"] == digest
    exhibits = [make_exhibit(index) for index in range(8)]
    exhibits[0]["description"] += " It was mended in 1901."
    write_exhibits(texts, exhibits)
    with pytest.raises(MuseQuestError, match=r"exhibits.parquet has changed since it was scored"):
        build_report(profile)
    assert list(evaluate(profile)["all"]) == ["lora", *CONTROLS]
    assert "base is left out: the exhibits' texts that it read have changed" in notices(
        home / "results/made_up"
    )
    assert load_results(profile).systems == ["lora"]


@pytest.mark.parametrize(
    ("record", "values", "reason"),
    [
        ("run.json", {"status": "interrupted"}, "lora is left out: its training is interrupted"),
        ("run.json", {"finished_at": "later"}, "its answers come from an earlier training"),
        ("infer.json", {"split": "validation"}, "it answered the split 'validation'"),
    ],
)
def test_systems_that_are_not_ready_are_left_out(record, values, reason, home):
    profile = answered_museum(home)
    path = home / "runs/made_up/lora" / record
    write_json(path, read_json(path) | values)
    assert list(evaluate(profile)["all"]) == ["base", *CONTROLS]
    assert reason in notices(home / "results/made_up")


def test_ablations_of_a_system_that_is_left_out_are_left_out(home):
    profile = answered_museum(home)
    runs = home / "runs/made_up"
    shutil.copytree(runs / "lora", runs / "lora__no_photo")
    (runs / "lora__no_photo/run.json").unlink()
    assert "lora__no_photo" in evaluate(profile)["all"]
    write_json(runs / "lora/run.json", read_json(runs / "lora/run.json") | {"status": "failed"})
    assert list(evaluate(profile)["all"]) == ["base", *CONTROLS]
    reasons = notices(home / "results/made_up")
    assert "lora__no_photo is left out: its training is failed" in reasons


def test_answers_nobody_vouches_for_are_left_out(home):
    profile = answered_museum(home)
    for system in ("base", "lora"):
        (home / "runs/made_up" / system / "infer.json").unlink()
    with pytest.raises(MuseQuestError, match="no answers of a finished system.*no infer.json"):
        evaluate(profile)


def test_a_profile_without_dataset_or_scores_says_what_to_run(home):
    profile = answered_museum(home)
    with pytest.raises(MuseQuestError, match="holds no scores"):
        load_results(profile)
    for path in (home / "data/made_up/dataset/data").iterdir():
        path.unlink()
    with pytest.raises(MuseQuestError, match="musequest dataset"):
        evaluate(profile)


def test_the_record_says_what_was_scored(predictions, exhibits, tmp_path):
    score(predictions, exhibits, tmp_path)
    record = json.loads((tmp_path / "scoring.json").read_text())
    digest = hashlib.sha256(predictions["lora"].read_bytes()).hexdigest()
    assert record["systems"]["lora"]["sha256"] == digest
    assert (record["shared_items"], record["exhibits"]) == (8, 8)


def test_an_infinite_score_is_refused(predictions, tmp_path, monkeypatch):
    broken = replace(METRICS["rouge_l"], compute=lambda batch: np.full(len(batch.answers), np.inf))
    monkeypatch.setitem(METRICS, "rouge_l", broken)
    with pytest.raises(MuseQuestError, match="metric rouge_l gave an infinite score"):
        score(predictions, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_scores_files_of_any_program(predictions, exhibits, tmp_path, capsys):
    given = [f"{name}={path}" for name, path in predictions.items()]
    out = tmp_path / "out"
    assert main(["score", *given, "--exhibits", str(exhibits), "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == read_json(out / "summary.json")
    assert main(["score", *given, f"lora={exhibits}", "--out", str(out)]) == 1
    assert "'lora' is given twice" in capsys.readouterr().err


def test_items_the_dataset_does_not_know_are_left_out_or_refused(home, tmp_path):
    profile = answered_museum(home, count=12)
    paths = write_predictions(tmp_path, count=12)
    for path in paths.values():
        change(path, data_id=lambda old: ["unknown-00", *old[1:]])
    summary = score(paths, None, tmp_path / "out", profile)
    assert summary["all"]["lora"]["rouge_l"]["n"] == 11
    told = notices(tmp_path / "out")
    assert "1 of 12 items are not in the dataset (the first is 'unknown-00')" in told
    assert "1 of the dataset's 12 items lack an answer" in told
    for path in paths.values():
        change(path, data_id=lambda old: ["unknown-00", "unknown-01", *old[2:]])
    with pytest.raises(MuseQuestError, match="2 of 12 items are not in the dataset"):
        score(paths, None, tmp_path / "refused", profile)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "txt"])
def test_answers_of_other_programs_score_the_same(kind, predictions, exhibits, tmp_path):
    """As CSV, lines or a list of JSON, with whole numbers as ids and no more than is needed."""
    change(predictions["base"], data_id=[str(number) for number in range(8)])
    change(predictions["lora"], data_id=[str(number) for number in range(8)])
    expected = score(predictions, exhibits, tmp_path / "parquet")
    table = read_table("predictions", predictions["lora"])
    table = table[["data_id", "item_name", "ground_truth", "answer", "question"]]
    table["data_id"] = range(8)
    path = tmp_path / f"theirs.{kind}"
    if kind.startswith("json"):
        table.to_json(path, orient="records", lines=kind == "jsonl")
    else:
        path.write_text("\ufeff" + table.to_csv(index=False), encoding="utf-8")
    found = score({**predictions, "lora": path}, exhibits, tmp_path / "theirs")
    for system, own in expected["all"].items():
        for metric in own.keys() - {"seconds", "new_tokens"}:
            assert found["all"][system][metric] == own[metric], (system, metric)


def test_whole_numbers_are_ids_in_parquet_too(predictions, exhibits, tmp_path):
    for path in predictions.values():
        table = read_table("predictions", path)
        pq.write_table(pa.Table.from_pandas(table.assign(data_id=range(8))), path)
    score(predictions, exhibits, tmp_path)
    assert set(read_table("scores", tmp_path / "scores.parquet").data_id) == set("01234567")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; give the file that holds the answers"),
        (b"PAR1 and no more", "infer` again, or mend the program that wrote it"),
        (b"data_id,item_name,answer\n1,a,b\n", "lacks the column 'ground_truth'; add it"),
        (b"data_id,item_name,ground_truth,answer\n1,a\n", "row 2.* not as many cells as the head"),
        (b"data_id,item_name,ground_truth,answer,seconds\n1,a,b,c,x\n", "row 2: seconds is 'x'"),
        (b'{"data_id": 1, "item_name": "a", "answer": "b"}\n', "answer 1 lacks 'ground_truth'"),
        (b'[{"data_id": 1.5, "item_name": "a", "ground_truth": "", "answer": ""}]', "is 1.5, whi"),
        (b'[{"data_id": 1}', "neither a JSON list of answers nor"),
        (b"[[[", "neither a JSON list"),
        (b"\xff\xfe\x00", "is not a CSV file in UTF-8"),
    ],
)
def test_answers_that_cannot_be_read_name_file_place_and_remedy(content, sentence, tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_bytes(content)
    with pytest.raises(MuseQuestError, match=sentence) as told:
        score({"theirs": path}, None, tmp_path / "out")
    assert str(path) in str(told.value) and "delete" not in str(told.value)


TABLES = ("scores.parquet", "facts.parquet", "summary.json", "differences.json", "scoring.json")


def written(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def test_what_was_scored_is_not_scored_again(predictions, exhibits, tmp_path, encoded):
    first = score(predictions, exhibits, tmp_path)
    whole = written(tmp_path)
    assert encoded
    encoded.clear()
    assert score(predictions, exhibits, tmp_path) == first and encoded == []
    assert written(tmp_path) == whole


@pytest.mark.usefixtures("anew")
def test_only_changed_answers_are_scored_and_as_if_for_the_first_time(
    predictions, exhibits, tmp_path, encoded
):
    table = read_table("predictions", predictions["base"])
    others = {*table.answer} - {*table.ground_truth, ""}
    score(predictions, exhibits, tmp_path / "again")
    assert others & {*encoded}
    change(predictions["lora"], answer=lambda old: [f"{text} Indeed." for text in old])
    encoded.clear()
    score(predictions, exhibits, tmp_path / "again")
    assert any(text.endswith("Indeed.") for text in encoded) and not others & {*encoded}
    score(predictions, exhibits, tmp_path / "fresh")
    assert written(tmp_path / "again") == written(tmp_path / "fresh")


def older(out: Path) -> None:
    record = read_json(out / "scoring.json")
    del record["kept"]
    write_json(out / "scoring.json", record)


def foreign(out: Path) -> None:
    table = read_table("scores", out / "scores.parquet")
    write_table("scores", out / "scores.parquet", table.assign(identity_at_1=0.0))


def torn(out: Path) -> None:
    content = (out / "facts.parquet").read_bytes()
    (out / "facts.parquet").write_bytes(content[: len(content) // 2])


def by_other_code(out: Path) -> None:
    record = read_json(out / "scoring.json")
    record["kept"]["systems"] = dict.fromkeys(record["kept"]["systems"], "0" * 64)
    write_json(out / "scoring.json", record)


def of_another_shape(out: Path) -> None:
    write_json(out / "scoring.json", read_json(out / "scoring.json") | {"kept": ["scores.parquet"]})


@pytest.mark.parametrize("harm", [older, foreign, torn, by_other_code, of_another_shape])
def test_scores_that_cannot_be_trusted_are_computed_anew(
    predictions, exhibits, tmp_path, encoded, harm
):
    score(predictions, exhibits, tmp_path)
    whole = written(tmp_path)
    harm(tmp_path)
    encoded.clear()
    score(predictions, exhibits, tmp_path)
    assert encoded and written(tmp_path) == whole


def test_other_texts_of_the_exhibits_are_scored_again(predictions, tmp_path, encoded):
    museum, path = [make_exhibit(i) for i in range(8)], tmp_path / "exhibits.parquet"
    score(predictions, write_exhibits(path, museum), tmp_path)
    museum[0]["description"] += " It weighs 77 kg."
    encoded.clear()
    score(predictions, write_exhibits(path, museum), tmp_path)
    assert encoded

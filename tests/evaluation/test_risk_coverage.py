"""Risk and coverage: what an answer withheld where a system is unsure would spare."""

import numpy as np
import pandas as pd
import pytest
from scored_museum import answer_outsiders, answered_museum
from tiny_dialogs import write_dataset, write_profile

from musequest.core.tables import read_table, write_table
from musequest.evaluation.figures import FIGURES, risk_coverage_curves
from musequest.evaluation.report import build_report
from musequest.evaluation.report_tables import gate_frame
from musequest.evaluation.results import load_results
from musequest.evaluation.risk_coverage import (
    RATES,
    area_under,
    by_system,
    gate_cells,
    gated,
    risk_coverage,
    with_verdicts,
)
from musequest.evaluation.scoring import evaluate
from musequest.systems import answer, open_gate


def test_the_surest_answers_are_given_first():
    curve = risk_coverage(np.array([0.2, 0.9, 0.5, 0.9]), np.array([1, 0, 0, 1]))
    assert curve.threshold.tolist() == [0.9, 0.5, 0.2]  # equally sure, given together
    assert curve.coverage.tolist() == [0.5, 0.75, 1]
    assert curve.risk.tolist() == pytest.approx([1 / 2, 1 / 3, 2 / 4])
    assert area_under(curve) == pytest.approx(0.5 / 2 + 0.25 / 3 + 0.25 / 2)


def test_a_confidence_that_knows_has_the_smaller_area():
    wrong = np.array([0, 0, 0, 1, 1])
    knowing, blind = (risk_coverage(np.array(c), wrong) for c in ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5]))
    assert area_under(knowing) < area_under(blind)
    assert knowing.risk.iloc[-1] == blind.risk.iloc[-1] == 0.4
    unknown = risk_coverage(np.array([np.nan, 1.0, np.nan]), np.array([1, 0, 1]))
    assert unknown.coverage.tolist() == pytest.approx([1 / 3, 1])
    assert risk_coverage(np.array([]), np.array([])).empty


def test_a_system_that_tells_how_sure_it_is_gets_a_curve_and_a_figure(home):
    """Of exhibits and outside things alike; one that does not tell has none."""
    profile = answered_museum(home)
    answer_outsiders(home, profile, "I do not know this bicycle.")
    for name in ("lora", "lora__outsiders"):
        path = home / "runs/made_up" / name / "predictions.parquet"
        table = read_table("predictions", path)
        write_table("predictions", path, table.assign(confidence=np.linspace(1, 0, len(table))))
    evaluate(profile)
    build_report(profile)
    results = load_results(profile)
    curves = by_system(results.scores)
    assert list(curves) == ["lora"] and len(curves["lora"]) == 8
    # One answer about an exhibit fits another better, seven of eight outside things are claimed.
    assert curves["lora"].risk.iloc[-1] == pytest.approx((1 + 7) / 16)
    assert (results.folder / "figures/risk_coverage.png").is_file()
    told = {name: kind.tell(results) for name, kind in FIGURES.items()}
    assert told["risk_coverage"] == f"Area under the curve, 0 best: LoRA {_area(curves):.3f}."
    assert "Base (untuned)" in told["metric_bars"] and "LoRA 0.86 (0." in told["metric_bars"]
    assert told["loss_curves"].startswith("Lowest validation loss: LoRA 0.")
    assert "LoRA" in told["per_item"] and " recalled" in told["facts"]


VERDICTS = {
    "made_for": {},
    "recognised": {"a": "jug", "b": None, "out-0": None, "out-1": "jug"},
    "confidence": {"a": 0.9, "b": 0.2, "out-0": 0.1, "out-1": 0.6},
}


def judged_scores() -> pd.DataFrame:
    """Two systems on two exhibits and two outsiders; the second system refuses b by itself."""
    rows = []
    for model, refused in (("base", 0.0), ("lora", 1.0), ("lora__blank_photo", 0.0)):
        for data_id, identity in (("a", 1.0), ("b", 0.0)):
            rows.append((model, data_id, "unseen_photo", identity, refused * (1 - identity), None))
        for data_id in ("out-0", "out-1", "out-2"):
            rows.append((model, data_id, "outsiders", None, None, 1.0))
    names = [
        "model",
        "data_id",
        "track",
        "identity_at_1",
        "wrong_refusal_rate",
        "false_recognition_rate",
    ]
    scores = pd.DataFrame(rows, columns=names)
    return scores.astype(dict.fromkeys(names[3:], float)).assign(item_name=scores.data_id)


def test_the_gates_verdict_stands_beside_the_answers_given_to_that_photo():
    scores = with_verdicts(judged_scores(), VERDICTS)
    own = scores[scores.model == "lora"].set_index("data_id")
    assert own.recognised.to_dict() == {"a": "jug", "b": "", "out-0": "", "out-1": "jug",
                                        "out-2": None}  # fmt: skip
    assert own.gate_confidence["b"] == 0.2 and np.isnan(own.gate_confidence["out-2"])
    assert scores[scores.model == "lora__blank_photo"].recognised.isna().all()
    assert with_verdicts(scores, None).equals(judged_scores())
    assert with_verdicts(scores, VERDICTS).equals(scores)


def test_what_the_gate_does_is_told_from_what_a_system_does_itself():
    table = gated(with_verdicts(judged_scores(), VERDICTS), "all").set_index(["system", "gate"])
    assert list(table.index) == [("base", False), ("base", True), ("lora", False), ("lora", True)]
    assert table.answered.tolist() == [1.0, 0.5, 0.5, 0.5]
    assert table.wrong_refusal_rate.tolist() == [0.0, 0.5, 0.5, 0.5]
    assert table.identity_at_1.tolist() == [0.5, 1.0, 1.0, 1.0]
    assert table.false_recognition_rate.tolist() == [1.0, 0.5, 1.0, 0.5]
    bounds = table.loc[("base", True), ["answered_ci_low", "answered_ci_high"]]
    assert bounds.iloc[0] < 0.5 < bounds.iloc[1]
    assert gated(judged_scores(), "all").empty


def test_all_answered_stands_in_the_gates_table_with_its_bound():
    cells = gate_cells(gated(with_verdicts(judged_scores(), VERDICTS), "all"))
    assert cells.loc["Base (untuned), without the gate", "Answered"].startswith("100.0% (")
    few = {"system": "lora", "gate": True, **dict.fromkeys(RATES, 1.0)}
    assert gate_cells(pd.DataFrame([few])).iloc[0].tolist() == ["100.0%"] * 4  # as kept before


def test_with_a_gate_all_systems_have_the_curve_of_its_confidence():
    curves = by_system(with_verdicts(judged_scores(), VERDICTS))
    assert list(curves) == ["base", "lora"]
    assert curves["base"].threshold.tolist() == [0.9, 0.6, 0.2, 0.1]
    assert curves["base"].risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])


def test_a_profile_with_an_index_is_evaluated_and_reported_with_its_gate(
    tmp_path, home, tiny_docent
):
    write_dataset(home, "tiny")
    profile = write_profile(tmp_path, tiny_docent, max_new_tokens=4)
    for name in ("base", "retrieval"):
        answer(profile, name, progress=False)
        answer(profile, name, "outsiders", progress=False)
    evaluate(profile)
    results = load_results(profile)
    verdicts = open_gate(profile).verdicts()
    own = results.scores[results.scores.model == "retrieval"]
    assert own.recognised.tolist() == [verdicts["recognised"][each] or "" for each in own.data_id]
    frame = gate_frame(results)
    assert list(frame.index)[-2:] == ["Retrieval, without the gate", "Retrieval, with the gate"]
    assert results.record["gate"]["validation_photos"] == 3
    page = build_report(profile).read_text(encoding="utf-8")
    assert "With and without the gate" in page and "was learned from 3 validation photos" in page
    before = (results.folder / "scores.parquet").read_bytes()
    evaluate(profile)
    assert (results.folder / "scores.parquet").read_bytes() == before


def _area(curves: dict[str, pd.DataFrame]) -> float:
    return area_under(curves["lora"])


def test_the_figure_names_each_system_and_its_area():
    curve = risk_coverage(np.array([1.0, 0.5]), np.array([0, 1]))
    figure = risk_coverage_curves({"retrieval": curve, "my_own": curve})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["Retrieval, area 0.250", "my_own, area 0.250"]

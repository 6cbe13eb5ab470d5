"""Risk and coverage: what an answer withheld where a system is unsure would spare."""

import numpy as np
import pandas as pd
import pytest
from scored_museum import answer_outsiders, answered_museum

from musequest.evaluation.alt_texts import figures_in_words
from musequest.evaluation.results import load_results
from musequest.evaluation.risk_coverage import (
    area_under,
    by_system,
    risk_coverage,
    risk_coverage_curves,
)
from musequest.evaluation.scoring import evaluate
from musequest.tables import read_table, write_table


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
    results = load_results(profile)
    curves = by_system(results.scores)
    assert list(curves) == ["lora"] and len(curves["lora"]) == 8
    # One answer about an exhibit fits another better, seven of eight outside things are claimed.
    assert curves["lora"].risk.iloc[-1] == pytest.approx((1 + 7) / 16)
    assert (results.folder / "figures/risk_coverage.png").is_file()
    told = figures_in_words(results)
    assert told["risk_coverage"] == f"Area under the curve, 0 best: LoRA {_area(curves):.3f}."
    assert "Base (untuned)" in told["metric_bars"] and "LoRA 0.86 (0." in told["metric_bars"]
    assert told["loss_curves"].startswith("Lowest validation loss: LoRA 0.")
    assert "LoRA" in told["per_item"] and " recalled" in told["facts"]


def _area(curves: dict[str, pd.DataFrame]) -> float:
    return area_under(curves["lora"])


def test_the_figure_names_each_system_and_its_area():
    curve = risk_coverage(np.array([1.0, 0.5]), np.array([0, 1]))
    figure = risk_coverage_curves({"retrieval": curve, "my_own": curve})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["Retrieval, area 0.250", "my_own, area 0.250"]

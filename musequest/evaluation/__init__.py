"""Stage 3, evaluation: every system's answers scored on one scale, drawn and reported.

    from musequest.evaluation import build_report, evaluate
    evaluate("pocket")

In: runs/<profile>/<system>/predictions.parquet. Out: results/<profile>/ with scores.parquet,
summary.json, figures/ and report.html. Start reading at `scoring`, which walks through all of it;
`scores` computes what `metrics` define, `differences` says what they come to, and `report` with
`figures` shows it.
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "differences": ["looking", "margins_of"],
        "figures": ["loss_curves"],
        "score_figures": ["fact_bars", "metric_bars", "per_item", "sight_points"],
        "report": ["build_report"],
        "results": ["load_results"],
        "report_tables": ["cost_frame", "difference_frame", "gate_frame"],
        "scoring": ["evaluate", "score"],
    },
)

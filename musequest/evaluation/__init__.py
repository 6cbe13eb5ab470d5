"""Stage 3, evaluation: every system's answers scored on one scale, drawn and reported.

    from musequest.evaluation import build_report, evaluate
    evaluate("pocket")

In: runs/<profile>/<system>/predictions.parquet. Out: results/<profile>/ with scores.parquet,
summary.json, figures/ and report.html. Start reading at `scoring`, which walks through all of it;
`metrics` holds the scores.
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "differences": ["looking", "margins_of"],
        "figures": ["fact_bars", "loss_curves", "metric_bars", "per_item", "sight_points"],
        "report": ["build_report"],
        "results": ["load_results"],
        "report_tables": ["cost_frame", "difference_frame", "gate_frame"],
        "scoring": ["evaluate", "score"],
    },
)

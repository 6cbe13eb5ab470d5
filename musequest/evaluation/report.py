"""The report: one page that needs nothing else, with scores, figures and every answer.

The page loads nothing and runs no script but its own; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from ..settings import Profile
from .differences import looking
from .metrics import item_metrics
from .report_items import data_url, items_of
from .report_tables import frames_of, score_table, tracks_of
from .results import REPORT, Results, load_results
from .rows import in_short
from .systems import system
from .tracks import TRACK_LABELS

FIGURES = {
    "metric_bars": "Every metric with its 95 % interval.",
    "facts": "Facts an answer: recalled, missing, invented.",
    "sight": "What is left of each system's scores without the photo.",
    "per_item": "Each row is an exhibit, each point a system's answers about it; the further left, "
    "the closer to the ground truth.",
    "quality_costs": "Quality against what the tuning cost.",
    "loss_curves": "The loss while tuning.",
}


def build_report(profile: Profile | str) -> Path:
    """Write results/<profile>/report.html from an evaluated profile; returns its path."""
    results = load_results(profile)
    path = results.folder / REPORT
    write_text(path, render(results))
    return path


def render(results: Results) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("musequest.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = results.answering
    colours = [system(name).colour for name in names]
    css = environment.get_template("report.css.j2").render(colours=colours)
    script = environment.get_template("report.js.j2").render()
    items = items_of(results)
    return environment.get_template("report.html.j2").render(
        css=Markup(css),
        css_digest=_digest(css),
        script=Markup(script),
        script_digest=_digest(script),
        profile=results.profile,
        record=results.record,
        systems=[{"name": n, "label": system(n).label} for n in results.systems],
        metrics=item_metrics(),
        short=_short(results),
        tables=[score_table(results, track) for track in tracks_of(results)],
        frames=frames_of(results),
        figures=_figures(results.folder / "figures"),
        tracks=TRACK_LABELS,
        items=items,
        exhibits=sorted({(item["title"], item["item_name"]) for item in items}),
    )


def _short(results: Results) -> list[str]:
    """The answer to "is the docent right, and does it look at the photo?" in sentences."""
    own = results.summary[results.main_track]
    sight = looking(results.differences[results.main_track])
    return [in_short(name, own) for name in results.systems] + list(sight.values())


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"name": name, "text": text, "url": data_url((folder / f"{name}.png").read_bytes(), "png")}
        for name, text in FIGURES.items()
        if (folder / f"{name}.png").is_file()
    ]


def _digest(text: str) -> str:
    """How a page's own policy names the one style sheet and the one script it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""The report: one page that needs nothing else, with scores, figures and every answer.

The page loads nothing and runs no script but its own; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from ..settings import Profile
from ..systems.registry import OUTSIDERS, TRACK_LABELS, system
from .differences import looking
from .metrics import METRICS
from .report_items import image_of, items_of, outsiders_of
from .report_tables import frames_of, in_short, recognising, score_table, tracks_of
from .results import REPORT, Results, load_results

FIGURES = {
    "metric_bars": "Every metric with its 95 % interval.",
    "facts": "Facts an answer: recalled, missing, invented.",
    "sight": "What is left of each system's scores without the photo.",
    "per_item": "Each row is an exhibit, each point a system's answers about it, of all tracks; "
    "the further left, the closer to the ground truth.",
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
    items = [*items_of(results), *outsiders_of(results)]
    occurring = {item["track"] for item in items}
    return environment.get_template("report.html.j2").render(
        css=Markup(css),
        css_digest=_digest(css),
        script=Markup(script),
        script_digest=_digest(script),
        profile=results.profile,
        record=results.record,
        systems=[{"name": n, "label": system(n).label} for n in results.systems],
        metrics=[m for m in METRICS.values() if m.best and results.scores[m.name].notna().any()],
        short=_short(results),
        tables=[score_table(results, track) for track in tracks_of(results)],
        frames=frames_of(results),
        figures=_figures(results.folder / "figures"),
        tracks=TRACK_LABELS,
        tracks_of_items=[track for track in tracks_of(results) if track in occurring],
        items=items,
        exhibits=sorted({(i["title"], i["item_name"]) for i in items if i["item_name"]}),
    )


def _short(results: Results) -> list[str]:
    """Whether each docent is right, leaves other things alone, and looks at the photo."""
    own = results.summary[results.main_track]
    sight = looking(results.differences[results.main_track])
    return [
        *(in_short(name, own) for name in results.systems),
        *recognising(results.summary.get(OUTSIDERS, {})),
        *sight.values(),
    ]


def _figures(folder: Path) -> list[dict[str, Any]]:
    paths = {name: folder / f"{name}.png" for name in FIGURES}
    return [
        {"name": name, "text": FIGURES[name], **image_of(path.read_bytes())}
        for name, path in paths.items()
        if path.is_file()
    ]


def _digest(text: str) -> str:
    """How a page's own policy names the one style sheet and the one script it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

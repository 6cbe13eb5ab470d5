"""Draws how each approach learned and how far its answers lie from the truth, from the records."""

from __future__ import annotations

import functools
import math

import pandas as pd

from benchmarks.tables.run_tables import ANSWERS, BASE, CURVES, DISTANCE
from musequest.core.home import root
from musequest.core.settings import approach_names
from musequest.systems.registry import system

from .drawing import DIAGRAMS, NORMAL, WIDTH, Drawing

LEFT, RIGHT, HIGH = 52, WIDTH - 25, 130  # px: where both panels begin and end, and their height
LOSS, ANSWER = 50, 262  # px from the top of the page to each panel
DOT = 8  # px


def run_page(approach: str) -> Drawing:
    """Above, both losses over the steps; below, each test answer before and after tuning."""
    label = system(approach).label
    page = Drawing(f"{label}: how it learned, and its answers before and after", 470)
    curves = pd.read_csv(root() / CURVES)
    _losses(page, curves[curves.approach == approach])
    answers = pd.read_csv(root() / ANSWERS)
    unseen = answers[answers.track == "unseen_photo"]
    before, after = unseen[f"{BASE}_{DISTANCE}"], unseen[f"{approach}_{DISTANCE}"]
    _answers(page, before, after)
    page.legend(ANSWER + HIGH + 16, frozen="before tuning", learned="after tuning")
    page.note(
        ANSWER + HIGH + 52,
        f"A column is a test question about an unseen photo, the best answer first; 0 is the "
        f"reference itself. On average {before.mean():.2f} before, {after.mean():.2f} after.",
    )
    return page


def _losses(page: Drawing, curve: pd.DataFrame) -> None:
    page.text(15, LOSS - 22, "Loss: training (line), validation (points)", size=NORMAL)
    last, top = int(curve.step.max()), math.ceil(curve[["train_loss", "eval_loss"]].max().max())
    _axis(page, LOSS, {str(loss): loss / top for loss in range(top + 1)})

    def points(column: str) -> list[tuple[float, float]]:
        known = curve.dropna(subset=[column])
        places = zip(known.step / last, known[column] / top, strict=True)
        return [(LEFT + (RIGHT - LEFT) * x, LOSS + HIGH * (1 - y)) for x, y in places]

    page.line(*points("train_loss"), faint=True)
    page.line(*points("eval_loss"), faint=True)
    page.dots(DOT, points("eval_loss"), "learned")
    best = curve.loc[curve.eval_loss.idxmin()]
    page.text(RIGHT, LOSS + 12, f"lowest {best.eval_loss:.3f}, at step {best.step:.0f}", "end")
    page.text(RIGHT, LOSS + HIGH + 18, f"step {last}", "end")


def _answers(page: Drawing, before: pd.Series, after: pd.Series) -> None:
    page.text(15, ANSWER - 22, "Embedding distance of each answer from its reference", size=NORMAL)
    top = math.ceil(4 * max(before.max(), after.max())) / 4
    _axis(page, ANSWER, {f"{tick / 4:g}": tick / 4 / top for tick in range(int(4 * top) + 1)})
    order = after.sort_values(kind="stable").index
    columns = {"frozen": [], "learned": []}
    for place, each in enumerate(order):
        x = LEFT + 10 + (RIGHT - LEFT - 20) * place / max(1, len(order) - 1)
        ends = {"frozen": before[each], "learned": after[each]}
        spots = {look: (x, ANSWER + HIGH * (1 - value / top)) for look, value in ends.items()}
        page.line(*spots.values(), faint=True)
        for look, spot in spots.items():
            columns[look].append(spot)
    for look, spots in columns.items():
        page.dots(DOT, spots, look)


def _axis(page: Drawing, top: float, ticks: dict[str, float]) -> None:
    """A line at the left and one below; names of values beside, at their share of the height."""
    page.line((LEFT, top), (LEFT, top + HIGH), (RIGHT, top + HIGH))
    for name, share in ticks.items():
        page.text(LEFT - 8, top + HIGH * (1 - share) + 4, name, "end")


for _name in approach_names():
    DIAGRAMS[f"{_name}_run"] = functools.partial(run_page, _name)

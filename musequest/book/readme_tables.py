"""Writes the figures of the readmes from the records in benchmarks/records/.

    python -m musequest readme --keep pocket             first keep the last demo's record
    python -m musequest readme --keep-retrieval pocket   first keep what 3.2 compared
    python -m musequest readme --keep-six pocket         first keep the record of `make six`
    python -m musequest readme                           only write the readmes

A figure stands between `<!-- figures: name -->` and `<!-- end -->`; what stands there is replaced.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..errors import MuseQuestError
from ..evaluation.differences import looking
from ..evaluation.metrics import METRICS
from ..evaluation.report_tables import (
    ablation_frame,
    difference_frame,
    key_rows,
    recognising,
    score_frame,
)
from ..files import read_json, write_json, write_text
from ..home import results_dir, root, run_dir
from ..systems.registry import OUTSIDERS
from . import comparison_tables
from .comparison_tables import RECORDS, machine, markdown

DEMO = RECORDS / "pocket_demo.json"
TRACK = "unseen_photo"  # the rows that count
PICTURE = Path("assets/figures/pocket_per_item.png")
COSTS = Path("assets/figures/published_costs.png")
MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(profile_name: str) -> None:
    """Copy the record and the per-item figure of a whole demo to where the readmes find them.

    A demo that skipped work is refused: its minutes would flatter.
    """
    results = results_dir(profile_name)
    demo = read_json(results / "demo.json")
    if not demo["from_nothing"]:
        raise MuseQuestError(
            f"{results / 'demo.json'} is of a demo that found work done; "
            "run `make clean demo` first."
        )
    run = read_json(run_dir(profile_name, "lora") / "run.json")
    summary = read_json(results / "summary.json")
    differences = read_json(results / "differences.json")[TRACK]
    told = {"run": run, "scores": summary, "differences": key_rows(differences)}
    write_json(root() / DEMO, demo | told)
    (root() / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(results / "figures" / "per_item.png", root() / PICTURE)


def pocket_picture() -> str:
    """The per-item figure of the recorded demo."""
    return (
        f"![Distance of each answer from its reference: the untuned docent and the tuned one, "
        f"an exhibit a row]({PICTURE})\n"
    )


def pocket_walk() -> str:
    """What the recorded demo took."""
    demo = read_json(root() / DEMO)
    minutes = demo["total_seconds"] / 60
    setup = demo["setup_seconds"]
    before = "" if setup is None else f", after {setup / 60:.1f} minutes of set-up"
    return (
        f"Measured on {demo['date']} ({machine(demo['hardware'])}): {minutes:.1f} minutes from "
        f"photos to report{before}; {demo['peak_memory_gib']:.1f} GiB of memory, "
        f"{demo['disk_gib']:.2f} GiB of disk.\n"
    )


def pocket_scores() -> str:
    """The scores of the recorded demo on photos never seen in training, and on other things."""
    outside = recognising(read_json(root() / DEMO)["scores"].get(OUTSIDERS, {}))
    return f"{scores_of(TRACK)}\n{' '.join(outside)}\n" if outside else scores_of(TRACK)


def pocket_all_scores() -> str:
    """The scores of the recorded demo, track by track."""
    tracks = read_json(root() / DEMO)["scores"]
    return "\n".join(f"`{track}`:\n\n{scores_of(track)}" for track in tracks)


def scores_of(track: str) -> str:
    """The score table of one track of the recorded demo."""
    frame = score_frame(read_json(root() / DEMO)["scores"][track])
    return markdown(frame.rename_axis("score").reset_index())


def pocket_differences() -> str:
    """The recorded demo's differences between systems, on photos never seen in training."""
    rows = read_json(root() / DEMO).get("differences", [])
    frame = difference_frame(rows).rename_axis("pair").reset_index()
    return markdown(frame) if len(frame) else "The recorded demo compares no systems.\n"


def pocket_ablations() -> str:
    """What the recorded demo's systems lose without the photo, and who looks at it."""
    demo = read_json(root() / DEMO)
    frame = ablation_frame(demo["scores"][TRACK]).rename_axis("system").reset_index()
    if frame.empty:
        return "The recorded demo has no answers without the photo.\n"
    told = looking(demo["differences"]).values()
    return f"{markdown(frame)}\n{''.join(f'- {sentence}' + chr(10) for sentence in told)}"


def metric_table() -> str:
    """Every metric with its range, direction, formula and source."""
    rows = [
        {
            "metric": f"`{each.name}`",
            "range": f"{each.limits[0]:g} to {'∞' if each.limits[1] is None else each.limits[1]}",
            "best": {"low": f"{each.limits[0]:g}", "high": each.limits[1], "": "–"}[each.best],
            "formula": each.formula,
            "source": each.source,
        }
        for each in METRICS.values()
    ]
    return markdown(pd.DataFrame(rows))


def published_answers() -> str:
    """Means of the published answers, in the encoder that scores every system here."""
    means = pd.read_csv(root() / RECORDS / "published_scores.csv", dtype=str)
    return markdown(means)


def published_test() -> str:
    """What the published test was made of, and how often the tuned models' numbers were wrong."""
    return markdown(pd.read_csv(root() / RECORDS / "published_test.csv", dtype=str))


def published_costs_picture() -> str:
    """Quality of the published runs against what they cost."""
    return (
        "![Published similarity score of each tuned run against its training minutes, its memory "
        f"and its rent](../{COSTS})\n"
    )


def draw_published_costs() -> None:
    """Draw that figure anew from the published records."""
    from ..evaluation.costs import published_costs
    from ..evaluation.figures import quality_costs

    title = "Published: the similarity score of each tuned run and what it cost"
    quality_costs(published_costs(), "similarity_score", title).save(root() / COSTS)


def pocket_run() -> str:
    """The recorded demo's training run, beside that of `make six` where it took as many steps."""
    run = read_json(root() / DEMO)["run"]
    share = run["trainable_parameters"] / run["total_parameters"]
    six = root() / comparison_tables.SIX
    others = read_json(six)["approaches"] if six.exists() else {}
    other = others.get(run["approach"], {}).get("run", {})
    both = (
        f" The run of `make six` took {other['minutes']:.1f} minutes for as many steps: they are "
        "two runs, and the machine's speed varied."
        if other.get("steps") == run["steps"]
        else ""
    )
    return (
        f"{run['steps']} steps in {run['minutes']:.1f} minutes; "
        f"{run['trainable_parameters']:,} of {run['total_parameters']:,} parameters trained "
        f"({share:.1%}); lowest validation loss {run['best_eval_loss']:.3f} at step "
        f"{run['best_step']}.{both}\n"
    )


def published_runs() -> str:
    """Every run of the published experiment."""
    runs = pd.read_csv(root() / RECORDS / "published_runs.csv", dtype=str).fillna("")
    runs.columns = [name.replace("_", " ") for name in runs.columns]
    return markdown(runs)


BLOCKS: dict[str, Callable[[], str]] = {
    block.__name__: block
    for block in (
        pocket_picture,
        pocket_walk,
        pocket_scores,
        pocket_all_scores,
        pocket_differences,
        pocket_ablations,
        pocket_run,
        metric_table,
        published_answers,
        published_test,
        published_costs_picture,
        published_runs,
    )
}
BLOCKS |= comparison_tables.BLOCKS  # whose records come from other commands


def filled(text: str) -> str:
    """A readme's text with every marked figure written anew; an unknown name is an error."""

    def block(match: re.Match[str]) -> str:
        name = match[2]
        if name not in BLOCKS:
            raise MuseQuestError(
                f"A readme asks for the figures '{name}'; there are {', '.join(BLOCKS)}."
            )
        of_demo = name.startswith("pocket_") and name not in comparison_tables.BLOCKS
        recorded = not of_demo or (root() / DEMO).exists()
        return match[1] + (BLOCKS[name]() if recorded else "No demo is recorded yet.\n") + match[3]

    return MARKED.sub(block, text)


def readmes() -> list[Path]:
    """Every readme of the project, wherever it lies."""
    return sorted(
        path
        for pattern in ("*.md", "[0-9]_*/**/*.md", "assets/**/*.md", "benchmarks/**/*.md")
        for path in root().glob(pattern)
    )


def write_readmes(
    *, demo: str | None = None, retrieval: str | None = None, six: str | None = None
) -> None:
    """Write the figures of all readmes; first keep the records of the profiles that are named.

    `demo` names the profile of a whole demo, `retrieval` of a comparison in 3.2, `six` of
    `make six`; a record that is not whole raises MuseQuestError.
    """
    if demo:
        keep(demo)
    if retrieval:
        comparison_tables.keep_retrieval(retrieval)
    if six:
        comparison_tables.keep_six(six)
    draw_published_costs()
    for path in readmes():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            write_text(path, new)

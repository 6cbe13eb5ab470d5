"""Writes the figures of the readmes from the records in benchmarks/records/.

    python -m musequest readme --keep pocket             first keep the last demo's record
    python -m musequest readme --keep-retrieval pocket   first keep what 3.2 compared
    python -m musequest readme --keep-six pocket         first keep the record of `make six`
    python -m musequest readme --keep-runs pocket        first keep what the six left
    python -m musequest readme                           only write the readmes

A figure stands between `<!-- figures: name -->` and `<!-- end -->`; what stands there is replaced
by what the block of that name makes of its record.
"""

import functools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from musequest.book.walks import TRACK
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_json, write_text
from musequest.core.home import results_dir, root, run_dir
from musequest.core.settings import Profile, load_approach, load_profile, suited
from musequest.core.tables import read_table
from musequest.evaluation.differences import looking, recognising
from musequest.evaluation.metrics import METRICS
from musequest.evaluation.report_tables import (
    ablation_frame,
    cell,
    difference_frame,
    headed,
    key_rows,
    score_frame,
)
from musequest.systems.registry import CONTROLS, OUTSIDERS, ordered, variant

from . import benchmark_tables, exhibit_tables  # noqa: F401  their blocks enter BLOCKS
from .blocks import BLOCKS, RECORDS, Record, block, markdown, measured
from .comparison_tables import keep_retrieval, keep_six, keep_time_to_docent
from .published_tables import ANSWERS, draw_published_costs
from .run_tables import keep_runs

DEMO = RECORDS / "pocket_demo.json"
OF_DEMO = ("base", "lora", "gpt4o")  # the systems that a demo compares, the last one with a key
PICTURE = Path("assets/figures/pocket_per_item.png")
SHOWN = Path("assets/figures/shown")  # photos of the answers that the front page shows
SHOWN_PX = 320
# The scores of the front page, each with the question that it answers.
SIX_SCORES = {
    "embedding_distance": "How far does the answer lie from the reference answer, in meaning?",
    "similarity_score": "The same, by the published experiment's formula.",
    "identity_at_1": "Does the answer fit its own exhibit better than any other?",
    "number_recall": "Which share of the reference's numbers does it state?",
    "invented_number_rate": "Which share of its numbers did the museum never write?",
    "false_recognition_rate": "How often does it take a strange thing for an exhibit?",
}
MARKED = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
of_demo = functools.partial(block, DEMO, "No demo is recorded yet.\n")


def keep(profile_name: str) -> None:
    """Copy the record and the per-item figure of a whole demo to where the readmes find them.

    A demo that skipped work is refused: its minutes would flatter. So is one whose scores were
    made again with systems that no demo compares: its differences would be others.
    """
    results = results_dir(profile_name)
    demo = read_json(results / "demo.json")
    if not demo["from_nothing"]:
        raise MuseQuestError(
            f"{results / 'demo.json'} is of a demo that found work done; "
            "run `make clean demo` first."
        )
    summary = read_json(results / "summary.json")
    scored = {variant(name)[0] for systems in summary.values() for name in systems}
    if beside := scored - {*OF_DEMO, *CONTROLS}:
        raise MuseQuestError(
            f"{results / 'summary.json'} holds scores of {', '.join(ordered(beside))} too, which "
            "no demo compares; run `make clean demo` first."
        )
    run = read_json(run_dir(profile_name, "lora") / "run.json")
    differences = read_json(results / "differences.json")[TRACK]
    told = {"run": run, "scores": summary, "differences": key_rows(differences)}
    profile = load_profile(profile_name)
    rows = rows_shown(profile)
    answers = shown(profile, rows)
    answers[-1]["guide"] = guided(profile, rows[-1][1]["image"], answers[-1]["question"])
    write_json(root() / DEMO, demo | told | {"shown": answers})
    keep_time_to_docent(demo, summary)
    (root() / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(results / "figures" / "per_item.png", root() / PICTURE)


def rows_shown(profile: Profile) -> list[tuple[str | None, Record]]:
    """Two rows, each with the condition it was asked under.

    The rule, made before any answer was known: the first test row with a photo unseen in training,
    and the first outsider.
    """
    from musequest.creation.split import load_split
    from musequest.systems.conditions import rows_under

    rows = load_split(profile.collection, profile.evaluation_split)
    first = rows[list(rows["track"]).index(TRACK)]
    return [(None, first), (OUTSIDERS, rows_under(OUTSIDERS, rows, profile)[0])]


def shown(profile: Profile, rows: Sequence[tuple[str | None, Record]]) -> list[Record]:
    """What was asked about these photos, and what the untuned and the tuned model said.

    The photos are written to `SHOWN` as JPEG.
    """
    from musequest.systems.answering import answers_dir

    told = []
    for number, (condition, row) in enumerate(rows):
        answers: Record = {}
        for name in ("base", "lora"):
            folder = answers_dir(profile, name, condition)
            table = read_table("predictions", folder / "predictions.parquet")
            answers[name] = table.set_index("data_id").loc[row["data_id"]]
        photo = row["image"].convert("RGB")
        photo.thumbnail((SHOWN_PX, SHOWN_PX))
        path = root() / SHOWN / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=85)
        told.append(
            {
                "item_name": "" if condition else row["item_name"],
                "photo": str(path.relative_to(root())),
                "question": answers["base"].question,
                **{name: said.answer for name, said in answers.items()},
            }
        )
    return told


def guided(profile: Profile, photo: Image.Image, question: str) -> str:
    """What a visitor is told, whose photo meets the gate first."""
    from musequest.serving import Guide, Question

    return Guide(profile, "lora").answer([Question(photo.convert("RGB"), question)])[0].text


@of_demo()
def pocket_strip(demo: Record) -> str:
    """Photo, question, and what the untuned and the tuned docent answer, a row a question."""
    if not demo.get("shown"):
        return "No answers are recorded yet; `make readme` after `make demo` keeps two.\n"
    rows = [
        {
            "photo": f'<img src="{each["photo"]}" width="150" alt="{_photo_of(each)}">',
            "what is said": "<br>".join(f"**{who}:** {text}" for who, text in _said(each).items()),
        }
        for each in (demo["shown"][0], demo["shown"][-1])
    ]
    return (
        f"{markdown(pd.DataFrame(rows))}\nAnswers of {demo['date']}: the first test photo, and the "
        "first thing that the museum does not have.\n"
    )


def _said(each: Record) -> dict[str, str]:
    thing = "an exhibit" if each["item_name"] else "a thing the museum does not have"
    told = {f"A visitor, before {thing}": each["question"]}
    told |= {"Before tuning": each["base"], "After tuning": each["lora"]}
    if each.get("guide"):
        told["What the visitor is told, for the photo is checked first"] = each["guide"]
    return {who: " ".join(text.split()).replace("|", "\\|") for who, text in told.items()}


def _photo_of(each: Record) -> str:
    name = each["item_name"].replace("_", " ")
    return f"Photo of the exhibit {name}" if name else "Photo of a thing that is no exhibit"


@of_demo()
def pocket_picture(_: Record) -> str:
    """The per-item figure of the recorded demo."""
    return (
        f"![Distance of each answer from its reference: the untuned docent and the tuned one, "
        f"an exhibit a row](../{PICTURE})\n"
    )


@of_demo()
def six_scores(demo: Record) -> str:
    """The scores of the front page: the recorded demo's, beside the published experiment's."""
    published = read_json(root() / ANSWERS, Record)
    systems = {
        "untuned": published["groups"]["untuned"],
        "GPT-4o": published["groups"]["gpt4o"],
        "LoRA": published["runs"]["lora_a6000_48g_x1"],
    }
    rows = []
    for name, question in SIX_SCORES.items():
        own = demo["scores"].get(OUTSIDERS if name == "false_recognition_rate" else TRACK, {})
        key = "published_similarity" if name == "similarity_score" else name
        means = {"pocket, untuned": own.get("base", {}), "pocket, LoRA": own.get("lora", {})}
        cells = {head: _mean(each.get(name)) for head, each in means.items()}
        cells |= {f"published, {head}": _mean(each.get(key)) for head, each in systems.items()}
        rows.append({"score": headed(name), "what it asks": question, **cells})
    return markdown(pd.DataFrame(rows))


@of_demo()
def pocket_walk(demo: Record) -> str:
    """What the recorded demo took."""
    setup = demo["setup_seconds"]
    before = "" if setup is None else f", after {setup / 60:.1f} minutes of set-up"
    return (
        f"{measured(demo)}: {demo['total_seconds'] / 60:.1f} minutes from photos to report"
        f"{before}; {demo['peak_memory_gib']:.1f} GiB of memory, {demo['disk_gib']:.2f} GiB of "
        "disk.\n"
    )


@of_demo()
def pocket_scores(demo: Record) -> str:
    """The scores of the recorded demo on photos never seen in training, and on other things."""
    table = markdown(score_frame(demo["scores"][TRACK]).rename_axis("score").reset_index())
    outside = recognising(demo["scores"].get(OUTSIDERS, {}))
    return f"{table}\n{' '.join(outside)}\n" if outside else table


def _mean(score: Record | None) -> str:
    """A mean; of a rate that would read as 0 or 1 its interval too, which says what it proves."""
    if not score or score["mean"] is None:
        return "–"
    mean = f"{score['mean']:.2f}"
    return cell(score, 2) if mean in ("0.00", "1.00") else mean


@of_demo()
def pocket_differences(demo: Record) -> str:
    """The recorded demo's differences between systems, on photos never seen in training."""
    frame = difference_frame(demo.get("differences", [])).rename_axis("pair").reset_index()
    return markdown(frame) if len(frame) else "The recorded demo compares no systems.\n"


@of_demo()
def pocket_ablations(demo: Record) -> str:
    """What the recorded demo's systems lose without the photo, and who looks at it."""
    frame = ablation_frame(demo["scores"][TRACK]).rename_axis("system").reset_index()
    if frame.empty:
        return "The recorded demo has no answers without the photo.\n"
    told = [f"- {sentence}\n" for sentence in looking(demo["differences"]).values()]
    return f"{markdown(frame)}\n{''.join(told)}"


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


def model_info() -> str:
    """Of model_info.md: a projection of the pocket docent, and the matrices LoRA puts beside it."""
    from musequest.finetuning import add_adapter, load_model
    from musequest.finetuning.anatomy import parameter_table

    profile = load_profile("pocket")
    model = load_model(profile, device="cpu")
    table = parameter_table(add_adapter(model, suited(load_approach("lora"), profile)))
    first = table["trainable"].eq("yes").idxmax()
    return markdown(table[first - 1 : first + 2])


BLOCKS |= {"metric_table": metric_table, "model_info": model_info}


def filled(text: str) -> str:
    """A readme's text with every marked figure written anew; an unknown name is an error."""

    def figure(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in BLOCKS:
            raise MuseQuestError(
                f"A readme asks for the figures '{name}'; there are {', '.join(BLOCKS)}."
            )
        return begin + BLOCKS[name]() + end

    return MARKED.sub(figure, text)


def readmes() -> list[Path]:
    """Every readme of the project, wherever it lies."""
    return sorted(
        path
        for pattern in ("*.md", "[0-9]_*/**/*.md", "assets/**/*.md", "benchmarks/**/*.md")
        for path in root().glob(pattern)
    )


def write_readmes(
    *,
    demo: str | None = None,
    retrieval: str | None = None,
    six: str | None = None,
    runs: str | None = None,
) -> None:
    """Write the figures of all readmes; first keep the records of the profiles that are named.

    `demo` names the profile of a whole demo, `retrieval` of a comparison in 3.2, `six` and
    `runs` of `make six`; a record that is not whole raises MuseQuestError.
    """
    if demo:
        keep(demo)
    if retrieval:
        keep_retrieval(retrieval)
    if six:
        keep_six(six)
    if runs:
        keep_runs(runs)
    draw_published_costs()
    for path in readmes():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            write_text(path, new)

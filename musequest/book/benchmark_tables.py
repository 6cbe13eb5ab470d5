"""Tables of the readmes that tell what the scripts in benchmarks/ measured.

Of this project, and of the published experiment, whose answers were scored again. Each is a text in
markdown of one record, which `readme_tables` puts between its marks.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..core.home import root
from ..evaluation.intervals import LEVEL
from ..evaluation.risk_coverage import gate_cells
from .comparison_tables import BLOCKS, GPU, RECORDS, Record, block, markdown, spaced, where

TRAINING = RECORDS / "training.json"
ANSWERS = RECORDS / "published_answers.json"
COSTS = Path("assets/figures/published_costs.png")
SCALE = {
    "published_similarity": "published similarity (0 best)",
    "embedding_distance": "embedding distance (0 best)",
    "identity_at_1": "identity (1 best)",
    "number_recall": "numbers recalled (1 best)",
    "invented_number_rate": "numbers invented (0 best)",
}
UNMEASURED = "Not measured yet; the command above does so.\n"


@block(RECORDS / "device_maps.json")
def device_maps(record: Record) -> str:
    """The planner's splits beside the published ones: layers a device, and the fullest device."""
    rows = pd.DataFrame(record["splits"])
    for key in ("published_layers", "planned_layers"):
        rows[key] = rows[key].map(lambda layers: " + ".join(map(str, layers)))
    for key in rows.columns[rows.columns.str.endswith("_gib")]:
        rows[key] = rows[key].map("{:.1f}".format)
    rows["devices"] = rows["devices"].astype(str) + " x " + rows["gpu"]
    return markdown(spaced(rows.drop(columns=["gpu", "vram_gb_each"])))


@block(RECORDS / "base_models.json")
def base_models(record: Record) -> str:
    """What the shipped profiles' models take: GiB of one row, and rows at a time on a card."""
    rows = pd.DataFrame(record["rows"])
    rows["parameters"] = rows["parameters"].map(lambda number: f"{number / 1e9:.2f} billion")
    rows["one_row_gib"] = rows["one_row_gib"].map("{:.1f}".format)
    for card in rows.columns[rows.columns.str.endswith("_gb")]:
        rows[card] = rows[card].replace(0, "-")
    return markdown(spaced(rows.drop(columns="base_model")))


@block(GPU, "No GPU has been measured yet; the command above does so.\n")
def gpu_training(record: Record) -> str:
    """Speed and memory of the 8B model's shape on a GPU, a row a measurement."""
    runs = [run for run in record["runs"] if run.get("way", "ours") == "ours"]
    rows = pd.DataFrame(runs, dtype=object).fillna("").drop(columns="way", errors="ignore")
    peaks = rows["peak_memory_gib"].map(lambda held: list(held.values())[-1] if held else "")
    rows = spaced(rows.assign(peak_memory_gib=peaks))
    rows = rows.rename(columns={"held gib": "tensors (GiB)", "peak memory gib": "reserved (GiB)"})
    made = f"{where(record)}, PyTorch {record['versions']['torch']}"
    note = f"\n{record['note']}\n" if record.get("note") else ""
    return f"{made}, photos of {record['photo_px']} px:\n\n{markdown(rows)}{note}{_ways(record)}"


def _ways(record: Record) -> str:
    """What each technique brings, an approach a column; nothing where it was not measured."""
    times = record.get("times_ours", {}).get("seconds_a_step", {})
    rows = pd.DataFrame(times, dtype=object).map("{:.2f}".format, na_action="ignore").fillna("")
    if rows.empty:
        return ""
    named = rows.rename_axis("a step takes, times ours").reset_index()
    return f"\n{markdown(named)}"


@block(TRAINING, UNMEASURED)
def training_recipes(record: Record) -> str:
    """Whole runs by the published recipe, times ours, then what each technique brings."""
    told = {"seconds": "seconds", "peak_cpu_gib": "memory", "disk_gib": "disk"}
    times = {name: record["times_ours"][key] for key, name in told.items()}
    rows = [
        {"approach": approach}
        | {
            f"{name}, times ours": f"{own[approach]['published']:.2f}"
            for name, own in times.items()
        }
        for approach in times["seconds"]
    ]
    return f"{where(record)}:\n\n{markdown(pd.DataFrame(rows))}{_ways(record)}"


@block(RECORDS / "pipeline.json", UNMEASURED)
def pipeline_schedules(record: Record) -> str:
    """How much faster 1F1B is than one device at a time."""
    times, best = record["times_sequential"], record["times_sequential_at_best"]
    return (
        f"{where(record)}: on {record['devices']} devices of one core each, 1F1B with "
        f"{record['micro_batches']} micro-batches is {times:.2f} times as fast as one device at a "
        f"time; at best it could be {best:.2f}.\n"
    )


@block(RECORDS / "generation.json", UNMEASURED)
def generation_ways(record: Record) -> str:
    """How long answers take in other ways than ours, and how many are the same."""
    rows = [
        {
            "way": way,
            "tokens per second": own["tokens_per_second"],
            "seconds, times ours": own["times_as_long"],
            "same answers": f"{own['same_answers']} of {record['rows']}",
        }
        for way, own in record["ways"].items()
    ]
    return f"{where(record)}, `{record['approach']}`:\n\n{markdown(pd.DataFrame(rows))}"


@block(RECORDS / "gate.json", UNMEASURED)
def gate(record: Record) -> str:
    """What the gate and strangers in training do, each alone and both."""
    tables = []
    for strangers, rows in record["without_and_with_strangers"].items():
        cells = gate_cells(pd.DataFrame(rows)).rename_axis("system").reset_index()
        tables.append(cells.assign(system=cells["system"] + f", {strangers} strangers in training"))
    told = record["calibration"]
    kept = all("answered_ci_low" in row for row in rows)
    bounds = "" if kept else " No interval is kept of these shares, so 100.0% proves little."
    return (
        f"{where(record)}, track `{record['track']}` and {record['outsiders']} outsiders. The "
        f"threshold is from {told['validation_photos']} validation photos and promises at most "
        f"{told['wrong_refusals']:.1%} wrong refusals.{bounds}\n\n{markdown(pd.concat(tables))}"
    )


@block(RECORDS / "sources.json", UNMEASURED)
def sources(record: Record) -> str:
    """What the catalogue bears out of a docent's answers, and what `strict` leaves of them."""
    rows = pd.DataFrame(record["shown"]).map("{:g}".format).rename_axis("of what is shown")
    planted, taken = record["planted"], record["ms_an_answer"]
    told = (
        f"{record['questions']} questions, {record['refused']} photos not recognised, "
        f"{record['taken_for_another']} taken for another exhibit. Of {record['sentences']} "
        f"sentences {record['without_source']} have no source. Citations that hold: "
        f"{record['citations_right'] * record['citations']:.0f} of {record['citations']}. "
        f"Of {planted['true']:,} sentences made "
        f"of the museum's facts {planted['true_borne_out']:,} have a source, of "
        f"{planted['false']:,} with another exhibit's fact {planted['false_borne_out']:,}. Finding "
        f"the sources of an answer takes {taken['median']:g} ms, {taken['p95']:g} at the 95th "
        "percentile."
    )
    table = markdown(spaced(rows.T).T.reset_index())
    return f"{where(record)}, `{record['approach']}`:\n\n{table}\n{told}\n"


@block(RECORDS / "augmentation.json", UNMEASURED)
def augmentation_speed(record: Record) -> str:
    """Copies a second, by number of processes."""
    each = "; ".join(
        f"{speed} copies a second by {count} process{'' if count == '1' else 'es'}"
        for count, speed in record["photos_per_second"].items()
    )
    return f"{where(record)}, photos of {record['photo_px']} px: {each}.\n"


@block(RECORDS / "scale.json", UNMEASURED)
def scale(record: Record) -> str:
    """Seconds, memory and disk, by number of exhibits and of epochs."""
    tables = []
    for part, noun in (("stage_1", "exhibits"), ("training", "epochs")):
        keys = [noun, "seconds", "peak_memory_gib", "disk_gib"]
        rows = pd.DataFrame(record[part], columns=keys, dtype=object)
        tables.append(markdown(spaced(rows)))
    told = "\n".join(tables)
    grows = ", ".join(f"{name} {power}" for name, power in record["grows_by"].items())
    return f"{where(record)}:\n\n{told}\nExponents of the growth: {grows}.\n"


@block(
    RECORDS / "setup.json",
    "Set-up has not been measured yet; `python benchmarks/setup.py` does so.\n",
)
def setup_sizes(record: Record) -> str:
    """What setting the project up takes on a machine that has nothing but Python."""
    rows = pd.DataFrame(record["setups"]).rename(
        columns={"seconds": "set-up, s", "download_gb": "download, GB", "disk_gib": "disk, GiB"}
    )
    return f"{where(record)}:\n\n{markdown(rows)}"


@block(RECORDS / "published_runs.csv")
def published_runs(runs: pd.DataFrame) -> str:
    """Every run of the published experiment."""
    return markdown(spaced(runs))


@block(ANSWERS)
def published_answers(record: Record) -> str:
    """Every published run on this project's scale: means and intervals over exhibits."""
    groups, runs = record["groups"], record["runs"]
    tuned = {name: own for name, own in runs.items() if not name.startswith(("base_", "gpt4o"))}
    shown = {"untuned (ten runs)": groups["untuned"], "GPT-4o": groups["gpt4o"], **tuned}
    return markdown(pd.DataFrame([_answered(name, own) for name, own in shown.items()]))


@block(ANSWERS)
def published_differences(record: Record) -> str:
    """Whether full tuning beats adapters, and whether more GPUs change anything."""
    rows = [_answered(row["what"], row, signed=True) for row in record["differences"]]
    most = {
        key: floor["largest_difference"] for key, floor in record["noise_floor"].items() if floor
    }
    return (
        f"{markdown(pd.DataFrame(rows))}\nIn bold: a difference that holds among the "
        f"{len(rows)} of its column (p of 5 % at most after Holm's correction); each interval is "
        "that of its row alone. The ten untuned runs asked one model the same questions, two of "
        f"them in 4 bits; two of the ten differ by at most {most['embedding_distance']:.4f} in "
        f"embedding distance and {most['number_recall']:.4f} in numbers recalled.\n"
    )


@block(ANSWERS)
def published_invented(record: Record) -> str:
    """How many of the numbers that the published models stated are wrong, in words."""
    told = {
        name: [
            f"{100 * record['groups'][name][key]['mean']:.0f}"
            for key in ("invented_number_rate", "invented_number_rate_beside_truths")
        ]
        for name in ("adapters", "full", "gpt4o")
    }
    return (
        "In the published experiment, of 100 numbers that an answer states "
        f"{told['adapters'][0]} are found nowhere in the museum's text where adapters were tuned, "
        f"{told['full'][0]} where all layers were, and {told['gpt4o'][0]} of GPT-4o's (means over "
        "the answers that state any; counted against the reference answer alone: "
        f"{told['adapters'][1]}, {told['full'][1]} and {told['gpt4o'][1]}). The similarity score "
        "looked excellent all the same.\n"
    )


@block(ANSWERS)
def published_test(record: Record) -> str:
    """What the published test was made of."""
    split = record["split"]
    single, parent = (
        split["exhibits_with_a_single_photo"],
        split["exhibits_whose_test_photo_is_the_parent_of_a_training_photo"],
    )
    copies, photos = (
        split["validation_photos_that_are_altered_copies"],
        split["validation_photos"],
    )
    return (
        f"The published test asks {record['answers_a_run']} questions about "
        f"{record['exhibits']} exhibits. {single} exhibits have a single photo; for {parent} the "
        f"test photo is the very photo whose altered copies were trained on, and {copies} of the "
        f"{photos} validation photos are altered copies.\n"
    )


def _answered(name: str, own: Record, signed: bool = False) -> dict[str, str]:
    """A row of means with their intervals, where there are any; differences carry their sign.

    In bold those that Holm's correction leaves standing.
    """
    row, sign = {"system": name.replace("_", " ")}, "+" if signed else ""
    for key, title in SCALE.items():
        mean, low, high = (own[key][part] for part in ("mean", "ci_low", "ci_high"))
        text = f"{mean:{sign}.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")
        row[title] = f"**{text}**" if own[key].get("p_adjusted", 1) <= 1 - LEVEL else text
    return row


@block(RECORDS / "published_calls.csv")
def costs(calls: pd.DataFrame) -> str:
    """What each part costs on the pocket museum, and what the published experiment paid."""
    from ..evaluation.results import published_costs

    runs = published_costs().sort_values("usd")
    least, most = (
        f"{run.usd:.2f} USD ({run.approach}, {run.minutes:.0f} minutes on {run.hardware})"
        for run in (runs.iloc[0], runs.iloc[-1])
    )
    told = {row.part: f"{row.usd} USD ({row.model})" for row in calls.itertuples()} | {
        "2 a training": f"from {least} to {most}, by the rents of January 2025"
    }
    rows = [
        {"part": part, "pocket museum": "nothing", "Idefics2-8B, 65 exhibits (published)": usd}
        for part, usd in sorted(told.items())
    ]
    return markdown(pd.DataFrame(rows))


@block(RECORDS / "gpu_rental.csv")
def published_rental(prices: pd.DataFrame) -> str:
    """What the GPUs of the published experiment cost to rent."""
    return markdown(spaced(prices))


def published_costs_picture() -> str:
    """Quality of the published runs against what they cost."""
    return (
        "![Published similarity score of each tuned run against its training minutes, its memory "
        f"and its rent](../{COSTS})\n"
    )


BLOCKS["published_costs_picture"] = published_costs_picture


def draw_published_costs() -> None:
    """Draw that figure anew from the published records."""
    from ..evaluation.figures import quality_costs
    from ..evaluation.results import published_costs

    title = "Published: the similarity score of each tuned run and what it cost"
    quality_costs(published_costs(), "similarity_score", title).save(root() / COSTS)

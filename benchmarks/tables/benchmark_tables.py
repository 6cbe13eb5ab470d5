"""Tables of the readmes that tell what the scripts in benchmarks/ measured of this project."""

from __future__ import annotations

import statistics

import pandas as pd

from musequest.evaluation.risk_coverage import gate_cells

from .blocks import RECORDS, Record, block, machine, markdown, spaced, where
from .comparison_tables import GPU

TRAINING = RECORDS / "training.json"
SCORING = RECORDS / "scoring.json"
PROCESSORS = RECORDS / "processors.json"
# Of a hosted notebook: what it would not go on without, or not be had again soon.
HELD = ("torch", "numpy", "pandas", "ipykernel", "ipython", "ipywidgets", "tornado", "traitlets")
COMPILED = "with compiled layers"
UNMEASURED = "Not measured yet; the command above does so.\n"
WAYS = {
    "encoding": "encoding answer and ground truth alone, one by one",
    "encoding_with_every_reference": "the same, and every exhibit's reference for each answer",
    "all_metrics": "all metrics for one answer at a time, the references encoded once",
    "all_metrics_with_every_reference": "the same, the references encoded for each answer",
}
BELOW_ONE = (
    "Below 1 the loop is faster, for it does less: none of them has controls, intervals or "
    "differences, and one that only encodes has no published score, no numbers, names or ROUGE."
)


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


@block(RECORDS / "forecast.json")
def forecast(record: Record) -> str:
    """Measured runs beside what was foreseen of each from all others."""
    rows = spaced(pd.DataFrame(record["left_out"])).drop(columns="fits")
    for name in rows.columns.drop("run"):
        form = "{:+.0%}" if "error" in name else "{:.3g}"
        rows[name] = rows[name].map(form.format, na_action="ignore").fillna("")
    given = record["constants"]
    told_to_fit = [row["fits"] for row in record["left_out"] if "fits" in row]
    told = (
        f"Fitted on {record['date']}: {given['efficiency']:.0%} of the GPU's peak, "
        f"{given['activation_passes']:.1f} passes of each kept activation through memory, "
        f"{1e6 * given['seconds_a_launch']:.0f} µs a launch, {given['disk_gb_s']:.2f} GB of a "
        f"checkpoint a second and process; memory {given['memory']:.3f} times what is counted. "
        f"Of {len(told_to_fit)} published runs, which all fitted, {sum(told_to_fit)} are said to."
    )
    return f"{told}\n\n{markdown(rows)}"


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
    untold = ["way", "round", "seconds_until_even"]
    rows = pd.DataFrame(runs, dtype=object).fillna("").drop(columns=untold, errors="ignore")
    peaks = rows.get("peak_memory_gib", pd.Series("", rows.index))
    peaks = peaks.map(lambda held: list(held.values())[-1] if held else "")
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
    return f"{where(record)}:\n\n{markdown(pd.DataFrame(rows))}{_ways(record)}{_compiled(record)}"


def _compiled(record: Record) -> str:
    """How long it takes until compiled layers are even, and ours; nothing where none were."""
    first: dict[str, list[float]] = {}
    for run in record["runs"]:
        first.setdefault(run["way"], []).append(run.get("seconds_until_even", 0.0))
    if COMPILED not in first:
        return ""
    compiled, ours = (statistics.median(first[way]) for way in (COMPILED, "ours"))
    return f"\nThe first steps took {compiled:.0f} s {COMPILED}, and {ours:.0f} s with ours.\n"


@block(RECORDS / "pipeline.json", UNMEASURED)
def pipeline_schedules(record: Record) -> str:
    """How much faster 1F1B is than one device at a time."""
    schedules = "; ".join(
        f"a step of {each['rows_a_step']} rows in {each['micro_batches']} micro-batches is "
        f"{each['times_sequential']:.2f} times as fast, "
        f"at best {each['times_sequential_at_best']:.2f}"
        for each in record["schedules"]
    )
    return (
        f"{where(record)}: 1F1B on {record['devices']} devices of one core each, held against one "
        f"device at a time: {schedules}.\n"
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
    return (
        f"{where(record)}, track `{record['track']}` and {record['outsiders']} outsiders. The "
        f"threshold is from {told['validation_photos']} validation photos and promises at most "
        f"{told['wrong_refusals']:.1%} wrong refusals.\n\n{markdown(pd.concat(tables))}"
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
        f"Of {planted['true']:,} sentences made of the museum's facts "
        f"{planted['true_borne_out']:,} have a source, of {planted['false']:,} with another "
        f"exhibit's fact {planted['false_borne_out']:,}, of {planted['crossed']:,} with half of "
        f"one {planted['crossed_borne_out']:,}. Finding the sources of an answer takes "
        f"{taken['median']:g} ms, {taken['p95']:g} at the 95th percentile."
    )
    table = markdown(spaced(rows.T).T.reset_index())
    return f"{where(record)}, `{record['approach']}`:\n\n{table}\n{told}\n"


@block(RECORDS / "serving.json", UNMEASURED)
def serving(record: Record) -> str:
    """How soon a served docent speaks, alone and among many, its memory, its page's weight."""
    alone, many = record["first_words_alone_seconds"], record["first_words_of_many_seconds"]
    visitors, requests = record["visitors_at_once"], record["requests"]
    told = {
        "until it answers, started anew": f"{record['start_seconds']} s",
        f"first words, {record['questions_alone']} questions one by one": _seconds(alone),
        "whole answer, one by one": _seconds(record["whole_answer_alone_seconds"]),
        f"first words, {visitors} visitors at once": _seconds(many),
        "of these answered": f"{record['visitors_answered']} of {visitors}",
        "until all are answered": f"{record['seconds_until_all_are_answered']} s",
        f"memory before and after {requests} requests": f"{record['memory_mib_before_requests']} "
        f"and {record['memory_mib_after_requests']} MiB",
    }
    if page := record["page"]:
        told["page, loaded"] = f"{page['load_seconds']} s, {page['kilobytes']} KB"
        told["its requests, and those elsewhere"] = (
            f"{page['requests']} and {page['requests_elsewhere']}"
        )
    rows = pd.DataFrame({"of the server": told.keys(), "measured": told.values()})
    return f"{where(record)}, `{record['approach']}`:\n\n{markdown(rows)}"


@block(RECORDS / "pages.json", UNMEASURED)
def pages(record: Record) -> str:
    """The docent's page beside the one that Gradio makes of a chat about photos."""
    rows = pd.DataFrame.from_dict(record["pages"], orient="index", dtype=object)
    table = markdown(spaced(rows.rename_axis("page").reset_index()))
    return f"{where(record)}, the middle one of {record['opened']} openings:\n\n{table}"


def _seconds(spread: Record) -> str:
    return f"{spread['median']} s, {spread['p95']} at the 95th percentile"


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
    shown = {"seconds": "set-up, s", "download_gb": "download, GB", "disk_gib": "disk, GiB"}
    rows = pd.DataFrame(record["setups"])[["python", "torch", *shown]].rename(columns=shown)
    return f"{where(record)}:\n\n{markdown(rows)}"


@block(
    RECORDS / "hosted.json",
    "Not tried yet; `python benchmarks/setup.py python3.13 --hosted LIST --record` does so.\n",
)
def hosted_packages(record: Record) -> str:
    """What became of a hosted notebook's packages when a notebook of ours ran there."""
    tried = record["setups"][-1]  # that of the newest Python
    kept, replaced = tried["kept"], tried["replaced"]
    newer = ", ".join(f"{name} ({old} by {new})" for name, (old, new) in replaced.items())
    stayed = ", ".join(f"{name} {kept[name]}" for name in HELD if name in kept)
    return (
        f"Tried on {record['date']} with Python {tried['python']} and {len(kept) + len(replaced)} "
        f"packages in the versions that Colab lists. `{tried['notebook']}`, alone in a folder, ran "
        f"to its end. pip replaced {newer or 'none'}. Among those that stayed: {stayed}.\n"
    )


@block(SCORING, UNMEASURED)
def scoring_speed(record: Record) -> str:
    """Seconds and memory of scoring, beside loops that take one answer at a time."""
    few, many = record["scored"]
    told = (
        f"{few['answers']:,} answers of about {record['words_an_answer']} words about "
        f"{record['exhibits']} exhibits, with all metrics, {few['controls']:,} answers of controls "
        f"beside them, intervals and differences: **{few['seconds']:.0f} s** "
        f"({machine(record['hardware'])}). {many['answers']:,} answers take "
        f"{many['seconds']:.0f} s. The most memory held is {few['peak_memory_mib']:,} MiB for the "
        f"smaller number and {many['peak_memory_mib']:,} MiB for the larger "
        f"({record['memory_growth_mib']:+,} MiB)."
    )
    loops = [
        {
            "a loop over the same answers": WAYS[way],
            "seconds": f"{spent['seconds']:,.0f}",
            "times as many": f"{times['seconds']:.1f}",
            "processor seconds": f"{spent['processor_seconds']:,.0f}",
            "times as many of these": f"{times['processor_seconds']:.1f}",
        }
        for (way, spent), times in zip(
            record["one_by_one"].items(), record["times_faster"].values(), strict=True
        )
    ]
    return f"{told}\n\n{markdown(pd.DataFrame(loops))}\n{BELOW_ONE}\n"


@block(PROCESSORS, UNMEASURED)
def processors(record: Record) -> str:
    """What the same seeds learn by other kernels, in bfloat16, on one thread: the worst of each."""
    rows = []
    for way, found in record["ways"].items():
        seeds = pd.DataFrame(found["seeds"]).T
        rows.append(
            {
                "way": way.replace("_", " "),
                "kernels": found["kernels"],
                "threads": found["threads"],
                "seeds": len(seeds),
                "lowest identity_at_1": f"{seeds.identity_at_1.min():.3f}",
                "lowest number_recall": f"{seeds.number_recall.min():.3f}",
                "largest embedding_distance": f"{seeds.embedding_distance.max():.3f}",
                "minutes of training": f"{seeds.minutes.sum():.1f}",
            }
        )
    told = f"{record['approach']}, scores on `{record['track']}`"
    return f"{where(record)}, {told}:\n\n{markdown(pd.DataFrame(rows))}"

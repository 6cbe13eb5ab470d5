"""Tables of the readmes about the published experiment: its runs, costs, answers scored again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from musequest.core.home import root
from musequest.evaluation.intervals import LEVEL

from .blocks import BLOCKS, RECORDS, Record, block, markdown, spaced

ANSWERS = RECORDS / "published_answers.json"
COSTS = Path("assets/figures/published_costs.png")
SCALE = {
    "published_similarity": "published similarity (0 best)",
    "embedding_distance": "embedding distance (0 best)",
    "identity_at_1": "identity (1 best)",
    "number_recall": "numbers recalled (1 best)",
    "invented_number_rate": "numbers invented (0 best)",
}


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
    from musequest.evaluation.results import published_costs

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
    from musequest.evaluation.figures import quality_costs
    from musequest.evaluation.results import published_costs

    title = "Published: the similarity score of each tuned run and what it cost"
    quality_costs(published_costs(), "similarity_score", title).save(root() / COSTS)

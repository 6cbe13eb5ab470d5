"""How many tokens of answers a docent says a second, by how its answers are made.

    python benchmarks/generation.py             a few minutes; wants a finished LoRA run of `pocket`
    python benchmarks/generation.py --record    and keep it in benchmarks/records/generation.json

`ours` is what `infer` does: the adapter merged into the weights, and as many rows together as fit,
up to 64. Each other way changes one thing. All are timed in turn, again and again; a ratio is taken
within a round, and how many answers are the same as ours is counted. What did not pay is no part of
`infer`: rows ordered by the length of their prompts, and a cache of fixed size.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from measurement import Measurement

from musequest.core.settings import load_profile
from musequest.creation.split import load_split
from musequest.finetuning import generation
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.generation import Docent, generate
from musequest.finetuning.models import load_processor, load_tuned


@dataclass(frozen=True)
class Way:
    """How answers are made; ours unless changed."""

    merged: bool = True
    rows: int | None = None  # together; None for as many as fit
    ordered: bool = False  # by the length of their prompts
    cache: str | None = None  # `cache_implementation` of the library


WAYS = {
    "ours": Way(),
    "with the adapter beside the weights": Way(merged=False),
    "with 1 row at a time": Way(rows=1),
    "with 8 rows together": Way(rows=8),
    "with 16 rows together": Way(rows=16),
    "with 16 rows together, ordered by length": Way(rows=16, ordered=True),
    "with a static cache": Way(cache="static"),
    "as before: 16 rows, adapter beside the weights": Way(merged=False, rows=16),
}


@contextmanager
def cached_in(kind: str | None) -> Iterator[None]:
    """Answers are made with a cache of this kind within the block."""
    plain = generation.generation_config

    def other(*arguments: Any) -> Any:
        config = plain(*arguments)
        config.cache_implementation = kind
        return config

    generation.generation_config = other if kind else plain
    try:
        yield
    finally:
        generation.generation_config = plain


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "generation")
    parser = measurement.parser
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--approach", default="lora", help="one with an adapter")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    profile = load_profile(chosen.profile)
    processor = load_processor(profile)
    models = {
        True: Docent(profile, chosen.approach).model,
        False: load_tuned(profile, chosen.approach),
    }
    split = load_split(profile.collection, profile.evaluation_split)
    rows = [split[number] for number in range(len(split))]
    collator = DocentCollator(processor, learn=False)
    by_length = sorted(rows, key=lambda row: len(collator.encode(row)["input_ids"]))
    answers: dict[str, dict[str, str]] = {}
    runs = []
    for number in range(chosen.rounds):
        for name, way in WAYS.items():
            asked = by_length if way.ordered else rows
            own = replace(profile, generation_batch_size=way.rows)
            start = time.monotonic()
            with cached_in(way.cache):
                said = generate(models[way.merged], processor, asked, own, progress=False)
            seconds, tokens = time.monotonic() - start, sum(row["new_tokens"] for row in said)
            answers[name] = {row["data_id"]: row["answer"] for row in said}
            runs.append(
                {
                    "round": number,
                    "way": name,
                    "seconds": round(seconds, 3),
                    "tokens_per_second": round(tokens / seconds, 1),
                    "same_answers": sum(
                        answers["ours"][key] == answer for key, answer in answers[name].items()
                    ),
                }
            )
            print(runs[-1], file=sys.stderr, flush=True)
    ours = {run["round"]: run["seconds"] for run in runs if run["way"] == "ours"}
    figures = {
        "profile": profile.name,
        "approach": chosen.approach,
        "rows": len(rows),
        "rounds": chosen.rounds,
        "ways": {
            name: {
                "tokens_per_second": statistics.median(each["tokens_per_second"] for each in own),
                "times_as_long": round(
                    statistics.median(each["seconds"] / ours[each["round"]] for each in own), 2
                ),
                "same_answers": min(each["same_answers"] for each in own),
            }
            for name in WAYS
            if (own := [run for run in runs if run["way"] == name])
        },
        "threads": torch.get_num_threads(),
    }
    measurement.tell(figures, chosen.record)


if __name__ == "__main__":
    main()

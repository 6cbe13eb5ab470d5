"""The planner's splits of Idefics2-8B beside the published ones, made by hand, in bytes.

    python benchmarks/device_maps.py            print the splits and what they come to
    python benchmarks/device_maps.py --record   and keep them in benchmarks/records/

It needs neither GPU nor weights: the model has shapes alone, and these stand in
benchmarks/shapes/idefics2_8b/config.json. A split is judged by its fullest device.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from musequest.core.files import write_json
from musequest.core.settings import load_approach
from musequest.finetuning.activations import RowShape
from musequest.finetuning.anatomy import anatomy_of
from musequest.finetuning.models import free_projections
from musequest.finetuning.records import GIB
from musequest.finetuning.splitting import Part, Plan, parts_of, plan

HERE = Path(__file__).resolve().parent
PUBLISHED = HERE / "records" / "published_device_maps.csv"
RECORD = HERE / "records" / "device_maps.json"
# Photos of 800 px in patches of 14 px; the longest published sequence and its 64 image tokens.
PATCHES = (800 // 14) ** 2
TOKENS = (153 + 64, 364 + 64)
MICRO_BATCHES = 4


def empty_idefics2() -> PreTrainedModel:
    """Idefics2-8B in bfloat16 without memory, its projections trainable."""
    config = AutoConfig.from_pretrained(HERE / "shapes" / "idefics2_8b")
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    return free_projections(model, load_approach("full"))


def published_maps(model: PreTrainedModel) -> list[dict[str, Any]]:
    """Each published split: its GPUs, its batch, and the device of every part."""
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for devices, group in groupby(rows, key=lambda row: int(row["devices"])):
        of_device = list(group)
        where = {name: _device(name, of_device) for _, name, _ in anatomy_of(model).chain(model)}
        found.append(
            {
                "devices": devices,
                "gpu": of_device[0]["gpu"],
                "vram_gb_each": int(of_device[0]["vram_gb_each"]),
                "rows_a_step": int(of_device[0]["rows_a_step"]),
                "map": where,
            }
        )
    return found


def compared(model: PreTrainedModel) -> list[dict[str, Any]]:
    """A row a published split and sequence length: GiB of the fullest device, theirs and ours."""
    rows = []
    for published in published_maps(model):
        for tokens in TOKENS:
            count = published["rows_a_step"]
            parts = parts_of(model, RowShape(tokens, 1, PATCHES), count)
            theirs = plan_of_map(parts, published["map"])
            ours = plan(parts, published["devices"])
            filled = -(-count // MICRO_BATCHES) * MICRO_BATCHES
            parts = parts_of(model, RowShape(tokens, 1, PATCHES), filled)
            pipeline = plan(parts, published["devices"], MICRO_BATCHES)
            rows.append(
                {
                    **{key: published[key] for key in published if key != "map"},
                    "tokens_a_row": tokens,
                    "published_layers": layers_of(theirs),
                    "planned_layers": layers_of(ours),
                    "published_fullest_gib": fullest_gib(theirs),
                    "planned_fullest_gib": fullest_gib(ours),
                    "planned_1f1b_fullest_gib": fullest_gib(pipeline),
                }
            )
    return rows


def plan_of_map(
    parts: Sequence[Part], device_map: Mapping[str, int], micro_batches: int | None = None
) -> Plan:
    """A given map as a plan, so that its bytes can be compared; devices are numbered from 0."""
    stages = (
        tuple(part for part in parts if device_map[part.name] == device)
        for device in range(max(device_map.values()) + 1)
    )
    return Plan(tuple(stages), micro_batches)


def layers_of(split: Plan) -> list[int]:
    """How many decoder layers each device holds."""
    return [sum(".layers." in part.name for part in stage) for stage in split.stages]


def fullest_gib(split: Plan) -> float:
    """What the fullest device holds, GiB."""
    return round(max(split.bytes()) / GIB, 3)


def _device(name: str, rows: list[dict[str, str]]) -> int:
    last = name.rpartition(".")[2]
    for row in rows:
        layers = range(int(row["first_layer"]), int(row["last_layer"]) + 1)
        if last in row["other_parts"].split(", ") or (last.isdecimal() and int(last) in layers):
            return int(row["device"])
    raise KeyError(name)


def main() -> None:
    """Print the comparison, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    chosen = parser.parse_args()
    model = empty_idefics2()
    rows = compared(model)
    for published in published_maps(model):
        count = published["rows_a_step"]
        parts = parts_of(model, RowShape(TOKENS[-1], 1, PATCHES), count)
        print(plan(parts, published["devices"]).table().round(2).to_string(index=False), "\n")
    for row in rows:
        print(row)
    if chosen.record:
        trained = anatomy_of(model).projections
        write_json(RECORD, {"trained": trained, "dtype": "bfloat16", "splits": rows})


if __name__ == "__main__":
    main()

"""The split of a profile's model over devices, as a run would make it, and a look at it beforehand.

    python -m musequest.finetuning.splitting --profile pocket --devices 2
    python -m musequest.finetuning.splitting --profile pocket --devices 2 --schedule sequential

Asks for the dataset, whose longest dialogs say how much a step can take, but for no weights.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..settings import Approach, Profile, load_approach, load_profile, training_settings
from .activations import Load, empty_model
from .collator import DocentCollator, EncodedDialogs
from .distributed import world_size
from .machine import GIB
from .memory import available_bytes
from .models import default_device, load_processor
from .planner import Part, Plan, check_fits, filled, parts_of, plan
from .records import ROWS

# Without several GPUs the layers are split over the processor, twice, to rehearse.
REHEARSED_DEVICES = 2


def micro_batches_of(approach: Approach, stages: int) -> int | None:
    """Into how many pieces 1F1B divides a batch, one a stage unless given; None if not 1F1B."""
    if approach.strategy != "1f1b":
        return None
    return approach.parallel.get("micro_batches") or stages


def devices_here() -> list[Any]:
    """The GPUs of this machine; without any, the processor in place of two, to rehearse."""
    if not torch.cuda.is_available():
        return [torch.device("cpu")] * REHEARSED_DEVICES
    number = torch.cuda.device_count()
    if number < REHEARSED_DEVICES:
        raise MuseQuestError(
            "Layers can be split over two GPUs or more, and here is one; choose 'full' instead."
        )
    return list(range(number))


def shares_here(approach: Approach) -> int:
    """Over how many devices the approach parts its model here; 1 if it keeps it whole."""
    if approach.strategy == "sequential":
        return len(devices_here())
    return world_size() if approach.parted else 1


def split(
    profile: Profile,
    approach: Approach,
    rows: EncodedDialogs,
    devices: int,
    batch_size: int,
    micro_batches: int | None = None,
    checkpointing: bool = False,
    autocast: torch.dtype | None = None,
) -> Plan:
    """The split for the largest batch that the rows can make; MuseQuestError if it cannot fit.

    `autocast` is the dtype of mixed precision, if there is any.
    """
    parts = _parts(profile, approach, rows, batch_size, micro_batches, checkpointing, autocast)
    chosen = plan(parts, devices, micro_batches)
    if torch.cuda.is_available():
        check_fits(chosen, [available_bytes(default_device())] * devices, parts, batch_size)
    return chosen


def fullest_here(
    profile: Profile,
    approach: Approach,
    rows: EncodedDialogs,
    batch_size: int,
    checkpointing: bool = False,
    autocast: torch.dtype | None = None,
) -> int:
    """Bytes on the fullest device of this machine in the best split for the largest batch."""
    devices = shares_here(approach)
    micro_batches = micro_batches_of(approach, devices)
    parts = _parts(profile, approach, rows, batch_size, micro_batches, checkpointing, autocast)
    return max(plan(parts, devices, micro_batches).bytes())


def longest_load(
    rows: EncodedDialogs, count: int, micro_batches: int | None, patch_size: int
) -> Load:
    """The load of a batch of the `count` longest dialogs; `patch_size` in pixels.

    Of micro-batches all are equally large, so that there may be a few rows more.
    """
    count = filled(count, micro_batches)
    lengths = [len(dialog) for dialog in rows.rows["dialog"]]
    longest = sorted(range(len(lengths)), key=lengths.__getitem__)[-count:]
    return Load.of(rows.collator([rows[index] for index in longest]), patch_size)


def preview(profile: Profile, devices: int, schedule: str | None = None) -> Plan:
    """How `full_mp` would split the profile's model over `devices`, in its own or given schedule.

    Nothing is asked of the devices of this machine.
    """
    approach = _scheduled(schedule)
    micro_batches = micro_batches_of(approach, devices)
    return plan(_largest_parts(profile, approach, micro_batches), devices, micro_batches)


def fullest_by_devices(profile: Profile, most: int = 8) -> pd.DataFrame:
    """What the fullest device holds (GiB) for 1 to `most` devices, a column a schedule."""
    columns: dict[str, dict[int, float]] = {}
    for schedule in ("sequential", "1f1b"):
        approach = _scheduled(schedule)
        micro_batches = micro_batches_of(approach, 1)
        parts = _largest_parts(profile, approach, micro_batches)
        layers = sum(".layers." in part.name for part in parts)
        columns[f"{schedule}_gib"] = {
            devices: max(plan(parts, devices, micro_batches).bytes()) / GIB
            for devices in range(1, min(most, layers) + 1)
            if not micro_batches or devices <= micro_batches
        }
    return pd.DataFrame(columns).rename_axis("devices").reset_index()


def _scheduled(schedule: str | None) -> Approach:
    approach = load_approach("full_mp")
    chosen = {"strategy": schedule} if schedule else {}
    return replace(approach, parallel={**approach.parallel, **chosen})


def _largest_parts(profile: Profile, approach: Approach, micro_batches: int | None) -> list[Part]:
    """The parts of the profile's model under the largest batch of its own rows at a time."""
    collator = DocentCollator(load_processor(profile))
    rows = EncodedDialogs(load_split(profile.collection, "train"), collator)
    count = training_settings(profile, approach).get(ROWS, 8)
    return _parts(profile, approach, rows, count, micro_batches)


def _parts(
    profile: Profile,
    approach: Approach,
    rows: EncodedDialogs,
    count: int,
    micro_batches: int | None,
    checkpointing: bool = False,
    autocast: torch.dtype | None = None,
) -> list[Part]:
    """The parts of the profile's model under a batch of the `count` longest dialogs."""
    model = empty_model(profile, approach)
    load = longest_load(rows, count, micro_batches, model.config.vision_config.patch_size)
    return parts_of(model, load, checkpointing, autocast=autocast)


def main(arguments: list[str] | None = None) -> int:
    """Print the split; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m musequest.finetuning.splitting",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--profile", required=True, help="a name in profiles/ or a YAML file")
    parser.add_argument("--devices", type=int, required=True, help="how many there are")
    parser.add_argument("--schedule", choices=["sequential", "1f1b"], help="not config.yaml's")
    chosen = parser.parse_args(arguments)
    try:
        found = preview(load_profile(chosen.profile), chosen.devices, chosen.schedule)
    except MuseQuestError as error:
        print(error, file=sys.stderr)
        return 1
    print(found.table().to_string(index=False, float_format="%.3f"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

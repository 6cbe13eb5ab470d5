"""Which layers go to which device: a split computed from bytes, for any number of devices.

    python -m musequest.finetuning.splitting --profile pocket --devices 2
    python -m musequest.finetuning.splitting --profile pocket --devices 2 --schedule sequential

A model is a chain: vision model, connector and token embeddings, then the decoder layers, then the
final norm and the head. Each part costs weights, and where it is trained gradients, optimizer
states and the activations kept for its backward pass. All of it is counted on an empty model, which
has shapes and no memory; the split with the smallest fullest device is then found exactly. Asks for
the dataset, whose longest dialogs say how much a step can take, but for no weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from ..core.command_line import exit_code
from ..core.errors import MuseQuestError
from ..core.settings import Approach, Profile, load_approach, load_profile, training_settings
from .activations import Activations, RowShape, count_activations
from .anatomy import anatomy_of
from .gpus import available_bytes
from .memory import held_states
from .records import GIB, ROWS, STEPS
from .run_config import RunConfig


@dataclass(frozen=True)
class Part:
    """One link of the chain and what it costs, in bytes; activations are those of a whole step.

    `recomputed` is what lies there for a moment too while the part is computed again. `bound` is a
    part that has to lie with the one before it.
    """

    name: str
    weights: int
    gradients: int
    optimizer: int
    activations: int
    recomputed: int = 0
    bound: bool = False

    @property
    def fixed(self) -> int:
        """Bytes held whatever the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def is_layer(self) -> bool:
        """Whether it is a decoder layer, which has a number for its name."""
        return self.name.rpartition(".")[2].isdigit()


@dataclass(frozen=True)
class Plan:
    """The chain cut into one run of parts a device.

    With `micro_batches` the schedule is 1F1B, where a device holds the activations of as many
    micro-batches as devices follow it, itself included; without, those of the whole batch.
    """

    stages: tuple[tuple[Part, ...], ...]
    micro_batches: int | None = None

    @property
    def held(self) -> tuple[float, ...]:
        """The share of a step's activations that each device holds at once."""
        return held_shares(len(self.stages), self.micro_batches)

    def bytes(self) -> list[int]:
        """What each device holds at most."""
        shares = zip(self.stages, self.held, strict=True)
        return [_cost(stage, held, self.held[-1]) for stage, held in shares]

    def stage_of(self, name: str) -> int:
        """The device that holds a parameter, by its whole name."""
        within = (any(f"{name}.".startswith(f"{p.name}.") for p in own) for own in self.stages)
        return [*within].index(True)

    def device_map(self, devices: Sequence[Any]) -> dict[str, Any]:
        """The name of each part with the device it goes to, as Accelerate takes it."""
        pairs = zip(self.stages, devices, strict=True)
        return {part.name: device for stage, device in pairs for part in stage}

    def table(self) -> pd.DataFrame:
        """A row a device: its decoder layers, what else it holds, and the GiB of each kind."""
        rows = []
        for number, (stage, held) in enumerate(zip(self.stages, self.held, strict=True)):
            layers = [part.name.rpartition(".")[2] for part in stage if part.is_layer]
            others = [part.name.rpartition(".")[2] for part in stage if not part.is_layer]
            span = f"{layers[0]} to {layers[-1]}" if len(layers) > 1 else "".join(layers)
            row: dict[str, Any] = {"device": number, "layers": span}
            row["other_parts"] = ", ".join(others)
            for kind in ("weights", "gradients", "optimizer"):
                row[f"{kind}_gib"] = sum(getattr(part, kind) for part in stage) / GIB
            row["activations_gib"] = _activations(stage, held, self.held[-1]) / GIB
            row["total_gib"] = _cost(stage, held, self.held[-1]) / GIB
            rows.append(row)
        return pd.DataFrame(rows)


def parts_of(
    model: PreTrainedModel,
    row: RowShape,
    rows: int,
    checkpointing: bool = False,
    kept: Activations | None = None,
    optimizer: str = TrainingArguments.default_optim,
) -> list[Part]:
    """The chain of an empty model, in the order in which data passes it.

    A step has `rows` rows of this shape. With gradient `checkpointing` a decoder layer keeps its
    input alone, and is computed again, one at a time, on its device. Activations are counted, and
    without mixed precision, unless they are `kept` of such a model. `optimizer` is the name of one
    in TrainingArguments.
    """
    kept, tokens, parts = kept or count_activations(model), rows * row.tokens, []
    anatomy = anatomy_of(model)
    # Layers that are given features of the photo besides its tokens (DeepStack, arXiv:2406.04334).
    together = len(getattr(model.config.vision_config, "deepstack_visual_indexes", None) or ())
    layers = 0
    connecting = "vision_model" if anatomy.connector_in_vision else "connector"
    for kind, name, part in anatomy.chain(model):
        own = list(part.parameters()) if isinstance(part, nn.Module) else [part]
        weights = sum(p.nbytes for p in own)
        trained = [p for p in own if p.requires_grad]
        activations, recomputed, bound = 0.0, 0.0, False
        if kind == connecting:
            activations = kept.of_connector(rows * row.photos, row.patches)
            connecting = ""  # all of its modules together
        elif kind == "lm_head":
            activations = kept.of_head(tokens)
        elif kind == "layer":
            activations = kept.of_layer(tokens, checkpointing)
            recomputed = kept.recomputed(tokens) if checkpointing else 0.0
            bound = 0 < layers < together
            layers += 1
        gradients, states = sum(p.nbytes for p in trained), held_states(trained, optimizer)
        costs = (weights, gradients, states, round(activations), round(recomputed))
        parts.append(Part(name, *costs, bound))
    return parts


def beginnings(parts: Sequence[Part]) -> list[int]:
    """Places of the parts with which a device may begin: decoder layers, but those that are bound.

    The first stands for all that comes before it as well.
    """
    return [place for place, part in enumerate(parts) if part.is_layer and not part.bound]


def plan(parts: Sequence[Part], devices: int, micro_batches: int | None = None) -> Plan:
    """The split whose fullest device is least full; exact, by dynamic programming.

    A device gets at least one decoder layer. What comes before the first layer stays on the first
    device, what comes after the last on the last. More devices than decoder layers raise
    MuseQuestError.
    """
    layers = beginnings(parts)
    if not 1 <= devices <= len(layers):
        raise MuseQuestError(
            f"The model has {sum(part.is_layer for part in parts)} decoder layers and cannot be "
            f"split over {devices} devices; use 1 to {len(layers)}."
        )
    held = held_shares(devices, micro_batches)
    ends = [*layers[1:], len(parts)]
    # best[end]: the least full fullest device so far if the parts before `end` are given out.
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for device in range(devices):
        last = device == devices - 1
        best = {
            end: min(
                (max(worst, _cost(parts[start:end], held[device], held[-1])), (*cuts, end))
                for start, (worst, cuts) in best.items()
                if start < end
            )
            for end in (ends[-1:] if last else ends[:-1])
            if any(start < end for start in best)
        }
    _, cuts = best[len(parts)]
    starts = (0, *cuts[:-1])
    stages = tuple(tuple(parts[a:b]) for a, b in zip(starts, cuts, strict=True))
    return Plan(stages, micro_batches)


def held_shares(devices: int, micro_batches: int | None) -> tuple[float, ...]:
    """The share of a step's activations that each device holds at once."""
    if micro_batches is None:
        return (1.0,) * devices
    return tuple(min(micro_batches, devices - stage) / micro_batches for stage in range(devices))


def largest_divisor(total: int, most: int) -> int:
    """The most rows, up to `most`, that divide the `total` of a step; 0 if there are none."""
    return next((rows for rows in range(most, 0, -1) if total % rows == 0), 0)


def filled(rows: int, micro_batches: int | None) -> int:
    """How many rows pass through the devices at once: of micro-batches all are equally large."""
    return rows + -rows % (micro_batches or 1)


def check_fits(chosen: Plan, available: int, parts: Sequence[Part], rows: int) -> None:
    """Raise MuseQuestError, saying what would fit, if a device has less memory than it needs.

    `available` is in bytes; `parts` carry the activations of a batch of `rows`, filled up to a
    multiple of micro-batches.
    """
    needs = chosen.bytes()
    for number, need in enumerate(needs):
        if need > available:
            what_fits = _what_fits(parts, len(needs), chosen.micro_batches, available, rows)
            raise MuseQuestError(
                f"Device {number} would hold {need / GIB:.1f} GiB and has {available / GIB:.1f} "
                f"GiB; {what_fits}"
            )


def _what_fits(
    parts: Sequence[Part], devices: int, micro_batches: int | None, available: int, rows: int
) -> str:
    """The largest part of the batch that fits on these devices, or else the fewest devices."""
    whole, fewer = filled(rows, micro_batches), largest_divisor(rows, rows // 2)
    while fewer:
        held = filled(fewer, micro_batches)
        smaller = [
            replace(
                part,
                activations=part.activations * held // whole,
                recomputed=part.recomputed * held // whole,
            )
            for part in parts
        ]
        if max(plan(smaller, devices, micro_batches).bytes()) <= available:
            return f"{ROWS}={fewer} with {rows // fewer} times the {STEPS} would fit."
        fewer = largest_divisor(rows, fewer - 1)
    for more in range(devices + 1, 1 + len(beginnings(parts))):
        if max(plan(parts, more, micro_batches).bytes()) <= available:
            return f"{more} such devices would do."
    return "no number of such devices would do; use larger ones, or lora or qlora."


def _cost(stage: Sequence[Part], held: float, piece: float) -> int:
    return sum(part.fixed for part in stage) + _activations(stage, held, piece)


def _activations(stage: Sequence[Part], held: float, piece: float) -> int:
    """Bytes of the shares `held` at once; of one `piece` at a time a part is computed again."""
    again = max((part.recomputed for part in stage), default=0)
    return round(held * sum(part.activations for part in stage) + piece * again)


def micro_batches_of(approach: Approach, stages: int) -> int | None:
    """Into how many pieces 1F1B divides a batch, one a stage unless given; None if not 1F1B."""
    if approach.strategy != "1f1b":
        return None
    return (approach.parallel or {}).get("micro_batches") or stages


def split(config: RunConfig, devices: int) -> Plan:
    """The split for the largest batch that the rows can make; MuseQuestError if it cannot fit."""
    parts, chosen = _planned(config, devices, config.rows, bool(config.recompute))
    if torch.cuda.is_available():
        check_fits(chosen, available_bytes(str(config.device)), parts, config.rows)
    return chosen


def fullest_here(config: RunConfig, rows: int, recompute: bool) -> int:
    """Bytes on the fullest device of this machine in the best split for the largest batch."""
    return max(_planned(config, config.parted_over, rows, recompute)[1].bytes())


def _planned(
    config: RunConfig, devices: int, rows: int, recompute: bool
) -> tuple[list[Part], Plan]:
    """The parts of the model under a batch of the `rows` longest dialogs, and their split.

    Of micro-batches all are equally large, so that there may be a few rows more.
    """
    micro_batches = micro_batches_of(config.approach, devices)
    lengths = [len(dialog) for dialog in config.train_rows["dialog"]]
    longest = sorted(range(len(lengths)), key=lengths.__getitem__)[-filled(rows, micro_batches) :]
    batch = config.collator([config.train_rows[index] for index in longest])
    row = config.shape_of(batch, len(longest))
    kept = config.activations(config.empty)
    parts = parts_of(config.empty, row, len(longest), recompute, kept, config.optimizer)
    return parts, plan(parts, devices, micro_batches)


def preview(profile: Profile, devices: int, schedule: str | None = None) -> Plan:
    """How `full_mp` would split the profile's model over `devices`, in its own or given schedule.

    Nothing is asked of the devices of this machine.
    """
    config = _scheduled(profile, schedule)
    return _planned(config, devices, config.rows, recompute=False)[1]


def fullest_by_devices(profile: Profile, most: int = 8) -> pd.DataFrame:
    """What the fullest device holds (GiB) for 1 to `most` devices, a column a schedule."""
    columns: dict[str, dict[int, float]] = {}
    for schedule in ("sequential", "1f1b"):
        config = _scheduled(profile, schedule)
        micro_batches = micro_batches_of(config.approach, 1)
        parts, _ = _planned(config, 1, config.rows, recompute=False)
        layers = len(beginnings(parts))
        columns[f"{schedule}_gib"] = {
            devices: max(plan(parts, devices, micro_batches).bytes()) / GIB
            for devices in range(1, min(most, layers) + 1)
            if not micro_batches or devices <= micro_batches
        }
    return pd.DataFrame(columns).rename_axis("devices").reset_index()


def _scheduled(profile: Profile, schedule: str | None) -> RunConfig:
    """`full_mp` in that schedule, computed in the dtype of its weights."""
    approach = load_approach("full_mp")
    chosen = {"strategy": schedule} if schedule else {}
    approach = replace(approach, parallel={**(approach.parallel or {}), **chosen})
    settings = training_settings(profile, approach) | {"bf16": None, "fp16": None}
    return RunConfig(profile, approach, settings)


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

    def show() -> None:
        found = preview(load_profile(chosen.profile), chosen.devices, chosen.schedule)
        print(found.table().to_string(index=False, float_format="%.3f"))

    return exit_code(show)


if __name__ == "__main__":
    sys.exit(main())

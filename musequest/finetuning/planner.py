"""Which layers go to which device: a split computed from bytes, for any number of devices.

A model is a chain: vision model, connector and token embeddings, then the decoder layers, then the
final norm and the head. Each part costs weights, and where it is trained gradients, optimizer
states and the activations kept for its backward pass. All of it is counted on an empty model, which
has shapes and no memory; the split with the smallest fullest device is then found exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel

from ..errors import MuseQuestError
from .activations import Activations, Load, count_activations, named_parts
from .machine import GIB
from .records import ROWS, STEPS, largest_divisor

# Bytes of optimizer state for each byte of a trained weight: Adam keeps two moments in its dtype.
ADAM_STATES = 2


@dataclass(frozen=True)
class Part:
    """One link of the chain and what it costs, in bytes; activations are those of a whole step.

    `recomputed` is what lies there for a moment too while the part is computed again.
    """

    name: str
    weights: int
    gradients: int
    optimizer: int
    activations: int
    recomputed: int = 0

    @property
    def fixed(self) -> int:
        """Bytes held whatever the batch."""
        return self.weights + self.gradients + self.optimizer


@dataclass(frozen=True)
class Plan:
    """The chain cut into one run of parts a device; `held` is the share of a step's activations."""

    stages: tuple[tuple[Part, ...], ...]
    held: tuple[float, ...]

    def bytes(self) -> list[int]:
        """What each device holds at most."""
        shares = zip(self.stages, self.held, strict=True)
        return [_cost(stage, held, self.held[-1]) for stage, held in shares]

    def stage_of(self, name: str) -> int:
        """The device that holds a parameter, by its whole name."""
        for number, stage in enumerate(self.stages):
            if any(name.startswith(f"{part.name}.") for part in stage):
                return number
        raise KeyError(name)

    def device_map(self, devices: Sequence[Any]) -> dict[str, Any]:
        """The name of each part with the device it goes to, as Accelerate takes it."""
        pairs = zip(self.stages, devices, strict=True)
        return {part.name: device for stage, device in pairs for part in stage}

    def table(self) -> pd.DataFrame:
        """A row a device: its decoder layers, what else it holds, and the GiB of each kind."""
        rows = []
        for number, (stage, held) in enumerate(zip(self.stages, self.held, strict=True)):
            row: dict[str, Any] = {"device": number, **_contents(stage)}
            for kind in ("weights", "gradients", "optimizer"):
                row[f"{kind}_gib"] = sum(getattr(part, kind) for part in stage) / GIB
            row["activations_gib"] = _activations(stage, held, self.held[-1]) / GIB
            row["total_gib"] = _cost(stage, held, self.held[-1]) / GIB
            rows.append(row)
        return pd.DataFrame(rows)


def parts_of(
    model: PreTrainedModel,
    load: Load,
    checkpointing: bool = False,
    optimizer_states: float = ADAM_STATES,
    autocast: torch.dtype | None = None,
) -> list[Part]:
    """The chain of an empty model of the Idefics family, in the order in which data passes it.

    With gradient `checkpointing` a decoder layer keeps its input alone, and is computed again, one
    at a time, on its device. `optimizer_states` is in bytes for each byte of a trained weight,
    `autocast` the dtype of mixed precision.
    """
    kept = count_activations(model, autocast)
    return [
        _part(name, module, kept, load, checkpointing, optimizer_states)
        for name, module in named_parts(model)
    ]


def plan(parts: Sequence[Part], devices: int, micro_batches: int | None = None) -> Plan:
    """The split whose fullest device is least full; exact, by dynamic programming.

    A device gets at least one decoder layer. What comes before the first layer stays on the first
    device, what comes after the last on the last. With `micro_batches` the schedule is 1F1B, where
    a device holds the activations of as many micro-batches as devices follow it, itself included;
    without, every device holds those of the whole batch. More devices than decoder layers raise
    MuseQuestError.
    """
    layers = [number for number, part in enumerate(parts) if ".layers." in part.name]
    if not 1 <= devices <= len(layers):
        raise MuseQuestError(
            f"The model has {len(layers)} decoder layers and cannot be split over {devices} "
            f"devices; use 1 to {len(layers)}."
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
    return Plan(tuple(tuple(parts[a:b]) for a, b in zip(starts, cuts, strict=True)), held)


def plan_of_map(
    parts: Sequence[Part], device_map: Mapping[str, int], micro_batches: int | None = None
) -> Plan:
    """A given map as a plan, so that its bytes can be compared; devices are numbered from 0."""
    devices = max(device_map.values()) + 1
    where = [_device_of(part.name, device_map) for part in parts]
    stages = tuple(
        tuple(part for part, device in zip(parts, where, strict=True) if device == number)
        for number in range(devices)
    )
    return Plan(stages, held_shares(devices, micro_batches))


def held_shares(devices: int, micro_batches: int | None) -> tuple[float, ...]:
    """The share of a step's activations that each device holds at once."""
    if micro_batches is None:
        return (1.0,) * devices
    return tuple(min(micro_batches, devices - stage) / micro_batches for stage in range(devices))


def filled(rows: int, micro_batches: int | None) -> int:
    """How many rows pass through the devices at once: of micro-batches all are equally large."""
    pieces = micro_batches or 1
    return -(-rows // pieces) * pieces


def check_fits(chosen: Plan, memory: Sequence[int], parts: Sequence[Part], rows: int) -> None:
    """Raise MuseQuestError, saying what would fit, if a device has less memory than it needs.

    `parts` carry the activations of a batch of `rows`, filled up to a multiple of micro-batches.
    """
    needs = chosen.bytes()
    short = [number for number, need in enumerate(needs) if need > memory[number]]
    if not short:
        return
    number = short[0]
    micro = None if set(chosen.held) == {1.0} else round(1 / chosen.held[-1])
    raise MuseQuestError(
        f"Device {number} would hold {needs[number] / GIB:.1f} GiB and has "
        f"{memory[number] / GIB:.1f} GiB; {_what_fits(parts, len(needs), micro, min(memory), rows)}"
    )


def _what_fits(
    parts: Sequence[Part], devices: int, micro_batches: int | None, memory: int, rows: int
) -> str:
    """The largest part of the batch that fits on these devices, or else the fewest devices."""
    whole, fewer = filled(rows, micro_batches), largest_divisor(rows, rows // 2)
    while fewer:
        held = filled(fewer, micro_batches)
        smaller = [
            dataclasses.replace(
                part,
                activations=part.activations * held // whole,
                recomputed=part.recomputed * held // whole,
            )
            for part in parts
        ]
        if max(plan(smaller, devices, micro_batches).bytes()) <= memory:
            return f"{ROWS}={fewer} with {rows // fewer} times the {STEPS} would fit."
        fewer = largest_divisor(rows, fewer - 1)
    for more in range(devices + 1, 1 + sum(".layers." in part.name for part in parts)):
        if max(plan(parts, more, micro_batches).bytes()) <= memory:
            return f"{more} such devices would do."
    return "no number of such devices would do; use larger ones, or lora or qlora."


def _cost(stage: Sequence[Part], held: float, piece: float) -> int:
    return sum(part.fixed for part in stage) + _activations(stage, held, piece)


def _activations(stage: Sequence[Part], held: float, piece: float) -> int:
    """Bytes of the shares `held` at once; of one `piece` at a time a part is computed again."""
    again = max((part.recomputed for part in stage), default=0)
    return round(held * sum(part.activations for part in stage) + piece * again)


def _contents(stage: Sequence[Part]) -> dict[str, str]:
    layers = [part.name.rpartition(".")[2] for part in stage if ".layers." in part.name]
    others = [part.name.rpartition(".")[2] for part in stage if ".layers." not in part.name]
    span = f"{layers[0]} to {layers[-1]}" if len(layers) > 1 else "".join(layers)
    return {"layers": span, "other_parts": ", ".join(others)}


def _device_of(name: str, device_map: Mapping[str, int]) -> int:
    """The device of a part, named itself or by what it lies in."""
    while name not in device_map:
        name, dot, _ = name.rpartition(".")
        if not dot:
            raise MuseQuestError(f"The device map names no device for a part; it lacks {name!r}.")
    return device_map[name]


def _part(
    name: str, module: nn.Module, kept: Activations, load: Load, checkpointing: bool, states: float
) -> Part:
    weights = sum(p.nbytes for p in module.parameters())
    trained = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    tokens, activations, recomputed = load.rows * load.tokens, 0.0, 0.0
    if name == "model.connector":
        activations = kept.of_connector(load.photos, load.patches)
    elif name == "lm_head":
        activations = kept.of_head(tokens)
    elif ".layers." in name:
        activations = kept.of_layer(tokens, checkpointing)
        recomputed = kept.recomputed(tokens) if checkpointing else 0.0
    return Part(
        name, weights, trained, round(states * trained), round(activations), round(recomputed)
    )

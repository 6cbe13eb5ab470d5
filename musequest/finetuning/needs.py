"""What runs need of GPUs: memory, minutes, money and disk, of one approach or of all.

    for need in needs_of(load_profile("idefics2-8b")):
        print(need.name, need.cheapest())

What a run that begins is foreseen to take is noted in run.json, with what it took when it is done.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from ..core.errors import LOGGER
from ..core.settings import Profile, approach_names, load_approach
from .forecast import Forecast, Rows, Setting, Size, constants, forecast, seconds_at_peak
from .gpus import Gpu, gpu_here, known_gpus
from .memory import Memory, memory_of
from .records import GIB, largest_divisor
from .run_config import RunConfig
from .splitting import filled, micro_batches_of, parts_of, plan, shares_here

DEVICES = (2, 4, 8)


@dataclass(frozen=True)
class Need:
    """What one approach needs under one profile."""

    config: RunConfig
    memory: Memory
    size: Size
    rows: Rows
    known: dict[tuple[int, bool, int], int] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The approach's."""
        return self.config.approach.name

    @property
    def devices(self) -> tuple[int, ...]:
        """Numbers of GPUs on which it may run: each has a layer and a micro-batch, or its rows."""
        approach = self.config.approach
        if not approach.layered:
            return DEVICES if approach.strategy else (1,)
        most = min(
            self.memory.activations.layers, micro_batches_of(approach, DEVICES[-1]) or DEVICES[-1]
        )
        return tuple(number for number in DEVICES if number <= most) or DEVICES[:1]

    def bytes(self, rows: int, recompute: bool, devices: int) -> int:
        """What the fullest of so many GPUs holds at the peak of a step."""
        approach, memory = self.config.approach, self.memory
        if not approach.layered:
            return memory.total(rows, recompute, devices if approach.parted else 1)
        if (key := (rows, recompute, devices)) not in self.known:
            pieces = micro_batches_of(approach, devices)
            whole = filled(rows, pieces)
            parts = parts_of(self.config.empty, memory.row, whole, recompute, memory.activations)
            self.known[key] = max(plan(parts, devices, pieces).bytes())
        return self.known[key]

    def fitting(self, gpu: Gpu, recompute: bool, devices: int) -> int:
        """The most rows at a time on so many of these GPUs."""

        def too_large(rows: int) -> bool:
            return self.bytes(rows, recompute, devices) > gpu.usable_bytes

        beyond = 1
        while not too_large(beyond):
            beyond *= 2
        return bisect.bisect_left(range(1, beyond), True, key=too_large)

    def setting(self, gpu: Gpu, devices: int) -> Setting | None:
        """How it trains there, as `fit` finds it: its rows at once, or parted; None if not at all.

        Activations are recomputed only where that is needed, or chosen.
        """
        asked, chosen = self.config.rows, self.config.recompute
        for recompute in (False, True) if chosen is None else (chosen,):
            if self.bytes(asked, recompute, devices) <= gpu.usable_bytes:
                return Setting(gpu, devices, asked, recompute)
        recompute = chosen is not False
        rows = largest_divisor(asked, self.fitting(gpu, recompute, devices))
        return Setting(gpu, devices, rows, recompute) if rows else None

    def forecast(self, setting: Setting) -> Forecast | None:
        """How long it takes there; None if too little is known of the GPU."""
        return forecast(self.config, self.memory, self.size, self.rows, setting)

    def cheapest(self) -> Setting | None:
        """The GPUs of the catalogue on which it costs least, among those with bfloat16."""
        settings = [
            setting
            for gpu in known_gpus()
            for devices in self.devices
            if gpu.bf16 and gpu.usd_an_hour and (setting := self.setting(gpu, devices))
        ]
        return min(settings, key=self.usd, default=None)

    def usd(self, setting: Setting) -> float:
        """What it costs there; MuseQuestError if no price is known."""
        foreseen = self.forecast(setting)
        return setting.gpu.usd(foreseen.minutes, setting.devices) if foreseen else float("inf")


def needs_of(profile: Profile, bf16: bool = True, runs: Sequence[str] | None = None) -> list[Need]:
    """What runs need on a GPU that has bfloat16, or has not: all approaches, or those named."""
    configs = [RunConfig.resolve(profile, load_approach(run)) for run in runs or approach_names()]
    first, needs = configs[0], []
    row, rows, size = first.row, Rows.of(first), Size.of(first)
    for config in configs:
        config = replace(config, counted=first.counted)  # of approaches that learn alike, once
        if config.settings.get("bf16") is None and config.settings.get("fp16") is None:
            config = config.fitted({"bf16": bf16})  # as training chooses where that is left open
        needs.append(Need(config, memory_of(config, row), size, rows))
    return needs


def smallest(need: Need) -> str:
    """The smallest GPU on which the approach trains with its own rows at a time, or with one."""
    asked = need.config.rows
    recompute = need.config.recompute is not False  # if open, training does so where needed
    for rows in (asked, 1):
        for devices in need.devices:
            for gpu in known_gpus():
                if need.bytes(rows, recompute, devices) <= gpu.usable_bytes:
                    number = f"{devices} x " if devices > 1 else ""
                    return f"{number}{gpu.name}" + ("" if rows == asked else " (1 row)")
    return "none known"


def foreseen_here(config: RunConfig, memory: Memory) -> dict[str, float | None]:
    """What a run that begins is foreseen to take: minutes, peak memory (GiB a device), disk (GiB).

    `memory` is what was counted of it.
    `seconds_at_peak` are those that a GPU which never waits would take.
    On a processor, whose speed no record says, minutes are None, and memory is what the process,
    its model loaded, holds already and what a step adds.
    """
    need = Need(config, memory, Size.of(config), Rows.of(config))
    gpu, devices = gpu_here(), max(config.processes, shares_here(config.approach))
    recompute = bool(config.recompute)
    peak = need.bytes(config.rows, recompute, devices)
    least = None
    if gpu:
        least = seconds_at_peak(config, need.size, need.rows, gpu, devices)
        foreseen = need.forecast(Setting(gpu, devices, config.rows, recompute))
        minutes = round(foreseen.minutes, 3) if foreseen else None
        held = peak * constants()["memory"]
    else:
        loaded = need.memory.weights // (devices if config.approach.parted else 1)
        minutes, held = None, peak - loaded + psutil.Process().memory_info().rss
    return {
        "minutes": minutes,
        "peak_memory_gib": round(held / GIB, 3),
        "disk_gib": round(need.memory.written.end / GIB, 4),
        "seconds_at_peak": least and round(least, 3),
    }


def compared(foreseen: dict[str, float | None], run: dict[str, Any]) -> dict[str, Any]:
    """What was foreseen of a run that is done, with the ratio of it to what was, of each.

    A warning says what a GPU took beyond the error that benchmarks/records/forecast.json states.
    """
    given, peaks = constants(), run["peak_memory_gib"]
    was = {
        "minutes": run["minutes"],
        "peak_memory_gib": max(peaks[name] for name in peaks if name != "cpu" or len(peaks) == 1),
        "disk_gib": run["disk_gib"],
    }
    ratios = {
        key: round(value / was[key], 3) for key, value in foreseen.items() if value and was.get(key)
    }
    errors = {"minutes": given["minutes_error"], "peak_memory_gib": given["memory_error"]}
    beyond = [
        f"{key} {was[key]:g} where {foreseen[key]:g} were foreseen (± {error:.0%})"
        for key, error in errors.items()
        if "minutes" in ratios and key in ratios and abs(ratios[key] - 1) > error
    ]
    if beyond:
        LOGGER.warning("The run took %s.", " and ".join(beyond))
    return {**foreseen, "ratio": ratios}

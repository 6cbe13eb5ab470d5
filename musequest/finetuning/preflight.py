"""What fits where, how long it takes and what it costs, before anything is rented or loaded.

    table, findings = preflight("idefics2-8b", "RTX A6000")

Bytes are counted on empty models (memory.py, splitting.py), and minutes foreseen from them
(forecast.py) for the GPUs of gpus.yaml. Neither the Hub nor the model is asked for: the sizes of
the shipped profiles' models come with the package.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from huggingface_hub import constants as hub
from transformers import PreTrainedModel

from ..core.errors import MuseQuestError
from ..core.home import home, run_dir
from ..core.settings import Profile, approach_names, load_approach, load_profile
from ..creation.dataset import split_path
from .activations import empty_model
from .checkpoints import free_gib
from .forecast import Forecast, Rows, Setting, Size, constants, forecast, seconds_at_peak
from .gpus import Gpu, find_gpu, gpu_here, known_gpus
from .memory import Memory, Written, memory_of
from .models import WEIGHT_FILES, is_here, model_config, shape_alone
from .records import GIB, RECOMPUTE, largest_divisor
from .run_config import RunConfig
from .splitting import filled, micro_batches_of, parts_of, plan, shares_here

LOGGER = logging.getLogger("musequest")
DEVICES = (2, 4, 8)
ALL = "all"  # of the catalogue, in place of a GPU's name
SHOWN = ("approach", "gpus", "rows", "most_rows", "peak_gib", "minutes", "usd", "disk_gib")


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
    def written(self) -> Written:
        """What a run writes to the disk."""
        return self.memory.written

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

    @cached_property
    def _model(self) -> PreTrainedModel:
        return empty_model(self.config.profile, self.config.approach)

    def bytes(self, rows: int, recompute: bool, devices: int) -> int:
        """What the fullest of so many GPUs holds at the peak of a step."""
        key = (rows, recompute, devices)
        if key not in self.known:
            self.known[key] = self._bytes(*key)
        return self.known[key]

    def _bytes(self, rows: int, recompute: bool, devices: int) -> int:
        approach, memory = self.config.approach, self.memory
        if not approach.layered:
            return memory.total(rows, recompute, devices if approach.parted else 1)
        pieces = micro_batches_of(approach, devices)
        whole = filled(rows, pieces)
        parts = parts_of(self._model, memory.row, whole, recompute, memory.activations)
        return max(plan(parts, devices, pieces).bytes())

    def fitting(self, gpu: Gpu, recompute: bool, devices: int) -> int:
        """The most rows at a time on so many of these GPUs."""
        approach, usable = self.config.approach, gpu.usable_bytes
        if not approach.layered:
            shares = devices if approach.parted else 1
            return self.memory.fitting(usable, recompute, shares)
        fits, beyond = 0, 1
        while self.bytes(beyond, recompute, devices) <= usable:
            fits, beyond = beyond, 2 * beyond
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if self.bytes(middle, recompute, devices) <= usable:
                fits = middle
            else:
                beyond = middle
        return fits

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


def preflight(
    profile: str | Path | Profile, gpu: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """A table of all approaches, and what else is to be known, a sentence each.

    `gpu` names one of gpus.yaml, or its memory; without it the GPU of this machine is judged, and
    where there is none, each approach has a line for the GPUs on which it costs least; with "all",
    one for every kind on which it fits. A base model of unknown sizes, or a GPU on which no
    approach fits, raises MuseQuestError.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    judged = find_gpu(gpu) if gpu and gpu != ALL else None if gpu else gpu_here()
    model_config(profile)
    needs = needs_of(profile, bf16=judged is None or judged.bf16)
    if judged:
        _refuse_too_small(judged, needs)
    table = pd.DataFrame([line for need in needs for line in _lines(need, judged, gpu == ALL)])
    return table, list(_findings(profile, needs, judged, table))


def foresee(profile: str | Path | Profile, approach: str) -> dict[str, Any]:
    """One approach's line of `preflight`, as `shown`: its memory, minutes, cost and disk."""
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    judged = gpu_here()
    [need] = needs_of(profile, judged is None or judged.bf16, [approach])
    [line] = shown(pd.DataFrame(_lines(need, judged, everywhere=False))).to_dict("records")
    return {str(name): value for name, value in line.items()}


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
        "disk_gib": round(need.written.end / GIB, 4),
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


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `preflight`'s table that one line of a terminal holds."""
    counted = table["devices"].map(lambda number: f"{number} x " if number > 1 else "")
    where = table["bottleneck"].where(table["fits"], "does not fit")
    named = table.assign(gpus=counted + table["gpu"], bottleneck=where)
    return named[[*SHOWN, "bottleneck"]].round(2)


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


def _lines(need: Need, gpu: Gpu | None, everywhere: bool) -> Iterator[dict[str, Any]]:
    """An approach's rows of the table, in GiB, minutes and USD."""
    if everywhere:
        fitting = [
            setting
            for each in known_gpus()
            if (setting := next(filter(None, (need.setting(each, n) for n in need.devices)), None))
        ]
        yield from (_line(need, setting.gpu, setting) for setting in fitting)
    elif gpu:
        settings = (need.setting(gpu, devices) for devices in need.devices)
        yield _line(need, gpu, next(filter(None, settings), None))
    else:
        setting = need.cheapest()
        least = {"smallest_gpu": smallest(need)}
        yield {**_line(need, setting.gpu if setting else None, setting), **least}


def _line(need: Need, gpu: Gpu | None, setting: Setting | None) -> dict[str, Any]:
    """One approach on GPUs of one kind; without a setting it does not fit on any number of them."""
    memory, rows = need.memory, need.config.rows
    line: dict[str, Any] = {
        "approach": need.name,
        "weights_gib": memory.weights / GIB,
        "gradients_gib": memory.gradients / GIB,
        "optimizer_gib": memory.optimizer / GIB,
        "row_gib": memory.activations.of_row(memory.row, False) / GIB,
        "row_recomputed_gib": memory.activations.of_row(memory.row, True) / GIB,
        "rows": setting.rows if setting else rows,
        "total_gib": memory.total(rows, True) / GIB,
        "disk_gib": need.written.peak / GIB,
        "gpu": gpu.name if gpu else "none known",
        "devices": setting.devices if setting else need.devices[-1],
        "fits": setting is not None,
    }
    if gpu:
        devices = line["devices"]
        line["rows_fit"] = need.fitting(gpu, False, devices)
        line["rows_fit_recomputed"] = need.fitting(gpu, True, devices)
        line["most_rows"] = max(line["rows_fit"], line["rows_fit_recomputed"])
    if setting:
        held = need.bytes(setting.rows, setting.recompute, setting.devices)
        line[RECOMPUTE] = setting.recompute
        line["peak_gib"] = held * constants()["memory"] / GIB
        if foreseen := need.forecast(setting):
            line["minutes"], line["bottleneck"] = foreseen.minutes, foreseen.bottleneck
            if setting.gpu.usd_an_hour:
                line["usd"] = setting.gpu.usd(foreseen.minutes, setting.devices)
    rounded = {key: round(line[key], 2) for key in line if key.endswith("_gib")}
    unknown = dict.fromkeys(("peak_gib", "minutes", "usd", "most_rows"), float("nan"))
    return {**unknown, "bottleneck": None, **line, **rounded}


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


def _refuse_too_small(gpu: Gpu, needs: list[Need]) -> None:
    """Raise MuseQuestError if no approach takes one row on such a GPU, however many of them."""
    if any(need.fitting(gpu, True, devices) for need in needs for devices in need.devices):
        return
    least = min(needs, key=lambda need: need.bytes(1, True, need.devices[-1]))
    total = least.bytes(1, True, least.devices[-1]) / GIB
    raise MuseQuestError(
        f"The GPU {gpu.name} has {gpu.usable_bytes / GIB:.1f} GiB usable, and even "
        f"'{least.name}' takes {total:.1f} GiB for one row at a time; it would fit on: "
        f"{smallest(least)}."
    )


def _findings(
    profile: Profile, needs: list[Need], gpu: Gpu | None, table: pd.DataFrame
) -> Iterator[str]:
    """What is missing or will be in the way, a sentence each."""
    yield _base_model(profile)
    if not split_path(profile.collection, "train").exists():
        yield (
            f"data/{profile.collection}/dataset is not there yet, so a long dialog was supposed, "
            "and for minutes the rows of the published experiment: run stage 1 first for exact "
            "figures."
        )
    if gpu and not gpu.bf16:
        yield (
            f"The GPU {gpu.name} has no bfloat16: set fp16=true, and in the profile dtype: float16 "
            "for approaches with adapters, dtype: float32 for full tuning."
        )
    yield from _costs(gpu, table)
    free, most = free_gib(home()), max(needs, key=lambda need: need.written.peak)
    if free < most.written.peak / GIB:
        yield (
            f"{home()} has {free:.1f} GiB free; '{most.name}' needs up to "
            f"{most.written.peak / GIB:.1f} GiB for its checkpoints."
        )
    for need in needs:
        if (run_dir(profile.name, need.name) / "state").exists():
            yield f"A run of '{need.name}' is there already; train goes on from its state."
    yield f"An optimizer step has {needs[0].config.rows_a_step} rows a device."


def _costs(gpu: Gpu | None, table: pd.DataFrame) -> Iterator[str]:
    """How far minutes and memory can be trusted, of when the prices are, and what costs least."""
    given = constants()
    if table["minutes"].notna().any():
        yield (
            f"Of measured runs, each foreseen from the others, minutes were within "
            f"{given['minutes_error']:.0%} and memory within {given['memory_error']:.0%} "
            "(benchmarks/records/forecast.json); the forecast was made with these runs in view, "
            "so others may be further off."
        )
    if gpu and gpu.bf16_tflops and not gpu.usd_an_hour:
        try:
            gpu.usd(0.0, 1)
        except MuseQuestError as error:
            yield str(error)
    priced = table.dropna(subset=["usd"])
    if len(priced):
        least = priced.loc[priced["usd"].astype(float).idxmin()]
        names = set(priced["gpu"])
        dates = sorted(
            {f"{each.priced} ({each.price})" for each in known_gpus() if each.name in names}
        )
        yield (
            f"USD are for GPUs alone, by prices of {', '.join(dates)}; the least is "
            f"{least['usd']:.2f} for '{least['approach']}' on {least['devices']} x {least['gpu']}."
        )


def _base_model(profile: Profile) -> str:
    """Where the base model is, or how it gets here."""
    if Path(profile.base_model_source).is_dir():
        return f"The base model is the folder {profile.base_model}."
    if any(is_here(profile, name) for name in WEIGHT_FILES):
        return f"The base model {profile.base_model} is in the cache {hub.HF_HUB_CACHE}."
    known = (
        "its sizes come with the package"
        if shape_alone(profile)
        else f"only its configuration is in the cache {hub.HF_HUB_CACHE}"
    )
    if hub.HF_HUB_OFFLINE:
        return (
            f"The base model {profile.base_model} is not here ({known}), and HF_HUB_OFFLINE "
            f"forbids to ask the Hub: fetch it once with `hf download {profile.base_model}` while "
            "online."
        )
    return (
        f"The base model {profile.base_model} ({known}) will be downloaded to {hub.HF_HUB_CACHE}."
    )

"""What fits where, how long it takes and what it costs, before anything is rented or loaded.

    table, findings = preflight("idefics2-8b", "RTX A6000")

Bytes are counted on empty models (memory.py, splitting.py), and minutes foreseen from them
(forecast.py) for the GPUs of gpus.yaml. Neither the Hub nor the model is asked for: the sizes of
the shipped profiles' models come with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import constants as hub

from ..core.errors import MuseQuestError
from ..core.home import home, run_dir
from ..core.hub import file_here
from ..core.settings import Profile, load_profile
from ..creation.split import split_path
from .forecast import cheapest, constants, forecast
from .gpus import Gpu, Setting, find_gpu, gpu_here, known_gpus
from .models import WEIGHT_FILES, model_config, shape_alone
from .needs import Need, needs_of, smallest
from .records import GIB, RECOMPUTE, free_gib

ALL = "all"  # of the catalogue, in place of a GPU's name
SHOWN = ("approach", "gpus", "rows", "most_rows", "peak_gib", "minutes", "usd", "disk_gib")


def preflight(
    profile: str | Path | Profile, gpu: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """A table of all approaches, and what else is to be known, a sentence each.

    `gpu` names one of gpus.yaml, or its memory; without it the GPU of this machine is judged, and
    where there is none, each approach has a line for the GPUs on which it costs least; with "all",
    one for every kind on which it fits. A base model of unknown sizes, or a GPU on which no
    approach fits, raises MuseQuestError.
    """
    profile = load_profile(profile)
    everywhere = gpu is not None and gpu.strip().lower() == ALL
    judged = None if everywhere else gpu_here() if gpu is None else find_gpu(gpu)
    model_config(profile)
    needs = needs_of(profile, bf16=judged is None or judged.bf16)
    if judged:
        _refuse_too_small(judged, needs)
    table = pd.DataFrame([line for need in needs for line in _lines(need, judged, everywhere)])
    return table, list(_findings(profile, needs, judged, table))


def foresee(profile: str | Path | Profile, approach: str) -> dict[str, Any]:
    """One approach's line of `preflight`, as `shown`: its memory, minutes, cost and disk."""
    profile = load_profile(profile)
    judged = gpu_here()
    [need] = needs_of(profile, judged is None or judged.bf16, [approach])
    [line] = shown(pd.DataFrame(_lines(need, judged, everywhere=False))).to_dict("records")
    return {str(name): value for name, value in line.items()}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `preflight`'s table that one line of a terminal holds."""
    counted = table["devices"].map(lambda number: f"{number} x " if number > 1 else "")
    where = table["bottleneck"].where(table["fits"], "does not fit").fillna("-")
    named = table.assign(gpus=counted + table["gpu"], bottleneck=where)
    return named[[*SHOWN, "bottleneck"]].round(2)


def _lines(need: Need, gpu: Gpu | None, everywhere: bool) -> Iterator[dict[str, Any]]:
    """An approach's rows of the table, in GiB, minutes and USD."""
    if everywhere:
        fitting = filter(None, map(need.on_fewest, known_gpus()))
        yield from (_line(need, setting.gpu, setting) for setting in fitting)
    elif gpu:
        yield _line(need, gpu, need.on_fewest(gpu))
    else:
        setting = cheapest(need)
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
        "disk_gib": need.disk / GIB,
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
        if foreseen := forecast(need, setting):
            line["minutes"], line["bottleneck"] = foreseen.minutes, foreseen.bottleneck
            if setting.gpu.usd_an_hour:
                line["usd"] = setting.gpu.usd(foreseen.minutes, setting.devices)
    rounded = {key: round(line[key], 2) for key in line if key.endswith("_gib")}
    unknown = dict.fromkeys(("peak_gib", "minutes", "usd", "most_rows"), float("nan"))
    return {**unknown, "bottleneck": None, **line, **rounded}


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
    free, most = free_gib(home()), max(needs, key=lambda need: need.disk)
    if free < most.disk / GIB:
        yield (
            f"{home()} has {free:.1f} GiB free; '{most.name}' needs up to "
            f"{most.disk / GIB:.1f} GiB for its checkpoints and what its vision tower sees."
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
    if gpu and None in (gpu.bf16_tflops, gpu.bandwidth_gb_s):
        yield (
            f"Of the GPU {gpu.name} nothing but its memory is known, so neither minutes nor USD "
            "are foreseen; name one of gpus.yaml for these."
        )
    elif gpu and not gpu.usd_an_hour:
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
    if any(file_here(profile, name) for name in WEIGHT_FILES):
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

"""Minutes, money, and where they go: a run in FLOPs, bytes and launches, on a GPU of gpus.yaml.

    seconds = FLOPs / (efficiency x peak)                           compute
            + (activations x passes + weights) / bandwidth          memory bandwidth
            + launches x seconds a launch                           launches
            + bytes between GPUs / (half the link)                  link between GPUs
            + bytes of checkpoints / disk                           checkpoints

What the GPU does waits for photos only where the processor cores encode them more slowly. The
constants, efficiency to disk, are fitted to measured runs by benchmarks/forecast.py, which keeps
them, what they were fitted to and how far they were off in benchmarks/records/forecast.json.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, TypedDict

import psutil

from ..core.errors import LOGGER
from ..core.files import read_json
from ..core.home import root
from .activations import RowShape
from .gpus import Gpu, Setting, gpu_here, known_gpus
from .memory import RECORDS, Memory
from .needs import PHOTO_PX, Need, Rows, Size
from .records import GIB, held_memory_gib, peak_memory_gib
from .run_config import RunConfig
from .splitting import micro_batches_of

RECORD = root() / "benchmarks/records/forecast.json"
# What collectives reach of a link's nominal rate, and processes that encode photos for each GPU.
LINK_SHARE, ENCODERS = 0.5, 4
# Launches of an adapted matrix forward and backward, of one more forward pass, and what 4 bits add.
ADAPTED, ADAPTED_AGAIN, FOUR_BITS = 8, 3, 1
# By what share memory may be off on a processor: what libraries take while they train is not
# foreseen, so the pocket demo's six runs held 15 to 42 % more (benchmarks/records/pocket_six.json).
PROCESSOR_ERROR = 0.35  # of what was
# The same of the disk, where theirs were off by up to 10 %; less than RECORDS is no news.
DISK_ERROR = 0.15
VALIDATED = 8  # rows at a time
PHOTO_PATCHES = (PHOTO_PX // 14) ** 2
COMPUTE, BANDWIDTH, LAUNCHES = "compute", "memory bandwidth", "launches"
LINK, CHECKPOINTS, PHOTOS = "link between GPUs", "checkpoints", "photo encoding"


class Constants(TypedDict):
    """What is fitted, and what was measured; benchmarks/records/forecast.json has them."""

    efficiency: float  # of the peak that matrices reach
    activation_passes: float  # times that a kept activation is moved from or to memory
    seconds_a_launch: float
    disk_gb_s: float  # a process writes of a checkpoint
    memory: float  # what a GPU was seen to hold, over what is counted
    seconds_a_photo: float  # of 800 px, that one processor core takes to encode it
    minutes_error: float  # share by which minutes may be off: the worst of the runs left out
    memory_error: float


@functools.cache
def constants() -> Constants:
    """Those of the record."""
    return read_json(RECORD, dict[str, Any])["constants"]


@dataclass(frozen=True)
class Recipe:
    """How a run goes about it, where that is not the approach's: ours, unless told."""

    # Gradients pass through the frozen tower, which is recomputed too, wherever anything is.
    through_tower: bool = False
    # A model in 4 bits has its tower in float32, at half the peak.
    float32_tower: bool = False
    # The frozen tower sees a photo in every epoch, not once (vision.py).
    every_epoch: bool = False
    # Rows are padded to the longest of a batch, not packed (packing.py).
    padded: bool = False


OURS = Recipe()


@dataclass(frozen=True)
class Amounts:
    """What a run does, on each of its GPUs; seconds follow with the constants."""

    steps: int
    peak_seconds: float  # of its FLOPs, at the GPU's peak
    activation_seconds: float  # to move each kept activation once
    weight_seconds: float
    launches: float
    link_seconds: float
    written_gb: float
    photos: float  # of 800 px, encoded

    def seconds(self, given: Constants) -> dict[str, float]:
        """By where they go."""
        return {
            COMPUTE: self.peak_seconds / given["efficiency"],
            BANDWIDTH: self.activation_seconds * given["activation_passes"] + self.weight_seconds,
            LAUNCHES: self.launches * given["seconds_a_launch"],
            LINK: self.link_seconds,
            CHECKPOINTS: self.written_gb / given["disk_gb_s"],
        }


@dataclass(frozen=True)
class Forecast:
    """How long a run takes; `seconds` by where they go."""

    steps: int
    seconds: dict[str, float]

    @property
    def minutes(self) -> float:
        """In all."""
        return sum(self.seconds.values()) / 60

    @property
    def bottleneck(self) -> str:
        """Where most of them go."""
        return max(self.seconds, key=lambda name: self.seconds[name])


def forecast(need: Need, setting: Setting) -> Forecast | None:
    """How long a run takes; None if too little is known of the GPU."""
    if None in (setting.gpu.bf16_tflops, setting.gpu.bandwidth_gb_s):
        return None
    amounts, given = amounts_of(need, setting), constants()
    seconds = amounts.seconds(given)
    waited = amounts.photos * given["seconds_a_photo"] / ENCODERS
    learning = sum(seconds.values()) - seconds[CHECKPOINTS]
    return Forecast(amounts.steps, {**seconds, PHOTOS: max(0.0, waited - learning)})


def amounts_of(need: Need, setting: Setting, recipe: Recipe = OURS) -> Amounts:
    """What a run does on each GPU, by the mathematics of its strategy.

    ddp, fsdp: each its own rows. 1f1b: its layers of all rows, and idle while the pipeline fills.
    sequential: one GPU at a time, so as on a single one.
    """
    config, memory, size, rows = need.config, need.memory, need.size, need.rows
    gpu, devices, strategy = setting.gpu, setting.devices, config.approach.strategy
    processes = devices if strategy in ("ddp", "fsdp") else 1
    steps, learned, evaluations = _steps(need, processes)
    validated = evaluations * math.ceil(rows.validation / processes)
    batches = learned / setting.rows
    padded = recipe.padded or not size.packed
    learning, validating = (rows.padded(n if padded else 1) for n in (setting.rows, VALIDATED))
    share = 1.0
    if pieces := micro_batches_of(config.approach, devices):
        # The layers' share, and the time that waits at begin and end.
        share = (1 + (devices - 1) / pieces) / devices

    seen, a_row, a_batch = _flops(need, learning, setting.recompute, recipe)
    shown, layers, head = size.flops(validating)
    looks = [learned, validated]
    if not recipe.every_epoch and config.profile.vision_store_gib:
        looks = [min(learned, rows.train), min(validated, rows.validation)]
    flops = learned * a_row + validated * (layers + head) + looks[0] * seen + looks[1] * shown
    launches = batches * a_batch + validated / VALIDATED * (size.tower_depth + size.text_depth)
    kept, again = memory.activations, float(setting.recompute)
    # Kept activations pass memory in forward and backward passes: a third in the former.
    moved = learned * kept.of_row(learning, False) * (1 + again / 3)
    moved += validated * kept.of_row(validating, False) / 3
    read = batches * memory.weights * (2 + again)
    updated = steps * (3 * memory.gradients + 2 * memory.optimizer)
    read += updated / (devices if strategy == "fsdp" else 1)
    linked = {
        None: 0.0,
        "ddp": steps * 2 * memory.gradients,
        # Weights are gathered twice, gradients summed.
        "fsdp": batches * (2 * size.all * config.itemsize + memory.gradients),
    }.get(strategy, learned * 2 * learning.tokens * kept.boundary * devices)
    written = evaluations * (memory.written.weights + memory.written.state)
    bandwidth = (gpu.bandwidth_gb_s or math.inf) * 1e9
    link = LINK_SHARE * (gpu.link_gb_s or math.inf) * 1e9
    return Amounts(
        steps=steps,
        peak_seconds=flops * share / ((gpu.bf16_tflops or math.inf) * 1e12),
        activation_seconds=moved * share / bandwidth,
        weight_seconds=read * share / bandwidth,
        launches=launches * share,
        link_seconds=linked * (devices - 1) / devices / link,
        written_gb=written / 1e9 / (devices if strategy == "fsdp" else 1),
        photos=(learned + validated) * learning.photos * learning.patches / PHOTO_PATCHES,
    )


def _steps(need: Need, processes: int) -> tuple[int, float, int]:
    """Optimizer steps, the rows that one process learns from in all, and validations."""
    settings, rows, a_step = need.config.settings, need.rows, need.config.rows_a_step
    epochs = float(settings.get("num_train_epochs", 3))
    steps = math.ceil(math.ceil(rows.train / (a_step * processes)) * epochs)
    learned = steps * a_step if processes > 1 else rows.train * epochs
    if (most := int(settings.get("max_steps", -1))) > 0:
        steps, learned = most, most * a_step
    every = float(settings["eval_steps"])
    return steps, learned, math.ceil(1 / every if every < 1 else steps / every)


def _flops(
    need: Need, row: RowShape, recompute: float, recipe: Recipe
) -> tuple[float, float, float]:
    """FLOPs of seeing a row's photo and of learning from the row, and launches a batch.

    Through a frozen matrix gradients pass once, of a trained one they are computed as well.
    """
    size, approach = need.size, need.config.approach
    tower, layers, head = size.flops(row)
    full, again = approach.tuning == "full", float(recompute)
    quantized = bool(approach.quantization)
    passes = 3 if recompute and recipe.through_tower else 1
    slower = 2 if quantized and recipe.float32_tower else 1
    flops = layers * (2 + again + full) + 2 * head
    each = 3 + again if full else ADAPTED + ADAPTED_AGAIN * again
    each += FOUR_BITS * (2 + again) if quantized else 0
    return tower * passes * slower, flops, size.tower_depth * passes + size.text_depth * each


def seconds_at_peak(need: Need, gpu: Gpu, devices: int) -> float | None:
    """Seconds of the FLOPs that a run needs, at the peak of all its GPUs; None if unknown.

    Needed is what the mathematics asks: nothing is recomputed, and a photo is seen in every epoch.
    What a run took of it is its MFU (Chowdhery et al., 2022, https://arxiv.org/abs/2204.02311).
    """
    if gpu.bf16_tflops is None:
        return None
    processes = devices if need.config.approach.strategy in ("ddp", "fsdp") else 1
    _, learned, evaluations = _steps(need, processes)
    rows, shape = need.rows, need.rows.padded(1)  # without padding
    seen, layers, _ = _flops(need, shape, False, OURS)
    flops = processes * learned * (seen + layers)
    flops += evaluations * rows.validation * sum(need.size.flops(shape))
    return flops / (devices * gpu.bf16_tflops * 1e12)


def cheapest(need: Need) -> Setting | None:
    """The GPUs of the catalogue on which a run costs least, among those with bfloat16."""
    settings = [
        setting
        for gpu in known_gpus()
        for devices in need.devices
        if gpu.bf16 and gpu.usd_an_hour and (setting := need.setting(gpu, devices))
    ]
    return min(settings, key=functools.partial(usd, need), default=None)


def usd(need: Need, setting: Setting) -> float:
    """What a run costs there; MuseQuestError if no price is known."""
    foreseen = forecast(need, setting)
    return setting.gpu.usd(foreseen.minutes, setting.devices) if foreseen else float("inf")


def foreseen_here(config: RunConfig, memory: Memory) -> dict[str, float | None]:
    """What a run that begins is foreseen to take: minutes, peak memory (GiB a device), disk (GiB).

    `memory` is what was counted of it.
    `seconds_at_peak` are those that a GPU which never waits would take.
    On a processor, whose speed no record says, minutes are None, and memory is what the process,
    its model loaded, holds already and what a step adds. Peaks of a process count from its begin,
    so what it held before at most is the least that is foreseen.
    """
    need = Need(config, memory, Size.of(config), Rows.of(config))
    gpu, devices = gpu_here(), max(config.processes, config.parted_over)
    recompute = config.recompute or False
    peak = need.bytes(config.rows, recompute, devices)
    least, before = None, held_memory_gib() or peak_memory_gib()
    if gpu:
        least = seconds_at_peak(need, gpu, devices)
        foreseen = forecast(need, Setting(gpu, devices, config.rows, recompute))
        minutes = round(foreseen.minutes, 3) if foreseen else None
        held = peak * constants()["memory"]
    else:
        loaded = need.memory.weights // (devices if config.approach.parted else 1)
        minutes, held = None, peak - loaded + psutil.Process().memory_info().rss
    return {
        "minutes": minutes,
        "peak_memory_gib": max(round(held / GIB, 3), *before.values()),
        "disk_gib": round(need.memory.written.end / GIB, 4),
        "seconds_at_peak": least and round(least, 3),
    }


def compared(foreseen: dict[str, float | None], run: dict[str, Any]) -> dict[str, Any]:
    """What was foreseen of a run that is done, with the ratio of it to what was, of each.

    Memory is that of the fullest device: of a GPU what tensors held, which is what is counted. A
    warning says what is off by more than the error that benchmarks/records/forecast.json states,
    or on a processor and of the disk by more than that stated here.
    """
    given, gpus = constants(), run.get("held_memory_gib")
    was = {
        "minutes": run["minutes"],
        "peak_memory_gib": max((gpus or run["peak_memory_gib"]).values()),
        "disk_gib": run["disk_gib"],
    }
    ratios = {
        key: round(value / was[key], 3) for key, value in foreseen.items() if value and was.get(key)
    }
    errors = {
        "minutes": given["minutes_error"],
        "peak_memory_gib": given["memory_error"] if gpus else PROCESSOR_ERROR,
    }
    if abs((foreseen["disk_gib"] or 0.0) - was["disk_gib"]) > RECORDS / GIB:
        errors["disk_gib"] = DISK_ERROR
    # Weights that are both the best and the last are foreseen as two, and lie on the disk once.
    times, names = {"disk_gib": 2}, {"peak_memory_gib": "held_memory_gib"} if gpus else {}
    beyond = [
        f"{names.get(key, key)} {was[key]:g} where {foreseen[key]:g} were foreseen (± {error:.0%})"
        for key, error in errors.items()
        if key in ratios and not 1 - error <= ratios[key] <= (1 + error) * times.get(key, 1)
    ]
    if beyond:
        LOGGER.warning("The run took %s.", " and ".join(beyond))
    return {**foreseen, "ratio": ratios}

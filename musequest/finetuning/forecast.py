"""Minutes, and where they go: a run in FLOPs, bytes and launches, on a GPU of gpus.yaml.

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
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any, TypedDict

from torch import nn

from ..core.errors import MuseQuestError
from ..core.files import read_json
from ..core.home import root
from ..creation.dataset import load_split
from .activations import RowShape, photo_tokens
from .anatomy import anatomy_of
from .gpus import Gpu
from .memory import Memory
from .models import of_shape
from .run_config import RunConfig

RECORD = root() / "benchmarks/records/forecast.json"
# What collectives reach of a link's nominal rate, and processes that encode photos for each GPU.
LINK_SHARE, ENCODERS = 0.5, 4
# Launches of an adapted matrix forward and backward, of one more forward pass, and what 4 bits add.
ADAPTED, ADAPTED_AGAIN, FOUR_BITS = 8, 3, 1
VALIDATED = 8  # rows at a time
# The published experiment: training and validation rows, text tokens, and its photos.
PUBLISHED_ROWS, PUBLISHED_TOKENS, PHOTO_PX = (819, 82), (153, 364), 800
PHOTO_PATCHES = (PHOTO_PX // 14) ** 2
SAMPLED = 32
# Matrices of a connector with latent tokens that patches pass; image tokens pass the others.
SEEING = ("modality_projection", "k_proj", "v_proj")
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
class Size:
    """Numbers in the matrices of a base model, and how wide and deep its two transformers are."""

    tower: int
    connector_patches: int  # those that each patch passes
    connector_tokens: int  # those that each image token passes
    text: int
    head: int
    all: int
    tower_width: int  # width times layers
    text_width: int
    tower_depth: int  # matrices
    text_depth: int  # those of the connector counted in
    pooled: int  # patches that the connector joins before its first matrix
    latents: int  # image tokens a photo

    @classmethod
    def of(cls, config: RunConfig) -> Size:
        """The size of a run's base model, without its weights."""
        base, model = config.base_config, of_shape(config.profile)
        numbers, matrices = Counter[str](), Counter[str]()
        latents = getattr(getattr(base, "perceiver_config", None), "resampler_n_latents", 0)
        for name, linear in model.named_modules():
            if isinstance(linear, nn.Linear) and (part := anatomy_of(model).part_of(name)):
                matrices[part] += 1
                seeing = part == "connector" and (
                    not latents or any(each in name for each in SEEING)
                )
                numbers["patches" if seeing else part] += linear.weight.numel()
        vision, text = base.vision_config, base.get_text_config()
        profile = config.profile
        _, patches, seen = photo_tokens(base, profile.image_size, profile.image_splitting)
        return cls(
            tower=numbers["vision_model"],
            connector_patches=numbers["patches"],
            connector_tokens=numbers["connector"],
            text=numbers["text_model"],
            head=numbers["lm_head"],
            all=sum(p.numel() for p in model.parameters()),
            tower_width=vision.hidden_size * vision.num_hidden_layers,
            text_width=text.hidden_size * text.num_hidden_layers,
            tower_depth=matrices["vision_model"],
            text_depth=matrices["text_model"] + matrices["connector"],
            pooled=1 if latents else patches // seen,
            latents=latents,
        )

    def flops(self, row: RowShape) -> tuple[float, float, float]:
        """Of one row's forward pass: tower, connector and text layers, head.

        A matrix takes two a number and token, attention four times the width a pair of tokens, of
        which text has half.
        """
        photo = 2 * row.patches * self.tower + 4 * row.patches**2 * self.tower_width
        connector = 2 * row.patches / self.pooled * self.connector_patches
        connector += 2 * self.latents * self.connector_tokens
        text = 2 * row.tokens * self.text + 2 * row.tokens**2 * self.text_width
        return row.photos * photo, row.photos * connector + text, 2 * row.tokens * self.head


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset: how many, and the shapes of the shortest and the longest."""

    train: int
    validation: int
    shortest: RowShape
    longest: RowShape

    @classmethod
    def of(cls, config: RunConfig) -> Rows:
        """Those of a run's dataset; without one, as many and as long as the published had.

        Of photos the mean area counts, by the first of the rows.
        """
        profile = config.profile
        try:
            rows, validation = config.train_rows, load_split(profile.collection, "validation")
        except MuseQuestError:
            shapes = (RowShape.supposed(profile, text, PHOTO_PX) for text in PUBLISHED_TOKENS)
            return cls(*PUBLISHED_ROWS, *shapes)
        letters = [len(dialog) for dialog in rows["dialog"]]
        seen = RowShape.supposed(profile, 0).tokens  # of which the longest row has the rest as text
        a_letter = max(config.row.tokens - seen, 0) / max(letters)
        photos = rows.select(range(min(len(rows), SAMPLED)))["image"]
        areas = (
            photo.width * photo.height * min(1.0, profile.image_size / max(photo.size)) ** 2
            for photo in photos
        )
        side = round(math.sqrt(statistics.fmean(areas)))
        ends = (RowShape.supposed(profile, round(a_letter * f(letters)), side) for f in (min, max))
        return cls(len(rows), len(validation), *ends)

    def padded(self, together: int) -> RowShape:
        """The shape to which so many are padded on average, their lengths being spread evenly."""
        span = self.longest.tokens - self.shortest.tokens
        tokens = self.shortest.tokens + round(span * together / (together + 1))
        return RowShape(tokens, self.longest.photos, self.longest.patches)


@dataclass(frozen=True)
class Recipe:
    """How a run goes about it, where that is not the approach's: ours, unless told."""

    # Gradients pass through the frozen tower, which is recomputed too, wherever anything is.
    through_tower: bool = False
    # A model in 4 bits has its tower in float32, at half the peak.
    float32_tower: bool = False
    # The frozen tower sees a photo in every epoch, not once (vision.py).
    every_epoch: bool = False


OURS = Recipe()


@dataclass(frozen=True)
class Setting:
    """So many GPUs of one kind, and the rows that pass at a time."""

    gpu: Gpu
    devices: int
    rows: int
    recompute: bool


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


def forecast(
    config: RunConfig, memory: Memory, size: Size, rows: Rows, setting: Setting
) -> Forecast | None:
    """How long a run takes; None if too little is known of the GPU."""
    if None in (setting.gpu.bf16_tflops, setting.gpu.bandwidth_gb_s):
        return None
    amounts, given = amounts_of(config, memory, size, rows, setting), constants()
    seconds = amounts.seconds(given)
    waited = amounts.photos * given["seconds_a_photo"] / ENCODERS
    learning = sum(seconds.values()) - seconds[CHECKPOINTS]
    return Forecast(amounts.steps, {**seconds, PHOTOS: max(0.0, waited - learning)})


def amounts_of(
    config: RunConfig,
    memory: Memory,
    size: Size,
    rows: Rows,
    setting: Setting,
    recipe: Recipe = OURS,
) -> Amounts:
    """What a run does on each GPU, by the mathematics of its strategy.

    ddp, fsdp: each its own rows. 1f1b: its layers of all rows, and idle while the pipeline fills.
    sequential: one GPU at a time, so as on a single one.
    """
    gpu, devices, strategy = setting.gpu, setting.devices, config.approach.strategy
    processes = devices if strategy in ("ddp", "fsdp") else 1
    steps, learned, evaluations = _steps(config, rows, processes)
    validated = evaluations * math.ceil(rows.validation / processes)
    batches = learned / setting.rows
    learning, validating = rows.padded(setting.rows), rows.padded(VALIDATED)
    share = 1.0
    if strategy == "1f1b":  # the layers' share, and the time that waits at begin and end
        pieces = (config.approach.parallel or {}).get("micro_batches") or devices
        share = (1 + (devices - 1) / pieces) / devices

    seen, a_row, a_batch = _flops(config, size, learning, setting.recompute, recipe)
    shown, layers, head = size.flops(validating)
    looks = [learned, validated]
    if not recipe.every_epoch and config.profile.vision_store_gib:
        looks = [min(learned, rows.train), min(validated, rows.validation)]
    flops = learned * a_row + validated * (layers + head) + looks[0] * seen + looks[1] * shown
    launches = batches * a_batch + validated / VALIDATED * (size.tower_depth + size.text_depth)
    kept, again = memory.activations, int(setting.recompute)
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


def _steps(config: RunConfig, rows: Rows, processes: int) -> tuple[int, float, int]:
    """Optimizer steps, the rows that one process learns from in all, and validations."""
    settings, a_step = config.settings, config.rows_a_step
    epochs = float(settings.get("num_train_epochs", 3))
    steps = math.ceil(math.ceil(rows.train / (a_step * processes)) * epochs)
    learned = steps * a_step if processes > 1 else rows.train * epochs
    if (most := int(settings.get("max_steps", -1))) > 0:
        steps, learned = most, most * a_step
    every = float(settings["eval_steps"])
    return steps, learned, math.ceil(1 / every if every < 1 else steps / every)


def _flops(
    config: RunConfig, size: Size, row: RowShape, recompute: bool, recipe: Recipe
) -> tuple[float, float, int]:
    """FLOPs of seeing a row's photo and of learning from the row, and launches a batch.

    Through a frozen matrix gradients pass once, of a trained one they are computed as well.
    """
    tower, layers, head = size.flops(row)
    full, again = config.approach.tuning == "full", int(recompute)
    quantized = bool(config.approach.quantization)
    passes = 3 if recompute and recipe.through_tower else 1
    slower = 2 if quantized and recipe.float32_tower else 1
    flops = layers * (2 + again + full) + 2 * head
    each = 3 + again if full else ADAPTED + ADAPTED_AGAIN * again
    each += FOUR_BITS * (2 + again) if quantized else 0
    return tower * passes * slower, flops, size.tower_depth * passes + size.text_depth * each


def seconds_at_peak(
    config: RunConfig, size: Size, rows: Rows, gpu: Gpu, devices: int
) -> float | None:
    """Seconds of the FLOPs that a run needs, at the peak of all its GPUs; None if unknown.

    Needed is what the mathematics asks: nothing is recomputed, and a photo is seen in every epoch.
    What a run took of it is its MFU (Chowdhery et al., 2022, https://arxiv.org/abs/2204.02311).
    """
    if gpu.bf16_tflops is None:
        return None
    processes = devices if config.approach.strategy in ("ddp", "fsdp") else 1
    _, learned, evaluations = _steps(config, rows, processes)
    shape = rows.padded(config.rows)
    seen, layers, _ = _flops(config, size, shape, False, OURS)
    flops = processes * learned * (seen + layers)
    flops += evaluations * rows.validation * sum(size.flops(rows.padded(VALIDATED)))
    return flops / (devices * gpu.bf16_tflops * 1e12)

"""What runs need of GPUs, of one approach or of all: their memory, and what there is to compute.

    for need in needs_of(load_profile("idefics2-8b")):
        print(need.name, need.bytes(rows=10, recompute=True, devices=1))

How long that takes on which GPU says `forecast`.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from ..core.errors import MuseQuestError
from ..core.settings import Profile, approach_names, load_approach
from .activations import RowShape, photo_tokens
from .anatomy import anatomy_of
from .gpus import Gpu, Setting, known_gpus
from .memory import Memory, memory_of
from .models import of_shape
from .packing import can_pack
from .records import GIB
from .run_config import RunConfig
from .splitting import filled, largest_divisor, micro_batches_of, parts_of, plan

DEVICES = (2, 4, 8)
# The published experiment: training and validation rows, text tokens, and its photos.
PUBLISHED_ROWS, PUBLISHED_TOKENS, PHOTO_PX = (819, 82), (153, 364), 800
SAMPLED = 32
# Matrices of a connector with latent tokens that patches pass; image tokens pass the others.
SEEING = ("modality_projection", "k_proj", "v_proj")


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
    packed: bool  # whether its rows are packed, and so none is padded

    @classmethod
    def of(cls, config: RunConfig) -> Size:
        """The size of a run's base model, without its weights."""
        base, profile = config.base_config, config.profile
        model = of_shape(profile)
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
            packed=can_pack(model),
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
            rows, validation = config.train_rows, config.validation_rows
        except MuseQuestError:
            shapes = (RowShape.supposed(profile, text, PHOTO_PX) for text in PUBLISHED_TOKENS)
            return cls(*PUBLISHED_ROWS, *shapes)
        letters, (shown, _) = [len(dialog) for dialog in rows["dialog"]], config.longest_dialog
        seen = RowShape.supposed(profile, 0, shown=shown).tokens
        a_letter = max(config.row.tokens - seen, 0) / max(letters)  # of the longest, beside photos
        photos = rows.select(range(min(len(rows), SAMPLED)))["image"]
        areas = (
            photo.width * photo.height * min(1.0, profile.image_size / max(photo.size)) ** 2
            for photo in photos
        )
        side = round(math.sqrt(statistics.fmean(areas)))
        texts = (round(a_letter * f(letters)) for f in (min, max))
        ends = (RowShape.supposed(profile, text, side, shown) for text in texts)
        return cls(len(rows), len(validation), *ends)

    def padded(self, together: int) -> RowShape:
        """The shape to which so many are padded on average, their lengths being spread evenly."""
        span = self.longest.tokens - self.shortest.tokens
        tokens = self.shortest.tokens + round(span * together / (together + 1))
        return RowShape(tokens, self.longest.photos, self.longest.patches)


@dataclass(frozen=True)
class Need:
    """What one approach needs under one profile."""

    config: RunConfig
    memory: Memory
    size: Size
    rows: Rows
    known: dict[tuple[int, float, int], int] = field(default_factory=dict, repr=False)

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

    @property
    def seen(self) -> int:
        """Bytes on the disk of what the frozen tower makes of all photos, as far as they are kept.

        Those of a vision model that holds its connector are the outcome of several layers.
        """
        vision, row = self.config.base_config.vision_config, self.rows.longest
        photos = (self.rows.train + self.rows.validation) * row.photos
        layers = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
        numbers = photos * row.patches * vision.hidden_size * layers
        most = int(self.config.profile.vision_store_gib * GIB)
        return min(most, numbers * self.config.itemsize)

    @property
    def disk(self) -> int:
        """Bytes on the disk at most: a run's, and what is kept of photos."""
        return self.memory.written.peak + self.seen

    def bytes(self, rows: int, recompute: float, devices: int) -> int:
        """What the fullest of so many GPUs holds at the peak of a step."""
        approach, memory = self.config.approach, self.memory
        if not approach.layered:
            return memory.total(rows, recompute, devices if approach.parted else 1)
        if (key := (rows, recompute, devices)) not in self.known:
            pieces = micro_batches_of(approach, devices)
            whole = filled(rows, pieces)
            step = memory.row, whole, bool(recompute)
            counted = memory.activations, self.config.optimizer
            parts = parts_of(self.config.empty, *step, *counted)
            self.known[key] = max(plan(parts, devices, pieces).bytes())
        return self.known[key]

    def fitting(self, gpu: Gpu, recompute: float, devices: int) -> int:
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
        asked = self.config.rows
        for recompute in self.config.shares:
            if self.bytes(asked, recompute, devices) <= gpu.usable_bytes:
                return Setting(gpu, devices, asked, recompute)
        recompute = self.config.shares[-1]
        rows = largest_divisor(asked, self.fitting(gpu, recompute, devices))
        return Setting(gpu, devices, rows, recompute) if rows else None

    def on_fewest(self, gpu: Gpu) -> Setting | None:
        """How it trains on as few of these GPUs as suffice; None if no number of them does."""
        return next(filter(None, (self.setting(gpu, number) for number in self.devices)), None)


def needs_of(profile: Profile, bf16: bool = True, runs: Sequence[str] | None = None) -> list[Need]:
    """What runs need on a GPU that has bfloat16, or has not: all approaches, or those named."""
    configs = [RunConfig.resolve(profile, load_approach(run)) for run in runs or approach_names()]
    first, needs = configs[0], []
    row, rows, size = first.row, Rows.of(first), Size.of(first)
    for config in configs:
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

"""The first lesson's means: renderings with labels, their augmentation, and heads on the tower."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .docent import IMAGE_SIZE

ATTRIBUTES = ("kind", "colour", "material", "pattern", "second", "proportion", "count", "place")
IGNORED = -100


@dataclass
class Scenes:
    """Renderings in memory: pixels uint8 (n, 3, 128, 128) and their labels."""

    pixels: torch.Tensor
    labels: list[dict]
    classes: dict[str, list] = field(default_factory=dict)

    def targets(self, index: np.ndarray) -> dict[str, torch.Tensor]:
        """Class number of each attribute, (n,); -100 where the photo does not show it."""
        out = {}
        for name in ATTRIBUTES:
            hidden = [name == "second" and self.labels[i]["pattern"] == "plain" for i in index]
            numbers = [self.classes[name].index(self.labels[i][name]) for i in index]
            out[name] = torch.tensor(
                [IGNORED if h else n for h, n in zip(hidden, numbers, strict=True)]
            )
        return out


def load_scenes(folder: Path) -> Scenes:
    """Read the renderings that `musequest.pocket.scenes` wrote."""
    lines = (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
    labels = [json.loads(line) for line in lines]
    arrays = [np.asarray(Image.open(folder / f"{scene['seed']:05d}.png")) for scene in labels]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    classes = {name: sorted({scene[name] for scene in labels}) for name in ATTRIBUTES}
    return Scenes(pixels, labels, classes)


def augmented(
    pixels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip, turn, zoom, shift, soften and re-light photos; returns (n, 3, h, w) in -1..1 and flips.

    A flip swaps left and right, so the caller must swap the place.
    """
    n = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    flip = torch.rand(n, generator=generator) < 0.5
    angle, zoom = uniform(-0.35, 0.35), uniform(0.82, 1.12)
    sign = torch.where(flip, -1.0, 1.0)
    rows = [
        torch.stack([sign * angle.cos() * zoom, -angle.sin() * zoom, uniform(-0.1, 0.1)], 1),
        torch.stack([sign * angle.sin() * zoom, angle.cos() * zoom, uniform(-0.1, 0.1)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    photos = F.grid_sample(
        pixels.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    soft = F.avg_pool2d(F.pad(photos, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = uniform(0, 1, 1, 1, 1)
    photos = photos * (1 - share) + soft * share
    photos = (photos - 0.5) * uniform(0.8, 1.2, 1, 1, 1) + 0.5
    return ((photos * uniform(0.8, 1.2, 1, 1, 1)).clamp(0, 1) * 2 - 1), flip


def flipped_place(scene: dict, flip: bool) -> dict:
    """The scene's labels after a flip."""
    other = {"left": "right", "right": "left"}
    return scene | {"place": other.get(scene["place"], scene["place"])} if flip else scene


class Looker(torch.nn.Module):
    """The vision tower with a linear head an attribute, on its patches' mean and maximum."""

    def __init__(self, tower: torch.nn.Module, classes: dict[str, list]) -> None:
        super().__init__()
        self.tower = tower
        width = 2 * tower.config.hidden_size
        self.heads = torch.nn.ModuleDict(
            {k: torch.nn.Linear(width, len(v)) for k, v in classes.items()}
        )

    def forward(self, photos: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of each attribute, (n, classes), for photos (n, 3, 128, 128)."""
        patches = self.tower(photos).last_hidden_state
        pooled = torch.cat([patches.mean(1), patches.amax(1)], dim=-1).float()
        return {name: head(pooled) for name, head in self.heads.items()}

"""The first lesson's means: renderings with labels, their augmentation, and heads on the tower."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from musequest.photos import open_photo

from .docent import IMAGE_SIZE

ATTRIBUTES = ("kind", "colour", "material", "pattern", "second", "proportion", "count", "place")
IGNORED = -100
PATCH_NOISE = 0.05  # variance below which a component of the patches counts as noise


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
    """Read the renderings that `assets.workshop.scenes` wrote."""
    lines = (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
    labels = [json.loads(line) for line in lines]
    arrays = [np.asarray(open_photo(folder / f"{scene['seed']:05d}.png")) for scene in labels]
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
    strong = (torch.rand(n, generator=generator) < 0.5).float()
    angle, zoom = uniform(-0.3, 0.3) * strong, uniform(0.85, 1.15)
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
    """The way of a photo through vision tower and connector, with a linear head an attribute.

    There is a set of heads at both ends: on the tower's patches and on the connector's latents,
    each side by side rather than pooled, so that where something is need not be written into the
    features before anything else can be learned.
    """

    def __init__(
        self, tower: torch.nn.Module, connector: torch.nn.Module, classes: dict[str, list]
    ) -> None:
        super().__init__()
        self.tower, self.connector = tower, connector
        latents = connector.perceiver_resampler.latents
        patches = tower.config.hidden_size * tower.embeddings.num_patches
        self.tower_heads, self.connector_heads = (
            torch.nn.ModuleDict({k: torch.nn.Linear(width, len(v)) for k, v in classes.items()})
            for width in (patches, latents.numel())
        )
        for head in [*self.tower_heads.values(), *self.connector_heads.values()]:
            torch.nn.init.normal_(head.weight, std=0.002)

    def forward(self, photos: torch.Tensor, carried: bool = False) -> dict[str, torch.Tensor]:
        """Logits of each attribute, (n, classes), for photos (n, 3, 128, 128).

        Read off the patches, or, `carried`, off the connector's latents.
        """
        features, heads = self.tower(photos).last_hidden_state, self.tower_heads
        if carried:
            seen = torch.ones(features.shape[:2], dtype=torch.bool)
            features, heads = self.connector(features, attention_mask=seen), self.connector_heads
        flat = F.dropout(features.float().flatten(1), 0.1, self.training)
        return {name: head(flat) for name, head in heads.items()}


@torch.no_grad()
def initialise(tower: torch.nn.Module, connector: torch.nn.Module, photos: torch.Tensor) -> None:
    """Give fresh vision tower and connector a start from which a few hundred steps teach them.

    `photos` (n, 3, 128, 128) in -1..1. From transformers' own initialisation the tower stays blind
    to place for thousands of steps. Here the patch embedding starts as the whitened principal
    components of the photos' patches, the positions as sines and cosines of row and column
    (Vaswani et al. 2017, in two dimensions), the projections as Xavier's, and what is written back
    to the residual stream is scaled down, so that the patches stay distinct through all layers.
    The connector's projections start as Xavier's too: from much smaller ones its latents hardly
    hear the photo.
    """
    embeddings, width = tower.embeddings, tower.config.hidden_size
    size, side = embeddings.patch_size, embeddings.num_patches_per_side
    patches = F.unfold(photos, size, stride=size).transpose(1, 2).reshape(-1, 3 * size * size)
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh(torch.cov((patches - mean).T))
    variances, components = variances.flip(0)[:width], components.flip(1)[:, :width]
    filters = (components / (variances + PATCH_NOISE).sqrt()).T
    embeddings.patch_embedding.weight.copy_(filters.view(width, 3, size, size))
    embeddings.patch_embedding.bias.copy_(-(filters @ mean))
    frequencies = 1.5 * 100.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(side, side, -1), line[None].expand(side, side, -1)
    embeddings.position_embedding.weight.copy_(
        0.5 * torch.cat([rows, columns], -1).reshape(side * side, width)
    )
    for name, parameter in tower.encoder.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.xavier_uniform_(parameter)
            if "out_proj" in name or "fc2" in name:
                parameter.mul_(0.3)
    for parameter in connector.parameters():
        if parameter.dim() == 2 and parameter is not connector.perceiver_resampler.latents:
            torch.nn.init.xavier_uniform_(parameter)

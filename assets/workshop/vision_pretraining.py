"""The first lesson's means: renderings with labels, their augmentation, and heads on the tower."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from musequest.core.photos import open_photo

from .docent import IMAGE_SIZE

ATTRIBUTES = ("kind", "colour", "material", "pattern", "second", "proportion", "count", "place")
IGNORED = -100
WEIGHTS = {"kind": 2, "colour": 2}  # of an attribute's loss; else 1
ALIKE = 0.5  # weight of knowing two copies of a photo as one, beside naming what it shows
PATCH_NOISE = 0.05  # variance below which a component of the patches counts as noise


@dataclass
class Scenes:
    """Renderings in memory: pixels uint8 (n, 3, 128, 128) and their labels."""

    pixels: torch.Tensor
    labels: list[dict]
    classes: dict[str, list] = field(default_factory=dict)

    def targets(self, labels: list[dict]) -> dict[str, torch.Tensor]:
        """Class number of each attribute, (n,); -100 where the photo does not show it."""
        out = {}
        for name in ATTRIBUTES:
            hidden = [name == "second" and scene["pattern"] == "plain" for scene in labels]
            numbers = [self.classes[name].index(scene[name]) for scene in labels]
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


def augmented(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn, zoom, shift, soften and re-light photos; uint8 in, (n, 3, h, w) in -1..1 out."""
    n = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    strong = (torch.rand(n, generator=generator) < 0.5).float()
    angle, zoom = uniform(-0.3, 0.3) * strong, uniform(0.8, 1.15)
    rows = [
        torch.stack([angle.cos() * zoom, -angle.sin() * zoom, uniform(-0.1, 0.1)], 1),
        torch.stack([angle.sin() * zoom, angle.cos() * zoom, uniform(-0.1, 0.1)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    photos = F.grid_sample(
        pixels.float().div_(127.5).sub_(1), grid, padding_mode="reflection", align_corners=False
    )
    soft = F.avg_pool2d(F.pad(photos, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    photos = photos.lerp_(soft, uniform(0, 1, 1, 1, 1))
    light = uniform(-0.2, 0.2, 1, 1, 1) + uniform(-0.03, 0.03, 3, 1, 1)
    return photos.mul_(uniform(0.8, 1.2, 1, 1, 1)).add_(light).clamp_(-1, 1)


def flipped_place(scene: dict, flip: bool) -> dict:
    """The scene's labels after a flip."""
    other = {"left": "right", "right": "left"}
    return scene | {"place": other.get(scene["place"], scene["place"])} if flip else scene


class Looker(torch.nn.Module):
    """The way of a photo through vision tower and connector, with a linear head an attribute.

    The labels are read off thrice: off the tower's patches side by side, so that where something is
    need not be written into the features before anything else can be learned; off their mean, by
    which retrieval knows an exhibit; and off the connector's latents, which the text model sees.
    """

    def __init__(
        self, tower: torch.nn.Module, connector: torch.nn.Module, classes: dict[str, list]
    ) -> None:
        super().__init__()
        self.tower, self.connector = tower, connector
        self.sizes = [len(classes[name]) for name in ATTRIBUTES]
        width = tower.config.hidden_size
        latents = connector.perceiver_resampler.latents.numel()
        inputs = (width * tower.embeddings.num_patches, width, latents)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(n, sum(self.sizes)) for n in inputs)
        for head in (self.heads[0], self.heads[2]):
            torch.nn.init.normal_(head.weight, std=0.002)

    def forward(self, photos: torch.Tensor, first: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Photos (n, 3, 128, 128) -> mean patch (n, width), and the logits of each reading.

        The connector, which is slower to train, sees the `first` photos alone.
        """
        patches = self.tower(photos).last_hidden_state
        seen = torch.ones(patches[:first].shape[:2], dtype=torch.bool)
        latents = self.connector(patches[:first], attention_mask=seen)
        mean = patches.mean(1)
        read = patches.flatten(1), mean, latents.flatten(1)
        logits = [
            head(F.dropout(features, 0.1, self.training)).float()
            for head, features in zip(self.heads, read, strict=True)
        ]
        return mean.float(), logits

    def loss(self, photos: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss on 2n photos, of which n and n + i show the same scene, and the n scenes' labels."""
        n = len(photos) // 2
        mean, readings = self(photos, n)
        total = ALIKE * alike_loss(mean)
        for logits in readings:
            for name, own in zip(ATTRIBUTES, logits.split(self.sizes, 1), strict=True):
                target = targets[name].repeat(len(own) // n)
                shown = max(1, int((target != IGNORED).sum()))
                summed = F.cross_entropy(own, target, ignore_index=IGNORED, reduction="sum")
                total = total + WEIGHTS.get(name, 1) * summed / shown / len(readings)
        return total


def alike_loss(features: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """NT-Xent (Chen et al. 2020) of 2n features, of which i and n + i belong together."""
    n = len(features) // 2
    unit = F.normalize(features - features.mean(0), dim=1)
    cosines = (unit @ unit.T / temperature).fill_diagonal_(float("-inf"))
    return F.cross_entropy(cosines, torch.arange(2 * n).roll(n))


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
    for layer in tower.encoder.layers:  # a patch attends to its like (Trockman & Kolter 2023)
        layer.self_attn.q_proj.weight.copy_(layer.self_attn.k_proj.weight)
    for parameter in connector.parameters():
        if parameter.dim() == 2 and parameter is not connector.perceiver_resampler.latents:
            torch.nn.init.xavier_uniform_(parameter)

"""What a thing of the pocket museum looks like."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, fields

import numpy as np


@dataclass(frozen=True)
class Look:
    """What a thing looks like.

    `proportion` is tall, regular or squat; `pattern` is plain, bands, stripes, spots or checks,
    painted in `second`; `form` seeds the small differences of form; `detail` names a variant.
    """

    kind: str
    colour: str
    material: str
    pattern: str = "plain"
    second: str = "white"
    proportion: str = "regular"
    accent: str = "brown"
    form: int = 0
    detail: str = ""
    rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seed = (zlib.crc32(self.kind.encode()), self.form)
        object.__setattr__(self, "rng", np.random.default_rng(seed))

    def vary(self, low: float, high: float) -> float:
        """A number between low and high, drawn from this thing's own form."""
        return float(self.rng.uniform(low, high))

    @property
    def stretch(self) -> float:
        """Height factor of the proportion."""
        return {"tall": 1.35, "regular": 1.0, "squat": 0.68}[self.proportion]


LABELS = tuple(each.name for each in fields(Look) if each.init)  # what tells a look whole

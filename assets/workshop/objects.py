"""The kinds of things the pocket museum shows, each a function from a `Look` to its parts.

Dimensions are in arbitrary units, z is up and a thing stands on z = 0; `rendering` scales it to
the plinth. `look.vary` draws small differences of form, so that no two things of a kind are alike.
"""

from __future__ import annotations

from collections.abc import Callable

from .appearance import Look
from .furnishings import chair, chest, clock, globe, lantern, tapestry
from .instruments import bell, drum, lute
from .machines import engine, ship, telescope, wheel
from .shapes import Part
from .treasures import book, coin, crown, crystal, helmet, necklace
from .vessels import bowl, goblet, jug, teapot, vase

KINDS: dict[str, Callable[[Look], list[Part]]] = {
    build.__name__: build
    for build in (
        vase, bowl, goblet, teapot, jug, coin, chair, crystal, lute, drum, bell, clock, engine,
        telescope, tapestry, chest, crown, necklace, helmet, lantern, globe, ship, wheel, book,
    )
}  # fmt: skip

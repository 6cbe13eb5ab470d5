"""Machines and vehicles: engine, telescope, ship and wheel."""

from __future__ import annotations

import numpy as np
import trimesh

from .appearance import Look
from .shapes import Part, Point, ball, box, lathe, ring, rod, surface, turned


def spoked(
    radius: float, spokes: int, thick: float, centre: Point, roles: tuple[str, str]
) -> list[Part]:
    """A wheel around the y axis: rim, hub and spokes with the given roles (rim, spokes)."""
    x, y, z = centre
    rim = Part(ring(centre, radius, thick, (0, 1, 0)), roles[0])
    hub = Part(rod((x, y - 0.08, z), (x, y + 0.08, z), radius * 0.16), roles[1])
    bars = [
        Part(
            rod(centre, (x + radius * np.cos(a), y, z + radius * np.sin(a)), thick * 0.6), roles[1]
        )
        for a in np.linspace(0, 2 * np.pi, spokes, endpoint=False)
    ]
    return [rim, hub, *bars]


def engine(look: Look) -> list[Part]:
    """A steam engine: boiler, chimney, piston and flywheel."""
    base = Part(box((1.2, 0.46, 0.08), (0, 0, 0.04)), "dark", smooth=False)
    boiler = Part(rod((-0.5, 0, 0.36), (0.12, 0, 0.36), 0.2))
    bands = [Part(ring((x, 0, 0.36), 0.203, 0.018, (1, 0, 0)), "trim") for x in (-0.45, -0.2, 0.06)]
    chimney = lathe([(0.06, 0), (0.055, 0.4 * look.stretch), (0.09, 0.46 * look.stretch)])
    chimney.apply_translation((-0.38, 0, 0.5))
    dome = Part(ball((-0.1, 0, 0.56), 0.08), "trim")
    feet = [Part(box((0.08, 0.3, 0.2), (x, 0, 0.15)), "dark", smooth=False) for x in (-0.4, 0.02)]
    wheel = spoked(0.33, 6, 0.035, (0.36, -0.16, 0.42), ("dark", "dark"))
    rod_ = Part(rod((-0.05, -0.2, 0.22), (0.36, -0.2, 0.5), 0.02), "trim")
    piston = Part(rod((-0.3, -0.2, 0.2), (0.0, -0.2, 0.2), 0.06))
    post = Part(box((0.1, 0.2, 0.36), (0.36, 0.0, 0.24)), smooth=False)
    return [base, boiler, *bands, Part(chimney, "dark"), dome, *feet, *wheel, rod_, piston, post]


def telescope(look: Look) -> list[Part]:
    """A telescope of three tubes on a tripod."""
    s = look.stretch
    top = 0.75 * s
    tilt = look.vary(18, 32)
    radii = ((-0.5, -0.1, 0.055), (-0.1, 0.25, 0.07), (0.25, 0.62, 0.09))
    tubes = [
        Part(turned(rod((a, 0, top), (b, 0, top), r), -tilt, (0, 1, 0), (0, 0, top)), painted=True)
        for a, b, r in radii
    ]
    rings = [
        Part(turned(ring((x, 0, top), r, 0.015, (1, 0, 0)), -tilt, (0, 1, 0), (0, 0, top)), "trim")
        for x, r in ((-0.1, 0.07), (0.25, 0.09), (0.62, 0.095), (-0.5, 0.06))
    ]
    legs = [
        Part(
            rod(
                (0.03 * np.cos(a), 0.03 * np.sin(a), top - 0.08),
                (0.38 * np.cos(a), 0.38 * np.sin(a), 0),
                0.028,
                0.018,
            ),
            "accent",
        )
        for a in np.deg2rad([90, 210, 330])
    ]
    joint = Part(ball((0, 0, top - 0.08), 0.06), "accent")
    return [*tubes, *rings, *legs, joint]


def ship(look: Look) -> list[Part]:
    """A three-masted model ship on a cradle."""

    def hull(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along = 2 * u - 1
        beam = 0.17 * (1 - np.abs(along) ** 2.4) ** 0.6
        depth = 0.26 * (1 - 0.35 * np.abs(along) ** 3)
        angle = np.pi * v
        sheer = 0.1 * along**2
        return np.stack(
            [0.6 * along, beam * np.cos(angle), 0.38 + sheer - depth * np.sin(angle)], -1
        )

    def deck(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along = 2 * u - 1
        beam = 0.17 * (1 - np.abs(along) ** 2.4) ** 0.6
        return np.stack([0.6 * along, beam * (2 * v - 1), 0.36 + 0.1 * along**2], -1)

    grid = np.linspace(0, 1, 48), np.linspace(0, 1, 24)
    parts = [Part(surface(hull, *grid), painted=True), Part(surface(deck, *grid), "accent")]
    tall = look.stretch
    for x, high in ((-0.28, 0.62), (0.03, 0.78), (0.32, 0.58)):
        parts.append(Part(rod((x, 0, 0.36), (x, 0, 0.42 + high * tall), 0.014), "dark"))
        for low, top, wide in ((0.08, 0.42, 0.2), (0.46, 0.72, 0.15)):
            parts.append(
                Part(
                    _sail(x, 0.4 + low * high * tall * 1.25, 0.4 + top * high * tall * 1.25, wide),
                    "pale",
                )
            )
    sprit = Part(rod((0.55, 0, 0.45), (0.8, 0, 0.55), 0.012), "dark")
    cradle = [
        Part(box((0.05, 0.26, 0.2), (x, 0, 0.1)), "dark", smooth=False) for x in (-0.25, 0.25)
    ]
    return [*parts, sprit, *cradle, Part(box((0.8, 0.3, 0.04), (0, 0, 0.02)), "dark", smooth=False)]


def _sail(x: float, low: float, top: float, wide: float) -> trimesh.Trimesh:
    def cloth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        belly = 0.09 * np.sin(np.pi * v) * np.cos(0.5 * np.pi * (2 * u - 1))
        return np.stack([x + 0.02 + belly, (2 * u - 1) * wide, low + v * (top - low)], -1)

    return surface(cloth, np.linspace(0, 1, 12), np.linspace(0, 1, 12))


def wheel(look: Look) -> list[Part]:
    """A spoked wheel between chocks."""
    r = 0.5
    spokes = int(look.vary(8, 13))
    parts = spoked(r - 0.06, spokes, 0.05, (0, 0, r + 0.04), ("body", "body"))
    tyre = Part(ring((0, 0, r + 0.04), r - 0.01, 0.025, (0, 1, 0)), "trim")
    chocks = [Part(box((0.1, 0.24, 0.12), (x, 0, 0.06)), "dark", smooth=False) for x in (-0.2, 0.2)]
    return [*parts, tyre, *chocks]

"""Furnishings: chair, clock, tapestry, chest, lantern and globe."""

from __future__ import annotations

import numpy as np

from .appearance import Look
from .shapes import Part, arc, ball, box, lathe, prism, ring, rod, surface, tube, turned


def chair(look: Look) -> list[Part]:
    """A chair with a slatted back and a cushion."""
    back = {"tall": 1.35, "regular": 1.0, "squat": 0.68}[look.proportion]
    legs = [
        Part(box((0.06, 0.06, 0.45), (x, y, 0.225)), smooth=False)
        for x in (-0.24, 0.24)
        for y in (-0.22, 0.22)
    ]
    posts = [
        Part(box((0.06, 0.06, back * 0.7), (x, 0.22, 0.45 + back * 0.35)), smooth=False)
        for x in (-0.24, 0.24)
    ]
    slats = int(look.vary(2, 5))
    bars = [
        Part(box((0.48, 0.03, 0.07), (0, 0.22, 0.5 + back * 0.62 * (i + 1) / slats)), smooth=False)
        for i in range(slats)
    ]
    seat = Part(box((0.58, 0.54, 0.06), (0, 0, 0.46)), smooth=False)
    cushion = Part(box((0.5, 0.46, 0.06), (0, -0.01, 0.51)), "accent", smooth=False)
    rails = [Part(box((0.48, 0.03, 0.04), (0, y, 0.2)), smooth=False) for y in (-0.22, 0.22)]
    return [*legs, *posts, *bars, seat, cushion, *rails]


def clock(look: Look) -> list[Part]:
    """A mantel clock with a dial and two hands."""
    s = look.stretch
    case = box((0.6, 0.3, 0.62 * s), (0, 0, 0.1 + 0.31 * s))
    top = 0.1 + 0.62 * s
    foot = box((0.74, 0.38, 0.1), (0, 0, 0.05))
    roof = turned(prism([(0, 0), (0.42, 0), (0, 0.2)], 4), 45, (0, 0, 1))
    roof.vertices[:, 1] *= 0.55
    roof.apply_translation((0, 0, top))
    centre = 0.12 + 0.36 * s
    dial = rod((0, -0.14, centre), (0, -0.165, centre), 0.21)
    rim = ring((0, -0.16, centre), 0.215, 0.02, (0, 1, 0))
    hour, minute = look.vary(0, 360), look.vary(0, 360)
    hands = [
        Part(
            turned(box((w, 0.012, h), (0, -0.172, centre + h / 2)), a, (0, 1, 0), (0, 0, centre)),
            "dark",
            smooth=False,
        )
        for w, h, a in ((0.028, 0.11, hour), (0.018, 0.17, minute))
    ]
    marks = [
        Part(
            turned(
                box((0.014, 0.01, 0.035), (0, -0.168, centre + 0.175)),
                30 * i,
                (0, 1, 0),
                (0, 0, centre),
            ),
            "dark",
            smooth=False,
        )
        for i in range(12)
    ]
    return [
        Part(case, smooth=False, painted=True),
        Part(foot, smooth=False),
        Part(roof, smooth=False),
        Part(dial, "pale"),
        Part(rim, "trim"),
        *hands,
        *marks,
    ]


def tapestry(look: Look) -> list[Part]:
    """A hanging cloth with a fringe, on two posts."""
    width, height = 0.85, 1.05 * look.stretch
    waves, depth = look.vary(2.5, 4.5), look.vary(0.015, 0.03)

    def cloth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        sag = depth * np.sin(2 * np.pi * waves * u) * (1 - 0.5 * v)
        return np.stack([(u - 0.5) * width, sag, 0.12 + v * height], axis=-1)

    sheet = surface(cloth, np.linspace(0, 1, 96), np.linspace(0, 1, 96))
    fringe = [
        Part(
            rod(
                (x, depth * np.sin(2 * np.pi * waves * (x / width + 0.5)), 0.12),
                (x, 0, 0.05),
                0.008,
            ),
            "pale",
        )
        for x in np.linspace(-width / 2, width / 2, 24)
    ]
    bar = Part(rod((-0.52, 0, 0.14 + height), (0.52, 0, 0.14 + height), 0.025), "accent")
    knobs = [Part(ball((x, 0, 0.14 + height), 0.045), "accent") for x in (-0.52, 0.52)]
    posts = [
        Part(rod((x, 0.02, 0), (x, 0.02, 0.14 + height), 0.018), "dark") for x in (-0.48, 0.48)
    ]
    return [Part(sheet, painted=True), *fringe, bar, *knobs, *posts]


def chest(look: Look) -> list[Part]:
    """A chest with a vaulted lid, straps and a lock."""
    s = 0.42 * look.stretch
    body = Part(box((0.95, 0.5, s), (0, 0, 0.04 + s / 2)), smooth=False, painted=True)
    angle = np.linspace(0, np.pi, 24)

    def lid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.stack([(u - 0.5) * 0.97, 0.26 * np.cos(v), 0.05 + s + 0.17 * np.sin(v)], axis=-1)

    cover = Part(surface(lid, np.linspace(0, 1, 48), angle), painted=True)
    ends = [
        Part(turned(prism([(0, 0), (0.26, 0), (0.26, 0.02), (0, 0.02)], 32), 90, (0, 1, 0)))
        for _ in (0, 1)
    ]
    for end, x in zip(ends, (-0.49, 0.465), strict=True):
        end.mesh.vertices[:, 2] = np.maximum(end.mesh.vertices[:, 2], 0) * 0.65
        end.mesh.apply_translation((x, 0, 0.05 + s))
    straps = []
    for x in (-0.32, 0.32):
        straps.append(Part(box((0.07, 0.52, s + 0.02), (x, 0, 0.05 + s / 2)), "trim", smooth=False))
        path = np.stack([0 * angle + x, 0.27 * np.cos(angle), 0.05 + s + 0.18 * np.sin(angle)], 1)
        straps.append(Part(tube(path, 0.03), "trim"))
    lock = Part(box((0.12, 0.03, 0.14), (0, -0.26, s)), "trim", smooth=False)
    return [body, cover, *ends, *straps, lock]


def lantern(look: Look) -> list[Part]:
    """A six-sided lantern with panes."""
    s = 0.7 * look.stretch
    base = Part(prism([(0, 0), (0.3, 0), (0.27, 0.08), (0, 0.08)]), smooth=False)
    panes = Part(prism([(0.22, 0.08), (0.22, s)]), "accent", smooth=False)
    bars = [
        Part(
            rod(
                (0.23 * np.cos(a), 0.23 * np.sin(a), 0.08),
                (0.23 * np.cos(a), 0.23 * np.sin(a), s),
                0.02,
            )
        )
        for a in np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ]
    roof = Part(
        prism([(0.3, s), (0.3, s + 0.03), (0.08, s + 0.2), (0.08, s + 0.26), (0, s + 0.28)]),
        smooth=False,
    )
    loop = Part(ring((0, 0, s + 0.36), 0.09, 0.018, (0, 1, 0)))
    return [base, panes, *bars, roof, loop]


def globe(look: Look) -> list[Part]:
    """A globe with land and sea in a meridian ring."""
    sphere = ball((0, 0, 0.68), 0.38, fine=5)
    x, y, z = ((sphere.vertices - (0, 0, 0.68)) / 0.38).T
    a, b, c = (look.vary(0, 6) for _ in range(3))
    land = np.sin(4.6 * x + a) + np.sin(4.2 * y + b) + np.sin(4.4 * z + c) + np.sin(9 * x * y + a)
    sphere.metadata["land"] = land > 0.5
    meridian = tube(arc((0, 0, 0.68), 0.42, -0.5 * np.pi, 0.5 * np.pi), 0.018)
    axis = Part(rod((0, 0, 0.2), (0, 0, 0.3), 0.025), "trim")
    cap = Part(ball((0, 0, 1.08), 0.03), "trim")
    foot = lathe(
        [(0, 0), (0.32, 0), (0.28, 0.06), (0.06, 0.1), (0.08, 0.16), (0.05, 0.26), (0, 0.26)]
    )
    return [Part(sphere, painted=True), Part(meridian, "trim"), axis, cap, Part(foot, "accent")]

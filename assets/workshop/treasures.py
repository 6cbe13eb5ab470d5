"""Treasures: coin, crystal, crown, necklace, helmet and book."""

from __future__ import annotations

import numpy as np

from .appearance import Look
from .shapes import Part, ball, box, disc, lathe, prism, ring, surface, tube, turned


def coin(look: Look) -> list[Part]:
    """A coin on a small stand: a sunburst in relief or, with detail "hole", a square hole."""
    rays = int(look.vary(8, 15))
    holed = look.detail == "hole"

    def inner(u: np.ndarray) -> np.ndarray:
        square = 0.12 / np.maximum(np.abs(np.cos(u)), np.abs(np.sin(u)))
        return square if holed else 0 * u + 1e-3

    def relief(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        rim = 0.03 * (v > 0.88)
        star = 0.025 * ((v < 0.45 + 0.25 * np.cos(rays * u)) & (v > 0.1))
        return rim + (0.02 * (np.abs(v - 0.5) < 0.05) if holed else star)

    faces = disc(lambda u: 0 * u + 0.5, inner, relief, 0.07)
    stand = [
        Part(turned(mesh, 72, (1, 0, 0)).apply_translation((0, 0, 0.53)), "body", smooth=False)
        for mesh in faces
    ]
    prop = box((0.42, 0.2, 0.06), (0, 0.02, 0.03))
    back = box((0.1, 0.05, 0.5), (0, 0.15, 0.28))
    return [*stand, Part(prop, "dark", smooth=False), Part(back, "dark", smooth=False)]


def crystal(look: Look) -> list[Part]:
    """A cluster of six-sided crystals on a lump of rock."""
    parts = []
    for i in range(int(look.vary(7, 12))):
        tilt, turn = (0 if i == 0 else look.vary(12, 48)), look.vary(0, 360)
        height = look.vary(0.35, 0.75) * look.stretch * (1.25 if i == 0 else 1)
        width = look.vary(0.06, 0.12)
        shaft = prism([(0, 0), (width, 0), (width * 1.1, height * 0.75), (0, height)])
        shaft = turned(turned(shaft, tilt, (1, 0, 0)), turn, (0, 0, 1))
        shaft.apply_translation((0, 0, 0.12))
        parts.append(Part(shaft, "body", smooth=False))
    rock = ball((0, 0, 0), 0.42, fine=4)
    bumps = np.sin(rock.vertices * 11 + look.vary(0, 6)).prod(axis=1, keepdims=True)
    rock.vertices *= 1 + 0.25 * bumps
    rock.vertices[:, 2] = np.maximum(rock.vertices[:, 2] * 0.55, 0)
    return [*parts, Part(rock, "accent", smooth=False)]


def crown(look: Look) -> list[Part]:
    """A crown with gems, on a pillow."""
    points, r = int(look.vary(5, 9)), 0.42
    height = 0.3 * look.stretch

    def band(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        rise = height * (0.62 + 0.38 * np.abs(np.cos(points * u / 2)) ** 1.5) * 1.4
        radius = r * (1 + 0.12 * v)
        return np.stack([radius * np.cos(u), radius * np.sin(u), 0.1 + v * rise], axis=-1)

    sheet = Part(surface(band, np.linspace(0, 2 * np.pi, 181), np.linspace(0, 1, 20)), painted=True)
    rims = [Part(ring((0, 0, z), r * 1.01, 0.03)) for z in (0.12,)]
    angle = 2 * np.pi * np.arange(points) / points
    tips = [
        Part(
            ball((1.13 * r * np.cos(a), 1.13 * r * np.sin(a), 0.12 + 1.4 * height), 0.035), "accent"
        )
        for a in angle
    ]
    gems = [
        Part(
            ball((1.04 * r * np.cos(a), 1.04 * r * np.sin(a), 0.13 + 0.4 * height), 0.05), "accent"
        )
        for a in angle
    ]
    pillow = ball((0, 0, 0.05), 0.5)
    pillow.vertices[:, 2] = pillow.vertices[:, 2] * 0.16
    pillow.apply_translation((0, 0, 0.05))
    return [sheet, *rims, *tips, *gems, Part(pillow, "dark")]


def necklace(look: Look) -> list[Part]:
    """A string of beads on a bust."""
    n = int(look.vary(22, 32))
    beads = []
    for i, t in enumerate(np.linspace(-np.pi, np.pi, n, endpoint=False)):
        radius = 0.035 + 0.03 * (np.cos(t) + 1) / 2
        x, drop = 0.3 * np.sin(t), (np.cos(t) + 1) / 2
        point = (x, -0.26 * drop + 0.12, 0.93 - 0.5 * drop * look.stretch)
        painted = look.pattern != "plain" and i % 2 == 0
        beads.append(Part(ball(point, radius, fine=2), "second" if painted else "body"))
    neck = [(0, 0), (0.3, 0), (0.34, 0.1), (0.28, 0.5), (0.13, 0.85), (0.13, 1.1), (0, 1.12)]
    bust = lathe(neck)
    bust.vertices[:, 1] *= 0.72
    return [*beads, Part(bust, "dark")]


def helmet(look: Look) -> list[Part]:
    """A helmet with brim, rivets and crest, on a stand."""
    s = look.stretch
    dome = lathe(
        [
            (0.36, 0.18),
            (0.38, 0.35),
            (0.34, 0.55 * s + 0.1),
            (0.2, 0.72 * s + 0.1),
            (0, 0.78 * s + 0.1),
        ]
    )
    brim = lathe([(0.36, 0.2), (0.52, 0.12), (0.5, 0.15), (0.37, 0.24)])
    angle = np.linspace(0.1 * np.pi, 0.95 * np.pi, 40)
    path = np.stack([0 * angle, 0.38 * np.cos(angle), 0.2 + (0.62 * s) * np.sin(angle)], 1)
    crest = tube(path, 0.05)
    rivets = [
        Part(ball((0.385 * np.cos(a), 0.385 * np.sin(a), 0.28), 0.022, 2), "trim")
        for a in np.linspace(0, 2 * np.pi, 14)
    ]
    stand = lathe([(0, 0), (0.24, 0), (0.2, 0.05), (0.08, 0.1), (0.08, 0.3)])
    return [
        Part(dome, painted=True),
        Part(brim),
        Part(crest, "accent"),
        *rivets,
        Part(stand, "dark"),
    ]


def book(look: Look) -> list[Part]:
    """A book with clasps, leaning on a stand."""
    thick = 0.16 * look.stretch
    cover = [
        Part(box((0.62, 0.03, 0.82), (0, y, 0.43)), smooth=False, painted=True)
        for y in (-thick / 2, thick / 2)
    ]
    spine = Part(box((0.03, thick, 0.82), (-0.31, 0, 0.43)), smooth=False)
    pages = Part(box((0.57, thick - 0.03, 0.76), (0.0, 0, 0.43)), "pale", smooth=False)
    clasps = [
        Part(box((0.04, thick + 0.05, 0.05), (0.28, 0, z)), "trim", smooth=False)
        for z in (0.25, 0.62)
    ]
    plate = Part(box((0.2, 0.02, 0.26), (0, -thick / 2 - 0.015, 0.45)), "trim", smooth=False)
    lean = [
        Part(turned(p.mesh, -14, (1, 0, 0)), p.role, p.smooth, p.painted)
        for p in (*cover, spine, pages, *clasps, plate)
    ]
    return [*lean, Part(box((0.5, 0.3, 0.04), (0, 0.02, 0.02)), "dark", smooth=False)]

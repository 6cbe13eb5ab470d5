"""Vessels: vase, bowl, goblet, teapot and jug."""

from __future__ import annotations

import numpy as np

from .appearance import Look
from .shapes import Part, arc, lathe, tube


def vase(look: Look) -> list[Part]:
    """A vase: foot, belly, neck and lip, hollow at the top."""
    s, neck, belly = look.stretch, look.vary(0.13, 0.2), look.vary(0.34, 0.44)
    at = look.vary(0.42, 0.62) * s
    wall = [(0, 0), (0.2, 0), (0.22, 0.04 * s), (belly, at), (neck, 0.86 * s), (neck + 0.09, s)]
    inside = [(neck + 0.06, s), (neck - 0.03, 0.86 * s), (0.05, 0.7 * s)]
    return [Part(lathe(wall + inside, points=90), painted=True)]


def bowl(look: Look) -> list[Part]:
    """An open bowl on a low foot."""
    s, r = 0.45 * look.stretch, look.vary(0.5, 0.6)
    wall = [(0, 0), (0.2, 0), (0.2, 0.05), (r * 0.75, 0.45 * s), (r, s)]
    inside = [(r - 0.04, s), (r * 0.72, 0.5 * s), (0.2, 0.12), (0, 0.1)]
    return [Part(lathe(wall + inside, points=90), painted=True)]


def goblet(look: Look) -> list[Part]:
    """A goblet: foot, stem with a knot, cup."""
    s, r = look.stretch, look.vary(0.24, 0.32)
    foot = [(0, 0), (0.26, 0), (0.24, 0.04), (0.06, 0.1), (0.05, 0.3 * s), (0.09, 0.36 * s)]
    knot = [(0.05, 0.42 * s), (0.07, 0.5 * s), (r, 0.68 * s), (r * 1.05, s)]
    inside = [(r, s), (r * 0.9, 0.7 * s), (0, 0.56 * s)]
    return [Part(lathe(foot + knot + inside, points=100), painted=True)]


def teapot(look: Look) -> list[Part]:
    """A teapot with lid, spout and handle."""
    s, r = 0.62 * look.stretch, look.vary(0.36, 0.43)
    body = lathe(
        [(0, 0), (0.22, 0), (0.24, 0.03), (r, 0.45 * s), (r * 0.85, 0.8 * s), (0.16, s), (0, s)]
    )
    lid = lathe([(0.18, s), (0.15, s + 0.05), (0.03, s + 0.08), (0.05, s + 0.13), (0, s + 0.16)])
    t = np.linspace(0, 1, 40)
    spout = np.stack([-r * 0.8 - 0.34 * t, 0 * t, s * (0.35 + 0.6 * t**1.6)], axis=1)
    handle = tube(arc((r * 0.85, 0, 0.52 * s), 0.34 * s, -0.55 * np.pi, 0.55 * np.pi), 0.035)
    return [Part(body, painted=True), Part(lid), Part(tube(spout, 0.1 - 0.06 * t)), Part(handle)]


def jug(look: Look) -> list[Part]:
    """A jug with a pouring lip and a handle."""
    s, r = look.stretch, look.vary(0.28, 0.36)
    wall = [(0, 0), (0.24, 0), (r, 0.35 * s), (0.2, 0.72 * s), (0.24, 0.92 * s)]
    body = lathe(wall + [(0.21, 0.92 * s), (0.17, 0.72 * s), (0.05, 0.6 * s)], points=90)
    high = body.vertices[:, 2] > 0.72 * s
    lip = np.exp(-4 * (np.arctan2(body.vertices[:, 1], -body.vertices[:, 0]) ** 2))
    body.vertices[:, 0] -= high * lip * 0.16
    handle = tube(arc((0.22, 0, 0.55 * s), 0.3 * s, -0.5 * np.pi, 0.5 * np.pi), 0.04)
    return [Part(body, painted=True), Part(handle)]

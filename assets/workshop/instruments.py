"""Music: lute, drum and bell."""

from __future__ import annotations

import numpy as np

from .appearance import Look
from .shapes import Part, arc, ball, box, lathe, ring, rod, tube, turned


def lute(look: Look) -> list[Part]:
    """A lute leaning on a stand."""
    body = ball((0, 0, 0), 1.0, fine=4)
    x, y, z = body.vertices.T
    body.vertices[:] = np.stack(
        [0.33 * x * (1 - 0.25 * z), 0.2 * np.maximum(y, -0.25), 0.45 * z], 1
    )
    hole = rod((0, -0.045, 0.05), (0, -0.06, 0.05), 0.09)
    neck = box((0.07, 0.06, 0.75), (0, -0.03, 0.75))
    head = turned(box((0.09, 0.05, 0.26), (0, 0, 1.22)), -35, (1, 0, 0), (0, 0, 1.12))
    strings = [
        Part(rod((d, -0.07, -0.2), (d, -0.07, 1.1), 0.006), "pale") for d in (-0.02, 0, 0.02)
    ]
    pegs = [Part(rod((-0.1, 0.06, h), (0.1, 0.06, h), 0.012), "dark") for h in (1.15, 1.22, 1.29)]
    bridge = Part(box((0.18, 0.03, 0.03), (0, -0.06, -0.2)), "dark", smooth=False)
    whole = [
        Part(body, painted=True),
        Part(hole, "dark"),
        Part(neck, "dark", smooth=False),
        Part(head, "dark", smooth=False),
        *strings,
        *pegs,
        bridge,
    ]
    lean = [Part(turned(p.mesh, -8, (1, 0, 0)), p.role, p.smooth, p.painted) for p in whole]
    for part in lean:
        part.mesh.apply_translation((0, 0, 0.47))
    return [
        *lean,
        Part(box((0.36, 0.3, 0.05), (0, 0.05, 0.025)), "dark", smooth=False),
        Part(rod((0, 0.24, 0), (0, 0.18, 0.9), 0.02), "dark"),
    ]


def drum(look: Look) -> list[Part]:
    """A drum with hoops and cords."""
    s, r = 0.75 * look.stretch, look.vary(0.36, 0.42)
    shell = lathe([(r, 0), (r, s)])
    skin = lathe([(0, s), (r, s), (r + 0.01, s - 0.02)])
    hoops = [Part(ring((0, 0, z), r + 0.015, 0.028), "dark") for z in (0.04, s - 0.03)]
    cords = []
    n = 9
    for i in range(n):
        a, b = 2 * np.pi * i / n, 2 * np.pi * (i + 0.5) / n
        low = ((r + 0.02) * np.cos(a), (r + 0.02) * np.sin(a), 0.04)
        for c in (b, b - 2 * np.pi / n):
            high = ((r + 0.02) * np.cos(c), (r + 0.02) * np.sin(c), s - 0.03)
            cords.append(Part(rod(low, high, 0.01), "pale"))
    return [Part(shell, painted=True), Part(skin, "pale"), *hoops, *cords]


def bell(look: Look) -> list[Part]:
    """A bell with a loop and a clapper."""
    s, r = 0.85 * look.stretch, look.vary(0.36, 0.44)
    z = 0.06
    wall = [
        (r, z),
        (r * 0.97, z + 0.06),
        (r * 0.66, 0.4 * s),
        (r * 0.56, 0.8 * s),
        (0.1, s),
        (0, s),
    ]
    body = lathe([(r - 0.06, z), *wall], points=80)
    loop = tube(arc((0, 0, s + 0.05), 0.1, -0.25 * np.pi, 1.25 * np.pi), 0.03)
    clapper = ball((0, 0, 0.05), 0.06)
    lines = [Part(ring((0, 0, h * s), r * w, 0.012)) for h, w in ((0.3, 0.76), (0.72, 0.6))]
    return [Part(body, painted=True), Part(loop), Part(clapper, "dark"), *lines]

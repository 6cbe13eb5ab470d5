"""The kinds of things the pocket museum shows, each a function from a `Look` to its parts.

Dimensions are in arbitrary units, z is up and a thing stands on z = 0; `rendering` scales it to
the plinth. `look.vary` draws small differences of form, so that no two things of a kind are alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .shapes import Part, arc, ball, box, disc, lathe, ring, rod, surface, tube, turned


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


def vase(look: Look) -> list[Part]:
    s, neck, belly = look.stretch, look.vary(0.13, 0.2), look.vary(0.34, 0.44)
    at = look.vary(0.42, 0.62) * s
    wall = [(0, 0), (0.2, 0), (0.22, 0.04 * s), (belly, at), (neck, 0.86 * s), (neck + 0.09, s)]
    inside = [(neck + 0.06, s), (neck - 0.03, 0.86 * s), (0.05, 0.7 * s)]
    return [Part(lathe(wall + inside, points=90), painted=True)]


def bowl(look: Look) -> list[Part]:
    s, r = 0.45 * look.stretch, look.vary(0.5, 0.6)
    wall = [(0, 0), (0.2, 0), (0.2, 0.05), (r * 0.75, 0.45 * s), (r, s)]
    inside = [(r - 0.04, s), (r * 0.72, 0.5 * s), (0.2, 0.12), (0, 0.1)]
    return [Part(lathe(wall + inside, points=90), painted=True)]


def goblet(look: Look) -> list[Part]:
    s, r = look.stretch, look.vary(0.24, 0.32)
    foot = [(0, 0), (0.26, 0), (0.24, 0.04), (0.06, 0.1), (0.05, 0.3 * s), (0.09, 0.36 * s)]
    knot = [(0.05, 0.42 * s), (0.07, 0.5 * s), (r, 0.68 * s), (r * 1.05, s)]
    inside = [(r, s), (r * 0.9, 0.7 * s), (0, 0.56 * s)]
    return [Part(lathe(foot + knot + inside, points=100), painted=True)]




def teapot(look: Look) -> list[Part]:
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
    s, r = look.stretch, look.vary(0.28, 0.36)
    wall = [(0, 0), (0.24, 0), (r, 0.35 * s), (0.2, 0.72 * s), (0.24, 0.92 * s)]
    body = lathe(wall + [(0.21, 0.92 * s), (0.17, 0.72 * s), (0.05, 0.6 * s)], points=90)
    high = body.vertices[:, 2] > 0.72 * s
    lip = np.exp(-4 * (np.arctan2(body.vertices[:, 1], -body.vertices[:, 0]) ** 2))
    body.vertices[:, 0] -= high * lip * 0.16
    handle = tube(arc((0.22, 0, 0.55 * s), 0.3 * s, -0.5 * np.pi, 0.5 * np.pi), 0.04)
    return [Part(body, painted=True), Part(handle)]


def coin(look: Look) -> list[Part]:
    rays = int(look.vary(8, 15))
    holed = look.detail == "hole"

    def inner(u: np.ndarray) -> np.ndarray:
        square = 0.12 / np.maximum(np.abs(np.cos(u)), np.abs(np.sin(u)))
        return square if holed else 0 * u + 1e-3

    def relief(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        rim = 0.03 * (v > 0.88)
        star = 0.025 * ((v < 0.45 + 0.25 * np.cos(rays * u)) & (v > 0.1))
        return rim + (0.02 * ((np.abs(v - 0.5) < 0.05)) if holed else star)

    faces = disc(lambda u: 0 * u + 0.5, inner, relief, 0.07)
    stand = [
        Part(turned(mesh, 72, (1, 0, 0)).apply_translation((0, 0, 0.53)), "body", smooth=False)
        for mesh in faces
    ]
    prop = box((0.42, 0.2, 0.06), (0, 0.02, 0.03))
    back = box((0.1, 0.05, 0.5), (0, 0.15, 0.28))
    return [*stand, Part(prop, "dark", smooth=False), Part(back, "dark", smooth=False)]


def chair(look: Look) -> list[Part]:
    back = {"tall": 1.35, "regular": 1.0, "squat": 0.68}[look.proportion]
    legs = [
        Part(box((0.06, 0.06, 0.45), (x, y, 0.225)), smooth=False)
        for x in (-0.24, 0.24)
        for y in (-0.22, 0.22)
    ]
    posts = [Part(box((0.06, 0.06, back * 0.7), (x, 0.22, 0.45 + back * 0.35)), smooth=False)
             for x in (-0.24, 0.24)]
    slats = int(look.vary(2, 5))
    bars = [
        Part(box((0.48, 0.03, 0.07), (0, 0.22, 0.5 + back * 0.62 * (i + 1) / slats)), smooth=False)
        for i in range(slats)
    ]
    seat = Part(box((0.58, 0.54, 0.06), (0, 0, 0.46)), smooth=False)
    cushion = Part(box((0.5, 0.46, 0.06), (0, -0.01, 0.51)), "accent", smooth=False)
    rails = [Part(box((0.48, 0.03, 0.04), (0, y, 0.2)), smooth=False) for y in (-0.22, 0.22)]
    return [*legs, *posts, *bars, seat, cushion, *rails]


def crystal(look: Look) -> list[Part]:
    parts = []
    for i in range(int(look.vary(7, 12))):
        tilt, turn = (0 if i == 0 else look.vary(12, 48)), look.vary(0, 360)
        height = look.vary(0.35, 0.75) * look.stretch * (1.25 if i == 0 else 1)
        width = look.vary(0.06, 0.12)
        prism = lathe_facets([(0, 0), (width, 0), (width * 1.1, height * 0.75), (0, height)])
        prism = turned(turned(prism, tilt, (1, 0, 0)), turn, (0, 0, 1))
        prism.apply_translation((0, 0, 0.12))
        parts.append(Part(prism, "body", smooth=False))
    rock = ball((0, 0, 0), 0.42, fine=4)
    bumps = np.sin(rock.vertices * 11 + look.vary(0, 6)).prod(axis=1, keepdims=True)
    rock.vertices *= 1 + 0.25 * bumps
    rock.vertices[:, 2] = np.maximum(rock.vertices[:, 2] * 0.55, 0)
    return [*parts, Part(rock, "accent", smooth=False)]


def lathe_facets(profile: list[tuple[float, float]], sides: int = 6):  # noqa: ANN201
    """A faceted lathe: a prism of `sides` sides through the profile's corners."""
    corners = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, sides + 1)

    def position(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        radius = corners[j, 0]
        x, y = radius * np.cos(angle[i]), radius * np.sin(angle[i])
        return np.stack([x, y, corners[j, 1]], axis=-1)

    return surface(position, np.arange(sides + 1), np.arange(len(corners)))


def lute(look: Look) -> list[Part]:
    body = ball((0, 0, 0), 1.0, fine=4)
    x, y, z = body.vertices.T
    body.vertices[:] = np.stack([0.33 * x * (1 - 0.25 * z), 0.2 * np.maximum(y, -0.25), 0.45 * z], 1)
    hole = rod((0, -0.045, 0.05), (0, -0.06, 0.05), 0.09)
    neck = box((0.07, 0.06, 0.75), (0, -0.03, 0.75))
    head = turned(box((0.09, 0.05, 0.26), (0, 0, 1.22)), -35, (1, 0, 0), (0, 0, 1.12))
    strings = [Part(rod((d, -0.07, -0.2), (d, -0.07, 1.1), 0.006), "pale") for d in (-0.02, 0, 0.02)]
    pegs = [Part(rod((-0.1, 0.06, h), (0.1, 0.06, h), 0.012), "dark") for h in (1.15, 1.22, 1.29)]
    bridge = Part(box((0.18, 0.03, 0.03), (0, -0.06, -0.2)), "dark", smooth=False)
    whole = [Part(body, painted=True), Part(hole, "dark"), Part(neck, "dark", smooth=False),
             Part(head, "dark", smooth=False), *strings, *pegs, bridge]
    lean = [Part(turned(p.mesh, -8, (1, 0, 0)), p.role, p.smooth, p.painted) for p in whole]
    for part in lean:
        part.mesh.apply_translation((0, 0, 0.47))
    return [*lean, Part(box((0.36, 0.3, 0.05), (0, 0.05, 0.025)), "dark", smooth=False),
            Part(rod((0, 0.24, 0), (0, 0.18, 0.9), 0.02), "dark")]


def drum(look: Look) -> list[Part]:
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
    s, r = 0.85 * look.stretch, look.vary(0.36, 0.44)
    z = 0.06
    wall = [(r, z), (r * 0.97, z + 0.06), (r * 0.66, 0.4 * s), (r * 0.56, 0.8 * s), (0.1, s), (0, s)]
    body = lathe([(r - 0.06, z), *wall], points=80)
    loop = tube(arc((0, 0, s + 0.05), 0.1, -0.25 * np.pi, 1.25 * np.pi), 0.03)
    clapper = ball((0, 0, 0.05), 0.06)
    lines = [Part(ring((0, 0, h * s), r * w, 0.012)) for h, w in ((0.3, 0.76), (0.72, 0.6))]
    return [Part(body, painted=True), Part(loop), Part(clapper, "dark"), *lines]


def clock(look: Look) -> list[Part]:
    s = look.stretch
    case = box((0.6, 0.3, 0.62 * s), (0, 0, 0.1 + 0.31 * s))
    top = 0.1 + 0.62 * s
    foot = box((0.74, 0.38, 0.1), (0, 0, 0.05))
    roof = turned(lathe_facets([(0, 0), (0.42, 0), (0, 0.2)], 4), 45, (0, 0, 1))
    roof.vertices[:, 1] *= 0.55
    roof.apply_translation((0, 0, top))
    centre = 0.12 + 0.36 * s
    dial = rod((0, -0.14, centre), (0, -0.165, centre), 0.21)
    rim = ring((0, -0.16, centre), 0.215, 0.02, (0, 1, 0))
    hour, minute = look.vary(0, 360), look.vary(0, 360)
    hands = [
        Part(turned(box((w, 0.012, h), (0, -0.172, centre + h / 2)), a, (0, 1, 0), (0, 0, centre)),
             "dark", smooth=False)
        for w, h, a in ((0.028, 0.11, hour), (0.018, 0.17, minute))
    ]
    marks = [
        Part(turned(box((0.014, 0.01, 0.035), (0, -0.168, centre + 0.175)), 30 * i, (0, 1, 0),
                    (0, 0, centre)), "dark", smooth=False)
        for i in range(12)
    ]
    return [Part(case, smooth=False, painted=True), Part(foot, smooth=False), Part(roof, smooth=False),
            Part(dial, "pale"), Part(rim, "trim"), *hands, *marks]


def spoked(radius: float, spokes: int, thick: float, centre: tuple, axis: str, roles: tuple) -> list:
    """A wheel around the y axis: rim, hub and spokes with the given roles (rim, spokes)."""
    x, y, z = centre
    rim = Part(ring(centre, radius, thick, (0, 1, 0)), roles[0])
    hub = Part(rod((x, y - 0.08, z), (x, y + 0.08, z), radius * 0.16), roles[1])
    bars = [
        Part(rod(centre, (x + radius * np.cos(a), y, z + radius * np.sin(a)), thick * 0.6), roles[1])
        for a in np.linspace(0, 2 * np.pi, spokes, endpoint=False)
    ]
    return [rim, hub, *bars]


def engine(look: Look) -> list[Part]:
    base = Part(box((1.2, 0.46, 0.08), (0, 0, 0.04)), "dark", smooth=False)
    boiler = Part(rod((-0.5, 0, 0.36), (0.12, 0, 0.36), 0.2))
    bands = [Part(ring((x, 0, 0.36), 0.203, 0.018, (1, 0, 0)), "trim") for x in (-0.45, -0.2, 0.06)]
    chimney = lathe([(0.06, 0), (0.055, 0.4 * look.stretch), (0.09, 0.46 * look.stretch)])
    chimney.apply_translation((-0.38, 0, 0.5))
    dome = Part(ball((-0.1, 0, 0.56), 0.08), "trim")
    feet = [Part(box((0.08, 0.3, 0.2), (x, 0, 0.15)), "dark", smooth=False) for x in (-0.4, 0.02)]
    wheel = spoked(0.33, 6, 0.035, (0.36, -0.16, 0.42), "y", ("dark", "dark"))
    rod_ = Part(rod((-0.05, -0.2, 0.22), (0.36, -0.2, 0.5), 0.02), "trim")
    piston = Part(rod((-0.3, -0.2, 0.2), (0.0, -0.2, 0.2), 0.06))
    post = Part(box((0.1, 0.2, 0.36), (0.36, 0.0, 0.24)), smooth=False)
    return [base, boiler, *bands, Part(chimney, "dark"), dome, *feet, *wheel, rod_, piston, post]


def telescope(look: Look) -> list[Part]:
    s = look.stretch
    top = 0.75 * s
    tilt = look.vary(18, 32)
    radii = ((-0.5, -0.1, 0.055), (-0.1, 0.25, 0.07), (0.25, 0.62, 0.09))
    tubes = [Part(turned(rod((a, 0, top), (b, 0, top), r), -tilt, (0, 1, 0), (0, 0, top)),
                  painted=True) for a, b, r in radii]
    rings = [Part(turned(ring((x, 0, top), r, 0.015, (1, 0, 0)), -tilt, (0, 1, 0), (0, 0, top)),
                  "trim") for x, r in ((-0.1, 0.07), (0.25, 0.09), (0.62, 0.095), (-0.5, 0.06))]
    legs = [Part(rod((0.03 * np.cos(a), 0.03 * np.sin(a), top - 0.08),
                     (0.38 * np.cos(a), 0.38 * np.sin(a), 0), 0.028, 0.018), "accent")
            for a in np.deg2rad([90, 210, 330])]
    joint = Part(ball((0, 0, top - 0.08), 0.06), "accent")
    return [*tubes, *rings, *legs, joint]


def tapestry(look: Look) -> list[Part]:
    width, height = 0.85, 1.05 * look.stretch
    waves, depth = look.vary(2.5, 4.5), look.vary(0.015, 0.03)

    def cloth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        sag = depth * np.sin(2 * np.pi * waves * u) * (1 - 0.5 * v)
        return np.stack([(u - 0.5) * width, sag, 0.12 + v * height], axis=-1)

    sheet = surface(cloth, np.linspace(0, 1, 96), np.linspace(0, 1, 96))
    fringe = [
        Part(rod((x, depth * np.sin(2 * np.pi * waves * (x / width + 0.5)), 0.12), (x, 0, 0.05), 0.008), "pale")
        for x in np.linspace(-width / 2, width / 2, 24)
    ]
    bar = Part(rod((-0.52, 0, 0.14 + height), (0.52, 0, 0.14 + height), 0.025), "accent")
    knobs = [Part(ball((x, 0, 0.14 + height), 0.045), "accent") for x in (-0.52, 0.52)]
    posts = [Part(rod((x, 0.02, 0), (x, 0.02, 0.14 + height), 0.018), "dark") for x in (-0.48, 0.48)]
    return [Part(sheet, painted=True), *fringe, bar, *knobs, *posts]


def chest(look: Look) -> list[Part]:
    s = 0.42 * look.stretch
    body = Part(box((0.95, 0.5, s), (0, 0, 0.04 + s / 2)), smooth=False, painted=True)
    angle = np.linspace(0, np.pi, 24)

    def lid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.stack([(u - 0.5) * 0.97, 0.26 * np.cos(v), 0.05 + s + 0.17 * np.sin(v)], axis=-1)

    cover = Part(surface(lid, np.linspace(0, 1, 48), angle), painted=True)
    ends = [Part(turned(lathe_facets([(0, 0), (0.26, 0), (0.26, 0.02), (0, 0.02)], 32), 90, (0, 1, 0)))
            for _ in (0, 1)]
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


def crown(look: Look) -> list[Part]:
    points, r = int(look.vary(5, 9)), 0.42
    height = 0.3 * look.stretch

    def band(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        rise = height * (0.62 + 0.38 * np.abs(np.cos(points * u / 2)) ** 1.5) * 1.4
        radius = r * (1 + 0.12 * v)
        return np.stack([radius * np.cos(u), radius * np.sin(u), 0.1 + v * rise], axis=-1)

    sheet = Part(surface(band, np.linspace(0, 2 * np.pi, 181), np.linspace(0, 1, 20)), painted=True)
    rims = [Part(ring((0, 0, z), r * 1.01, 0.03)) for z in (0.12,)]
    angle = 2 * np.pi * np.arange(points) / points
    tips = [Part(ball((1.13 * r * np.cos(a), 1.13 * r * np.sin(a), 0.12 + 1.4 * height), 0.035),
                 "accent") for a in angle]
    gems = [Part(ball((1.04 * r * np.cos(a), 1.04 * r * np.sin(a), 0.13 + 0.4 * height), 0.05),
                 "accent") for a in angle]
    pillow = ball((0, 0, 0.05), 0.5)
    pillow.vertices[:, 2] = pillow.vertices[:, 2] * 0.16
    pillow.apply_translation((0, 0, 0.05))
    return [sheet, *rims, *tips, *gems, Part(pillow, "dark")]


def necklace(look: Look) -> list[Part]:
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
    s = look.stretch
    dome = lathe([(0.36, 0.18), (0.38, 0.35), (0.34, 0.55 * s + 0.1), (0.2, 0.72 * s + 0.1), (0, 0.78 * s + 0.1)])
    brim = lathe([(0.36, 0.2), (0.52, 0.12), (0.5, 0.15), (0.37, 0.24)])
    angle = np.linspace(0.1 * np.pi, 0.95 * np.pi, 40)
    path = np.stack([0 * angle, 0.38 * np.cos(angle), 0.2 + (0.62 * s) * np.sin(angle)], 1)
    crest = tube(path, 0.05)
    rivets = [Part(ball((0.385 * np.cos(a), 0.385 * np.sin(a), 0.28), 0.022, 2), "trim")
              for a in np.linspace(0, 2 * np.pi, 14)]
    stand = lathe([(0, 0), (0.24, 0), (0.2, 0.05), (0.08, 0.1), (0.08, 0.3)])
    return [Part(dome, painted=True), Part(brim), Part(crest, "accent"), *rivets, Part(stand, "dark")]


def lantern(look: Look) -> list[Part]:
    s = 0.7 * look.stretch
    base = Part(lathe_facets([(0, 0), (0.3, 0), (0.27, 0.08), (0, 0.08)]), smooth=False)
    panes = Part(lathe_facets([(0.22, 0.08), (0.22, s)]), "accent", smooth=False)
    bars = [Part(rod((0.23 * np.cos(a), 0.23 * np.sin(a), 0.08), (0.23 * np.cos(a), 0.23 * np.sin(a), s), 0.02))
            for a in np.linspace(0, 2 * np.pi, 6, endpoint=False)]
    roof = Part(lathe_facets([(0.3, s), (0.3, s + 0.03), (0.08, s + 0.2), (0.08, s + 0.26), (0, s + 0.28)]),
                smooth=False)
    loop = Part(ring((0, 0, s + 0.36), 0.09, 0.018, (0, 1, 0)))
    return [base, panes, *bars, roof, loop]


def globe(look: Look) -> list[Part]:
    sphere = ball((0, 0, 0.68), 0.38, fine=5)
    x, y, z = ((sphere.vertices - (0, 0, 0.68)) / 0.38).T
    a, b, c = (look.vary(0, 6) for _ in range(3))
    land = np.sin(4.6 * x + a) + np.sin(4.2 * y + b) + np.sin(4.4 * z + c) + np.sin(9 * x * y + a)
    sphere.metadata["land"] = land > 0.5
    meridian = tube(arc((0, 0, 0.68), 0.42, -0.5 * np.pi, 0.5 * np.pi), 0.018)
    axis = Part(rod((0, 0, 0.2), (0, 0, 0.3), 0.025), "trim")
    cap = Part(ball((0, 0, 1.08), 0.03), "trim")
    foot = lathe([(0, 0), (0.32, 0), (0.28, 0.06), (0.06, 0.1), (0.08, 0.16), (0.05, 0.26), (0, 0.26)])
    return [Part(sphere, painted=True), Part(meridian, "trim"), axis, cap, Part(foot, "accent")]


def ship(look: Look) -> list[Part]:
    def hull(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along = 2 * u - 1
        beam = 0.17 * (1 - np.abs(along) ** 2.4) ** 0.6
        depth = 0.26 * (1 - 0.35 * np.abs(along) ** 3)
        angle = np.pi * v
        sheer = 0.1 * along**2
        return np.stack([0.6 * along, beam * np.cos(angle), 0.38 + sheer - depth * np.sin(angle)], -1)

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
            parts.append(Part(_sail(x, 0.4 + low * high * tall * 1.25, 0.4 + top * high * tall * 1.25, wide), "pale"))
    sprit = Part(rod((0.55, 0, 0.45), (0.8, 0, 0.55), 0.012), "dark")
    cradle = [Part(box((0.05, 0.26, 0.2), (x, 0, 0.1)), "dark", smooth=False) for x in (-0.25, 0.25)]
    return [*parts, sprit, *cradle, Part(box((0.8, 0.3, 0.04), (0, 0, 0.02)), "dark", smooth=False)]


def _sail(x: float, low: float, top: float, wide: float):  # noqa: ANN202
    def cloth(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        belly = 0.09 * np.sin(np.pi * v) * np.cos(0.5 * np.pi * (2 * u - 1))
        return np.stack([x + 0.02 + belly, (2 * u - 1) * wide, low + v * (top - low)], -1)

    return surface(cloth, np.linspace(0, 1, 12), np.linspace(0, 1, 12))


def wheel(look: Look) -> list[Part]:
    r = 0.5
    spokes = int(look.vary(8, 13))
    parts = spoked(r - 0.06, spokes, 0.05, (0, 0, r + 0.04), "y", ("body", "body"))
    tyre = Part(ring((0, 0, r + 0.04), r - 0.01, 0.025, (0, 1, 0)), "trim")
    chocks = [Part(box((0.1, 0.24, 0.12), (x, 0, 0.06)), "dark", smooth=False) for x in (-0.2, 0.2)]
    return [*parts, tyre, *chocks]


def book(look: Look) -> list[Part]:
    thick = 0.16 * look.stretch
    cover = [Part(box((0.62, 0.03, 0.82), (0, y, 0.43)), smooth=False, painted=True)
             for y in (-thick / 2, thick / 2)]
    spine = Part(box((0.03, thick, 0.82), (-0.31, 0, 0.43)), smooth=False)
    pages = Part(box((0.57, thick - 0.03, 0.76), (0.0, 0, 0.43)), "pale", smooth=False)
    clasps = [Part(box((0.04, thick + 0.05, 0.05), (0.28, 0, z)), "trim", smooth=False) for z in (0.25, 0.62)]
    plate = Part(box((0.2, 0.02, 0.26), (0, -thick / 2 - 0.015, 0.45)), "trim", smooth=False)
    lean = [Part(turned(p.mesh, -14, (1, 0, 0)), p.role, p.smooth, p.painted)
            for p in (*cover, spine, pages, *clasps, plate)]
    return [*lean, Part(box((0.5, 0.3, 0.04), (0, 0.02, 0.02)), "dark", smooth=False)]


KINDS: dict[str, Callable[[Look], list[Part]]] = {
    f.__name__: f
    for f in (vase, bowl, goblet, teapot, jug, coin, chair, crystal, lute, drum, bell, clock, engine,
              telescope, tapestry, chest, crown, necklace, helmet, lantern, globe, ship, wheel, book)
}

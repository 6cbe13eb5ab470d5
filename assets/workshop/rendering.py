"""Photographs of things on a plinth, path-traced with Mitsuba 3.

A `Look` becomes meshes (`objects`), its roles become Mitsuba's principled materials, and a
`Setting` gives plinth, wall and light. The scalar variant is used: it needs no GPU and no LLVM,
and the same seed gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import mitsuba as mi
import numpy as np
from PIL import Image

from .appearance import Look
from .objects import KINDS
from .shapes import Part

mi.set_variant("scalar_rgb")

# sRGB colours by name; `second` and `accent` colours come from the same table.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.72, 0.09, 0.08), "orange": (0.86, 0.40, 0.07), "yellow": (0.88, 0.74, 0.13),
    "green": (0.10, 0.44, 0.18), "turquoise": (0.10, 0.58, 0.56), "blue": (0.09, 0.22, 0.66),
    "violet": (0.44, 0.18, 0.62), "pink": (0.88, 0.48, 0.60), "brown": (0.40, 0.22, 0.11),
    "white": (0.92, 0.90, 0.86), "grey": (0.47, 0.47, 0.48), "black": (0.06, 0.06, 0.07),
    "gold": (0.95, 0.71, 0.25), "silver": (0.82, 0.83, 0.85), "copper": (0.83, 0.45, 0.30),
    "bronze": (0.48, 0.35, 0.18), "brass": (0.80, 0.63, 0.28), "iron": (0.26, 0.26, 0.28),
    "pale": (0.90, 0.86, 0.76), "tan": (0.78, 0.63, 0.42), "oak": (0.58, 0.40, 0.22),
    "sand": (0.80, 0.74, 0.62), "slate": (0.38, 0.45, 0.52), "sage": (0.55, 0.62, 0.52),
    "plum": (0.42, 0.30, 0.36), "linen": (0.86, 0.84, 0.80),
}  # fmt: skip
METALS = ("gold", "silver", "copper", "bronze", "brass", "iron")
ROUGHNESS = {
    "ceramic": 0.25, "porcelain": 0.12, "wood": 0.55, "stone": 0.8, "cloth": 0.95,
    "leather": 0.6, "crystal": 0.08, "enamel": 0.18, "gold": 0.22, "silver": 0.2,
    "copper": 0.25, "bronze": 0.4, "brass": 0.25, "iron": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Plinth, wall and light; angles in degrees, brightness relative to 1."""

    plinth: str = "grey"
    wall: str = "grey"
    wall_shade: float = 0.6
    light_azimuth: float = -40.0
    light_height: float = 2.6
    light_size: float = 0.6
    brightness: float = 1.0
    warmth: float = 0.0
    round_plinth: bool = False


@dataclass(frozen=True)
class View:
    """Where the camera stands: azimuth and elevation in degrees, distance in object heights."""

    azimuth: float = 20.0
    elevation: float = 15.0
    distance: float = 2.9
    aim: float = 0.0


@dataclass(frozen=True)
class Placed:
    """A thing and where it stands: (x, y) offset on the plinth, size, own turn in degrees."""

    look: Look
    x: float = 0.0
    y: float = 0.0
    size: float = 1.0
    turn: float = 0.0


def photograph(
    things: list[Placed],
    setting: Setting,
    view: View,
    *,
    pixels: int,
    samples: int,
    seed: int,
    passes: int = 1,
    depth: int = 4,
) -> Image.Image:
    """Render a square RGB photo of `pixels` px a side with `samples` paths a pixel.

    With several passes the picture is their median, which removes the bright specks that single
    light paths leave.
    """
    scene: dict = {"type": "scene", "integrator": {"type": "path", "max_depth": depth}}
    scene |= _studio(setting) | {"sensor": _camera(view, pixels, samples)}
    for i, thing in enumerate(things):
        scene |= {f"thing{i}_{j}": shape for j, shape in enumerate(_shapes(thing))}
    loaded = mi.load_dict(scene)
    shots = [np.array(mi.render(loaded, seed=seed * 64 + i)) for i in range(passes)]
    bitmap = mi.Bitmap(np.median(shots, axis=0).astype(np.float32))
    bitmap = bitmap.convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.UInt8, True)
    return Image.fromarray(np.array(bitmap))


def linear(name: str, shade: float = 1.0) -> np.ndarray:
    """A named sRGB colour as linear RGB, scaled by `shade`."""
    srgb = np.array(COLOURS[name])
    return np.clip(srgb**2.2 * shade, 0, 0.98)


def _camera(view: View, pixels: int, samples: int) -> dict:
    azimuth, elevation = np.deg2rad(view.azimuth - 90), np.deg2rad(view.elevation)
    ahead = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    target = np.array([0.0, 0.0, 0.47])
    side = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    aim = target + view.aim * side
    film = {"type": "hdrfilm", "width": pixels, "height": pixels, "rfilter": {"type": "gaussian"}}
    return {
        "type": "perspective",
        "fov": 28,
        "to_world": mi.ScalarTransform4f().look_at(
            list(aim + view.distance * ahead), list(aim), [0, 0, 1]
        ),
        "film": film,
        "sampler": {"type": "independent", "sample_count": samples},
    }


def _studio(setting: Setting) -> dict:
    azimuth = np.deg2rad(setting.light_azimuth - 90)
    key = [2.4 * np.cos(azimuth), 2.4 * np.sin(azimuth), setting.light_height]
    warm = np.array([1 + 0.12 * setting.warmth, 1.0, 1 - 0.15 * setting.warmth])
    power = 3.4 * setting.brightness / setting.light_size**2
    top = mi.ScalarTransform4f().translate([0, 0, -1]).scale([0.95, 0.95, 1])
    if setting.round_plinth:
        plinth: dict = {"type": "cylinder", "p0": [0, 0, -2], "p1": [0, 0, 0], "radius": 0.95}
        lid: dict = {"type": "disk", "to_world": mi.ScalarTransform4f().scale(0.95)}
    else:
        plinth, lid = {"type": "cube", "to_world": top}, {}
    stone = _plain(setting.plinth, 0.8, 0.85)
    studio = {
        "plinth": plinth | {"bsdf": stone},
        "wall": {
            "type": "sphere", "radius": 5.2, "flip_normals": True, "center": [0, 0, 1.0],
            "bsdf": _plain(setting.wall, setting.wall_shade, 1.0),
        },
        "key": {
            "type": "rectangle",
            "to_world": mi.ScalarTransform4f().look_at(key, [0, 0, 0.4], [0, 0, 1])
            .scale(setting.light_size),
            "emitter": {"type": "area", "radiance": _rgb(power * 1.6 * warm)},
        },
        "ceiling": {
            "type": "rectangle",
            "to_world": mi.ScalarTransform4f()
            .look_at([0, 1, 4.5], [0, 0, 0], [0, 1, 0])
            .scale(2.0),
            "emitter": {"type": "area", "radiance": _rgb(2.4 * setting.brightness * warm[::-1])},
        },
    }  # fmt: skip
    return studio | ({"plinth_top": lid | {"bsdf": stone}} if lid else {})


def _rgb(values: np.ndarray) -> dict:
    return {"type": "rgb", "value": [float(v) for v in values]}


def _plain(colour: str, shade: float, roughness: float) -> dict:
    base = {"type": "principled", "base_color": _rgb(linear(colour, shade)), "roughness": roughness}
    return {"type": "twosided", "nested": base | {"specular": 0.2}}


def _material(material: str) -> dict:
    metal = material in METALS
    settings = {
        "type": "principled",
        "base_color": {"type": "mesh_attribute", "name": "vertex_color"},
        "roughness": ROUGHNESS[material],
        "metallic": 0.9 if metal else 0.0,
    }
    if not metal:
        settings |= {"specular": 0.3 if material in ("cloth", "stone", "wood") else 0.7}
    if material in ("porcelain", "ceramic", "enamel", "crystal"):
        settings |= {"clearcoat": 0.8, "clearcoat_gloss": 0.9}
    return {"type": "twosided", "nested": settings}


def roles(look: Look) -> dict[str, tuple[str, str]]:
    """Colour and material of each role of a thing."""
    wooden = look.material == "wood"
    accent = "leather" if look.kind == "chair" else "stone" if look.kind == "crystal" else "wood"
    accents = {"crown": "crystal", "lantern": "enamel", "helmet": look.accent}
    accent = accents.get(look.kind, accent)
    return {
        "body": (look.colour, look.material),
        "second": (look.second, look.material),
        "accent": (look.accent, accent if accent in ROUGHNESS else "enamel"),
        "trim": ("brass", "brass")
        if look.kind != "wheel" and look.kind != "chest"
        else ("iron", "iron"),
        "dark": ("brown" if wooden else "black", "wood" if wooden else "stone"),
        "pale": ("pale", "cloth"),
    }


def paint(vertices: np.ndarray, look: Look) -> np.ndarray:
    """How much of the second colour each vertex takes, (n,) in 0..1, for the thing's pattern."""
    x, y, z = vertices.T
    angle = np.arctan2(y, x)
    height = np.ptp(z) or 1.0
    level = (z - z.min()) / height
    flat = look.kind in ("tapestry", "book", "clock", "chest", "lute", "ship")
    across = (x - x.min()) / (np.ptp(x) or 1.0) if flat else (angle / (2 * np.pi) + 0.5)
    columns = 6 if flat else 10
    if look.pattern == "bands":
        return (np.abs((level * 3.5) % 1 - 0.5) < 0.17).astype(float)
    if look.pattern == "stripes":
        return ((across * columns) % 1 < 0.4).astype(float)
    if look.pattern == "checks":
        return ((np.floor(across * columns) + np.floor(level * 6)) % 2).astype(float)
    if look.pattern == "spots":
        u, v = (across * columns) % 1 - 0.5, (level * 5) % 1 - 0.5
        return (u**2 + v**2 < 0.075).astype(float)
    return np.zeros(len(vertices))


def _grain(vertices: np.ndarray, material: str, rng: np.random.Generator) -> np.ndarray:
    phase = rng.uniform(0, 6.28, 4)
    x, y, z = vertices.T
    if material == "wood":
        wave = np.sin(26 * x + 9 * np.sin(2.2 * z + phase[0]) + phase[1]) * np.sin(
            31 * y + phase[2]
        )
        return 1 + 0.16 * wave
    if material in ("stone", "iron", "bronze"):
        return 1 + 0.14 * np.sin(23 * x + phase[0]) * np.sin(19 * y + phase[1]) * np.sin(27 * z)
    return np.ones(len(vertices))


def _shapes(thing: Placed) -> list[mi.Mesh]:
    """The thing's meshes, scaled and placed; pieces of one material are one mesh."""
    look = thing.look
    parts = KINDS[look.kind](look)
    everything = np.concatenate([part.mesh.vertices for part in parts])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = thing.size / max(high[2] - low[2], 0.95 * np.hypot(*(high - low)[:2]) * 0.82)
    cos, sin = np.cos(np.deg2rad(thing.turn)), np.sin(np.deg2rad(thing.turn))
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    centre, place = (low + high) * [0.5, 0.5, 0], [thing.x, thing.y, 0.002]
    palette, rng = roles(look), np.random.default_rng(look.form)
    pieces: dict[tuple[str, bool], list[tuple[np.ndarray, ...]]] = {}
    for part in parts:
        colour, material = palette[part.role]
        tint = _tint(part, look, colour, material, rng)
        vertices = ((part.mesh.vertices - centre) * scale) @ turn + place
        normals = part.mesh.vertex_normals @ turn
        piece = (vertices, normals, tint, part.mesh.faces)
        pieces.setdefault((material, part.smooth), []).append(piece)
    return [_mesh(_material(m), smooth, group) for (m, smooth), group in pieces.items()]


def _tint(
    part: Part, look: Look, colour: str, material: str, rng: np.random.Generator
) -> np.ndarray:
    tint = np.repeat(linear(colour)[None], len(part.mesh.vertices), axis=0)
    if part.painted:
        share = part.mesh.metadata.get("land", paint(part.mesh.vertices, look))[:, None]
        tint = tint * (1 - share) + linear(look.second) * share
    return np.clip(tint * _grain(part.mesh.vertices, material, rng)[:, None], 0, 0.98)


def _mesh(bsdf: dict, smooth: bool, pieces: list[tuple[np.ndarray, ...]]) -> mi.Mesh:
    vertices, normals, tint = (np.concatenate([piece[i] for piece in pieces]) for i in range(3))
    starts = np.cumsum([0, *(len(piece[0]) for piece in pieces[:-1])])
    faces = np.concatenate([piece[3] + start for piece, start in zip(pieces, starts, strict=True)])
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(bsdf)
    properties["face_normals"] = not smooth
    shape = mi.Mesh(
        "pieces", len(vertices), len(faces), props=properties, has_vertex_normals=smooth
    )
    shape.add_attribute("vertex_color", 3, tint.astype(np.float32).ravel())
    buffers = mi.traverse(shape)
    buffers["vertex_positions"] = vertices.astype(np.float32).ravel()
    buffers["faces"] = faces.astype(np.uint32).ravel()
    if smooth:
        buffers["vertex_normals"] = normals.astype(np.float32).ravel()
    buffers.update()
    return shape

"""Meshes from which the things of the pocket museum are put together.

Every function returns a `trimesh.Trimesh` whose vertices are (x, y, z) in arbitrary units with z
up. Meshes are dense enough that a pattern can be painted on their vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh

Point = Sequence[float]


@dataclass(frozen=True)
class Part:
    """One piece of a thing: its mesh, the role of its material, and whether it is rounded.

    `role` is one of body, trim, accent, dark, pale; `rendering` turns a role into a material.
    A `painted` part carries the thing's pattern.
    """

    mesh: trimesh.Trimesh
    role: str = "body"
    smooth: bool = True
    painted: bool = False


def lathe(profile: Sequence[Point], sections: int = 72, points: int = 56) -> trimesh.Trimesh:
    """Turn a profile of (radius, height) corners around the z axis, rounding its corners."""
    corners = np.asarray(profile, dtype=float)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    steps = np.linspace(0, along[-1], points)
    line = np.stack([np.interp(steps, along, corners[:, i]) for i in (0, 1)], axis=1)
    padded = np.concatenate([line[:1], line, line[-1:]])
    line = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    line[:, 0] = np.maximum(line[:, 0], 1e-4)
    return _outward(
        surface(
            lambda u, v: _turned(line, u, v), np.linspace(0, 1, sections), np.linspace(0, 1, points)
        )
    )


def _turned(line: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.rint(v * (len(line) - 1)).astype(int)
    radius, height = line[row, 0], line[row, 1]
    angle = 2 * np.pi * u
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)


def surface(
    position: Callable[[np.ndarray, np.ndarray], np.ndarray], us: np.ndarray, vs: np.ndarray
) -> trimesh.Trimesh:
    """Mesh the surface `position(u, v) -> (..., 3)` over the grid us x vs."""
    u, v = np.meshgrid(us, vs, indexing="ij")
    vertices = position(u, v).reshape(-1, 3)
    rows, columns = len(us), len(vs)
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]).ravel()
    faces = np.concatenate(
        [
            np.stack([first, first + columns, first + 1], axis=1),
            np.stack([first + 1, first + columns, first + columns + 1], axis=1),
        ]
    )
    return trimesh.Trimesh(vertices, faces, process=False)


def _outward(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def box(size: Point, centre: Point, fine: int = 3) -> trimesh.Trimesh:
    """A box of the given size, its faces divided `fine` times so that it can be painted."""
    mesh = trimesh.creation.box(extents=size)
    for _ in range(fine):
        mesh = mesh.subdivide()
    mesh.apply_translation(centre)
    return mesh


def rod(
    start: Point, end: Point, radius: float, end_radius: float | None = None
) -> trimesh.Trimesh:
    """A closed, possibly tapering, round rod from one point to another."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = end - start
    length = float(np.linalg.norm(axis))
    last = radius if end_radius is None else end_radius
    mesh = lathe([(0, 0), (radius, 0), (last, length), (0, length)], sections=28, points=40)
    mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], axis / length))
    mesh.apply_translation(start)
    return mesh


def tube(path: np.ndarray, radius: float | np.ndarray, sections: int = 20) -> trimesh.Trimesh:
    """A tube of the given radius (one number, or one a point) along `path`, (n, 3)."""
    path = np.asarray(path, float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.array([0.0, 0.0, 1.0]) if abs(tangent[:, 2]).mean() < 0.8 else np.array([0, 1.0, 0])
    side = np.cross(tangent, helper)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    up = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, sections)
    radii = np.broadcast_to(np.asarray(radius, float), (len(path),))[:, None, None]
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    vertices = path[:, None] + radii * ring
    index = np.arange(len(path)), np.arange(sections)
    return surface(lambda i, j: vertices[i, j], *index)


def arc(centre: Point, radius: float, start: float, end: float, n: int = 40) -> np.ndarray:
    """`n` points of a circle in the x-z plane, between two angles in radians."""
    angle = np.linspace(start, end, n)
    x, y, z = centre
    return np.stack([x + radius * np.cos(angle), 0 * angle + y, z + radius * np.sin(angle)], axis=1)


def ball(centre: Point, radius: float, fine: int = 3) -> trimesh.Trimesh:
    """A sphere."""
    mesh = trimesh.creation.icosphere(subdivisions=fine, radius=radius)
    mesh.apply_translation(centre)
    return mesh


def ring(
    centre: Point, radius: float, thickness: float, axis: Point = (0, 0, 1)
) -> trimesh.Trimesh:
    """A torus around `axis`."""
    mesh = trimesh.creation.torus(radius, thickness, major_sections=64, minor_sections=20)
    mesh.apply_transform(trimesh.geometry.align_vectors([0, 0, 1], axis))
    mesh.apply_translation(centre)
    return mesh


def disc(
    outer: Callable[[np.ndarray], np.ndarray],
    inner: Callable[[np.ndarray], np.ndarray],
    relief: Callable[[np.ndarray, np.ndarray], np.ndarray],
    thickness: float,
) -> list[trimesh.Trimesh]:
    """A disc lying in the x-y plane: two faces with relief(angle, share), and its edges.

    `outer` and `inner` give the radius at an angle; `share` runs from 0 (inner) to 1 (outer).
    """

    def face(sign: float) -> trimesh.Trimesh:
        def position(u: np.ndarray, v: np.ndarray) -> np.ndarray:
            radius = inner(u) + v * (outer(u) - inner(u))
            height = sign * (thickness / 2 + relief(u, v))
            return np.stack([radius * np.cos(u), radius * np.sin(u), height], axis=-1)

        return surface(position, np.linspace(0, 2 * np.pi, 145), np.linspace(0, 1, 48))

    def edge(radius: Callable[[np.ndarray], np.ndarray], at: float) -> trimesh.Trimesh:
        def position(u: np.ndarray, v: np.ndarray) -> np.ndarray:
            half = thickness / 2 + relief(u, np.full_like(u, at))
            height = (2 * v - 1) * half
            return np.stack([radius(u) * np.cos(u), radius(u) * np.sin(u), height], axis=-1)

        return surface(position, np.linspace(0, 2 * np.pi, 145), np.linspace(0, 1, 3))

    return [face(1), face(-1), edge(outer, 1.0), edge(inner, 0.0)]


def turned(
    mesh: trimesh.Trimesh, degrees: float, axis: Point, about: Point = (0, 0, 0)
) -> trimesh.Trimesh:
    """The mesh turned by some degrees around an axis through a point."""
    matrix = trimesh.transformations.rotation_matrix(np.deg2rad(degrees), axis, about)
    return mesh.copy().apply_transform(matrix)


def prism(profile: Sequence[Point], sides: int = 6) -> trimesh.Trimesh:
    """A lathe with `sides` flat sides through the profile's (radius, height) corners."""
    corners = np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, sides + 1)

    def position(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        radius = corners[j, 0]
        x, y = radius * np.cos(angle[i]), radius * np.sin(angle[i])
        return np.stack([x, y, corners[j, 1]], axis=-1)

    return surface(position, np.arange(sides + 1), np.arange(len(corners)))

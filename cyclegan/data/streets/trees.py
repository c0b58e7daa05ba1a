"""Trees and their shadows."""

from __future__ import annotations

import numpy as np

from cyclegan.data.streets.classes import TREE
from cyclegan.data.streets.world import CIRCLE, FOCAL, Color, Thing, World, scaled

_LEAVES: tuple[Color, ...] = ((0.36, 0.52, 0.2), (0.3, 0.46, 0.2), (0.43, 0.54, 0.24), (0.27, 0.43, 0.24))
_AUTUMN: tuple[Color, ...] = ((0.82, 0.5, 0.16), (0.74, 0.32, 0.14), (0.84, 0.66, 0.22), (0.55, 0.52, 0.2))


def add_trees(world: World) -> None:
    """Add trees along the street and in the gaps between buildings."""
    rng = world.stream("tree")
    base = {"city": 7, "suburb": 12, "park": 20}[world.style] * (0.5 + float(rng.random()))
    taken: list[tuple[int, float]] = []
    for i, u in enumerate(rng.random((400, 8))[: world.count(base, "tree")].tolist()):
        side = -1 if u[0] < 0.5 else 1
        z = 7 + 95 * u[1] * (0.5 + 0.5 * u[1])
        if world.style == "city" or u[2] < 0.35:
            x = world.road + 0.9
        else:
            x = world.road + world.pave + 1.2 + u[2] * max(1.0, world.setback - 2)
        if all(s != side or abs(z - t) > 2.6 for s, t in taken):
            taken.append((side, z))
            _add_tree(world, side * x, z, u[3:], world.single(1000 + i))
    for i, (side, z0, z1) in enumerate(world.gaps):
        for j, u in enumerate(rng.random((3, 9)).tolist()):
            if u[8] < 0.7 * world.density["tree"]:
                x = side * (world.wall + 1 + 5 * u[0])
                _add_tree(world, x, max(7.0, z0 + (z1 - z0) * u[1]), u[3:], world.single(2000 + 3 * i + j))


def _add_tree(world: World, x: float, z: float, u: list[float], rng: np.random.Generator) -> None:
    thing, near = world.thing(z), (1 / z, 0.0, 0.0)
    tall = 4.6 + 3.6 * u[0]
    leaf = _LEAVES[int(u[1] * len(_LEAVES))]
    if world.autumn and u[2] < 0.75:
        leaf = _AUTUMN[int(u[1] * len(_AUTUMN))]
    trunk = [(x - 0.17, 0), (x + 0.17, 0), (x + 0.1, tall * 0.6), (x - 0.1, tall * 0.6)]
    thing.add(world.upright(z, trunk), TREE, (0.33, 0.25, 0.19), near, 0.4, 0.3)
    if u[3] < 0.2 and world.style != "city":
        _add_conifer(world, thing, x, z, tall * 1.2, rng)
        reach = 1.4
    else:
        reach = tall * (0.27 + 0.08 * u[4])
        _add_crown(world, thing, x, z, tall, reach, leaf, rng)
    away = -world.sun_side * 1.2
    world.shadows.append((x - reach * 0.8 + away, x + reach * 0.8 + away, z - reach * 0.8, z + reach * 0.8, 0.45))


def _add_crown(world: World, thing: Thing, x: float, z: float, tall: float, reach: float, leaf: Color,
               rng: np.random.Generator) -> None:  # fmt: skip
    """Add overlapping ragged blobs of leaves, dark below and bright on top."""
    count = 46 if z < 20 else 26 if z < 38 else 11 if z < 65 else 6
    u = rng.random((count, 3))
    ragged = 0.76 + 0.42 * rng.random((count, len(CIRCLE)))
    height = np.sort(u[:, 1])  # low (dark) blobs first, high (bright) ones over them
    high = tall * 0.66 + (height - 0.5) * reach * 1.5
    room = reach * (1 - np.abs(height - 0.42) * 1.1)
    side = x + (2 * u[:, 0] - 1) * room * 0.75
    size = reach * (0.2 + 0.2 * u[:, 2] + 0.9 / (count + 4))
    size[0], side[0], high[0] = reach * 0.85, x, tall * 0.66
    ring = np.array(CIRCLE)
    px = side[:, None] + size[:, None] * ragged * ring[:, 0]
    py = high[:, None] + size[:, None] * ragged * ring[:, 1]
    s = FOCAL / z
    vx = world.shift + s * (px - world.cam_x + world.curve * z * z)
    blobs = np.stack([vx, s * (world.cam_y - py)], 2).reshape(count, -1).tolist()
    for i, (blob, h) in enumerate(zip(blobs, height.tolist(), strict=True)):
        toward = (side[i] - x) * world.sun_side / reach
        shade = 0.6 + 0.42 * h + 0.12 * toward + 0.2 * (u[i, 2] - 0.5) if i else 0.58
        thing.add(blob, TREE, scaled(leaf, float(shade)), (1 / z, 0.0, 0.0), 0.35 + 0.55 * h, 0.42)


def _add_conifer(world: World, thing: Thing, x: float, z: float, tall: float, rng: np.random.Generator) -> None:
    for i, u in enumerate(rng.random((5, 2)).tolist()):
        low, high = tall * (0.12 + 0.17 * i), tall * min(1.0, 0.42 + 0.17 * i)
        half = tall * 0.24 * (1 - 0.17 * i) * (0.9 + 0.2 * u[0])
        skirt = [(x - half, low), (x - half * 0.4, low + 0.15), (x, low - 0.2), (x + half * 0.5, low + 0.2)]
        spots = [*skirt, (x + half, low), (x, high)]
        shade = scaled((0.2, 0.36, 0.26), 0.8 + 0.1 * i + 0.1 * u[1])
        thing.add(world.upright(z, spots), TREE, shade, (1 / z, 0.0, 0.0), 0.5, 0.4)

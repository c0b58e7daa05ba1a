"""Buildings along the street: walls, roofs, windows and shops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cyclegan.data.streets.classes import BUILDING
from cyclegan.data.streets.world import FAR, FOCAL, Color, Thing, World, mix, scaled

_GLASS: Color = (0.3, 0.37, 0.44)
_WALLS: tuple[Color, ...] = (
    (0.66, 0.42, 0.33), (0.56, 0.35, 0.29), (0.78, 0.7, 0.55), (0.72, 0.68, 0.62), (0.58, 0.6, 0.63),
    (0.8, 0.76, 0.7), (0.7, 0.56, 0.42), (0.52, 0.55, 0.5), (0.74, 0.62, 0.56), (0.5, 0.47, 0.46),
)  # fmt: skip
_ROOFS: tuple[Color, ...] = ((0.55, 0.27, 0.2), (0.38, 0.36, 0.37), (0.47, 0.32, 0.25), (0.3, 0.33, 0.38))
_SHOPS: tuple[Color, ...] = ((0.7, 0.2, 0.18), (0.16, 0.4, 0.32), (0.2, 0.3, 0.55), (0.85, 0.62, 0.2), (0.3, 0.3, 0.3))
_DOORS: tuple[Color, ...] = ((0.36, 0.22, 0.15), (0.2, 0.28, 0.24), (0.5, 0.2, 0.18), (0.22, 0.27, 0.4))


def add_buildings(world: World) -> None:
    """Add the two rows of buildings along the street."""
    rng, factor = world.stream("building"), world.density["building"]
    rng.random((600, 6))  # the skyline's numbers
    full = {"city": 0.9, "suburb": 0.72, "park": 0.22}[world.style]
    for side in (-1, 1):
        z = 1.2 + 4 * float(rng.random())
        for i in range(16):
            u = rng.random(12).tolist()
            depth = 9 + 9 * u[0] if world.style == "city" else 8 + 5 * u[0]
            z1 = z + depth
            if u[1] < full * factor:
                _add_building(world, side, z, z1, u[2:], world.single(3000 + 100 * side + i))
            elif u[1] >= full:  # only here, as trees grow in gaps, and a lower density must not move them
                world.gaps.append((side, z, z1))
            z = z1 + (0.15 if world.style == "city" and u[11] < 0.75 else 1.2 + 3.5 * u[11])
            if z > FAR - 15:
                break


def _add_building(world: World, side: int, z0: float, z1: float, u: list[float], rng: np.random.Generator) -> None:
    house = world.style != "city" or u[0] < 0.08
    floors = 1 + int(u[1] * 2.4) if house else 3 + int(u[1] * u[1] * 8)
    top = 3.1 * floors + (0.3 if house else 0.9)
    wall = scaled(_WALLS[int(u[2] * len(_WALLS))], (1.0 if house else 0.9) + 0.25 * u[3])
    x, back = side * world.wall, side * (world.wall + (6 if house else 9) + (2 if house else 5) * u[4])
    sun = 0.95 if side != world.sun_side else 0.05
    front_sun = 0.2 if world.sun_ahead else 0.8
    thing, near, facing = world.thing(z1), world.slope(x, z0, z1), (1 / z0, 0.0, 0.0)
    lo, hi = min(x, back), max(x, back)
    if not house and u[6] < 0.6:  # a lift house or a tank on the flat roof
        thing.add(world.box(z0 + 3, lo + 2, lo + 4.5, top, top + 2.2), BUILDING, scaled(wall, 0.7), facing, front_sun)
    # the end wall that faces us across the gap before the building, a little darker
    thing.add(world.box(z0, lo, hi, 0, top), BUILDING, scaled(wall, 0.82), facing, front_sun, 0.14)
    _add_end_windows(world, thing, z0, lo, hi, floors, rng)
    thing.add(world.along(x, [(z0, 0), (z1, 0), (z1, top), (z0, top)])[0], BUILDING, wall, near, sun, 0.14)
    plinth = world.along(x, [(z0, 0), (z1, 0), (z1, 0.45), (z0, 0.45)])[0]
    thing.add(plinth, BUILDING, scaled(wall, 0.66), near, sun, 0.2)
    if house:
        _add_pitched_roof(world, thing, x, back, z0, z1, top, wall, u, sun)
    else:
        cornice = world.along(x, [(z0, top - 0.45), (z1, top - 0.45), (z1, top + 0.15), (z0, top + 0.15)])[0]
        thing.add(cornice, BUILDING, scaled(wall, 1.2), near, sun, 0.08)
        thing.add(world.box(z0, lo, hi, top - 0.45, top + 0.15), BUILDING, wall, facing, front_sun, 0.08)
    _add_windows(world, thing, x, z0, z1, floors, wall, house, sun, rng)
    world.tall.append((side, z0, z1, top + (1.5 if house else 0)))


def _add_pitched_roof(world: World, thing: Thing, x: float, back: float, z0: float, z1: float, top: float,
                      wall: Color, u: list[float], sun: float) -> None:  # fmt: skip
    """Add a tiled roof with a chimney, its ridge along the street or across it; the eaves overhang."""
    tile, peak = _ROOFS[int(u[5] * len(_ROOFS))], top + 2.4 + 1.2 * u[6]
    near, facing = world.slope(x, z0, z1), (1 / z0, 0.0, 0.0)
    eave = x - math.copysign(0.45, x)
    half = (z0 + z1) / 2
    chimney = x + (back - x) * 0.55
    thing.add(world.box(half, chimney - 0.4, chimney + 0.4, top, peak + 0.9), BUILDING, (0.45, 0.3, 0.26),
              (1 / half, 0, 0), 0.4, 0.2)  # fmt: skip
    if u[7] < 0.5:  # ridge across: the slope towards us, and a gable over the street
        slope = [world.view(eave, top - 0.2, z0 - 0.4), world.view(back, top - 0.2, z0 - 0.4),
                 world.view(back, peak, half), world.view(eave, peak, half)]  # fmt: skip
        gable = world.along(x, [(z0, top), (z1, top), (half, peak - 0.15)])[0]
        thing.add(gable, BUILDING, wall, near, sun, 0.14)
        thing.add([v for p in slope for v in p], BUILDING, tile, facing, 0.3 if world.sun_ahead else 0.9, 0.3)
        return
    ridge = (x + back) / 2
    gable = world.upright(z0, [(eave, top - 0.2), (x, top - 0.2), (back, top), (ridge, peak)])
    slope = [world.view(eave, top - 0.2, z0), world.view(eave, top - 0.2, z1), world.view(ridge, peak, z1),
             world.view(ridge, peak, z0)]  # fmt: skip
    thing.add(gable, BUILDING, scaled(wall, 0.82), facing, 0.2 if world.sun_ahead else 0.8, 0.14)
    thing.add([v for p in slope for v in p], BUILDING, tile, near, 0.3 + 0.7 * sun, 0.3)


def _add_end_windows(
    world: World, thing: Thing, z: float, lo: float, hi: float, floors: int, rng: np.random.Generator
) -> None:
    if z > 60:
        return
    u = rng.random((floors, 3, 2)).tolist()
    for floor in range(floors):
        for i in range(3):
            x = lo + (hi - lo) * (0.2 + 0.27 * i)
            if u[floor][i][0] < 0.75:
                pane = world.box(z, x, x + 1.1, 3.1 * floor + 1.0, 3.1 * floor + 2.4)
                thing.add(pane, BUILDING, _GLASS, (1 / z, 0, 0), 0.4, 0.05, _room(u[floor][i][1], 0.35))


def _add_windows(world: World, thing: Thing, x: float, z0: float, z1: float, floors: int, wall: Color, house: bool,
                 sun: float, rng: np.random.Generator) -> None:  # fmt: skip
    """Add panes to the street front; the ground floor of a town house may be a shop."""
    near = world.slope(x, z0, z1)
    style, shop, busy, wide = rng.random(4).tolist()
    columns = max(2, int((z1 - z0) / (2.2 + 1.4 * wide)))
    lit = rng.random((floors, columns)).tolist()
    first, first_gap = 0, (0.0, 0.0)  # the first floor with windows, and where its door is
    if z0 > 85 or abs(world.view(x, 0, z0)[0]) < 0.012:
        return

    pane = _panes(world, x, z0, z1)
    if not house and shop < 0.6:
        first = 1
        _add_shop(thing, pane, (z0, z1), (style, busy), lit[0], near, sun)
    elif z0 < 50:
        za = z0 + 0.3 + (z1 - z0 - 2) * style
        door = pane(za, za + 1.2, 0.05, 2.3)
        first_gap = (za - 0.3, za + 1.5)
        thing.add(door, BUILDING, _DOORS[int(busy * len(_DOORS))], near, sun, 0.08)
    step = (z1 - z0 - 0.6) / columns
    tall = 1.2 + 0.7 * style
    for floor in range(first, floors):
        y = 3.1 * floor + (0.5 if tall > 1.7 else 0.9)
        for i in range(columns):
            za = z0 + 0.3 + step * (i + 0.22)
            zb = za + step * 0.56
            if zb > z1 or za < 0.4 or (floor == 0 and first_gap[0] < zb and za < first_gap[1]):
                continue
            if z0 < 32:  # a light frame is only seen from near
                frame = pane(za - 0.1, zb + 0.1, y - 0.14, y + tall + 0.1)
                thing.add(frame, BUILDING, scaled(wall, 1.25), near, sun, 0.05)
            glow = _room(lit[floor][i], 0.28 + 0.3 * busy)
            thing.add(pane(za, zb, y, y + tall), BUILDING, _GLASS, near, 0.4 * sun, 0.05, glow)
            if z0 < 20 and za > 5:
                bar = pane((za + zb) / 2 - 0.05, (za + zb) / 2 + 0.05, y, y + tall)
                thing.add(bar, BUILDING, scaled(wall, 1.25), near, sun, 0.05, scaled(glow, 0.4))


def _panes(world: World, x: float, z0: float, z1: float) -> Callable[[float, float, float, float], list[float]]:
    """Return the function of (z0, z1, y0, y1) that outlines a rectangle on a wall from z0 to z1.

    It is on the chord between the wall's ends, so that panes are in the wall's plane where the street bends.
    """
    b0, b1 = world.bend(x, z0), world.bend(x, z1)

    def pane(za: float, zb: float, ya: float, yb: float) -> list[float]:
        out = []
        for z, y in ((za, ya), (zb, ya), (zb, yb), (za, yb)):
            b = b0 + (b1 - b0) * (z - z0) / (z1 - z0)
            out += (world.shift + FOCAL * b / z, FOCAL * (world.cam_y - y) / z)
        return out

    return pane


def _add_shop(thing: Thing, pane: Callable[..., list[float]], ends: tuple[float, float], chance: tuple[float, float],
              stock: list[float], near: tuple[float, float, float], sun: float) -> None:  # fmt: skip
    """Add a sign and shop windows; `chance` decides colour and light, `stock` the shelves' heights, all 0 … 1."""
    (z0, z1), (style, busy) = ends, chance
    color = _SHOPS[int(style * len(_SHOPS))]
    glow = (0.98, 0.86, 0.6) if busy < 0.75 else (0.0, 0.0, 0.0)
    thing.add(pane(z0 + 0.1, z1 - 0.1, 2.75, 3.4), BUILDING, color, near, sun, 0.05, scaled(color, 0.6))
    count = max(1, int((z1 - z0) / 4))
    step = (z1 - z0) / count
    for i in range(count):
        za = z0 + i * step
        thing.add(pane(za + 0.3, za + step - 0.3, 0.45, 2.7), BUILDING, _GLASS, near, 0.3, 0.05, glow)
        shelf = pane(za + 0.3, za + step - 0.3, 0.45, 1.0 + 0.5 * stock[i % len(stock)])
        thing.add(shelf, BUILDING, scaled(_GLASS, 0.8), near, 0.3, 0.2, scaled(glow, 0.72))
        post = pane(za + step * 0.5 - 0.05, za + step * 0.5 + 0.05, 0.45, 2.7)
        thing.add(post, BUILDING, scaled(color, 0.6), near, 0.3, 0.05, scaled(glow, 0.35))


def _room(u: float, share: float) -> Color:
    """Return the light of a window at night: mostly dark, else a warm or, rarely, a cold lamp."""
    if u >= share:
        return 0.0, 0.0, 0.0
    t = u / share
    if t < 0.12:
        return 0.62, 0.74, 0.9
    return scaled(mix((0.98, 0.72, 0.34), (0.98, 0.88, 0.62), (t * 7) % 1), 0.7 + 0.3 * ((t * 13) % 1))

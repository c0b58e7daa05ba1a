"""Street lamps, cars and pedestrians."""

from __future__ import annotations

import math
from collections.abc import Callable

from cyclegan.data.streets.classes import CAR, LAMP, PEDESTRIAN
from cyclegan.data.streets.world import CIRCLE, FOCAL, Color, Thing, World, mix, rect, scaled

_TAIL_LIGHT: tuple[Color, Color] = ((0.62, 0.09, 0.08), (1.0, 0.12, 0.08))  # by day, and lit at night
_HEAD_LIGHT: tuple[Color, Color] = ((0.9, 0.92, 0.92), (1.0, 0.97, 0.88))
_PAINTS: tuple[Color, ...] = (
    (0.8, 0.81, 0.82), (0.56, 0.58, 0.6), (0.16, 0.17, 0.19), (0.66, 0.13, 0.12), (0.14, 0.27, 0.5),
    (0.86, 0.85, 0.8), (0.24, 0.35, 0.3), (0.82, 0.6, 0.16), (0.33, 0.44, 0.58), (0.4, 0.16, 0.18),
)  # fmt: skip
_COATS: tuple[Color, ...] = (
    (0.72, 0.2, 0.18), (0.2, 0.33, 0.6), (0.85, 0.74, 0.3), (0.25, 0.28, 0.3), (0.8, 0.78, 0.74),
    (0.22, 0.48, 0.4),
)  # fmt: skip
_LEGS: tuple[Color, ...] = ((0.17, 0.2, 0.32), (0.2, 0.2, 0.2), (0.5, 0.43, 0.33), (0.3, 0.33, 0.38))
_HAIR: tuple[Color, ...] = ((0.12, 0.09, 0.08), (0.3, 0.2, 0.12), (0.6, 0.46, 0.26), (0.5, 0.5, 0.5), (0.6, 0.2, 0.2))


def add_lamps(world: World) -> None:
    """Add street lamps at regular distances, on one side or on both."""
    u = world.stream("lamp").random(600).tolist()
    factor, both, tall = world.density["lamp"], u[0] < 0.5, 6.2 + 1.6 * u[1]
    gap = (15 + 7 * u[2]) * (1.0 if both else 0.6)
    extra = max(1, math.ceil(factor))
    for i in range(int(110 / gap)):
        for j in range(extra):
            keep = min(1.0, factor) if j == 0 else (factor - 1) / (extra - 1)
            if u[10 + (i * extra + j) % 580] >= keep:
                continue
            z = 6.5 + gap * (i + j / extra + 0.8 * u[3])
            for side in (-1, 1) if both else ((-1, 1)[i % 2],):
                _add_lamp(world, side, z, tall)


def _add_lamp(world: World, side: int, z: float, tall: float) -> None:
    part, iron = world.figure(z, LAMP), (0.27, 0.29, 0.31)
    x, reach = side * (world.road + 0.45), -side * 1.5
    half = max(0.07, 0.0011 * z / FOCAL)  # never much thinner than a pixel
    part(iron, *rect(x - half, x + half, 0, tall))
    part(iron, *rect(x - half * 1.9, x + half * 1.9, 0, 0.7))
    part(iron, (x, tall - 0.22), (x, tall - 0.04), (x + reach, tall + 0.26), (x + reach, tall + 0.12))
    lo, hi = sorted((x + reach * 0.75, x + reach * 1.35))
    part((0.4, 0.41, 0.42), *rect(lo, hi, tall + 0.1, tall + 0.32))
    bulb = mix(world.lamp_color, (1, 1, 1), 0.5)
    part((0.8, 0.8, 0.76), *rect(lo + 0.04, hi - 0.04, tall - 0.02, tall + 0.14), grain=0.0, glow=bulb)
    world.lamps.append((x + reach, tall, z))


def add_cars(world: World) -> None:
    """Add driving and parked cars."""
    rng = world.stream("car")
    base = 5 + 6 * float(rng.random())
    spots = [(side * x, True) for side in (1, -1) for x in world.lanes]
    if world.parking:
        spots += [(side * (world.road - 1.15), False) for side in (1, -1)] * 2
    taken: list[tuple[float, float]] = []
    for u in rng.random((300, 10))[: world.count(base, "car")].tolist():
        x, moving = spots[int(u[0] * len(spots))]
        z = 7.5 + 70 * u[1] * u[1]
        if moving:
            z += 2.5
        if any(lane == x and abs(z - other) < (9.0 if moving else 5.4) for lane, other in taken):
            continue
        taken.append((x, z))
        _add_car(world, x + 0.3 * (u[2] - 0.5), z, x > 0, moving, u[3:])


def _add_car(world: World, x: float, z: float, rear: bool, moving: bool, u: list[float]) -> None:
    """Add a car seen from behind (`rear`) or from the front, with the flank that faces the camera."""
    paint = scaled(_PAINTS[int(u[0] * len(_PAINTS))], 0.9 + 0.2 * u[1])
    van = u[2] < 0.2
    half, long, belt, roof = (0.95, 4.9, 1.15, 2.0) if van else (0.88, 4.2, 0.92, 1.44 + 0.2 * u[3])
    part = world.figure(z, CAR)
    top = 0.86 if van else 0.72
    _add_flank(world, world.things[-1], (x, z, half, long, belt, roof, top), paint)
    for wheel in (x - half + 0.02, x + half - 0.26):
        part((0.1, 0.1, 0.11), *rect(wheel, wheel + 0.24, 0, 0.5), sun=0.2)

    def shape(color: Color, *spots: tuple[float, float], **more) -> None:
        # symmetric: spots are given for the right half, from the bottom up, in half widths
        left = [(x - px * half, py) for px, py in spots[::-1]]
        part(color, *[(x + px * half, py) for px, py in spots], *left, **more)

    dark = (0.13, 0.14, 0.15)
    shape(scaled(paint, 0.84), (1.0, belt - 0.05), (top, roof))  # behind the rounded corners
    shape(scaled(paint, 0.94), (0.94, belt), (top, roof - 0.1), (top * 0.94, roof - 0.03), (top * 0.8, roof))
    shape((0.2, 0.25, 0.3), (0.82, belt + 0.04), (top * 0.88, roof - 0.14), (top * 0.8, roof - 0.11))
    shine = [(x + half * a, y) for a, y in ((-0.5, belt + 0.1), (-0.1, belt + 0.1), (top * 0.3, roof - 0.15))]
    part((0.36, 0.42, 0.47), *shine, (x - half * top * 0.1, roof - 0.15))
    shape(paint, (0.97, 0.28), (1.0, 0.36), (1.0, belt - 0.16), (0.97, belt - 0.04), (0.92, belt))
    shape(scaled(paint, 1.22), (0.95, belt - 0.1), (0.93, belt - 0.02), sun=0.9)
    shape(scaled(paint, 0.5), (0.98, 0.24), (1.0, 0.3), (1.0, 0.42), sun=0.3)
    if rear:
        shape((0.85, 0.83, 0.7), (0.3, 0.5), (0.3, 0.62))
    else:
        shape(dark, (0.46, 0.46), (0.5, 0.64), sun=0.3)
        shape((0.85, 0.83, 0.7), (0.28, 0.3), (0.28, 0.41))
    _add_car_lights(world, part, x, z, half, belt, rear, moving)
    world.shadows.append((x - half, x + half, z - 0.15, z + long, 0.78))


def _add_flank(world: World, thing: Thing, car: tuple[float, ...], paint: Color) -> None:
    """Add the side of a car that faces the camera, its roof and its wheels."""
    middle, z, half, long, belt, roof, top = car
    out = -1 if world.bend(middle, z) > 0 else 1
    x, end = middle + out * half, z + long
    sun = 0.75 if (x > 0) != (world.sun_side > 0) else 0.15
    near = world.slope(x, z, end)

    def panel(color: Color, light: float, *spots: tuple[float, float, float]) -> None:
        # spots: half widths outwards, height, distance
        corners = [world.view(middle + out * half * px, py, pz) for px, py, pz in spots]
        thing.add([v for corner in corners for v in corner], CAR, color, near, light, 0.03)

    def side(color: Color, z0: float, z1: float, y0: float, y1: float, rake: float) -> None:
        lean = (top - 1) / (roof - belt)  # the cabin's sides lean inwards
        low, high = 1 + lean * (y0 - belt), 1 + lean * (y1 - belt)
        panel(color, sun, (low, y0, z0), (low, y0, z1), (high, y1, z1 - rake), (high, y1, z0))

    panel(scaled(paint, 0.86), sun, (1, 0.28, z), (1, 0.28, end), (1, belt - 0.1, end), (1, belt, z))
    panel(scaled(paint, 0.95), 0.9, (-1, belt - 0.05, end), (1, belt - 0.05, end), (1, belt, z), (-1, belt, z))
    panel(scaled(paint, 1.1), 1.0, (-top, roof, z), (top, roof, z), (top, roof, end - 1.7), (-top, roof, end - 1.7))
    side(scaled(paint, 0.8), z, end - 1.0, belt, roof, 0.7)
    pane = belt + 0.06, roof - 0.1
    for z0, z1, rake in ((z + 0.3, z + 0.46 * long, 0.0), (z + 0.5 * long, end - 1.25, 0.5)):
        side((0.17, 0.21, 0.25), z0, z1, *pane, rake)
    for hub in (z + 0.85, end - 0.85):
        for r, color in ((0.36, (0.1, 0.1, 0.11)), (0.2, (0.5, 0.51, 0.53))):
            wheel, _ = world.along(x, [(hub + r * c, 0.34 + r * s) for c, s in CIRCLE])
            thing.add(wheel, CAR, color, near, 0.3, 0.03)


def _add_car_lights(world: World, part: Callable[..., None], x: float, z: float, half: float, belt: float, rear: bool,
                    on: bool) -> None:  # fmt: skip
    color, light = _TAIL_LIGHT if rear else _HEAD_LIGHT
    for side in (-1, 1):
        lo, hi = sorted((x + side * half * 0.58, x + side * half * 0.96))
        part(color, *rect(lo, hi, belt - 0.34, belt - 0.14), grain=0.0, glow=light if on else (0.0, 0.0, 0.0))
        if on:
            world.beams.append(((lo + hi) / 2, belt - 0.24, z, light))
    if on and not rear:
        world.pools.append((x, z))


def add_pedestrians(world: World) -> None:
    """Add people on the pavements and on the crossing."""
    rng = world.stream("pedestrian")
    base = {"city": 5, "suburb": 3, "park": 3}[world.style] + 4 * float(rng.random())
    for u in rng.random((300, 12))[: world.count(base, "pedestrian")].tolist():
        side = -1 if u[0] < 0.5 else 1
        x, z = side * (world.road + 0.7 + (world.pave - 1.2) * u[1]), 6.5 + 36 * u[2] * u[2]
        if world.zebra and u[3] < 0.35:
            x, z = (2 * u[1] - 1) * world.road * 0.9, world.zebra + 0.5 + 2.2 * u[2]
        _add_pedestrian(world, x, z, u[4:])


def _add_pedestrian(world: World, x: float, z: float, u: list[float]) -> None:
    k, figure = 0.92 + 0.16 * u[0], world.figure(z, PEDESTRIAN)
    coat, legs = _COATS[int(u[1] * len(_COATS))], _LEGS[int(u[2] * len(_LEGS))]
    skin = mix((0.87, 0.68, 0.55), (0.42, 0.28, 0.2), u[3])
    step = 0.06 + 0.2 * u[4]

    def part(color: Color, *spots: tuple[float, float]) -> None:
        figure(color, *[(x + px * k, py * k) for px, py in spots])

    part(scaled(legs, 0.8), (-0.02, 0.85), (0.14, 0.85), (0.07 + step, 0.0), (-0.07 + step, 0.0))
    part(legs, (-0.15, 0.85), (0.03, 0.85), (0.06 - step, 0.0), (-0.1 - step, 0.0))
    part(scaled(coat, 0.8), (-0.24, 1.38), (-0.15, 1.42), (-0.16 - step * 0.6, 0.8), (-0.28 - step * 0.6, 0.82))
    part(coat, (-0.17, 0.72), (0.17, 0.72), (0.24, 1.38), (0.1, 1.5), (-0.1, 1.5), (-0.24, 1.38))
    part(scaled(coat, 0.8), (0.15, 1.42), (0.25, 1.38), (0.29 + step * 0.6, 0.82), (0.18 + step * 0.6, 0.8))
    part(scaled(skin, 0.8), (-0.05, 1.46), (0.05, 1.46), (0.05, 1.56), (-0.05, 1.56))
    part(skin, *[(0.115 * c, 1.63 + 0.14 * s) for c, s in CIRCLE])
    hair = _HAIR[int(u[5] * len(_HAIR))]
    part(hair, (-0.12, 1.64), (0.12, 1.64), (0.1, 1.75), (0.0, 1.79), (-0.1, 1.75))
    world.shadows.append((x - 0.25, x + 0.25, z - 0.2, z + 0.25, 0.5))

"""Hills, a far skyline, and the ground with its road and markings."""

from __future__ import annotations

import numpy as np

from cyclegan.data.streets.classes import BUILDING, MARKING, PAVEMENT, ROAD, TERRAIN
from cyclegan.data.streets.world import CIRCLE, FAR, Color, Thing, World, mix, rect, scaled


def add_backdrop(world: World) -> None:
    """Add hills and a far skyline, standing on the horizon."""
    rng = world.stream("terrain")
    hue = (0.62, 0.5, 0.28) if world.autumn else (0.33, 0.45, 0.3)
    for layer, (z, tall) in enumerate(((900.0, 0.075), (520.0, 0.05), (330.0, 0.026))):
        u = rng.random(18)
        if u[16] < 0.3:
            continue
        x = np.linspace(-9, 9, 289)
        ridge = np.interp(x * (0.9 + layer), np.linspace(-9, 9, 16) * (1.0 + layer), u[:16])
        ridge = ridge * ridge * (3 - 2 * ridge) * tall + 0.006
        ridge += (rng.random(289) - 0.5) * 0.004
        outline = [9.0, 0.05, -9.0, 0.05]
        outline += np.stack([x, -ridge], 1).ravel().tolist()
        world.thing(z).add(outline, TERRAIN, scaled(hue, 0.75 + 0.1 * layer), (1 / z, 0, 0), 0.6, 0.3)
    _add_skyline(world)


def _add_skyline(world: World) -> None:
    rng = world.stream("building")
    base = {"city": 44, "suburb": 14, "park": 8}[world.style]
    u = rng.random((600, 6))[: world.count(base, "building")]
    for row in u[np.argsort(u[:, 0], kind="stable")][::-1].tolist():
        z = 300.0 + 120 * row[0]  # beyond the ground plane's place in the order, which covers their feet
        x, half = 3.0 * (row[1] - 0.5), 0.006 + 0.016 * row[2]
        top = 0.012 + 0.085 * row[3] * row[3] * (1.0 if world.style == "city" else 0.5)
        thing = world.thing(z)
        near = (1 / z, 0.0, 0.0)
        shade = 0.34 + 0.25 * row[4]
        thing.add([x - half, 0.05, x - half, -top, x + half, -top, x + half, 0.05], BUILDING,
                  (shade, shade * 0.98, shade), near, 0.4)  # fmt: skip
        for i in range(int(top * 260)):  # a few lit windows, tiny at this distance
            wx = x + half * 0.75 * (((i * 0.618 + row[5]) % 1) * 2 - 1)
            wy = -top * (0.08 + 0.86 * ((i * 0.367 + row[4] * 7) % 1))
            pane = [v for p in rect(wx - 0.0012, wx + 0.0012, wy, wy + 0.0025) for v in p]
            thing.add(pane, BUILDING, (shade * 0.8,) * 3, near, 0.4, 0.0, (0.95, 0.75, 0.4))


def add_ground(world: World) -> None:
    """Add grass, pavement, road and lane markings."""
    u = world.stream("layout").random(40)[24:].tolist()
    thing = world.thing(290.0)
    grass = mix((0.36, 0.47, 0.2), (0.55, 0.5, 0.26), u[0] * (1.0 if world.autumn else 0.5))
    thing.add([-300, 0, 300, 0, 300, 300, -300, 300], TERRAIN, grass, world.ground(), 1.0, 0.34)
    stone = mix((0.62, 0.6, 0.57), (0.66, 0.58, 0.5), u[1])
    tar = mix((0.36, 0.36, 0.38), (0.43, 0.42, 0.41), u[2])
    edge = world.road + world.pave + (0.3 if world.style == "city" else 0.0)
    for side in (-1, 1):
        thing.add(world.strip(side * world.road, side * edge), PAVEMENT, stone, world.ground(), 1.0, 0.16)
    thing.add(world.strip(-world.road, world.road), ROAD, tar, world.ground(), 1.0, 0.18)
    for side in (-1, 1):
        kerb = world.strip(side * (world.road - 0.12), side * (world.road + 0.22))
        thing.add(kerb, PAVEMENT, scaled(stone, 1.18), world.ground(), 1.0, 0.05)
        if world.parking:
            gutter = world.strip(side * (world.road - world.parking), side * (world.road - 0.12))
            thing.add(gutter, ROAD, scaled(tar, 0.9), world.ground(), 1.0, 0.2)
    for lane in world.lanes:  # the tracks of tyres
        for x in (lane - 0.8, lane + 0.8, -lane - 0.8, -lane + 0.8):
            thing.add(world.strip(x - 0.22, x + 0.22), ROAD, scaled(tar, 0.93), world.ground(), 1.0, 0.18)
    _add_patches(world, thing, tar, u[3:])
    _add_markings(world, thing)


def _add_patches(world: World, thing: Thing, tar: Color, u: list[float]) -> None:
    """Add repaired asphalt and a manhole cover."""
    for i in range(3):
        x, z = (2 * u[i] - 1) * (world.road - 2.2), 5 + 22 * u[i + 3] * u[i + 3]
        z1 = z + 1.5 + 4 * u[i + 6]
        thing.add(world.strip(x, x + 1.1 + u[i], z, z1), ROAD, scaled(tar, 0.8 + 0.1 * i), world.ground(), 1.0, 0.2)
    x, z = world.lanes[0] * (1 if u[9] < 0.5 else -1) + 0.5, 5.5 + 9 * u[10]
    ring = [(x + 0.36 * c, z + 0.36 * s) for c, s in CIRCLE]
    outline = [v for px, pz in ring for v in world.view(px, 0, pz)]
    thing.add(outline, ROAD, scaled(tar, 0.6), world.ground(), 1.0, 0.3)


def _add_markings(world: World, thing: Thing) -> None:
    u = world.stream("lane_marking").random(400).tolist()
    factor = world.density["lane_marking"]
    world.zebra = 9 + 20 * u[0] if u[1] < 0.35 else None
    if not factor:
        return
    white = (0.9, 0.9, 0.87)
    period, phase = 6.0 / max(1.0, factor), 6.0 * u[2]
    breaks = (world.zebra - 2.2, world.zebra + 5.2) if world.zebra else (0.0, 0.0)

    def line(x: float, z0: float, z1: float, half: float = 0.075) -> None:
        for a, b in ((z0, min(z1, breaks[0])), (max(z0, breaks[1]), z1)):
            if b > a:
                thing.add(world.strip(x - half, x + half, a, b), MARKING, white, world.ground(), 1.0, 0.16)

    def dashes(x: float) -> None:
        for i in range(int(FAR / period)):
            z = phase + (i - 1) * period
            if z > 0.5 and u[3 + i % 390] < factor:
                line(x, z, min(z + period / 2, FAR), 0.085)

    if len(world.lanes) > 1:
        for x in (-3.3, 3.3):
            dashes(x)
        for x in (-0.14, 0.14):
            line(x, 0.05, FAR)
    else:
        dashes(0.0)
    if u[395] < 0.75 * factor:
        for side in (-1, 1):
            line(side * (world.road - world.parking - 0.2), 0.05, FAR)
    if world.zebra and u[396] < factor:
        stripes = int(2 * (world.road - 0.5))
        for i in range(stripes):
            x = -world.road + 0.5 + i
            bar = world.strip(x, x + 0.5, world.zebra, world.zebra + 3.2)
            thing.add(bar, MARKING, white, world.ground(), 1.0, 0.2)

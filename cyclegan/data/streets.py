"""Streets: a synthetic data set of day and night driving scenes, drawn by code.

Domain A is day, domain B is night.  Every scene is a small 3-D world (a street with buildings, trees, cars,
people and lamps) that is drawn *once*, into an image of shape numbers.  The day picture, the night picture
and the label map are all looked up from that one image, so they agree pixel by pixel by construction, and
light, fog, rain and noise can never change a label.

How a scene is made:

1. ``_World`` builds flat shapes in view coordinates (relative to the smaller picture side, so that every size
   shows the same scene).  Each kind of thing has its own random stream: more cars do not move the trees.
2. ``_Raster`` paints the shapes far to near at a few times the final resolution, and from that takes the
   antialiased surface colours, the emitted light, the labels at pixel centres and the depth of every pixel.
3. ``_shade_day`` and ``_shade_night`` light that picture: sun and shadow, lamps and headlights, haze, rain.

Pixel arithmetic uses only ``+ - * /``, comparisons and ``sqrt``, which IEEE 754 rounds the same everywhere,
so the bytes do not depend on the processor (Pillow and NumPy versions being equal).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES: tuple[str, ...] = (
    "sky", "road", "lane_marking", "pavement", "terrain", "building", "tree", "car", "pedestrian", "lamp",
)  # fmt: skip
CLASS_COLORS: tuple[tuple[int, int, int], ...] = (
    (70, 130, 180), (128, 64, 128), (255, 255, 255), (244, 35, 232), (152, 251, 152),
    (90, 90, 90), (107, 142, 35), (0, 0, 200), (220, 20, 60), (250, 200, 30),
)  # fmt: skip
DENSITY_CLASSES: tuple[str, ...] = ("lane_marking", "building", "tree", "car", "pedestrian", "lamp")
MIN_SIDE, MAX_SIDE = 16, 4096
MAX_DENSITY = 10.0

SKY, ROAD, MARKING, PAVEMENT, TERRAIN, BUILDING, TREE, CAR, PEDESTRIAN, LAMP = range(10)
_STREAMS = ("layout", "sky", "terrain", "texture", "grain", "rain", *DENSITY_CLASSES)
_FOCAL = 1.1  # in units of the smaller picture side: about 49 degrees across
_FAR = 140.0  # metres: where the street ends
_WEATHERS = ("clear", "cloudy", "overcast", "rain", "fog")
_HAZE = {"clear": 0.0013, "cloudy": 0.0018, "overcast": 0.003, "rain": 0.006, "fog": 0.019}  # per metre
_SUN = {"clear": 1.0, "cloudy": 0.7, "overcast": 0.0, "rain": 0.0, "fog": 0.0}
_F32 = np.float32

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """One street in both domains.

    day, night: RGB pictures of the same size; labels: uint8 array (H, W) of indices into ``CLASSES``.
    """

    day: Image.Image
    night: Image.Image
    labels: np.ndarray


def render_scene(
    seed: int, index: int, *, size: tuple[int, int] = (256, 256), density: Mapping[str, float] | None = None
) -> Scene:
    """Draw scene number ``index`` (0 or more) of the series ``seed`` (0 or more).

    size is (width, height) in pixels, each 16 to 4096; another size shows the same scene, another aspect a
    wider or taller view of it.  density maps names from ``DENSITY_CLASSES`` to factors from 0 (none at all)
    over 1 (the default) to 10; "twice as many" holds as far as there is room in the street.
    Takes about 25 ms at 128x128, 55 ms at 256x256 and half a minute (with 3 GB of memory) at 4096x4096.
    A pure function of its arguments.  Raises ValueError for a size, seed, index or density out of range.
    """
    raster = _raster(seed, index, size, density)
    return Scene(_shade_day(raster), _shade_night(raster), raster.labels)


def _raster(seed: int, index: int, size: tuple[int, int], density: Mapping[str, float] | None) -> _Raster:
    _check_size(size)
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index of a scene must be 0 or more, not {seed} and {index}.")
    return _Raster(_World(seed, index, _checked_density(density or {})), size)


def _check_size(size: tuple[int, int]) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise ValueError(f"A street picture is {MIN_SIDE} to {MAX_SIDE} pixels on each side, not {size}.")


def _checked_density(density: Mapping[str, float]) -> dict[str, float]:
    for name, factor in density.items():
        if name not in DENSITY_CLASSES:
            raise ValueError(f"No density for {name!r}: it can be set for {', '.join(DENSITY_CLASSES)}.")
        if not 0 <= factor <= MAX_DENSITY:
            raise ValueError(f"The density of {name} must be 0 to {MAX_DENSITY:g}, not {factor!r}.")
    return {name: float(density.get(name, 1.0)) for name in DENSITY_CLASSES}


# ----------------------------------------------------------------------------------------------------------
# The world: shapes in view coordinates
# ----------------------------------------------------------------------------------------------------------


def _mix(a: Color, b: Color, t: float) -> Color:
    return tuple(x + (y - x) * t for x, y in zip(a, b, strict=True))


def _scale(color: Color, factor: float) -> Color:
    return tuple(min(1.0, c * factor) for c in color)


def _rect(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


@dataclass
class _Thing:
    """Shapes painted together, back to front; things are sorted by ``depth`` (metres).

    outlines: flat lists x0, y0, x1, y1, ... in view coordinates (x right of the middle, y down from the
    horizon, 1 = the smaller picture side).  surfaces: one row of numbers per outline (see ``add``).
    """

    depth: float
    outlines: list[list[float]] = field(default_factory=list)
    surfaces: list[tuple[float, ...]] = field(default_factory=list)

    def add(
        self,
        outline: list[float],
        label: int,
        color: Color,
        near: tuple[float, float, float],
        sun: float = 0.6,
        grain: float = 0.1,
        glow: Color = (0.0, 0.0, 0.0),
    ) -> None:
        """Paint one more outline, over the others of this thing.

        near: (a, b, c) of 1/depth = a + b x + c y, in 1/metre; sun: how squarely it faces the sun, 0..1;
        grain: strength of its texture; glow: the light it gives off at night.
        """
        self.outlines.append(outline)
        self.surfaces.append((label, *color, *glow, *near, sun, grain))


class _World:
    """The street of one scene: ``things`` to paint, and the lights and shadows that belong to them."""

    def __init__(self, seed: int, index: int, density: dict[str, float]) -> None:
        self.key = (seed, index)
        self.density = density
        self.things: list[_Thing] = []
        self.lamps: list[tuple[float, float, float]] = []  # lamp heads: x, y, z in metres
        self.beams: list[tuple[float, float, float, Color]] = []  # car lights: x, y, z, colour
        self.pools: list[tuple[float, float]] = []  # oncoming cars, which light the ground: x, z
        self.shadows: list[tuple[float, float, float, float, float]] = []  # x0, x1, z0, z1, strength
        self.tall: list[tuple[int, float, float, float]] = []  # buildings: side, z0, z1, height
        self._layout()
        self._backdrop()
        self._ground()
        self._markings()
        self._buildings()
        self._trees()
        self._lamps()
        self._cars()
        self._pedestrians()
        self.things.sort(key=lambda thing: -thing.depth)

    def stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([*self.key, _STREAMS.index(name)])

    def single(self, number: int) -> np.random.Generator:
        """The random numbers of one single thing, so that it looks the same whatever else there is."""
        return np.random.default_rng([*self.key, number])

    def count(self, base: float, name: str) -> int:
        return round(base * self.density[name])

    def thing(self, depth: float) -> _Thing:
        self.things.append(_Thing(depth))
        return self.things[-1]

    def bend(self, x: float, z: float) -> float:
        """Sideways metres from the camera's axis to the street position x at distance z."""
        return x - self.cam_x + self.curve * z * z

    def view(self, x: float, y: float, z: float) -> tuple[float, float]:
        return self.shift + _FOCAL * self.bend(x, z) / z, _FOCAL * (self.cam_y - y) / z

    def ground(self) -> tuple[float, float, float]:
        return 0.0, 0.0, 1.0 / (_FOCAL * self.cam_y)

    def upright(self, z: float, spots: Sequence[tuple[float, float]]) -> list[float]:
        """The outline of points (x, y) on the plane at distance z, facing the camera."""
        s = _FOCAL / z
        x0 = self.shift + s * (self.curve * z * z - self.cam_x)
        return [v for x, y in spots for v in (x0 + s * x, s * (self.cam_y - y))]

    def box(self, z: float, x0: float, x1: float, y0: float, y1: float) -> list[float]:
        return self.upright(z, _rect(x0, x1, y0, y1))

    def figure(self, z: float, label: int) -> Callable[..., None]:
        """A new thing at distance z; the function returned adds a flat part (colour, points (x, y)) to it."""
        thing, near = self.thing(z), (1 / z, 0.0, 0.0)

        def part(
            color: Color, *spots: tuple[float, float], sun=0.6, grain=0.04, glow=(0.0, 0.0, 0.0)
        ) -> None:
            thing.add(self.upright(z, spots), label, color, near, sun, grain, glow)

        return part

    def along(
        self, x: float, spots: list[tuple[float, float]]
    ) -> tuple[list[float], tuple[float, float, float]]:
        """Outline and 1/depth of points (z, y) on the vertical plane at street position x."""
        points = [self.view(x, y, z) for z, y in spots]
        return [v for p in points for v in p], self.slope(
            x, min(z for z, _ in spots), max(z for z, _ in spots)
        )

    def slope(self, x: float, z0: float, z1: float) -> tuple[float, float, float]:
        """1/depth of the vertical plane through (x, z0) and (x, z1), as a linear function of the view's x."""
        v0, v1 = self.view(x, 0, z0)[0], self.view(x, 0, z1)[0]
        if abs(v1 - v0) < 1e-3:
            return 2 / (z0 + z1), 0.0, 0.0
        b = (1 / z1 - 1 / z0) / (v1 - v0)
        return 1 / z0 - b * v0, b, 0.0

    # -- layout, backdrop, ground -------------------------------------------------------------------------

    def _layout(self) -> None:
        u = self.stream("layout").random(24).tolist()
        self.style = "city" if u[0] < 0.5 else "suburb" if u[0] < 0.82 else "park"
        self.weather = _WEATHERS[int(np.searchsorted((0.4, 0.65, 0.76, 0.91), u[1]))]
        lanes = 2 if u[2] < 0.3 else 1
        self.parking = 2.2 if u[3] < 0.65 else 0.0
        self.lanes = [3.3 * (i + 0.5) for i in range(lanes)]
        self.road = 3.3 * lanes + self.parking  # half width
        self.pave = 2.2 + 2.0 * u[4]
        self.setback = {"city": 0.0, "suburb": 3.0 + 4.0 * u[5], "park": 8.0 + 6 * u[5]}[self.style]
        self.wall = self.road + self.pave + self.setback
        self.cam_x = self.lanes[int(u[6] * lanes)] + 0.9 * (u[7] - 0.5)
        self.cam_y = 1.7 + 0.9 * u[8]
        self.horizon = 0.48 + 0.09 * u[9]  # fraction of the picture height
        self.shift = 0.16 * (u[10] - 0.5)
        self.curve = 0.0024 * (2 * u[11] - 1) * abs(2 * u[11] - 1) if u[12] < 0.75 else 0.0
        self.lamp_color = (1.0, 0.62, 0.26) if u[13] < 0.6 else (1.0, 0.9, 0.72)
        self.sun_side = 1 if u[14] < 0.5 else -1
        self.sun_ahead = u[15] < 0.55
        self.sun_xy = (self.sun_side * (0.08 + 0.34 * u[16]), -(0.2 + 0.2 * u[17]))
        self.moon_xy = (0.8 * (u[18] - 0.5), -(0.22 + 0.18 * u[19]))
        self.autumn = u[20] < 0.2
        self.warmth = u[21]
        self.low_sun = 0.7 + 0.9 * u[22]  # metres of shadow per metre of height

    def _backdrop(self) -> None:
        """Hills and a far skyline, standing on the horizon."""
        rng = self.stream("terrain")
        hue = (0.62, 0.5, 0.28) if self.autumn else (0.33, 0.45, 0.3)
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
            self.thing(z).add(outline, TERRAIN, _scale(hue, 0.75 + 0.1 * layer), (1 / z, 0, 0), 0.6, 0.3)
        self._skyline()

    def _skyline(self) -> None:
        rng = self.stream("building")
        base = {"city": 44, "suburb": 14, "park": 8}[self.style]
        u = rng.random((600, 6))[: self.count(base, "building")]
        for row in u[np.argsort(u[:, 0], kind="stable")][::-1].tolist():
            z = 300.0 + 120 * row[0]  # beyond the ground plane's place in the order, which covers their feet
            x, half = 3.0 * (row[1] - 0.5), 0.006 + 0.016 * row[2]
            top = 0.012 + 0.085 * row[3] * row[3] * (1.0 if self.style == "city" else 0.5)
            thing = self.thing(z)
            near = (1 / z, 0.0, 0.0)
            shade = 0.34 + 0.25 * row[4]
            thing.add([x - half, 0.05, x - half, -top, x + half, -top, x + half, 0.05], BUILDING,
                      (shade, shade * 0.98, shade), near, 0.4)  # fmt: skip
            for i in range(int(top * 260)):  # a few lit windows, tiny at this distance
                wx = x + half * 0.75 * (((i * 0.618 + row[5]) % 1) * 2 - 1)
                wy = -top * (0.08 + 0.86 * ((i * 0.367 + row[4] * 7) % 1))
                pane = [v for p in _rect(wx - 0.0012, wx + 0.0012, wy, wy + 0.0025) for v in p]
                thing.add(pane, BUILDING, (shade * 0.8,) * 3, near, 0.4, 0.0, (0.95, 0.75, 0.4))

    def strip(self, x0: float, x1: float, z0: float = 0.05, z1: float = _FAR) -> list[float]:
        """The outline on the ground between street positions x0 and x1 from z0 to z1."""
        steps = max(1, min(40, int(40 * math.log(z1 / z0) / 8))) if self.curve else 1
        z = [z0 * (z1 / z0) ** (i / steps) for i in range(steps + 1)]
        return [v for p in z for v in self.view(x0, 0, p)] + [v for p in z[::-1] for v in self.view(x1, 0, p)]

    def _ground(self) -> None:
        u = self.stream("layout").random(40)[24:].tolist()
        thing = self.thing(290.0)
        grass = _mix((0.36, 0.47, 0.2), (0.55, 0.5, 0.26), u[0] * (1.0 if self.autumn else 0.5))
        thing.add([-300, 0, 300, 0, 300, 300, -300, 300], TERRAIN, grass, self.ground(), 1.0, 0.34)
        stone = _mix((0.62, 0.6, 0.57), (0.66, 0.58, 0.5), u[1])
        tar = _mix((0.36, 0.36, 0.38), (0.43, 0.42, 0.41), u[2])
        edge = self.road + self.pave + (0.3 if self.style == "city" else 0.0)
        for side in (-1, 1):
            thing.add(self.strip(side * self.road, side * edge), PAVEMENT, stone, self.ground(), 1.0, 0.16)
        thing.add(self.strip(-self.road, self.road), ROAD, tar, self.ground(), 1.0, 0.18)
        for side in (-1, 1):
            kerb = self.strip(side * (self.road - 0.12), side * (self.road + 0.22))
            thing.add(kerb, PAVEMENT, _scale(stone, 1.18), self.ground(), 1.0, 0.05)
            if self.parking:
                gutter = self.strip(side * (self.road - self.parking), side * (self.road - 0.12))
                thing.add(gutter, ROAD, _scale(tar, 0.9), self.ground(), 1.0, 0.2)
        for lane in self.lanes:  # the tracks of tyres
            for x in (lane - 0.8, lane + 0.8, -lane - 0.8, -lane + 0.8):
                thing.add(self.strip(x - 0.22, x + 0.22), ROAD, _scale(tar, 0.93), self.ground(), 1.0, 0.18)
        self._patches(thing, tar, u[3:])
        self.ground_thing = thing

    def _patches(self, thing: _Thing, tar: Color, u: list[float]) -> None:
        """Repaired asphalt and manhole covers."""
        for i in range(3):
            x, z = (2 * u[i] - 1) * (self.road - 2.2), 5 + 22 * u[i + 3] * u[i + 3]
            z1 = z + 1.5 + 4 * u[i + 6]
            thing.add(
                self.strip(x, x + 1.1 + u[i], z, z1),
                ROAD,
                _scale(tar, 0.8 + 0.1 * i),
                self.ground(),
                1.0,
                0.2,
            )
        x, z = self.lanes[0] * (1 if u[9] < 0.5 else -1) + 0.5, 5.5 + 9 * u[10]
        ring = [(x + 0.36 * c, z + 0.36 * s) for c, s in _CIRCLE]
        outline = [v for px, pz in ring for v in self.view(px, 0, pz)]
        thing.add(outline, ROAD, _scale(tar, 0.6), self.ground(), 1.0, 0.3)

    def _markings(self) -> None:
        u = self.stream("lane_marking").random(400).tolist()
        factor = self.density["lane_marking"]
        self.zebra = 9 + 20 * u[0] if u[1] < 0.35 else None
        if not factor:
            return
        white, thing = (0.9, 0.9, 0.87), self.ground_thing
        period, phase = 6.0 / max(1.0, factor), 6.0 * u[2]
        breaks = (self.zebra - 2.2, self.zebra + 5.2) if self.zebra else (0.0, 0.0)

        def line(x: float, z0: float, z1: float, half: float = 0.075) -> None:
            for a, b in ((z0, min(z1, breaks[0])), (max(z0, breaks[1]), z1)):
                if b > a:
                    thing.add(self.strip(x - half, x + half, a, b), MARKING, white, self.ground(), 1.0, 0.16)

        def dashes(x: float) -> None:
            for i in range(int(_FAR / period)):
                z = phase + (i - 1) * period
                if z > 0.5 and u[3 + i % 390] < factor:
                    line(x, z, min(z + period / 2, _FAR), 0.085)

        if len(self.lanes) > 1:
            for x in (-3.3, 3.3):
                dashes(x)
            for x in (-0.14, 0.14):
                line(x, 0.05, _FAR)
        else:
            dashes(0.0)
        if u[395] < 0.75 * factor:
            for side in (-1, 1):
                line(side * (self.road - self.parking - 0.2), 0.05, _FAR)
        if self.zebra and u[396] < factor:
            stripes = int(2 * (self.road - 0.5))
            for i in range(0, stripes, 1):
                x = -self.road + 0.5 + i
                bar = self.strip(x, x + 0.5, self.zebra, self.zebra + 3.2)
                thing.add(bar, MARKING, white, self.ground(), 1.0, 0.2)

    # -- buildings ----------------------------------------------------------------------------------------

    def _buildings(self) -> None:
        rng, factor = self.stream("building"), self.density["building"]
        rng.random((600, 6))  # the skyline's numbers
        self.gaps: list[tuple[int, float, float]] = []
        full = {"city": 0.9, "suburb": 0.72, "park": 0.22}[self.style]
        for side in (-1, 1):
            z = 1.2 + 4 * float(rng.random())
            for i in range(16):
                u = rng.random(12).tolist()
                depth = 9 + 9 * u[0] if self.style == "city" else 8 + 5 * u[0]
                z1 = z + depth
                if u[1] < full * factor:
                    self._building(side, z, z1, u[2:], self.single(3000 + 100 * side + i))
                elif u[1] >= full:  # taking buildings away opens no new gaps: trees grow in them
                    self.gaps.append((side, z, z1))
                z = z1 + (0.15 if self.style == "city" and u[11] < 0.75 else 1.2 + 3.5 * u[11])
                if z > _FAR - 15:
                    break

    def _building(self, side: int, z0: float, z1: float, u: list[float], rng: np.random.Generator) -> None:
        house = self.style != "city" or u[0] < 0.08
        floors = 1 + int(u[1] * 2.4) if house else 3 + int(u[1] * u[1] * 8)
        top = 3.1 * floors + (0.3 if house else 0.9)
        wall = _scale(_WALLS[int(u[2] * len(_WALLS))], (1.0 if house else 0.9) + 0.25 * u[3])
        x, back = side * self.wall, side * (self.wall + (6 if house else 9) + (2 if house else 5) * u[4])
        sun = 0.95 if side != self.sun_side else 0.05
        front_sun = 0.2 if self.sun_ahead else 0.8
        thing, near, facing = self.thing(z1), self.slope(x, z0, z1), (1 / z0, 0.0, 0.0)
        lo, hi = min(x, back), max(x, back)
        if not house and u[6] < 0.6:  # a lift house or a tank on the flat roof
            thing.add(
                self.box(z0 + 3, lo + 2, lo + 4.5, top, top + 2.2),
                BUILDING,
                _scale(wall, 0.7),
                facing,
                front_sun,
            )
        # the end wall that faces us across the gap before the building, a little darker
        thing.add(self.box(z0, lo, hi, 0, top), BUILDING, _scale(wall, 0.82), facing, front_sun, 0.14)
        self._end_windows(thing, z0, lo, hi, floors, rng)
        thing.add(self.along(x, [(z0, 0), (z1, 0), (z1, top), (z0, top)])[0], BUILDING, wall, near, sun, 0.14)
        plinth = self.along(x, [(z0, 0), (z1, 0), (z1, 0.45), (z0, 0.45)])[0]
        thing.add(plinth, BUILDING, _scale(wall, 0.66), near, sun, 0.2)
        if house:
            self._pitched_roof(thing, x, back, z0, z1, top, wall, u, sun)
        else:
            cornice = self.along(x, [(z0, top - 0.45), (z1, top - 0.45), (z1, top + 0.15), (z0, top + 0.15)])[
                0
            ]
            thing.add(cornice, BUILDING, _scale(wall, 1.2), near, sun, 0.08)
            thing.add(self.box(z0, lo, hi, top - 0.45, top + 0.15), BUILDING, wall, facing, front_sun, 0.08)
        self._windows(thing, x, z0, z1, floors, wall, house, sun, rng)
        self.tall.append((side, z0, z1, top + (1.5 if house else 0)))

    def _pitched_roof(self, thing: _Thing, x: float, back: float, z0: float, z1: float, top: float,
                      wall: Color, u: list[float], sun: float) -> None:  # fmt: skip
        """A tiled roof with a chimney, its ridge along the street or across it; the eaves stand out."""
        tile, peak = _ROOFS[int(u[5] * len(_ROOFS))], top + 2.4 + 1.2 * u[6]
        near, facing = self.slope(x, z0, z1), (1 / z0, 0.0, 0.0)
        eave = x - math.copysign(0.45, x)
        half = (z0 + z1) / 2
        chimney = x + (back - x) * 0.55
        thing.add(self.box(half, chimney - 0.4, chimney + 0.4, top, peak + 0.9), BUILDING, (0.45, 0.3, 0.26),
                  (1 / half, 0, 0), 0.4, 0.2)  # fmt: skip
        if u[7] < 0.5:  # ridge across: the slope towards us, and a gable over the street
            slope = [self.view(eave, top - 0.2, z0 - 0.4), self.view(back, top - 0.2, z0 - 0.4),
                     self.view(back, peak, half), self.view(eave, peak, half)]  # fmt: skip
            gable = self.along(x, [(z0, top), (z1, top), (half, peak - 0.15)])[0]
            thing.add(gable, BUILDING, wall, near, sun, 0.14)
            thing.add(
                [v for p in slope for v in p], BUILDING, tile, facing, 0.3 if self.sun_ahead else 0.9, 0.3
            )
            return
        ridge = (x + back) / 2
        gable = self.upright(z0, [(eave, top - 0.2), (x, top - 0.2), (back, top), (ridge, peak)])
        slope = [self.view(eave, top - 0.2, z0), self.view(eave, top - 0.2, z1), self.view(ridge, peak, z1),
                 self.view(ridge, peak, z0)]  # fmt: skip
        thing.add(gable, BUILDING, _scale(wall, 0.82), facing, 0.2 if self.sun_ahead else 0.8, 0.14)
        thing.add([v for p in slope for v in p], BUILDING, tile, near, 0.3 + 0.7 * sun, 0.3)

    def _end_windows(
        self, thing: _Thing, z: float, lo: float, hi: float, floors: int, rng: np.random.Generator
    ) -> None:
        if z > 60:
            return
        u = rng.random((floors, 3, 2)).tolist()
        for floor in range(floors):
            for i in range(3):
                x = lo + (hi - lo) * (0.2 + 0.27 * i)
                if u[floor][i][0] < 0.75:
                    pane = self.box(z, x, x + 1.1, 3.1 * floor + 1.0, 3.1 * floor + 2.4)
                    thing.add(pane, BUILDING, _GLASS, (1 / z, 0, 0), 0.4, 0.05, _room(u[floor][i][1], 0.35))

    def _windows(self, thing: _Thing, x: float, z0: float, z1: float, floors: int, wall: Color, house: bool,
                 sun: float, rng: np.random.Generator) -> None:  # fmt: skip
        """Panes on the street front; the ground floor of a town house may be a shop."""
        near = self.slope(x, z0, z1)
        b0, b1 = self.bend(x, z0), self.bend(x, z1)
        style, shop, busy, wide = rng.random(4).tolist()
        columns = max(2, int((z1 - z0) / (2.2 + 1.4 * wide)))
        lit = rng.random((floors, columns)).tolist()
        first, first_gap = 0, (0.0, 0.0)  # the first floor with windows, and where its door is
        if z0 > 85 or abs(self.view(x, 0, z0)[0]) < 0.012:
            return

        def pane(za: float, zb: float, ya: float, yb: float) -> list[float]:
            # on the chord between the wall's ends, so that panes stay in the wall's plane in a bend
            out = []
            for z, y in ((za, ya), (zb, ya), (zb, yb), (za, yb)):
                b = b0 + (b1 - b0) * (z - z0) / (z1 - z0)
                out += (self.shift + _FOCAL * b / z, _FOCAL * (self.cam_y - y) / z)
            return out

        if not house and shop < 0.6:
            first = 1
            color = _SHOPS[int(style * len(_SHOPS))]
            glow = (0.98, 0.86, 0.6) if busy < 0.75 else (0.0, 0.0, 0.0)
            thing.add(
                pane(z0 + 0.1, z1 - 0.1, 2.75, 3.4), BUILDING, color, near, sun, 0.05, _scale(color, 0.6)
            )
            count = max(1, int((z1 - z0) / 4))
            step = (z1 - z0) / count
            for i in range(count):
                za = z0 + i * step
                thing.add(pane(za + 0.3, za + step - 0.3, 0.45, 2.7), BUILDING, _GLASS, near, 0.3, 0.05, glow)
                shelf = pane(za + 0.3, za + step - 0.3, 0.45, 1.0 + 0.5 * lit[0][i % columns])
                thing.add(shelf, BUILDING, _scale(_GLASS, 0.8), near, 0.3, 0.2, _scale(glow, 0.72))
                post = pane(za + step * 0.5 - 0.05, za + step * 0.5 + 0.05, 0.45, 2.7)
                thing.add(post, BUILDING, _scale(color, 0.6), near, 0.3, 0.05, _scale(glow, 0.35))
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
                    thing.add(frame, BUILDING, _scale(wall, 1.25), near, sun, 0.05)
                glow = _room(lit[floor][i], 0.28 + 0.3 * busy)
                thing.add(pane(za, zb, y, y + tall), BUILDING, _GLASS, near, 0.4 * sun, 0.05, glow)
                if z0 < 20 and za > 5:
                    bar = pane((za + zb) / 2 - 0.05, (za + zb) / 2 + 0.05, y, y + tall)
                    thing.add(bar, BUILDING, _scale(wall, 1.25), near, sun, 0.05, _scale(glow, 0.4))

    # -- trees --------------------------------------------------------------------------------------------

    def _trees(self) -> None:
        rng = self.stream("tree")
        base = {"city": 7, "suburb": 12, "park": 20}[self.style] * (0.5 + float(rng.random()))
        taken: list[tuple[int, float]] = []
        for i, u in enumerate(rng.random((400, 8))[: self.count(base, "tree")].tolist()):
            side = -1 if u[0] < 0.5 else 1
            z = 7 + 95 * u[1] * (0.5 + 0.5 * u[1])
            if self.style == "city" or u[2] < 0.35:
                x = self.road + 0.9
            else:
                x = self.road + self.pave + 1.2 + u[2] * max(1.0, self.setback - 2)
            if all(s != side or abs(z - t) > 2.6 for s, t in taken):
                taken.append((side, z))
                self._tree(side * x, z, u[3:], self.single(1000 + i))
        for i, (side, z0, z1) in enumerate(self.gaps):
            for j, u in enumerate(rng.random((3, 9)).tolist()):
                if u[8] < 0.7 * self.density["tree"]:
                    x = side * (self.wall + 1 + 5 * u[0])
                    self._tree(x, max(7.0, z0 + (z1 - z0) * u[1]), u[3:], self.single(2000 + 3 * i + j))

    def _tree(self, x: float, z: float, u: list[float], rng: np.random.Generator) -> None:
        thing, near = self.thing(z), (1 / z, 0.0, 0.0)
        tall = 4.6 + 3.6 * u[0]
        leaf = _LEAVES[int(u[1] * len(_LEAVES))]
        if self.autumn and u[2] < 0.75:
            leaf = _AUTUMN[int(u[1] * len(_AUTUMN))]
        trunk = [(x - 0.17, 0), (x + 0.17, 0), (x + 0.1, tall * 0.6), (x - 0.1, tall * 0.6)]
        thing.add(self.upright(z, trunk), TREE, (0.33, 0.25, 0.19), near, 0.4, 0.3)
        if u[3] < 0.2 and self.style != "city":
            self._conifer(thing, x, z, tall * 1.2, rng)
            reach = 1.4
        else:
            reach = tall * (0.27 + 0.08 * u[4])
            self._crown(thing, x, z, tall, reach, leaf, rng)
        away = -self.sun_side * 1.2
        self.shadows.append(
            (x - reach * 0.8 + away, x + reach * 0.8 + away, z - reach * 0.8, z + reach * 0.8, 0.45)
        )

    def _crown(self, thing: _Thing, x: float, z: float, tall: float, reach: float, leaf: Color,
               rng: np.random.Generator) -> None:  # fmt: skip
        """Overlapping ragged blobs of leaves, dark below and bright on top."""
        count = 46 if z < 20 else 26 if z < 38 else 11 if z < 65 else 6
        u = rng.random((count, 3))
        ragged = 0.76 + 0.42 * rng.random((count, len(_CIRCLE)))
        height = np.sort(u[:, 1])  # low (dark) blobs first, high (bright) ones over them
        high = tall * 0.66 + (height - 0.5) * reach * 1.5
        room = reach * (1 - np.abs(height - 0.42) * 1.1)
        side = x + (2 * u[:, 0] - 1) * room * 0.75
        size = reach * (0.2 + 0.2 * u[:, 2] + 0.9 / (count + 4))
        size[0], side[0], high[0] = reach * 0.85, x, tall * 0.66
        ring = np.array(_CIRCLE)
        px = side[:, None] + size[:, None] * ragged * ring[:, 0]
        py = high[:, None] + size[:, None] * ragged * ring[:, 1]
        s = _FOCAL / z
        vx = self.shift + s * (px - self.cam_x + self.curve * z * z)
        blobs = np.stack([vx, s * (self.cam_y - py)], 2).reshape(count, -1).tolist()
        for i, (blob, h) in enumerate(zip(blobs, height.tolist(), strict=True)):
            toward = (side[i] - x) * self.sun_side / reach
            shade = 0.6 + 0.42 * h + 0.12 * toward + 0.2 * (u[i, 2] - 0.5) if i else 0.58
            thing.add(blob, TREE, _scale(leaf, float(shade)), (1 / z, 0.0, 0.0), 0.35 + 0.55 * h, 0.42)

    def _conifer(self, thing: _Thing, x: float, z: float, tall: float, rng: np.random.Generator) -> None:
        for i, u in enumerate(rng.random((5, 2)).tolist()):
            low, high = tall * (0.12 + 0.17 * i), tall * min(1.0, 0.42 + 0.17 * i)
            half = tall * 0.24 * (1 - 0.17 * i) * (0.9 + 0.2 * u[0])
            skirt = [
                (x - half, low),
                (x - half * 0.4, low + 0.15),
                (x, low - 0.2),
                (x + half * 0.5, low + 0.2),
            ]
            spots = [*skirt, (x + half, low), (x, high)]
            shade = _scale((0.2, 0.36, 0.26), 0.8 + 0.1 * i + 0.1 * u[1])
            thing.add(self.upright(z, spots), TREE, shade, (1 / z, 0.0, 0.0), 0.5, 0.4)

    # -- lamps, cars, people ------------------------------------------------------------------------------

    def _lamps(self) -> None:
        u = self.stream("lamp").random(600).tolist()
        factor, both, tall = self.density["lamp"], u[0] < 0.5, 6.2 + 1.6 * u[1]
        gap = (15 + 7 * u[2]) * (1.0 if both else 0.6)
        extra = max(1, math.ceil(factor))
        for i in range(int(110 / gap)):
            for j in range(extra):
                keep = min(1.0, factor) if j == 0 else (factor - 1) / (extra - 1)
                if u[10 + (i * extra + j) % 580] >= keep:
                    continue
                z = 6.5 + gap * (i + j / extra + 0.8 * u[3])
                for side in (-1, 1) if both else ((-1, 1)[i % 2],):
                    self._lamp(side, z, tall)

    def _lamp(self, side: int, z: float, tall: float) -> None:
        part, iron = self.figure(z, LAMP), (0.27, 0.29, 0.31)
        x, reach = side * (self.road + 0.45), -side * 1.5
        half = max(0.07, 0.0011 * z / _FOCAL)  # never much thinner than a pixel
        part(iron, *_rect(x - half, x + half, 0, tall))
        part(iron, *_rect(x - half * 1.9, x + half * 1.9, 0, 0.7))
        part(iron, (x, tall - 0.22), (x, tall - 0.04), (x + reach, tall + 0.26), (x + reach, tall + 0.12))
        lo, hi = sorted((x + reach * 0.75, x + reach * 1.35))
        part((0.4, 0.41, 0.42), *_rect(lo, hi, tall + 0.1, tall + 0.32))
        bulb = _mix(self.lamp_color, (1, 1, 1), 0.5)
        part((0.8, 0.8, 0.76), *_rect(lo + 0.04, hi - 0.04, tall - 0.02, tall + 0.14), grain=0.0, glow=bulb)
        self.lamps.append((x + reach, tall, z))

    def _cars(self) -> None:
        rng = self.stream("car")
        base = 5 + 6 * float(rng.random())
        spots = [(side * x, True) for side in (1, -1) for x in self.lanes]
        if self.parking:
            spots += [(side * (self.road - 1.15), False) for side in (1, -1)] * 2
        taken: list[tuple[float, float]] = []
        for u in rng.random((300, 10))[: self.count(base, "car")].tolist():
            x, moving = spots[int(u[0] * len(spots))]
            z = 7.5 + 70 * u[1] * u[1]
            if moving:
                z += 2.5
            if any(lane == x and abs(z - other) < (9.0 if moving else 5.4) for lane, other in taken):
                continue
            taken.append((x, z))
            self._car(x + 0.3 * (u[2] - 0.5), z, x > 0, moving, u[3:])

    def _car(self, x: float, z: float, rear: bool, moving: bool, u: list[float]) -> None:
        """A car seen from behind (rear) or from the front, with the flank that is turned to us."""
        paint = _scale(_PAINTS[int(u[0] * len(_PAINTS))], 0.9 + 0.2 * u[1])
        van = u[2] < 0.2
        half, long, belt, roof = (0.95, 4.9, 1.15, 2.0) if van else (0.88, 4.2, 0.92, 1.44 + 0.2 * u[3])
        part = self.figure(z, CAR)
        top = 0.86 if van else 0.72
        self._flank(self.things[-1], (x, z, half, long, belt, roof, top), paint)
        for wheel in (x - half + 0.02, x + half - 0.26):
            part((0.1, 0.1, 0.11), *_rect(wheel, wheel + 0.24, 0, 0.5), sun=0.2)

        def shape(color: Color, *spots: tuple[float, float], **more) -> None:
            # symmetric: spots are given for the right half, from the bottom up, in half widths
            left = [(x - px * half, py) for px, py in spots[::-1]]
            part(color, *[(x + px * half, py) for px, py in spots], *left, **more)

        dark = (0.13, 0.14, 0.15)
        shape(_scale(paint, 0.84), (1.0, belt - 0.05), (top, roof))  # behind the rounded corners
        shape(
            _scale(paint, 0.94), (0.94, belt), (top, roof - 0.1), (top * 0.94, roof - 0.03), (top * 0.8, roof)
        )
        shape((0.2, 0.25, 0.3), (0.82, belt + 0.04), (top * 0.88, roof - 0.14), (top * 0.8, roof - 0.11))
        shine = [
            (x + half * a, y) for a, y in ((-0.5, belt + 0.1), (-0.1, belt + 0.1), (top * 0.3, roof - 0.15))
        ]
        part((0.36, 0.42, 0.47), *shine, (x - half * top * 0.1, roof - 0.15))
        shape(paint, (0.97, 0.28), (1.0, 0.36), (1.0, belt - 0.16), (0.97, belt - 0.04), (0.92, belt))
        shape(_scale(paint, 1.22), (0.95, belt - 0.1), (0.93, belt - 0.02), sun=0.9)
        shape(_scale(paint, 0.5), (0.98, 0.24), (1.0, 0.3), (1.0, 0.42), sun=0.3)
        if rear:
            shape((0.85, 0.83, 0.7), (0.3, 0.5), (0.3, 0.62))
        else:
            shape(dark, (0.46, 0.46), (0.5, 0.64), sun=0.3)
            shape((0.85, 0.83, 0.7), (0.28, 0.3), (0.28, 0.41))
        self._car_lights(part, x, z, half, belt, rear, moving)
        self.shadows.append((x - half, x + half, z - 0.15, z + long, 0.78))

    def _flank(self, thing: _Thing, car: tuple[float, ...], paint: Color) -> None:
        """The side of a car that is turned to us, its roof and its wheels."""
        middle, z, half, long, belt, roof, top = car
        out = -1 if self.bend(middle, z) > 0 else 1
        x, end = middle + out * half, z + long
        sun = 0.75 if (x > 0) != (self.sun_side > 0) else 0.15
        near = self.slope(x, z, end)

        def panel(color: Color, light: float, *spots: tuple[float, float, float]) -> None:
            # spots: half widths outwards, height, distance
            corners = [self.view(middle + out * half * px, py, pz) for px, py, pz in spots]
            thing.add([v for corner in corners for v in corner], CAR, color, near, light, 0.03)

        def side(color: Color, z0: float, z1: float, y0: float, y1: float, rake: float) -> None:
            lean = (top - 1) / (roof - belt)  # the cabin's sides lean inwards
            low, high = 1 + lean * (y0 - belt), 1 + lean * (y1 - belt)
            panel(color, sun, (low, y0, z0), (low, y0, z1), (high, y1, z1 - rake), (high, y1, z0))

        panel(_scale(paint, 0.86), sun, (1, 0.28, z), (1, 0.28, end), (1, belt - 0.1, end), (1, belt, z))
        panel(
            _scale(paint, 0.95),
            0.9,
            (-1, belt - 0.05, end),
            (1, belt - 0.05, end),
            (1, belt, z),
            (-1, belt, z),
        )
        panel(
            _scale(paint, 1.1),
            1.0,
            (-top, roof, z),
            (top, roof, z),
            (top, roof, end - 1.7),
            (-top, roof, end - 1.7),
        )
        side(_scale(paint, 0.8), z, end - 1.0, belt, roof, 0.7)
        pane = belt + 0.06, roof - 0.1
        for z0, z1, rake in ((z + 0.3, z + 0.46 * long, 0.0), (z + 0.5 * long, end - 1.25, 0.5)):
            side((0.17, 0.21, 0.25), z0, z1, *pane, rake)
        for hub in (z + 0.85, end - 0.85):
            for r, color in ((0.36, (0.1, 0.1, 0.11)), (0.2, (0.5, 0.51, 0.53))):
                wheel, _ = self.along(x, [(hub + r * c, 0.34 + r * s) for c, s in _CIRCLE])
                thing.add(wheel, CAR, color, near, 0.3, 0.03)

    def _car_lights(self, part: Callable[..., None], x: float, z: float, half: float, belt: float, rear: bool,
                    on: bool) -> None:  # fmt: skip
        color, light = _TAIL_LIGHT if rear else _HEAD_LIGHT
        for side in (-1, 1):
            lo, hi = sorted((x + side * half * 0.58, x + side * half * 0.96))
            part(
                color,
                *_rect(lo, hi, belt - 0.34, belt - 0.14),
                grain=0.0,
                glow=light if on else (0.0, 0.0, 0.0),
            )
            if on:
                self.beams.append(((lo + hi) / 2, belt - 0.24, z, light))
        if on and not rear:
            self.pools.append((x, z))

    def _pedestrians(self) -> None:
        rng = self.stream("pedestrian")
        base = {"city": 5, "suburb": 3, "park": 3}[self.style] + 4 * float(rng.random())
        for u in rng.random((300, 12))[: self.count(base, "pedestrian")].tolist():
            side = -1 if u[0] < 0.5 else 1
            x, z = side * (self.road + 0.7 + (self.pave - 1.2) * u[1]), 6.5 + 36 * u[2] * u[2]
            if self.zebra and u[3] < 0.35:
                x, z = (2 * u[1] - 1) * self.road * 0.9, self.zebra + 0.5 + 2.2 * u[2]
            self._pedestrian(x, z, u[4:])

    def _pedestrian(self, x: float, z: float, u: list[float]) -> None:
        k, figure = 0.92 + 0.16 * u[0], self.figure(z, PEDESTRIAN)
        coat, legs = _COATS[int(u[1] * len(_COATS))], _LEGS[int(u[2] * len(_LEGS))]
        skin = _mix((0.87, 0.68, 0.55), (0.42, 0.28, 0.2), u[3])
        step = 0.06 + 0.2 * u[4]

        def part(color: Color, *spots: tuple[float, float]) -> None:
            figure(color, *[(x + px * k, py * k) for px, py in spots])

        part(_scale(legs, 0.8), (-0.02, 0.85), (0.14, 0.85), (0.07 + step, 0.0), (-0.07 + step, 0.0))
        part(legs, (-0.15, 0.85), (0.03, 0.85), (0.06 - step, 0.0), (-0.1 - step, 0.0))
        part(
            _scale(coat, 0.8),
            (-0.24, 1.38),
            (-0.15, 1.42),
            (-0.16 - step * 0.6, 0.8),
            (-0.28 - step * 0.6, 0.82),
        )
        part(coat, (-0.17, 0.72), (0.17, 0.72), (0.24, 1.38), (0.1, 1.5), (-0.1, 1.5), (-0.24, 1.38))
        part(
            _scale(coat, 0.8), (0.15, 1.42), (0.25, 1.38), (0.29 + step * 0.6, 0.82), (0.18 + step * 0.6, 0.8)
        )
        part(_scale(skin, 0.8), (-0.05, 1.46), (0.05, 1.46), (0.05, 1.56), (-0.05, 1.56))
        part(skin, *[(0.115 * c, 1.63 + 0.14 * s) for c, s in _CIRCLE])
        hair = _HAIR[int(u[5] * len(_HAIR))]
        part(hair, (-0.12, 1.64), (0.12, 1.64), (0.1, 1.75), (0.0, 1.79), (-0.1, 1.75))
        self.shadows.append((x - 0.25, x + 0.25, z - 0.2, z + 0.25, 0.5))


_CIRCLE = [(math.cos(2 * math.pi * i / 10), math.sin(2 * math.pi * i / 10)) for i in range(10)]
_TAIL_LIGHT: tuple[Color, Color] = ((0.62, 0.09, 0.08), (1.0, 0.12, 0.08))  # by day, and lit at night
_HEAD_LIGHT: tuple[Color, Color] = ((0.9, 0.92, 0.92), (1.0, 0.97, 0.88))
_GLASS: Color = (0.3, 0.37, 0.44)
_WALLS: tuple[Color, ...] = (
    (0.66, 0.42, 0.33), (0.56, 0.35, 0.29), (0.78, 0.7, 0.55), (0.72, 0.68, 0.62), (0.58, 0.6, 0.63),
    (0.8, 0.76, 0.7), (0.7, 0.56, 0.42), (0.52, 0.55, 0.5), (0.74, 0.62, 0.56), (0.5, 0.47, 0.46),
)  # fmt: skip
_ROOFS: tuple[Color, ...] = ((0.55, 0.27, 0.2), (0.38, 0.36, 0.37), (0.47, 0.32, 0.25), (0.3, 0.33, 0.38))
_SHOPS: tuple[Color, ...] = (
    (0.7, 0.2, 0.18),
    (0.16, 0.4, 0.32),
    (0.2, 0.3, 0.55),
    (0.85, 0.62, 0.2),
    (0.3, 0.3, 0.3),
)
_DOORS: tuple[Color, ...] = ((0.36, 0.22, 0.15), (0.2, 0.28, 0.24), (0.5, 0.2, 0.18), (0.22, 0.27, 0.4))
_LEAVES: tuple[Color, ...] = ((0.36, 0.52, 0.2), (0.3, 0.46, 0.2), (0.43, 0.54, 0.24), (0.27, 0.43, 0.24))
_AUTUMN: tuple[Color, ...] = ((0.82, 0.5, 0.16), (0.74, 0.32, 0.14), (0.84, 0.66, 0.22), (0.55, 0.52, 0.2))
_PAINTS: tuple[Color, ...] = (
    (0.8, 0.81, 0.82), (0.56, 0.58, 0.6), (0.16, 0.17, 0.19), (0.66, 0.13, 0.12), (0.14, 0.27, 0.5),
    (0.86, 0.85, 0.8), (0.24, 0.35, 0.3), (0.82, 0.6, 0.16), (0.33, 0.44, 0.58), (0.4, 0.16, 0.18),
)  # fmt: skip
_COATS: tuple[Color, ...] = (
    (0.72, 0.2, 0.18), (0.2, 0.33, 0.6), (0.85, 0.74, 0.3), (0.25, 0.28, 0.3), (0.8, 0.78, 0.74),
    (0.22, 0.48, 0.4),
)  # fmt: skip
_LEGS: tuple[Color, ...] = ((0.17, 0.2, 0.32), (0.2, 0.2, 0.2), (0.5, 0.43, 0.33), (0.3, 0.33, 0.38))
_HAIR: tuple[Color, ...] = (
    (0.12, 0.09, 0.08),
    (0.3, 0.2, 0.12),
    (0.6, 0.46, 0.26),
    (0.5, 0.5, 0.5),
    (0.6, 0.2, 0.2),
)


def _room(u: float, share: float) -> Color:
    """The light of a window at night: mostly dark, else a warm (now and then a cold) lamp."""
    if u >= share:
        return 0.0, 0.0, 0.0
    t = u / share
    if t < 0.12:
        return 0.62, 0.74, 0.9
    return _scale(_mix((0.98, 0.72, 0.34), (0.98, 0.88, 0.62), (t * 7) % 1), 0.7 + 0.3 * ((t * 13) % 1))


# ----------------------------------------------------------------------------------------------------------
# The raster: what is seen at each pixel
# ----------------------------------------------------------------------------------------------------------


class _Raster:
    """The painted world at (H, W): float32 planes for shading, uint8 labels.

    cover (H, W): share of the pixel that is not sky, 0..1; color, glow (H, W, 3): surface colour and light
    given off at night, linear 0..1; near (H, W): 1 / distance in 1/metre; x, y, z (H, W): position in metres
    (x right of the middle of the street, y above it, z ahead); sun, grain (H, W): as in ``_Thing.add``;
    flat (H, W): whether it is the ground.
    """

    def __init__(self, world: _World, size: tuple[int, int]) -> None:
        self.world, self.size = world, size
        width, height = size
        self.unit = min(size)
        over = 5 if max(size) <= 96 else 3 if max(size) <= 1024 else 2
        rows = [row for thing in world.things for row in thing.surfaces]
        self.surfaces = table = np.zeros((len(rows) + 1, 12), _F32)
        table[1:] = rows
        points = [outline for thing in world.things for outline in thing.outlines]
        self.lengths = np.array([len(p) // 2 for p in points])
        self.points = np.fromiter(chain.from_iterable(points), float).reshape(-1, 2)
        ids = self.paint(self.points, over)
        self.cover, self.color = self._reduce(ids, table[:, 1:4], over)
        self.glow = self._reduce(ids, table[:, 4:7], over)[1] * self.cover[..., None]
        centre = ids[over // 2 :: over, over // 2 :: over]
        self.labels = table[:, 0].astype(np.uint8)[centre]
        self._positions(ids, centre, over)

    def paint(self, points: np.ndarray, over: int, keep: np.ndarray | None = None) -> np.ndarray:
        """Paint the outlines in order, each with its number (1, 2, ...): int32 (H * over, W * over)."""
        width, height = self.size[0] * over, self.size[1] * over
        scale = self.unit * over
        xy = points * scale + (width / 2, self.world.horizon * height)
        xy = np.clip(np.rint(xy - 0.5), -1e6, 1e6).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        low = np.minimum.reduceat(xy, starts[:-1], axis=0)
        high = np.maximum.reduceat(xy, starts[:-1], axis=0)
        seen = (high >= 0).all(1) & (low[:, 0] < width) & (low[:, 1] < height)
        if keep is not None:
            seen &= keep
        flat = xy.ravel().tolist()
        image = Image.new("I", (width, height), 0)
        draw = ImageDraw.Draw(image)
        starts = (2 * starts).tolist()
        for i in np.flatnonzero(seen).tolist():
            draw.polygon(flat[starts[i] : starts[i + 1]], fill=i + 1)
        return np.asarray(image)

    def _reduce(self, ids: np.ndarray, colors: np.ndarray, over: int) -> tuple[np.ndarray, np.ndarray]:
        """Look colours up and average them over each pixel: cover (H, W) and linear colour (H, W, 3)."""
        lut = np.full((len(colors), 4), 255, np.uint8)
        lut[:, :3] = np.minimum(colors, 1) * 255 + 0.5
        lut[0] = 0
        packed = lut.view("<u4")[:, 0][ids]
        big = Image.frombuffer(
            "RGBA", (ids.shape[1], ids.shape[0]), packed.view(np.uint8), "raw", "RGBA", 0, 1
        )
        # split first: an RGBA picture would be weighted by its alpha
        mean = np.stack([np.asarray(band.reduce(over)) for band in big.split()], -1).astype(_F32) / _F32(255)
        cover = mean[..., 3]
        color = mean[..., :3] / np.maximum(cover, _F32(1e-3))[..., None]
        return cover, color * color

    def _positions(self, ids: np.ndarray, centre: np.ndarray, over: int) -> None:
        world, (width, height) = self.world, self.size
        # where the centre shows sky but a thin thing covers part of the pixel, that thing's depth counts
        top = centre
        for dy in range(over):
            for dx in range(over):
                top = np.maximum(top, ids[dy::over, dx::over])
        self.ids = np.where(centre == 0, top, centre)
        self.vx = ((np.arange(width) + 0.5 - width / 2) / self.unit).astype(_F32)[None, :]
        self.vy = ((np.arange(height) + 0.5 - world.horizon * height) / self.unit).astype(_F32)[:, None]
        a, b, c, self.sun, self.grain = (self.surfaces[:, k][self.ids] for k in range(7, 12))
        self.near = np.clip(a + b * self.vx + c * self.vy, 1e-3, 2).astype(_F32)
        self.flat = c > 0
        self.z = _F32(1) / self.near
        f = _F32(_FOCAL)
        self.x = (self.vx - _F32(world.shift)) * self.z / f + _F32(world.cam_x)
        self.x -= _F32(world.curve) * self.z * self.z
        self.y = _F32(world.cam_y) - self.vy * self.z / f
        self._texture()

    def _texture(self) -> None:
        """Uneven surfaces: noise fixed to the street, fading with distance so that it does not flicker."""
        table = self.world.stream("texture").random((256, 256), _F32) * 2 - 1
        along = np.where(self.flat, self.z, self.y)
        across = np.where(self.flat, self.x, self.x + self.z)
        coarse = _noise(table, across * _F32(0.9), along * _F32(0.6))
        fine = _noise(table, across * _F32(5.3) + 17, along * _F32(4.1) + 5)
        fade = _F32(1) / (1 + np.square(self.z * _F32(1 / 45)))
        value = self.grain * (_F32(0.7) * coarse + fine * fade)
        paving = self.flat & (self.labels == PAVEMENT)
        joint = ((self.x % _F32(0.8)) < _F32(0.07)) | ((self.z % _F32(0.8)) < _F32(0.07))
        value -= np.where(paving & joint, _F32(0.22) * fade * fade, 0)
        self.color *= np.maximum(1 + value, _F32(0.2))[..., None]

    def patch(self, x0: float, x1: float, z0: float, z1: float) -> tuple[slice, slice]:
        """The rows and columns that can show ground between street positions x0..x1 and distances z0..z1."""
        world = self.world
        z0 = max(z0, 0.6)
        corners = [world.view(x, 0, z) for x in (x0, x1) for z in (z0, max(z1, z0))]
        xs, ys = zip(*corners, strict=True)
        return self.window(min(xs), max(xs), min(ys), max(ys))

    def window(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
        (w, h), u = self.size, self.unit
        cx, cy = w / 2, self.world.horizon * h

        def clip(value: float, top: int) -> int:
            return int(min(max(value, 0), top))

        rows = slice(clip(cy + y0 * u, h), clip(cy + y1 * u + 1, h))
        return rows, slice(clip(cx + x0 * u, w), clip(cx + x1 * u + 1, w))


def _noise(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in -1..1: the (256, 256) table, repeated and interpolated at (u, v)."""
    u, v = np.broadcast_arrays(u, v)
    fu, fv = np.floor(u), np.floor(v)
    iu, iv = fu.astype(np.int32) & 255, fv.astype(np.int32) & 255
    u, v = u - fu, v - fv
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    ju, jv = ((iu + 1) & 255) << 8, (iv + 1) & 255
    iu = iu << 8
    flat = table.ravel()
    low, high = flat[iu + iv], flat[iu + jv]
    low = low + (flat[ju + iv] - low) * u
    high = high + (flat[ju + jv] - high) * u
    return low + (high - low) * v


# ----------------------------------------------------------------------------------------------------------
# Light
# ----------------------------------------------------------------------------------------------------------


def _lin(*color: float) -> np.ndarray:
    """A display colour as linear light (gamma 2, so that sqrt brings it back exactly)."""
    return np.square(np.array(color, _F32))


def _ramp(low: np.ndarray, high: np.ndarray, t: np.ndarray) -> np.ndarray:
    return low + (high - low) * t[..., None]


def _clouds(r: _Raster) -> np.ndarray:
    """How much cloud is in each direction, (H, W) 0..1."""
    world = r.world
    if world.weather == "fog":
        return np.zeros((r.size[1], r.size[0]), _F32)
    table = world.stream("sky").random((256, 256), _F32) * 2 - 1
    up = np.maximum(-r.vy, 0) + _F32(0.09)
    u, v = r.vx / up * _F32(1.15), _F32(0.95) / up
    total = _noise(table, u + 40, v) + _F32(0.5) * _noise(table, u * 2 + 3, v * 2 + 9)
    total += _F32(0.27) * _noise(table, u * 4 + 8, v * 4 + 31) + _F32(0.13) * _noise(
        table, u * 9 + 8, v * 9 + 3
    )
    bias = {"clear": -0.45, "cloudy": 0.12, "overcast": 0.95, "rain": 0.9}[world.weather]
    t = np.clip((total + _F32(bias)) * _F32(1.1), 0, 1)
    return t * t * (3 - 2 * t)


_DAY_SKY = {  # horizon, zenith
    "clear": ((0.8, 0.89, 0.96), (0.27, 0.5, 0.83)),
    "cloudy": ((0.82, 0.88, 0.93), (0.36, 0.55, 0.8)),
    "overcast": ((0.8, 0.82, 0.85), (0.62, 0.66, 0.71)),
    "rain": ((0.74, 0.77, 0.8), (0.54, 0.58, 0.63)),
    "fog": ((0.83, 0.84, 0.85), (0.76, 0.79, 0.82)),
}
_NIGHT_SKY = {
    "clear": ((0.2, 0.26, 0.46), (0.035, 0.06, 0.19)),
    "cloudy": ((0.21, 0.25, 0.42), (0.045, 0.065, 0.18)),
    "overcast": ((0.24, 0.25, 0.36), (0.09, 0.1, 0.19)),
    "rain": ((0.19, 0.22, 0.32), (0.07, 0.085, 0.16)),
    "fog": ((0.26, 0.28, 0.38), (0.13, 0.15, 0.25)),
}


def _gradient(r: _Raster, sky: dict[str, tuple[Color, Color]]) -> tuple[np.ndarray, np.ndarray]:
    """The cloudless sky (H, 1, 3) and its colour at the horizon (3,), linear."""
    horizon, zenith = (_lin(*c) for c in sky[r.world.weather])
    t = np.clip(-r.vy * _F32(2.0), 0, 1)
    return _ramp(horizon, zenith, t * (2 - t)), horizon


def _disc(r: _Raster, xy: tuple[float, float], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance from xy in radii (H, W), and the antialiased disc of that radius."""
    d2 = (np.square(r.vx - _F32(xy[0])) + np.square(r.vy - _F32(xy[1]))) / _F32(radius * radius)
    edge = _F32(radius * r.unit / 2)
    return d2, np.clip((1 - d2) * edge + _F32(0.5), 0, 1)


def _day_sky(r: _Raster) -> np.ndarray:
    world = r.world
    base, _ = _gradient(r, _DAY_SKY)
    cloud = _clouds(r)
    sky = np.repeat(base, r.size[0], 1)
    shine = np.zeros_like(cloud)
    if world.sun_ahead and _SUN[world.weather]:
        d2, disc = _disc(r, world.sun_xy, 0.028)
        shine = _F32(0.7) / (1 + d2 * _F32(0.25)) + _F32(0.2) / (1 + d2 * _F32(0.03))
        sky = sky + shine[..., None] * _lin(1.0, 0.92, 0.7) + disc[..., None]
    lit = {"clear": 1.0, "cloudy": 0.97, "overcast": 0.84, "rain": 0.76, "fog": 0.8}[world.weather]
    belly = _lin(lit * 0.8, lit * 0.82, lit * 0.87)
    color = _ramp(_lin(lit, lit, lit), belly, cloud * cloud) + (shine * _F32(0.25))[..., None]
    return _ramp(sky, color, np.broadcast_to(cloud * _F32(0.93), cloud.shape))


def _mixed(base: np.ndarray, over: np.ndarray, t: np.ndarray) -> np.ndarray:
    return base + (over - base) * t[..., None]


def _sun_shadow(r: _Raster) -> np.ndarray:
    """0 (shade) to 1 (sun) for the ground: the shadows that buildings throw across the street."""
    world = r.world
    tall = np.zeros(1024, _F32)  # height of the sunward row of buildings, per 1/4 m of distance from -60 m on
    row = [b for b in world.tall if b[0] == world.sun_side]
    for k, (_, z0, z1, height) in enumerate(row):
        tall[0 if k == 0 and z0 < 8 else int(z0 * 4) + 240 : int(z1 * 4) + 240] = height
    out = np.maximum(_F32(world.wall) - r.x * _F32(world.sun_side), 0)  # metres from the wall
    # the light falls aslant: the wall that shades a place is further on (sun ahead) or further back
    aslant = r.z + out * _F32(0.55 if world.sun_ahead else -0.55)
    height = tall[np.clip(aslant * 4 + 240, 0, 1023).astype(np.int32)]
    return np.where(r.flat, np.clip((out - height * _F32(world.low_sun)) * _F32(1.6) + _F32(0.5), 0, 1), 1)


def _contact(r: _Raster, soft: float) -> np.ndarray:
    """Darker ground under and beside cars, trees and people: factor (H, W)."""
    shade = np.ones(r.z.shape, _F32)
    for x0, x1, z0, z1, strength in r.world.shadows:
        if z0 > 90:
            continue
        part = r.patch(x0 - 0.9, x1 + 0.9, z0 - 0.9, z1 + 0.9)
        if not shade[part].size:
            continue
        dx = np.abs(r.x[part] - _F32((x0 + x1) / 2)) - _F32((x1 - x0) / 2)
        dz = np.abs(r.z[part] - _F32((z0 + z1) / 2)) - _F32((z1 - z0) / 2)
        out = np.square(np.maximum(dx, 0)) + np.square(np.maximum(dz, 0))
        dark = np.clip(1 - out * _F32(1.6), 0, 1) * r.flat[part] * _F32(strength * soft)
        shade[part] *= 1 - dark
    return shade


def _clearness(r: _Raster) -> np.ndarray:
    """The share of light that comes through the haze, (H, W): about exp(-haze * distance)."""
    haze = _F32(_HAZE[r.world.weather])
    near2 = np.square(r.near)
    return near2 / (near2 + haze * r.near + _F32(0.5) * haze * haze)


def _shade_day(r: _Raster) -> Image.Image:
    world = r.world
    sun = _SUN[world.weather]
    _, horizon = _gradient(r, _DAY_SKY)
    strength = {"clear": 0.95, "cloudy": 0.95, "overcast": 1.3, "rain": 1.25, "fog": 1.25}[world.weather]
    ambient = _lin(0.8, 0.85, 0.92) * _F32(strength)
    light = np.broadcast_to(ambient, r.color.shape)
    if sun:
        direct = r.sun * _sun_shadow(r) * _F32(0.95 * sun)
        light = light + direct[..., None] * _lin(1.0, 0.95 - 0.06 * world.warmth, 0.84 - 0.16 * world.warmth)
    color = r.color * light * _contact(r, 1.0)[..., None]
    sky = _day_sky(r)
    color = _wet(r, color, sky, None)
    color = _ramp(horizon, color, _clearness(r))
    return _finish(r, _mixed(sky, color, r.cover), grain=0.016, rain=0.32)


# -- night -----------------------------------------------------------------------------------------------


def _night_sky(r: _Raster) -> np.ndarray:
    world = r.world
    base, _ = _gradient(r, _NIGHT_SKY)
    sky = np.repeat(base, r.size[0], 1)
    glow = 1 / np.square(1 + np.square(r.vy * 8)) / (1 + np.square((r.vx - _F32(world.shift)) * _F32(1.5)))
    sky += glow[..., None] * _lin(0.36, 0.27, 0.24)  # the city beyond the horizon
    if world.weather in ("clear", "cloudy"):
        d2, disc = _disc(r, world.moon_xy, 0.024)
        bite = _disc(r, (world.moon_xy[0] + 0.011, world.moon_xy[1] - 0.006), 0.022)[1]
        halo = _F32(0.5) / (1 + d2 * _F32(0.12))
        sky += halo[..., None] * _lin(0.3, 0.34, 0.45) + (disc * (1 - bite * _F32(0.9)))[..., None] * _lin(
            1, 0.98, 0.9
        )
        _stars(r, sky)
    lit = _lin(0.2, 0.21, 0.3)
    return _mixed(sky, np.broadcast_to(lit, sky.shape), _clouds(r) * _F32(0.75))


def _stars(r: _Raster, sky: np.ndarray) -> None:
    """Add stars, each shared out over the four pixels around it."""
    u = r.world.stream("sky").random((260, 5))
    (w, h), unit = r.size, r.unit
    span = max(w, h) / unit
    px = w / 2 + (u[:, 0] - 0.5) * span * unit - 0.5
    py = r.world.horizon * h - (0.02 + u[:, 1] * 0.75) * unit - 0.5
    gain = 0.05 + 0.75 * u[:, 2] * u[:, 2] * u[:, 2]
    gain *= unit / 280  # a star is always one pixel wide, so its brightness must follow the picture's size
    tint = np.stack([0.85 + 0.15 * u[:, 3], np.full(len(u), 0.92), 0.95 + 0.05 * u[:, 4]], 1)
    ix, iy = np.floor(px).astype(int), np.floor(py).astype(int)
    fx, fy = px - ix, py - iy
    for dx, dy, share in (
        (0, 0, (1 - fx) * (1 - fy)),
        (1, 0, fx * (1 - fy)),
        (0, 1, (1 - fx) * fy),
        (1, 1, fx * fy),
    ):
        x, y = ix + dx, iy + dy
        seen = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        np.add.at(sky, (y[seen], x[seen]), ((gain * share)[:, None] * tint)[seen].astype(_F32))


def _lamp_light(r: _Raster) -> np.ndarray:
    """Light of the street lamps on every surface, (H, W)."""
    total = np.zeros(r.z.shape, _F32)
    for x, y, z in r.world.lamps:
        d2 = np.square(r.x - _F32(x)) + np.square(r.z - _F32(z)) + np.square(r.y - _F32(y - 2)) * _F32(0.8)
        total += 1 / np.square(1 + d2 * _F32(1 / 19))
    return total / (1 + total)


def _beam_light(r: _Raster) -> np.ndarray:
    """Our own headlights and the pools before oncoming cars, (H, W)."""
    world, z = r.world, r.z
    side = (r.x + _F32(world.curve) * z * z - _F32(world.cam_x)) / (_F32(1.6) + _F32(0.16) * z)
    total = z * z / (z * z + 20) / np.square(1 + np.square(z * _F32(1 / 22)))
    total = total / np.square(1 + side * side) / (1 + np.square(np.maximum(r.y, 0) * _F32(0.8)))
    total *= _F32(0.5)
    for x, zc in world.pools:
        part = r.patch(x - 3.2, x + 3.2, zc - 13, zc)
        if total[part].size:
            ahead = np.clip((_F32(zc) - z[part]) * _F32(1 / 12), 0, 1)
            pool = ahead * np.square(1 - ahead) * _F32(3.2)
            total[part] += pool * r.flat[part] / np.square(1 + np.square((r.x[part] - _F32(x)) * _F32(0.6)))
    return total


def _halos(r: _Raster, image: np.ndarray) -> None:
    """Glow in the air around lamps and car lights, and the cones below the lamps; added in place."""
    world = r.world
    thick = {"clear": 0.55, "cloudy": 0.6, "overcast": 0.7, "rain": 1.1, "fog": 1.7}[world.weather]
    lamp = _lin(*world.lamp_color)
    haze = _HAZE[world.weather]
    for x, y, z in world.lamps:
        through = 1 / (1 + haze * z + 0.5 * (haze * z) ** 2)
        _halo(r, image, (x, y, z), lamp * _F32(0.85 * thick * through), 0.55 + 0.1 * thick)
        _cone(r, image, (x, y, z), lamp * _F32(0.1 * thick * through))
    for x, y, z, color in world.beams:
        through = 1 / (1 + haze * z + 0.5 * (haze * z) ** 2)
        white = color[1] > 0.5
        _halo(
            r,
            image,
            (x, y, z),
            _lin(*color) * _F32((1.0 if white else 0.6) * thick * through),
            0.4 if white else 0.26,
        )


def _hidden(r: _Raster, spot: tuple[float, float, float]) -> bool:
    """Whether something nearer stands before the light."""
    vx, vy = r.world.view(*spot)
    (w, h), u = r.size, r.unit
    col, row = int(w / 2 + vx * u), int(r.world.horizon * h + vy * u)
    return 0 <= col < w and 0 <= row < h and bool(r.near[row, col] * spot[2] > 1.06) and r.ids[row, col] > 0


def _halo(
    r: _Raster, image: np.ndarray, spot: tuple[float, float, float], color: np.ndarray, size: float
) -> None:
    if _hidden(r, spot):
        return
    vx, vy = r.world.view(*spot)
    radius = _FOCAL * size / spot[2] + 0.0035
    reach = radius * 7
    rows, cols = r.window(vx - reach, vx + reach, vy - reach, vy + reach)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    d2 = np.square(r.vx[:, cols] - _F32(vx)) + np.square(r.vy[rows] - _F32(vy))
    t = np.maximum(1 - d2 * _F32(1 / (reach * reach)), 0)
    fall = t * t / (1 + d2 * _F32(4 / (radius * radius)))
    image[rows, cols] += fall[..., None] * color


def _cone(r: _Raster, image: np.ndarray, spot: tuple[float, float, float], color: np.ndarray) -> None:
    if _hidden(r, spot):
        return
    x, y, z = spot
    vx, top = r.world.view(x, y, z)
    long = _FOCAL * y / z
    rows, cols = r.window(vx - 0.5 * long, vx + 0.5 * long, top, top + long)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    t = np.clip((r.vy[rows] - _F32(top)) * _F32(1 / long), 0, 1)
    across = (r.vx[:, cols] - _F32(vx)) / (_F32(long) * (_F32(0.02) + _F32(0.42) * t))
    beam = np.square(np.maximum(1 - across * across, 0)) * (1 - t) * np.minimum(t * 8, 1)
    image[rows, cols] += beam[..., None] * color


def _shade_night(r: _Raster) -> Image.Image:
    world = r.world
    _, horizon = _gradient(r, _NIGHT_SKY)
    moon = {"clear": 1.0, "cloudy": 0.9, "overcast": 0.8, "rain": 0.75, "fog": 0.9}[world.weather]
    light = _lin(0.2, 0.27, 0.47) * _F32(moon)
    light = light + _lamp_light(r)[..., None] * _lin(*world.lamp_color) * _F32(2.5)
    light = light + _beam_light(r)[..., None] * _lin(0.95, 0.93, 0.85) * _F32(0.6)
    color = r.color * light * _contact(r, 0.85)[..., None]
    sky = _night_sky(r)
    color = _wet(r, color, sky, r.glow)
    clear = _clearness(r)
    color = _ramp(horizon, color, clear)
    image = _mixed(sky, color, r.cover) + r.glow * clear[..., None] * _F32(1.15)
    image += _bloom(r) * _F32(0.3)
    _halos(r, image)
    # bright lights roll off instead of clipping
    image = image * (1 + image * _F32(0.25)) / (1 + image * _F32(0.36))
    return _finish(r, image, grain=0.02, rain=0.16)


def _bloom(r: _Raster) -> np.ndarray:
    """The emitted light, spread around it by the lens."""
    glow = Image.fromarray((np.clip(r.glow, 0, 1) * 255 + _F32(0.5)).astype(np.uint8))
    blurred = glow.filter(ImageFilter.GaussianBlur(0.014 * r.unit))
    return np.asarray(blurred).astype(_F32) * _F32(1 / 255)


def _wet(r: _Raster, color: np.ndarray, sky: np.ndarray, glow: np.ndarray | None) -> np.ndarray:
    """In rain the ground mirrors what stands on it: the shapes are painted once more upside down."""
    world = r.world
    if world.weather != "rain":
        return color
    near = r.surfaces[1:, 7:10]
    a, b = (np.repeat(near[:, k].astype(float), r.lengths) for k in (0, 1))
    mirrored = r.points.copy()
    mirrored[:, 1] = 2 * _FOCAL * world.cam_y * (a + b * mirrored[:, 0]) - mirrored[:, 1]
    ids = r.paint(mirrored, 1, keep=(near[:, 2] == 0) & (near[:, 0] != 1 / 900))
    shine = np.square(r.surfaces[:, 1:4][ids]) * _F32(0.66 if glow is None else 0.1)
    if glow is not None:
        shine += np.square(r.surfaces[:, 4:7][ids]) * _F32(2.2)
    rows = np.clip(int(2 * world.horizon * r.size[1]) - 1 - np.arange(r.size[1]), 0, r.size[1] - 1)
    shine = np.where((ids == 0)[..., None], sky[rows], shine)
    smear = Image.fromarray((np.sqrt(np.clip(shine, 0, 1)) * 255).astype(np.uint8))
    smear = smear.filter(ImageFilter.GaussianBlur((0.004 * r.unit, 0.022 * r.unit)))
    shine = np.square(np.asarray(smear).astype(_F32) * _F32(1 / 255))
    table = world.stream("rain").random((256, 256), _F32)
    puddle = _F32(0.55) + _F32(0.45) * _noise(table, r.x * _F32(0.5), r.z * _F32(0.35))
    grazing = _F32(0.16) + _F32(0.5) / (1 + np.square(r.near * 9))
    keep = np.isin(r.labels, (ROAD, MARKING, PAVEMENT)) & r.flat
    t = grazing * puddle * keep
    return color * (1 - _F32(0.35) * keep - _F32(0.4) * t)[..., None] + shine * (t * _F32(1.15))[..., None]


def _rain(r: _Raster) -> np.ndarray:
    """Falling drops as short blurred streaks, (H, W) 0..1."""
    u = r.world.stream("rain").random((420, 4)).tolist()
    (w, h), unit = r.size, r.unit
    image = Image.new("L", r.size, 0)
    draw = ImageDraw.Draw(image)
    for x, y, long, bright in u:
        x, y, step = x * w * 1.1, y * h, (0.02 + 0.05 * long) * unit
        ends = [round(x), round(y), round(x - 0.18 * step), round(y + step)]
        draw.line(ends, fill=int(60 + 190 * bright * bright), width=max(1, round(unit / 340)))
    return np.asarray(image.filter(ImageFilter.BoxBlur(unit / 700))).astype(_F32) * _F32(
        min(1.0, unit / 220) / 255
    )


def _finish(r: _Raster, image: np.ndarray, grain: float, rain: float) -> Image.Image:
    """Linear light to an 8-bit picture, with rain before the lens and sensor noise."""
    image = np.sqrt(np.clip(image, 0, 1))
    if r.world.weather == "rain":
        image += (_rain(r) * _F32(rain))[..., None] * (_F32(0.95) - image)
    rng = r.world.stream("grain")
    noise = rng.random(r.z.shape, _F32) + rng.random(r.z.shape, _F32) - 1
    image += (noise * _F32(grain))[..., None]
    return Image.fromarray((np.clip(image, 0, 1) * 255 + _F32(0.5)).astype(np.uint8))


# ----------------------------------------------------------------------------------------------------------
# The data set
# ----------------------------------------------------------------------------------------------------------

_SPLITS, _DOMAINS = ("train", "test"), ("a", "b")
_HELP = (
    "streets understands count, test_count, size (256 or 512x256), seed, and a factor for "
    + ", ".join(DENSITY_CLASSES)
    + " (for one domain: pedestrian_a, pedestrian_b, ...)"
)


@dataclass(frozen=True)
class StreetsSpec:
    """Parsed form of ``--dataset streets:count=400,size=256,seed=1,pedestrian_b=0``.

    count, test_count: scenes per domain; width, height: pixels; density_a, density_b: factor per class name
    (1 = default, 0 = none, 2 = twice as many) in the day and the night domain.  Raises ValueError for values
    out of range.
    """

    count: int = 400
    test_count: int = 40
    width: int = 256
    height: int = 256
    seed: int = 0
    density_a: Mapping[str, float] = field(default_factory=dict)
    density_b: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_size((self.width, self.height))
        for name in ("count", "test_count", "seed"):
            if getattr(self, name) < (1 if name == "count" else 0):
                raise ValueError(f"{name}={getattr(self, name)} is too small for streets.")
        _checked_density(self.density_a)
        _checked_density(self.density_b)

    @classmethod
    def parse(cls, text: str) -> StreetsSpec:
        """Read "streets" or "streets:key=value,...".  Raises ValueError, saying what is understood."""
        name, _, rest = text.partition(":")
        if name.strip() != "streets":
            raise ValueError(f"{text!r} is not a streets data set: {_HELP}.")
        values: dict[str, int] = {}
        density: dict[str, dict[str, float]] = {"a": {}, "b": {}}
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            try:
                _read_item(key, value, values, density)
            except ValueError:
                raise ValueError(f"Cannot read {item!r} in {text!r}: {_HELP}.") from None
        return cls(**values, density_a=density["a"], density_b=density["b"])

    def series(self, split: str, domain: str) -> int:
        """The seed for ``render_scene``: different for every split, domain and seed of the spec."""
        if split not in _SPLITS or domain not in _DOMAINS:
            raise ValueError(f"Split is train or test and domain a or b, not {split!r} and {domain!r}.")
        return 4 * self.seed + 2 * _SPLITS.index(split) + _DOMAINS.index(domain)

    def length(self, split: str) -> int:
        """Scenes per domain in a split."""
        return self.count if split == "train" else self.test_count

    def _raster(self, split: str, domain: str, index: int) -> _Raster:
        density = self.density_a if domain == "a" else self.density_b
        series = self.series(split, domain)
        if not 0 <= index < self.length(split):
            raise ValueError(
                f"streets has {self.length(split)} {split} scenes per domain: no number {index}."
            )
        return _raster(series, index, (self.width, self.height), density)

    def scene(self, split: str, domain: str, index: int) -> Scene:
        """Scene ``index`` (0 .. length - 1) of split "train"/"test" and domain "a"/"b", in both domains."""
        raster = self._raster(split, domain, index)
        return Scene(_shade_day(raster), _shade_night(raster), raster.labels)

    def image(self, split: str, domain: str, index: int) -> Image.Image:
        """The picture of the data set: RGB, day for "a", night for "b"."""
        raster = self._raster(split, domain, index)
        return _shade_day(raster) if domain == "a" else _shade_night(raster)

    def truth(self, split: str, domain: str, index: int) -> Image.Image:
        """The same scene in the other domain: RGB, for evaluation only."""
        raster = self._raster(split, domain, index)
        return _shade_night(raster) if domain == "a" else _shade_day(raster)


def _read_item(key: str, value: str, values: dict[str, int], density: dict[str, dict[str, float]]) -> None:
    if key in ("count", "test_count", "seed"):
        values[key] = int(value)
    elif key == "size":
        width, _, height = value.lower().partition("x")
        values["width"], values["height"] = int(width), int(height or width)
    else:
        name, domains = (key[:-2], key[-1]) if key.endswith(("_a", "_b")) else (key, "ab")
        _checked_density({name: float(value)})
        for domain in domains:
            density[domain][name] = float(value)


def write_streets(
    spec: StreetsSpec, output: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write the data set as folders of PNG files.

    ::

        output/
          streets.json                  the spec and the classes
          trainA/0000.png ...           day                   trainB/0000.png ...  night, other scenes
          testA/0000.png ...            day                   testB/0000.png ...   night, other scenes
          labels/{trainA,trainB,testA,testB}/0000.png ...     class index per pixel, 8 bit with palette
          truth/{testA,testB}/0000.png ...                    the same scene in the other domain

    File names count from zero, padded with zeros to four digits or more.  progress(done, total) is called
    after each scene.  Raises ValueError if ``output`` is a file or a folder that is not empty.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} is not an empty folder: streets are only written to a new or empty one.")
    output.mkdir(parents=True, exist_ok=True)
    jobs = [(s, d, i) for s in _SPLITS for d in _DOMAINS for i in range(spec.length(s))]
    digits = max(4, len(str(max(spec.count, spec.test_count) - 1)))
    for done, (split, domain, index) in enumerate(jobs, 1):
        _write_scene(spec, output, split, domain, index, f"{index:0{digits}d}.png")
        if progress:
            progress(done, len(jobs))
    about = {
        "count": spec.count, "test_count": spec.test_count, "width": spec.width, "height": spec.height,
        "seed": spec.seed, "density_a": dict(spec.density_a), "density_b": dict(spec.density_b),
    }  # fmt: skip
    classes = [{"name": n, "color": list(c)} for n, c in zip(CLASSES, CLASS_COLORS, strict=True)]
    text = json.dumps({"spec": about, "classes": classes}, indent=2)
    (output / "streets.json").write_text(text + "\n", encoding="utf-8")


def _write_scene(spec: StreetsSpec, output: Path, split: str, domain: str, index: int, name: str) -> None:
    folder = split + domain.upper()
    raster = spec._raster(split, domain, index)
    shaders = (_shade_day, _shade_night) if domain == "a" else (_shade_night, _shade_day)
    pictures = {folder: shaders[0](raster), f"labels/{folder}": label_image(raster.labels)}
    if split == "test":
        pictures[f"truth/{folder}"] = shaders[1](raster)
    for place, picture in pictures.items():
        (output / place).mkdir(parents=True, exist_ok=True)
        picture.save(output / place / name)


def label_image(labels: np.ndarray) -> Image.Image:
    """A label map (H, W) uint8 as an index picture (mode P) with the colours of ``CLASS_COLORS``."""
    image = Image.frombytes("P", labels.shape[::-1], np.ascontiguousarray(labels, np.uint8).tobytes())
    image.putpalette(list(chain.from_iterable(CLASS_COLORS)))
    return image

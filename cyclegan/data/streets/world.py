"""The world of one scene: its street, its projection onto the picture, and the shapes that other modules add."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cyclegan.data.streets.classes import DENSITY_CLASSES

FOCAL = 1.1  # in units of the smaller picture side: about 49 degrees across
FAR = 140.0  # metres: where the street ends
CIRCLE = [(math.cos(2 * math.pi * i / 10), math.sin(2 * math.pi * i / 10)) for i in range(10)]
_STREAMS = ("layout", "sky", "terrain", "texture", "grain", "rain", *DENSITY_CLASSES)
_WEATHERS = ("clear", "cloudy", "overcast", "rain", "fog")

Color = tuple[float, float, float]


def mix(a: Color, b: Color, t: float) -> Color:
    """Return the colour a share `t` of the way from a to b."""
    return tuple(x + (y - x) * t for x, y in zip(a, b, strict=True))


def scaled(color: Color, factor: float) -> Color:
    """Return a brighter or darker colour, at most 1 per channel."""
    return tuple(min(1.0, c * factor) for c in color)


def rect(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle, in order."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


@dataclass
class Thing:
    """Shapes painted together, back to front.

    Attributes:
        depth: metres; things are painted from far to near.
        outlines: flat lists x0, y0, x1, y1, … in view coordinates: x right of the middle, y down from the horizon,
            1 = the smaller picture side, so that every size shows the same scene.
        surfaces: one row of numbers per outline, see `add`.
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

        Args:
            near: (a, b, c) of 1/depth = a + b x + c y, in 1/metre.
            sun: 0 … 1, 1 where it faces the sun squarely.
            grain: strength of its texture.
            glow: the light that it emits at night.
        """
        self.outlines.append(outline)
        self.surfaces.append((label, *color, *glow, *near, sun, grain))


class World:
    """The street of one scene.

    `things` are the shapes to paint; the other lists hold the lights and shadows that belong to them. Modules such as
    `buildings` fill them.

    Args:
        seed, index: the scene's number. Each kind of thing has a random stream of its own, so that more cars don't
            move the trees.
        density: factor by name, for each of `DENSITY_CLASSES`.
    """

    def __init__(self, seed: int, index: int, density: dict[str, float]) -> None:
        self.key = (seed, index)
        self.density = density
        self.things: list[Thing] = []
        self.lamps: list[tuple[float, float, float]] = []  # lamp heads: x, y, z in metres
        self.beams: list[tuple[float, float, float, Color]] = []  # car lights: x, y, z, colour
        self.pools: list[tuple[float, float]] = []  # oncoming cars, which light the ground: x, z
        self.shadows: list[tuple[float, float, float, float, float]] = []  # x0, x1, z0, z1, strength
        self.tall: list[tuple[int, float, float, float]] = []  # buildings: side, z0, z1, height
        self.gaps: list[tuple[int, float, float]] = []  # between buildings: side, z0, z1
        self.zebra: float | None = None  # distance of the crossing, if there is one
        self._layout()

    def stream(self, name: str) -> np.random.Generator:
        """Return the random numbers of one kind of thing."""
        return np.random.default_rng([*self.key, _STREAMS.index(name)])

    def single(self, number: int) -> np.random.Generator:
        """Return the random numbers of one single thing, so that it looks the same whatever else there is."""
        return np.random.default_rng([*self.key, number])

    def count(self, base: float, name: str) -> int:
        """Return the number of things of a kind: `base` times its density."""
        return round(base * self.density[name])

    def thing(self, depth: float) -> Thing:
        """Add a thing at a distance and return it, to be given its outlines."""
        self.things.append(Thing(depth))
        return self.things[-1]

    def bend(self, x: float, z: float) -> float:
        """Return the sideways metres from the camera's axis to the street position x at distance z."""
        return x - self.cam_x + self.curve * z * z

    def view(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the view coordinates of a point in metres."""
        return self.shift + FOCAL * self.bend(x, z) / z, FOCAL * (self.cam_y - y) / z

    def ground(self) -> tuple[float, float, float]:
        """Return 1/depth of the ground plane, as `Thing.add` takes it."""
        return 0.0, 0.0, 1.0 / (FOCAL * self.cam_y)

    def upright(self, z: float, spots: Sequence[tuple[float, float]]) -> list[float]:
        """Return the outline of points (x, y) on the plane at distance z, facing the camera."""
        s = FOCAL / z
        x0 = self.shift + s * (self.curve * z * z - self.cam_x)
        return [v for x, y in spots for v in (x0 + s * x, s * (self.cam_y - y))]

    def box(self, z: float, x0: float, x1: float, y0: float, y1: float) -> list[float]:
        """Return the outline of a rectangle on the plane at distance z, facing the camera."""
        return self.upright(z, rect(x0, x1, y0, y1))

    def figure(self, z: float, label: int) -> Callable[..., None]:
        """Add a thing at distance z; return the function that adds a flat part (colour, points (x, y)) to it."""
        thing, near = self.thing(z), (1 / z, 0.0, 0.0)

        def part(color: Color, *spots: tuple[float, float], sun=0.6, grain=0.04, glow=(0.0, 0.0, 0.0)) -> None:
            thing.add(self.upright(z, spots), label, color, near, sun, grain, glow)

        return part

    def along(self, x: float, spots: list[tuple[float, float]]) -> tuple[list[float], tuple[float, float, float]]:
        """Return outline and 1/depth of points (z, y) on the vertical plane at street position x."""
        points = [self.view(x, y, z) for z, y in spots]
        return [v for p in points for v in p], self.slope(x, min(z for z, _ in spots), max(z for z, _ in spots))

    def slope(self, x: float, z0: float, z1: float) -> tuple[float, float, float]:
        """Return 1/depth of the vertical plane through (x, z0) and (x, z1), as a linear function of the view's x."""
        v0, v1 = self.view(x, 0, z0)[0], self.view(x, 0, z1)[0]
        if abs(v1 - v0) < 1e-3:
            return 2 / (z0 + z1), 0.0, 0.0
        b = (1 / z1 - 1 / z0) / (v1 - v0)
        return 1 / z0 - b * v0, b, 0.0

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

    def strip(self, x0: float, x1: float, z0: float = 0.05, z1: float = FAR) -> list[float]:
        """Return the outline on the ground between street positions x0 and x1 from z0 to z1."""
        steps = max(1, min(40, int(40 * math.log(z1 / z0) / 8))) if self.curve else 1
        z = [z0 * (z1 / z0) ** (i / steps) for i in range(steps + 1)]
        return [v for p in z for v in self.view(x0, 0, p)] + [v for p in z[::-1] for v in self.view(x1, 0, p)]

"""Draws invented towns from above, each as an aerial photo and as the map of the same place.

    python demo/draw_towns.py demo/towns

They are the examples of the run in `demo/towns`, and the test pictures of its epochs' sample grids, since the pictures
that it was trained on may not be passed on. Style and colours follow what such photos and maps look like; nothing is
taken from them. The towns are the same every time, Pillow being equal.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

sys.path.insert(0, str(Path(__file__).parent.parent))

from cyclegan.checkpoints.format import GENERATOR_OF, SAMPLES  # noqa: E402
from cyclegan.checkpoints.sources import LocalSource  # noqa: E402
from cyclegan.evaluation.samples import sample_grid, sample_metrics, translate_samples  # noqa: E402
from cyclegan.files import read_json, write_json  # noqa: E402
from cyclegan.images import to_tensor  # noqa: E402

SIZE = 256
DETAIL = 4  # Drawn at this many times the size, then reduced: soft edges.
SHADE = (1.0, 0.8)  # Where shadows fall, in pixels.
GRAIN = 12  # The photo's noise: ± 128 / GRAIN grey levels.
GRID_TILE, ROWS = 128, 2

Point = tuple[float, float]
Color = tuple[int, int, int]

LAND, ROAD, HOUSE, PARK, WATER, MOTORWAY = (
    (234, 230, 222), (255, 255, 254), (243, 240, 235), (203, 222, 175), (178, 209, 255), (252, 165, 45),
)  # fmt: skip
ASPHALT, YARD, GRASS, POND, DARK = (84, 86, 84), (46, 50, 43), (50, 64, 44), (27, 38, 42), (19, 22, 19)
ROOFS = ((176, 178, 176), (150, 150, 146), (118, 118, 114), (98, 95, 90), (205, 207, 206), (108, 86, 76))
TREES = ((36, 47, 34), (30, 41, 31), (44, 55, 38), (52, 62, 44))


class Town:
    """One place as two pictures of SIZE × SIZE pixels, drawn shape by shape in pixels of either."""

    def __init__(self, seed: int, angle: float, lots: float) -> None:
        """`angle` of its streets in degrees, and `lots`: 1 for narrow lots, more for wider ones."""
        self.random = random.Random(seed)
        self.turn, self.lots = math.radians(angle), lots
        self.photo, self.map = (Image.new("RGB", (SIZE * DETAIL,) * 2, color) for color in (YARD, LAND))
        self.pens = ImageDraw.Draw(self.photo), ImageDraw.Draw(self.map)

    # --- shapes ---------------------------------------------------------------------------------------------

    def at(self, u: float, v: float) -> Point:
        """The picture's point of (u, v) along and across the streets, from the middle, in pixels."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return SIZE / 2 + u * cos - v * sin, SIZE / 2 + u * sin + v * cos

    def polygon(self, points: list[Point], photo: Color | None, map: Color | None) -> None:
        for pen, color in zip(self.pens, (photo, map), strict=True):
            if color:
                pen.polygon([(x * DETAIL, y * DETAIL) for x, y in points], fill=color)

    def line(self, points: list[Point], width: float, photo: Color, map: Color | None, map_width: float = 0) -> None:
        """A road, with round bends; the map's is as wide as `map_width`, or as the photo's."""
        for pen, color, wide in zip(self.pens, (photo, map), (width, map_width or width), strict=True):
            if color:
                dots = [(x * DETAIL, y * DETAIL) for x, y in points]
                pen.line(dots, fill=color, width=round(wide * DETAIL), joint="curve")

    def block(self, u0: float, u1: float, v0: float, v1: float) -> list[Point]:
        return [self.at(u0, v0), self.at(u1, v0), self.at(u1, v1), self.at(u0, v1)]

    def house(self, u0: float, u1: float, v0: float, v1: float, roof: Color | None = None) -> None:
        """A flat roof, half of it a little darker, and its shadow."""
        points = self.block(u0, u1, v0, v1)
        self.polygon([(x + SHADE[0], y + SHADE[1]) for x, y in points], DARK, None)
        roof = roof or self.random.choice(ROOFS)
        self.polygon(points, roof, HOUSE)
        middle = (v0 + v1) / 2
        self.polygon(self.block(u0, u1, v0, middle), tuple(round(0.85 * channel) for channel in roof), None)

    def tree(self, point: Point, radius: float) -> None:
        """A crown and its shadow, on the photo alone."""
        for (x, y), color in (
            ((point[0] + SHADE[0], point[1] + SHADE[1]), DARK),
            (point, self.random.choice(TREES)),
        ):
            box = [(x - radius) * DETAIL, (y - radius) * DETAIL, (x + radius) * DETAIL, (y + radius) * DETAIL]
            self.pens[0].ellipse(box, fill=color)

    # --- places ---------------------------------------------------------------------------------------------

    def streets(self, spacing_u: float, spacing_v: float, parks: Callable[[int, int], bool]) -> None:
        """Blocks with two rows of houses each, or a park, on the whole picture, and the streets between them."""
        reach = SIZE * 0.75
        for i in range(math.floor(-reach / spacing_u), math.ceil(reach / spacing_u)):
            for j in range(math.floor(-reach / spacing_v), math.ceil(reach / spacing_v)):
                u0, u1 = i * spacing_u + 3, (i + 1) * spacing_u - 3
                v0, v1 = j * spacing_v + 3, (j + 1) * spacing_v - 3
                if parks(i, j):
                    self.polygon(self.block(u0, u1, v0, v1), GRASS, PARK)
                    self.wood([(u0, v0), (u1, v1)], 30)
                elif self.random.random() < 0.07:
                    self.polygon(self.block(u0, u1, v0, v1), (96, 97, 94), None)  # A yard with one great roof.
                    self.house(u0 + 4, u1 - 4, v0 + 6, v0 + 0.6 * (v1 - v0), ROOFS[4])
                else:
                    self.rows(u0, u1, v0, v1)
        for i in range(math.floor(-reach / spacing_u), math.ceil(reach / spacing_u) + 1):
            self.line([self.at(i * spacing_u, -reach), self.at(i * spacing_u, reach)], 4, ASPHALT, ROAD, 4.5)
        for j in range(math.floor(-reach / spacing_v), math.ceil(reach / spacing_v) + 1):
            self.line([self.at(-reach, j * spacing_v), self.at(reach, j * spacing_v)], 4, ASPHALT, ROAD, 4.5)

    def rows(self, u0: float, u1: float, v0: float, v1: float) -> None:
        """Houses along both long sides of a block, gardens with trees between them."""
        depth = (u1 - u0) * 0.3
        for left in (u0 + 1.5, u1 - 1.5 - depth):
            v = v0 + 1
            while v < v1 - 4:
                wide = self.random.uniform(3.0, 5.0) * self.lots
                deep = depth * self.random.uniform(0.8, 1.05)
                if self.random.random() < 0.9:
                    self.house(left, left + deep, v, min(v + wide, v1 - 1))
                v += wide + self.random.choice((0.6, 0.8, 1.6))
        for _ in range(round((v1 - v0) * 0.35)):
            u = self.random.choice((u0, (u0 + u1) / 2, (u0 + u1) / 2, u1)) + self.random.gauss(0, 1.5)
            self.tree(self.at(u, self.random.uniform(v0, v1)), self.random.uniform(1.0, 2.4))

    def wood(self, box: list[Point], per_1000: float) -> None:
        """Trees in the box of two corners (u, v): so many per 1,000 square pixels."""
        (u0, v0), (u1, v1) = box
        for _ in range(round(abs((u1 - u0) * (v1 - v0)) / 1000 * per_1000)):
            point = self.at(self.random.uniform(u0, u1), self.random.uniform(v0, v1))
            self.tree(point, self.random.uniform(1.2, 3.2))

    def park(self, u0: float, u1: float, v0: float, v1: float) -> None:
        """A great park with winding paths and a pond."""
        self.polygon(self.block(u0, u1, v0, v1), GRASS, PARK)
        self.wood([(u0, v0), (u1, v1)], 45)
        for k in range(1, 4):
            base = v0 + (v1 - v0) * k / 4
            path = [self.at(u, base + 9 * math.sin(u / 13 + 2 * k)) for u in range(round(u0), round(u1) + 1, 3)]
            self.line(path, 1.8, (112, 112, 104), ROAD, 3)
        middle = ((u0 + u1) / 2, v0 + (v1 - v0) * 0.38)
        shore = [(16 + 3 * math.sin(3 * t / 10), 9 + 2 * math.cos(2 * t / 10), t / 10) for t in range(63)]
        self.polygon(
            [self.at(middle[0] + a * math.cos(t), middle[1] + b * math.sin(t)) for a, b, t in shore], POND, WATER
        )

    def river(self, v: float, width: float) -> None:
        """Water across the whole picture, with a promenade of trees on either side."""
        banks = [[self.at(u, v + side * width / 2 + 6 * math.sin(u / 40)) for u in range(-200, 201, 4)]
                 for side in (-1, 1)]  # fmt: skip
        for bank in banks:
            self.line(bank, 9, GRASS, PARK)
            for x, y in bank:
                self.tree((x + self.random.gauss(0, 2), y + self.random.gauss(0, 2)), self.random.uniform(1.0, 2.4))
        self.polygon(banks[0] + banks[1][::-1], POND, WATER)

    def motorway(self, v: float, bend: float) -> None:
        """A wide road with a green strip beside it, over everything else."""
        way = [self.at(u, v + bend * math.sin(u / 70)) for u in range(-200, 201, 4)]
        self.line(way, 15, GRASS, LAND)
        self.line(way, 9, (120, 121, 119), MOTORWAY, 7)
        self.line(way, 0.6, (60, 64, 58), None)

    def done(self) -> dict[str, Image.Image]:
        """The photo, with a camera's grain, as "a" and the map as "b"."""
        photo, map = (image.reduce(DETAIL) for image in (self.photo, self.map))
        grain = Image.frombytes("L", photo.size, self.random.randbytes(SIZE * SIZE)).point(lambda value: value // GRAIN)
        return {"a": ImageChops.add(photo, grain.convert("RGB"), offset=-128 // GRAIN), "b": map}


def towns() -> list[dict[str, Image.Image]]:
    """The examples: houses, a park with a pond, a motorway, a river."""
    houses = Town(1, angle=8, lots=1.0)
    houses.streets(30, 82, lambda i, j: (i, j) == (1, 0))
    park = Town(2, angle=-32, lots=1.2)
    park.streets(28, 64, lambda i, j: False)
    park.park(-25, 109, -61, 61)
    motorway = Town(3, angle=0, lots=1.6)
    motorway.streets(44, 58, lambda i, j: (i + 2 * j) % 5 == 0)
    motorway.turn = math.radians(68)
    motorway.motorway(-18, 10)
    river = Town(4, angle=24, lots=1.1)
    river.streets(27, 70, lambda i, j: (i, j) == (-2, -2))
    river.river(48, 62)
    return [town.done() for town in (houses, park, motorway, river)]


def draw_grids(run: Path, pairs: list[dict[str, Image.Image]]) -> None:
    """Each epoch's sample grids, as a training draws them but in 256 colours, and its metrics, of these pairs."""
    tensors = {domain: [to_tensor(pair[domain]) for pair in pairs] for domain in "ab"}
    samples = {f"{kind}_{domain}": tensors[domain] for kind in ("real", "truth") for domain in "ab"}
    samples |= {f"label_{domain}": [str(number + 1) for number in range(len(pairs))] for domain in "ab"}
    source = LocalSource(run)
    for info in source.list():
        checkpoint = source.load(info.epoch)
        names = {"a": checkpoint.config.data.domain_a, "b": checkpoint.config.data.domain_b}
        generators = {GENERATOR_OF[way]: network for way, network in checkpoint.generators.items()}
        translated, folder = translate_samples(samples, generators, "cpu"), source.path(info.epoch)
        record = read_json(folder / "checkpoint.json")
        record["metrics"] = sample_metrics(samples, translated, {}, "cpu")
        write_json(folder / "checkpoint.json", record)
        for way, made in translated.items():
            path = folder / SAMPLES[way]
            path.parent.mkdir(exist_ok=True)
            sample_grid(made, names, count=ROWS, tile=GRID_TILE).save(path, optimize=True)


def main() -> None:
    """Draw what belongs to the run."""
    parser = argparse.ArgumentParser(description="Draw the examples and the sample grids of the photos ↔ maps run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, with epoch-0001 and on")
    run, pairs = parser.parse_args().run, towns()
    (run / "examples").mkdir(parents=True, exist_ok=True)
    for number, pair in enumerate(pairs, 1):
        for domain, picture in pair.items():
            picture.save(run / "examples" / f"{domain}_{number}.png", optimize=True)
    draw_grids(run, pairs)


if __name__ == "__main__":
    main()

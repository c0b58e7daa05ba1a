"""The raster: what is seen at each pixel of a scene, before any light.

The shapes are painted from far to near at a few times the final resolution. From that come the antialiased colours,
the emitted light, the labels at pixel centres and the depth of every pixel.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from cyclegan.data.streets.classes import PAVEMENT
from cyclegan.data.streets.world import FOCAL, World

F32 = np.float32


class Raster:
    """The painted world at (H, W): float32 planes for shading, uint8 labels.

    Attributes:
        labels: class number at each pixel's centre, uint8.
        cover: share of the pixel that isn't sky, 0 … 1.
        color, glow: (H, W, 3), surface colour and the light that it emits at night, linear 0 … 1.
        near: 1 / distance in 1/metre.
        x, y, z: position in metres: right of the middle of the street, above it, ahead.
        sun, grain: as in `Thing.add`.
        flat: whether it is the ground.
    """

    def __init__(self, world: World, size: tuple[int, int]) -> None:
        self.world, self.size = world, size
        width, height = size
        self.unit = min(size)
        over = 5 if max(size) <= 96 else 3 if max(size) <= 1024 else 2
        rows = [row for thing in world.things for row in thing.surfaces]
        self.surfaces = table = np.zeros((len(rows) + 1, 12), F32)
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
        """Paint the outlines in order, each with its number 1, 2, …; return int32 (H × over, W × over)."""
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
        """Look colours up and average them over each pixel; return cover (H, W) and linear colour (H, W, 3)."""
        lut = np.full((len(colors), 4), 255, np.uint8)
        lut[:, :3] = np.minimum(colors, 1) * 255 + 0.5
        lut[0] = 0
        packed = lut.view("<u4")[:, 0][ids]
        big = Image.frombuffer("RGBA", (ids.shape[1], ids.shape[0]), packed.view(np.uint8), "raw", "RGBA", 0, 1)
        # split first: an RGBA picture would be weighted by its alpha
        mean = np.stack([np.asarray(band.reduce(over)) for band in big.split()], -1).astype(F32) / F32(255)
        cover = mean[..., 3]
        color = mean[..., :3] / np.maximum(cover, F32(1e-3))[..., None]
        return cover, color * color

    def _positions(self, ids: np.ndarray, centre: np.ndarray, over: int) -> None:
        world, (width, height) = self.world, self.size
        # where the centre shows sky but a thin thing covers part of the pixel, that thing's depth counts
        top = centre
        for dy in range(over):
            for dx in range(over):
                top = np.maximum(top, ids[dy::over, dx::over])
        self.ids = np.where(centre == 0, top, centre)
        self.vx = ((np.arange(width) + 0.5 - width / 2) / self.unit).astype(F32)[None, :]
        self.vy = ((np.arange(height) + 0.5 - world.horizon * height) / self.unit).astype(F32)[:, None]
        a, b, c, self.sun, self.grain = (self.surfaces[:, k][self.ids] for k in range(7, 12))
        self.near = np.clip(a + b * self.vx + c * self.vy, 1e-3, 2).astype(F32)
        self.flat = c > 0
        self.z = F32(1) / self.near
        f = F32(FOCAL)
        self.x = (self.vx - F32(world.shift)) * self.z / f + F32(world.cam_x)
        self.x -= F32(world.curve) * self.z * self.z
        self.y = F32(world.cam_y) - self.vy * self.z / f
        self._texture()

    def _texture(self) -> None:
        """Make surfaces uneven: noise fixed to the street, fading with distance so that it does not flicker."""
        table = self.world.stream("texture").random((256, 256), F32) * 2 - 1
        along = np.where(self.flat, self.z, self.y)
        across = np.where(self.flat, self.x, self.x + self.z)
        coarse = noise(table, across * F32(0.9), along * F32(0.6))
        fine = noise(table, across * F32(5.3) + 17, along * F32(4.1) + 5)
        fade = F32(1) / (1 + np.square(self.z * F32(1 / 45)))
        value = self.grain * (F32(0.7) * coarse + fine * fade)
        paving = self.flat & (self.labels == PAVEMENT)
        joint = ((self.x % F32(0.8)) < F32(0.07)) | ((self.z % F32(0.8)) < F32(0.07))
        value -= np.where(paving & joint, F32(0.22) * fade * fade, 0)
        self.color *= np.maximum(1 + value, F32(0.2))[..., None]

    def patch(self, x0: float, x1: float, z0: float, z1: float) -> tuple[slice, slice]:
        """Return the rows and columns that can show ground between street positions x0..x1 and distances z0..z1."""
        world = self.world
        z0 = max(z0, 0.6)
        corners = [world.view(x, 0, z) for x in (x0, x1) for z in (z0, max(z1, z0))]
        xs, ys = zip(*corners, strict=True)
        return self.window(min(xs), max(xs), min(ys), max(ys))

    def window(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
        """Return the rows and columns of a rectangle in view coordinates, within the picture."""
        (w, h), u = self.size, self.unit
        cx, cy = w / 2, self.world.horizon * h

        def clip(value: float, top: int) -> int:
            return int(min(max(value, 0), top))

        rows = slice(clip(cy + y0 * u, h), clip(cy + y1 * u + 1, h))
        return rows, slice(clip(cx + x0 * u, w), clip(cx + x1 * u + 1, w))


def noise(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return smooth noise in [-1, 1]: the (256, 256) table, repeated and interpolated at (u, v)."""
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

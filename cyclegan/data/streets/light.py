"""Light: the day picture and the night picture of a raster.

Pixel arithmetic uses only `+ - * /`, comparisons and `sqrt`, which IEEE 754 rounds the same everywhere, so the bytes
don't depend on the processor (Pillow and NumPy versions being equal).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cyclegan.data.streets.classes import MARKING, PAVEMENT, ROAD
from cyclegan.data.streets.raster import F32, Raster, noise
from cyclegan.data.streets.world import FOCAL, Color

_HAZE = {"clear": 0.0013, "cloudy": 0.0018, "overcast": 0.003, "rain": 0.006, "fog": 0.019}  # per metre
_SUN = {"clear": 1.0, "cloudy": 0.7, "overcast": 0.0, "rain": 0.0, "fog": 0.0}
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


def _lin(*color: float) -> np.ndarray:
    """Return a display colour as linear light (gamma 2, so that sqrt brings it back exactly)."""
    return np.square(np.array(color, F32))


def _ramp(low: np.ndarray, high: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the colours a share `t` (H, W) of the way from `low` to `high`."""
    return low + (high - low) * t[..., None]


def _clouds(r: Raster) -> np.ndarray:
    """Return the cloudiness of each direction, (H, W) 0 … 1."""
    world = r.world
    if world.weather == "fog":
        return np.zeros((r.size[1], r.size[0]), F32)
    table = world.stream("sky").random((256, 256), F32) * 2 - 1
    up = np.maximum(-r.vy, 0) + F32(0.09)
    u, v = r.vx / up * F32(1.15), F32(0.95) / up
    total = noise(table, u + 40, v) + F32(0.5) * noise(table, u * 2 + 3, v * 2 + 9)
    total += F32(0.27) * noise(table, u * 4 + 8, v * 4 + 31) + F32(0.13) * noise(table, u * 9 + 8, v * 9 + 3)
    bias = {"clear": -0.45, "cloudy": 0.12, "overcast": 0.95, "rain": 0.9}[world.weather]
    t = np.clip((total + F32(bias)) * F32(1.1), 0, 1)
    return t * t * (3 - 2 * t)


def _gradient(r: Raster, sky: dict[str, tuple[Color, Color]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cloudless sky (H, 1, 3) and its colour at the horizon (3,), linear."""
    horizon, zenith = (_lin(*c) for c in sky[r.world.weather])
    t = np.clip(-r.vy * F32(2.0), 0, 1)
    return _ramp(horizon, zenith, t * (2 - t)), horizon


def _disc(r: Raster, xy: tuple[float, float], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared distance from xy in radii (H, W), and the antialiased disc of that radius."""
    d2 = (np.square(r.vx - F32(xy[0])) + np.square(r.vy - F32(xy[1]))) / F32(radius * radius)
    edge = F32(radius * r.unit / 2)
    return d2, np.clip((1 - d2) * edge + F32(0.5), 0, 1)


def _day_sky(r: Raster) -> np.ndarray:
    world = r.world
    base, _ = _gradient(r, _DAY_SKY)
    cloud = _clouds(r)
    sky = np.repeat(base, r.size[0], 1)
    shine = np.zeros_like(cloud)
    if world.sun_ahead and _SUN[world.weather]:
        d2, disc = _disc(r, world.sun_xy, 0.028)
        shine = F32(0.7) / (1 + d2 * F32(0.25)) + F32(0.2) / (1 + d2 * F32(0.03))
        sky = sky + shine[..., None] * _lin(1.0, 0.92, 0.7) + disc[..., None]
    lit = {"clear": 1.0, "cloudy": 0.97, "overcast": 0.84, "rain": 0.76, "fog": 0.8}[world.weather]
    belly = _lin(lit * 0.8, lit * 0.82, lit * 0.87)
    color = _ramp(_lin(lit, lit, lit), belly, cloud * cloud) + (shine * F32(0.25))[..., None]
    return _ramp(sky, color, np.broadcast_to(cloud * F32(0.93), cloud.shape))


def _sun_shadow(r: Raster) -> np.ndarray:
    """Return 0 (shade) to 1 (sun): the shadows that buildings throw across the street."""
    world = r.world
    tall = np.zeros(1024, F32)  # height of the sunward row of buildings, per 1/4 m of distance from -60 m on
    row = [b for b in world.tall if b[0] == world.sun_side]
    for k, (_, z0, z1, height) in enumerate(row):
        tall[0 if k == 0 and z0 < 8 else int(z0 * 4) + 240 : int(z1 * 4) + 240] = height
    out = np.maximum(F32(world.wall) - r.x * F32(world.sun_side), 0)  # metres from the wall
    # the light falls aslant: the wall that shades a place is further on (sun ahead) or further back
    aslant = r.z + out * F32(0.55 if world.sun_ahead else -0.55)
    height = tall[np.clip(aslant * 4 + 240, 0, 1023).astype(np.int32)]
    return np.where(r.flat, np.clip((out - height * F32(world.low_sun)) * F32(1.6) + F32(0.5), 0, 1), 1)


def _contact(r: Raster, soft: float) -> np.ndarray:
    """Return a factor (H, W) that darkens the ground under and next to cars, trees and people."""
    shade = np.ones(r.z.shape, F32)
    for x0, x1, z0, z1, strength in r.world.shadows:
        if z0 > 90:
            continue
        part = r.patch(x0 - 0.9, x1 + 0.9, z0 - 0.9, z1 + 0.9)
        if not shade[part].size:
            continue
        dx = np.abs(r.x[part] - F32((x0 + x1) / 2)) - F32((x1 - x0) / 2)
        dz = np.abs(r.z[part] - F32((z0 + z1) / 2)) - F32((z1 - z0) / 2)
        out = np.square(np.maximum(dx, 0)) + np.square(np.maximum(dz, 0))
        dark = np.clip(1 - out * F32(1.6), 0, 1) * r.flat[part] * F32(strength * soft)
        shade[part] *= 1 - dark
    return shade


def _clearness(r: Raster) -> np.ndarray:
    """Return the share of light that the haze lets through, (H, W): about exp(-haze × distance)."""
    haze = F32(_HAZE[r.world.weather])
    near2 = np.square(r.near)
    return near2 / (near2 + haze * r.near + F32(0.5) * haze * haze)


def shade_day(r: Raster) -> Image.Image:
    """Return the scene by day, RGB: sun, shadow, haze and rain."""
    world = r.world
    sun = _SUN[world.weather]
    _, horizon = _gradient(r, _DAY_SKY)
    strength = {"clear": 0.95, "cloudy": 0.95, "overcast": 1.3, "rain": 1.25, "fog": 1.25}[world.weather]
    ambient = _lin(0.8, 0.85, 0.92) * F32(strength)
    light = np.broadcast_to(ambient, r.color.shape)
    if sun:
        direct = r.sun * _sun_shadow(r) * F32(0.95 * sun)
        light = light + direct[..., None] * _lin(1.0, 0.95 - 0.06 * world.warmth, 0.84 - 0.16 * world.warmth)
    color = r.color * light * _contact(r, 1.0)[..., None]
    sky = _day_sky(r)
    color = _wet(r, color, sky, None)
    color = _ramp(horizon, color, _clearness(r))
    return _finish(r, _ramp(sky, color, r.cover), grain=0.016, rain=0.32)


def _night_sky(r: Raster) -> np.ndarray:
    world = r.world
    base, _ = _gradient(r, _NIGHT_SKY)
    sky = np.repeat(base, r.size[0], 1)
    glow = 1 / np.square(1 + np.square(r.vy * 8)) / (1 + np.square((r.vx - F32(world.shift)) * F32(1.5)))
    sky += glow[..., None] * _lin(0.36, 0.27, 0.24)  # the city beyond the horizon
    if world.weather in ("clear", "cloudy"):
        d2, disc = _disc(r, world.moon_xy, 0.024)
        bite = _disc(r, (world.moon_xy[0] + 0.011, world.moon_xy[1] - 0.006), 0.022)[1]
        halo = F32(0.5) / (1 + d2 * F32(0.12))
        sky += halo[..., None] * _lin(0.3, 0.34, 0.45) + (disc * (1 - bite * F32(0.9)))[..., None] * _lin(1, 0.98, 0.9)
        _stars(r, sky)
    lit = _lin(0.2, 0.21, 0.3)
    return _ramp(sky, np.broadcast_to(lit, sky.shape), _clouds(r) * F32(0.75))


def _stars(r: Raster, sky: np.ndarray) -> None:
    """Add stars in place, each spread over the four pixels around it."""
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
    for dx, dy, share in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        x, y = ix + dx, iy + dy
        seen = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        np.add.at(sky, (y[seen], x[seen]), ((gain * share)[:, None] * tint)[seen].astype(F32))


def _lamp_light(r: Raster) -> np.ndarray:
    """Return the light of the street lamps on every surface, (H, W)."""
    total = np.zeros(r.z.shape, F32)
    for x, y, z in r.world.lamps:
        d2 = np.square(r.x - F32(x)) + np.square(r.z - F32(z)) + np.square(r.y - F32(y - 2)) * F32(0.8)
        total += 1 / np.square(1 + d2 * F32(1 / 19))
    return total / (1 + total)


def _beam_light(r: Raster) -> np.ndarray:
    """Return the light of our own headlights and of oncoming cars on the ground, (H, W)."""
    world, z = r.world, r.z
    side = (r.x + F32(world.curve) * z * z - F32(world.cam_x)) / (F32(1.6) + F32(0.16) * z)
    total = z * z / (z * z + 20) / np.square(1 + np.square(z * F32(1 / 22)))
    total = total / np.square(1 + side * side) / (1 + np.square(np.maximum(r.y, 0) * F32(0.8)))
    total *= F32(0.5)
    for x, zc in world.pools:
        part = r.patch(x - 3.2, x + 3.2, zc - 13, zc)
        if total[part].size:
            ahead = np.clip((F32(zc) - z[part]) * F32(1 / 12), 0, 1)
            pool = ahead * np.square(1 - ahead) * F32(3.2)
            total[part] += pool * r.flat[part] / np.square(1 + np.square((r.x[part] - F32(x)) * F32(0.6)))
    return total


def _halos(r: Raster, image: np.ndarray) -> None:
    """Add, in place, the glow in the air around lamps and car lights, and the cones below the lamps."""
    world = r.world
    thick = {"clear": 0.55, "cloudy": 0.6, "overcast": 0.7, "rain": 1.1, "fog": 1.7}[world.weather]
    lamp = _lin(*world.lamp_color)
    haze = _HAZE[world.weather]
    for x, y, z in world.lamps:
        through = 1 / (1 + haze * z + 0.5 * (haze * z) ** 2)
        _halo(r, image, (x, y, z), lamp * F32(0.85 * thick * through), 0.55 + 0.1 * thick)
        _cone(r, image, (x, y, z), lamp * F32(0.1 * thick * through))
    for x, y, z, color in world.beams:
        through = 1 / (1 + haze * z + 0.5 * (haze * z) ** 2)
        white = color[1] > 0.5
        _halo(
            r, image, (x, y, z), _lin(*color) * F32((1.0 if white else 0.6) * thick * through), 0.4 if white else 0.26
        )


def _hidden(r: Raster, spot: tuple[float, float, float]) -> bool:
    """Return whether something nearer hides the light."""
    vx, vy = r.world.view(*spot)
    (w, h), u = r.size, r.unit
    col, row = int(w / 2 + vx * u), int(r.world.horizon * h + vy * u)
    return 0 <= col < w and 0 <= row < h and bool(r.near[row, col] * spot[2] > 1.06) and r.ids[row, col] > 0


def _halo(r: Raster, image: np.ndarray, spot: tuple[float, float, float], color: np.ndarray, size: float) -> None:
    if _hidden(r, spot):
        return
    vx, vy = r.world.view(*spot)
    radius = FOCAL * size / spot[2] + 0.0035
    reach = radius * 7
    rows, cols = r.window(vx - reach, vx + reach, vy - reach, vy + reach)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    d2 = np.square(r.vx[:, cols] - F32(vx)) + np.square(r.vy[rows] - F32(vy))
    t = np.maximum(1 - d2 * F32(1 / (reach * reach)), 0)
    fall = t * t / (1 + d2 * F32(4 / (radius * radius)))
    image[rows, cols] += fall[..., None] * color


def _cone(r: Raster, image: np.ndarray, spot: tuple[float, float, float], color: np.ndarray) -> None:
    if _hidden(r, spot):
        return
    x, y, z = spot
    vx, top = r.world.view(x, y, z)
    long = FOCAL * y / z
    rows, cols = r.window(vx - 0.5 * long, vx + 0.5 * long, top, top + long)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    t = np.clip((r.vy[rows] - F32(top)) * F32(1 / long), 0, 1)
    across = (r.vx[:, cols] - F32(vx)) / (F32(long) * (F32(0.02) + F32(0.42) * t))
    beam = np.square(np.maximum(1 - across * across, 0)) * (1 - t) * np.minimum(t * 8, 1)
    image[rows, cols] += beam[..., None] * color


def shade_night(r: Raster) -> Image.Image:
    """Return the scene at night, RGB: moon, lamps, headlights, haze and rain."""
    world = r.world
    _, horizon = _gradient(r, _NIGHT_SKY)
    moon = {"clear": 1.0, "cloudy": 0.9, "overcast": 0.8, "rain": 0.75, "fog": 0.9}[world.weather]
    light = _lin(0.2, 0.27, 0.47) * F32(moon)
    light = light + _lamp_light(r)[..., None] * _lin(*world.lamp_color) * F32(2.5)
    light = light + _beam_light(r)[..., None] * _lin(0.95, 0.93, 0.85) * F32(0.6)
    color = r.color * light * _contact(r, 0.85)[..., None]
    sky = _night_sky(r)
    color = _wet(r, color, sky, r.glow)
    clear = _clearness(r)
    color = _ramp(horizon, color, clear)
    image = _ramp(sky, color, r.cover) + r.glow * clear[..., None] * F32(1.15)
    image += _bloom(r) * F32(0.3)
    _halos(r, image)
    # bright lights roll off instead of clipping
    image = image * (1 + image * F32(0.25)) / (1 + image * F32(0.36))
    return _finish(r, image, grain=0.02, rain=0.16)


def _bloom(r: Raster) -> np.ndarray:
    """Return the emitted light, spread by the lens."""
    glow = Image.fromarray((np.clip(r.glow, 0, 1) * 255 + F32(0.5)).astype(np.uint8))
    blurred = glow.filter(ImageFilter.GaussianBlur(0.014 * r.unit))
    return np.asarray(blurred).astype(F32) * F32(1 / 255)


def _wet(r: Raster, color: np.ndarray, sky: np.ndarray, glow: np.ndarray | None) -> np.ndarray:
    """Return the colours with the rain's mirror images on the ground: the shapes painted once more, upside down."""
    world = r.world
    if world.weather != "rain":
        return color
    near = r.surfaces[1:, 7:10]
    a, b = (np.repeat(near[:, k].astype(float), r.lengths) for k in (0, 1))
    mirrored = r.points.copy()
    mirrored[:, 1] = 2 * FOCAL * world.cam_y * (a + b * mirrored[:, 0]) - mirrored[:, 1]
    ids = r.paint(mirrored, 1, keep=(near[:, 2] == 0) & (near[:, 0] != 1 / 900))
    shine = np.square(r.surfaces[:, 1:4][ids]) * F32(0.66 if glow is None else 0.1)
    if glow is not None:
        shine += np.square(r.surfaces[:, 4:7][ids]) * F32(2.2)
    rows = np.clip(int(2 * world.horizon * r.size[1]) - 1 - np.arange(r.size[1]), 0, r.size[1] - 1)
    shine = np.where((ids == 0)[..., None], sky[rows], shine)
    smear = Image.fromarray((np.sqrt(np.clip(shine, 0, 1)) * 255).astype(np.uint8))
    smear = smear.filter(ImageFilter.GaussianBlur((0.004 * r.unit, 0.022 * r.unit)))
    shine = np.square(np.asarray(smear).astype(F32) * F32(1 / 255))
    table = world.stream("rain").random((256, 256), F32)
    puddle = F32(0.55) + F32(0.45) * noise(table, r.x * F32(0.5), r.z * F32(0.35))
    grazing = F32(0.16) + F32(0.5) / (1 + np.square(r.near * 9))
    keep = np.isin(r.labels, (ROAD, MARKING, PAVEMENT)) & r.flat
    t = grazing * puddle * keep
    return color * (1 - F32(0.35) * keep - F32(0.4) * t)[..., None] + shine * (t * F32(1.15))[..., None]


def _rain(r: Raster) -> np.ndarray:
    """Return falling drops as short blurred streaks, (H, W) 0 … 1."""
    u = r.world.stream("rain").random((420, 4)).tolist()
    (w, h), unit = r.size, r.unit
    image = Image.new("L", r.size, 0)
    draw = ImageDraw.Draw(image)
    for x, y, long, bright in u:
        x, y, step = x * w * 1.1, y * h, (0.02 + 0.05 * long) * unit
        ends = [round(x), round(y), round(x - 0.18 * step), round(y + step)]
        draw.line(ends, fill=int(60 + 190 * bright * bright), width=max(1, round(unit / 340)))
    return np.asarray(image.filter(ImageFilter.BoxBlur(unit / 700))).astype(F32) * F32(min(1.0, unit / 220) / 255)


def _finish(r: Raster, image: np.ndarray, grain: float, rain: float) -> Image.Image:
    """Return linear light as an 8 bit picture, with rain before the lens and sensor noise."""
    image = np.sqrt(np.clip(image, 0, 1))
    if r.world.weather == "rain":
        image += (_rain(r) * F32(rain))[..., None] * (F32(0.95) - image)
    rng = r.world.stream("grain")
    noise = rng.random(r.z.shape, F32) + rng.random(r.z.shape, F32) - 1
    image += (noise * F32(grain))[..., None]
    return Image.fromarray((np.clip(image, 0, 1) * 255 + F32(0.5)).astype(np.uint8))

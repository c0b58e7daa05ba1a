"""The anatomy of a phantom: axial slices through the chest, the upper belly, the pelvis and the hips.

As on a radiologist's screen, the front is at the top and the patient's right is on the left of the picture.
"""

from __future__ import annotations

import math

import numpy as np

from cyclegan.data.phantoms.canvas import Canvas

_ANGLES = np.linspace(0, 2 * math.pi, 96, endpoint=False)


class Body:
    """One patient's outlines: skin, fat, muscular wall and the cavity in it, all around the same middle.

    Args:
        rng: of the patient's sizes.
        level: of the slice, a name of `LEVELS`.
    """

    def __init__(self, rng: np.random.Generator, level: str) -> None:
        u = rng.random(8)
        self.width = 0.385 + 0.055 * u[0]
        self.height = (0.285 if level == "chest" else 0.265) + 0.04 * u[1]
        self.fat = 0.014 + 0.05 * u[2] ** 1.5
        self.wall = {"chest": 0.032, "belly": 0.024, "pelvis": 0.03, "hips": 0.034}[level] + 0.012 * u[3]
        self._waves = 0.012 * (u[4:6] - 0.5), 2 * math.pi * u[6:8]
        self.spine = 0.86 * self.height - self.fat - 0.125
        """The middle of the vertebra, towards the back."""

    def outline(self, inset: float, back: float = 0.86) -> np.ndarray:
        """Return the skin's outline, so much further in.

        Args:
            back: how far the back reaches as a share of the front, because it is flat.
        """
        cos, sin = np.cos(_ANGLES), np.sin(_ANGLES)
        strength, phase = self._waves
        radius = 1 + strength[0] * np.sin(2 * _ANGLES + phase[0]) + strength[1] * np.cos(3 * _ANGLES + phase[1])
        x = np.sign(cos) * np.abs(cos) ** 0.85 * (self.width - inset)
        y = np.sign(sin) * np.abs(sin) ** 0.95 * (self.height - inset)
        return np.stack([x * radius, np.where(y > 0, y * back, y) * radius], 1)

    @property
    def cavity(self) -> np.ndarray:
        """The outline of the cavity, in front of the muscles of the back."""
        return self.outline(self.fat + self.wall, 0.78)

    def on_wall(self, angle: float, inset: float) -> tuple[float, float, float]:
        """Return a point on the outline and the direction of the outline there: x, y, degrees."""
        points = self.outline(inset)
        i = round(angle / 360 * len(points)) % len(points)
        dx, dy = points[(i + 1) % len(points)] - points[i - 1]
        return float(points[i, 0]), float(points[i, 1]), math.degrees(math.atan2(dy, dx))


def draw_table(canvas: Canvas, body: Body) -> None:
    """Paint the table, which touches the patient's back and is seen in CT alone: a shell of carbon around foam."""
    bottom = canvas.placed(body.outline(0))[:, 1].max()
    x = np.linspace(-0.36, 0.36, 49)
    sag = 0.35 * (x**2)
    upper, lower = bottom + 0.012 - sag, bottom + 0.055 - 1.3 * sag
    shell = 0.007
    for tissue, thin in (("table", 0.0), ("foam", shell)):
        top, under = upper + thin, np.maximum(lower, upper + 0.012) - thin
        ends = slice(3, -3) if thin else slice(None)
        path = [np.stack([x, top], 1)[ends], np.stack([x, np.maximum(under, top)], 1)[ends][::-1]]
        canvas.paint_placed(tissue, np.concatenate(path))


def draw_wall(canvas: Canvas, body: Body, *, straps: bool) -> None:
    """Paint what surrounds the cavity: fat within it, muscles, fat below the skin, and the skin.

    Args:
        straps: with the two straight muscles at the front, as below the ribs.
    """
    rng, fat, deep = canvas.rng, body.fat, body.fat + body.wall
    skin, below_skin, muscles, cavity = body.outline(0), body.outline(0.006), body.outline(fat), body.cavity
    inner = body.outline(deep + 0.004 + 0.25 * fat * straps, 0.76)
    canvas.ring("fat", cavity, inner)
    canvas.ring("muscle", muscles, cavity)
    for side in (-1, 1):  # The muscles along the spine, parted by a plane of fat.
        canvas.paint("fat", canvas.blob(side * 0.066, body.spine + 0.07, 0.066, 0.05, side * 12))
        canvas.paint("muscle", canvas.blob(side * 0.066, body.spine + 0.07, 0.061, 0.045, side * 12))
    if straps:
        canvas.paint("fat", canvas.blob(0, -body.height + fat + 0.012, 0.13, 0.016, rough=0))
        for side in (-1, 1):
            canvas.paint("muscle", canvas.blob(side * 0.062, -body.height + fat + 0.014, 0.055, 0.011, side * 3))
    canvas.ring("fat", below_skin, muscles)
    for angle in rng.uniform(0, 360, 10 if fat > 0.025 else 0):
        x, y, turn = body.on_wall(angle, 0.25 * fat + 0.5 * fat * rng.random())
        canvas.paint("septum", canvas.blob(x, y, 0.05, 0.0016, turn + rng.uniform(-9, 9), 0))
    canvas.ring("skin", skin, below_skin)


def draw_spine(canvas: Canvas, body: Body) -> None:
    """Paint a vertebra with its arch, processes and canal."""
    y, size = body.spine, 0.92 + 0.16 * canvas.rng.random()
    for side in (-1, 1):
        canvas.organ("marrow", side * 0.055 * size, y + 0.043, 0.034, 0.010, side * 20, rim="bone", thick=0.008)
    canvas.organ("marrow", 0, y + 0.098, 0.010, 0.034, rim="bone", thick=0.008)
    canvas.organ("marrow", 0, y + 0.052, 0.041, 0.033, rim="bone", thick=0.0145)
    canvas.organ("marrow", 0, y, 0.056 * size, 0.043 * size, rim="bone", thick=0.01)
    canvas.organ("fluid", 0, y + 0.054, 0.021, 0.017, rim="fat", thick=0.003)
    canvas.organ("cord", 0, y + 0.054, 0.010, 0.008)


def draw_vessels(canvas: Canvas, body: Body) -> None:
    """Paint the aorta and the great vein in front of the spine."""
    canvas.organ("blood", 0.026, body.spine - 0.066, 0.022, 0.022, rim="muscle", thick=0.003)
    canvas.organ("blood", -0.034, body.spine - 0.062, 0.023, 0.018, rim="muscle", thick=0.002)


def draw_chest(canvas: Canvas, body: Body) -> None:
    """Paint lungs with their vessels, the heart, the airways, ribs and the breastbone."""
    rng, spine = canvas.rng, body.spine
    canvas.paint("fat", body.outline(0))
    canvas.paint("lung", body.cavity)
    for side in (-1, 1):
        _draw_lung_vessels(canvas, side, 0.26 * body.width / 0.4)
    canvas.paint("fat", canvas.blob(0.01, -0.07 * body.height, 0.044, 0.86 * body.height, 0, 0.06))
    canvas.paint("fat", canvas.blob(0.005, spine + 0.02, 0.10, 0.07))
    big = 0.9 + 0.25 * rng.random()
    hx, hy = 0.07, -0.05
    canvas.paint("fat", canvas.blob(hx, hy, 0.128 * big, 0.098 * big, 32))
    canvas.paint("heart", canvas.blob(hx, hy, 0.119 * big, 0.089 * big, 32))
    canvas.paint("blood", canvas.blob(hx + 0.034 * big, hy + 0.030 * big, 0.060 * big, 0.031 * big, 38, 0.08))
    canvas.paint("blood", canvas.blob(hx - 0.022 * big, hy - 0.036 * big, 0.064 * big, 0.026 * big, 28, 0.08))
    canvas.paint("blood", canvas.blob(hx - 0.078 * big, hy + 0.026 * big, 0.032 * big, 0.037 * big, 10, 0.08))
    canvas.organ("blood", 0.062, spine - 0.036, 0.024, 0.024, rim="muscle", thick=0.003)
    canvas.organ("air", 0.022, spine - 0.066, 0.013, 0.009, rim="bowel", thick=0.006)
    for side in (-1, 1):
        canvas.organ("air", side * 0.052, spine - 0.082, 0.012, 0.010, rim="cartilage", thick=0.003)
        canvas.organ("blood", side * 0.078, spine - 0.088, 0.014, 0.011)
    draw_wall(canvas, body, straps=False)
    for side in (-1, 1):  # The chest muscles at the front, and a shoulder blade's muscle at the back.
        canvas.paint("muscle", canvas.blob(side * 0.15, -body.height + body.fat + 0.042, 0.105, 0.014, side * 15))
        canvas.paint("muscle", canvas.blob(side * (body.width - body.fat - 0.07), 0.115, 0.055, 0.02, side * -52))
    _draw_ribs(canvas, body, range(7))
    canvas.organ("marrow", 0, -body.height + body.fat + 0.023, 0.047, 0.014, rim="bone", thick=0.006)


def _draw_lung_vessels(canvas: Canvas, side: int, reach: float) -> None:
    """Paint vessels that leave the root of a lung and taper towards its surface."""
    rng = canvas.rng
    for u in rng.random((13, 5)):
        angle = math.radians(-75 + 150 * u[0])
        begin, length = 0.05 + 0.09 * u[1], 0.03 + 0.06 * u[2]
        ray = np.array([side * math.cos(angle), 0.72 * math.sin(angle)])
        root, across = np.array([side * 0.07, 0.01]), np.array([-ray[1], ray[0]])
        wide = 0.0065 * (1 - begin / 0.2) + 0.0015
        bent = across * (u[3] - 0.5) * 0.05
        canvas.paint("blood", np.array([
            root + ray * begin - across * wide, root + ray * begin + across * wide,
            root + ray * (begin + length / 2) + across * wide / 2 + bent / 2, root + ray * (begin + length) + bent,
            root + ray * (begin + length / 2) - across * wide / 2 + bent / 2,
        ]))  # fmt: skip
        far = root + ray * (0.07 + (reach - 0.08) * u[4])
        canvas.paint("blood", canvas.blob(far[0], far[1], 0.0035, 0.0032, 0, 0.1))


def _draw_ribs(canvas: Canvas, body: Body, places: range) -> None:
    """Paint ribs in the wall, cut obliquely, from the back to the front."""
    rng = canvas.rng
    for place in places:
        for side in (-1, 1):
            angle = 62 - 21.5 * place + rng.uniform(-4, 4)  # 90 is the back, -90 is the front.
            x, y, turn = body.on_wall(angle if side > 0 else 180 - angle, body.fat + 0.66 * body.wall)
            if place == 6:  # Its front end is cartilage.
                canvas.paint("cartilage", canvas.blob(x, y, 0.03, 0.011, turn))
            else:
                canvas.organ("marrow", x, y, rng.uniform(0.026, 0.042), 0.0105, turn, 0.03, "bone", 0.0065)


def draw_belly(canvas: Canvas, body: Body) -> None:
    """Paint liver, stomach, spleen, kidneys, pancreas and gut, with the lowest ribs."""
    rng, spine, w = canvas.rng, body.spine, body.width - body.fat - body.wall
    canvas.paint("fat", body.outline(0))
    for _ in range(9):
        _draw_gut(canvas, rng.uniform(-0.05, 0.8 * w), rng.uniform(-0.13, 0.02), rng.uniform(0.026, 0.04))
    _draw_stomach(canvas, 0.5 * w, -0.085)
    canvas.organ("spleen", w - 0.045, 0.065, 0.062, 0.098, 24, 0.07)
    canvas.paint("gland", canvas.blob(0.03, spine - 0.125, 0.105, 0.020, -14, 0.18))
    size = 0.9 + 0.2 * rng.random()
    canvas.paint("liver", canvas.blob(-0.53 * w, -0.012, 0.56 * w * size, 0.165 * size, -12, 0.06))
    canvas.paint("liver", canvas.blob(-0.12 * w, -0.105, 0.44 * w * size, 0.070 * size, -6, 0.06))
    for u in rng.random((7, 4)):
        canvas.paint("blood", canvas.blob(
            w * (-0.88 + 0.6 * u[0]), -0.10 + 0.15 * u[1], 0.009 + 0.022 * u[2], 0.0055, 180 * u[3], 0.2
        ))  # fmt: skip
    if rng.random() < 0.6:
        canvas.organ("fluid", -0.30 * w, -0.062, 0.030, 0.024, 30, rim="bowel", thick=0.004)
    for side in (-1, 1):
        _draw_kidney(canvas, side * 0.135, spine - 0.01 + 0.015 * rng.random(), side)
        canvas.paint("muscle", canvas.blob(side * 0.072, spine + 0.012, 0.021, 0.030, side * -15))
        canvas.paint("muscle", canvas.blob(side * 0.030, spine - 0.038, 0.010, 0.022, side * 30))
    draw_vessels(canvas, body)
    draw_wall(canvas, body, straps=True)
    _draw_ribs(canvas, body, range(4))


def _draw_kidney(canvas: Canvas, x: float, y: float, side: int) -> None:
    """Paint a kidney in its fat, with the hollow that opens towards the spine."""
    canvas.paint("fat", canvas.blob(x, y, 0.068, 0.075, side * -20))
    canvas.paint("kidney", canvas.blob(x, y, 0.046, 0.057, side * -25))
    canvas.paint("fat", canvas.blob(x - side * 0.022, y - 0.008, 0.026, 0.020, side * -25, 0.15))
    canvas.paint("fluid", canvas.blob(x - side * 0.020, y - 0.008, 0.012, 0.009, side * -25, 0.15))


def _draw_stomach(canvas: Canvas, x: float, y: float) -> None:
    """Paint a stomach with food, and air above it."""
    rng = canvas.rng
    wide = 0.075 + 0.03 * rng.random()
    inner = canvas.organ("stool", x, y, wide, 0.068, 20, 0.08, rim="bowel", thick=0.009)
    lumen = (inner - (x, y)) * 0.86 + (x, y)
    canvas.paint("air", lumen, upper=0.15 + 0.4 * rng.random())


def _draw_gut(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """Paint one loop of gut, with stool or fluid in it and often air above that."""
    rng = canvas.rng
    filling, wide = ("stool", "fluid", "bowel")[rng.integers(3)], rng.uniform(0.9, 1.7)
    turn = rng.uniform(-30, 30)
    canvas.paint("fat", canvas.blob(x, y, radius * wide + 0.005, radius + 0.005, turn))
    outline = canvas.organ(filling, x, y, radius * wide, radius, turn, 0.08, rim="bowel", thick=0.006)
    if rng.random() < 0.55:
        lumen = (outline - (x, y)) * 0.76 + (x, y)
        canvas.paint("air", lumen, upper=rng.uniform(0.3, 0.9))


def draw_pelvis(canvas: Canvas, body: Body) -> None:
    """Paint the hip bones' wings, the sacrum, the muscles on both sides of the wings, and gut."""
    rng, spine, w = canvas.rng, body.spine, body.width - body.fat
    canvas.paint("fat", body.outline(0))
    for place, u in enumerate(rng.random((13, 3))):
        row, column = divmod(place, 5)
        x, y = (column - 2 + row % 2 / 2) * 0.23 + 0.16 * (u[0] - 0.5), -0.15 + 0.062 * row + 0.05 * u[1]
        _draw_gut(canvas, x * w, y, 0.03 + 0.014 * u[2])
    for side in (-1, 1):
        canvas.paint("muscle", canvas.blob(side * 0.115, -0.012 + 0.3 * spine, 0.045, 0.054, side * 20))
        canvas.organ("blood", side * 0.075, -0.002 + 0.3 * spine, 0.013, 0.013)
        canvas.organ("blood", side * 0.068, 0.026 + 0.3 * spine, 0.014, 0.012)
    draw_wall(canvas, body, straps=True)
    for side in (-1, 1):
        canvas.paint("fat", canvas.blob(side * 0.62 * w, 0.075, 0.145, 0.105, side * -38))
        canvas.paint("muscle", canvas.blob(side * 0.68 * w, 0.085, 0.118, 0.062, side * -42, 0.05))
        canvas.paint("septum", canvas.blob(side * 0.70 * w, 0.092, 0.105, 0.0035, side * -42, 0))
        canvas.paint("muscle", canvas.blob(side * 0.52 * w, -0.005, 0.105, 0.036, side * -52, 0.05))
        canvas.organ("marrow", side * 0.55 * w, 0.035, 0.135, 0.019, side * -52, 0.05, "bone", 0.01)
        canvas.organ("marrow", side * 0.34 * w, 0.118, 0.046, 0.026, side * -60, 0.05, "bone", 0.01)
    y = spine + 0.035
    canvas.organ("marrow", 0, y + 0.035, 0.036, 0.034, rim="bone", thick=0.008)
    canvas.organ("marrow", 0, y, 0.098, 0.042, rough=0.06, rim="bone", thick=0.008)
    for side in (-1, 1):
        canvas.organ("fat", side * 0.045, y + 0.004, 0.011, 0.009, rim="bone", thick=0.004)
    canvas.organ("fluid", 0, y + 0.034, 0.017, 0.011, rim="fat", thick=0.003)


def draw_hips(canvas: Canvas, body: Body) -> None:
    """Paint the hip joints, bladder, prostate, rectum and the muscles of the buttocks."""
    rng, w = canvas.rng, body.width - body.fat
    canvas.paint("fat", body.outline(0))
    draw_wall(canvas, body, straps=True)
    full = 0.75 + 0.35 * rng.random()
    for side in (-1, 1):
        _draw_hip(canvas, body, side, 0.56 * w)
    canvas.paint("fat", canvas.blob(0, -0.005, 0.115, 0.15, 0, 0.04))
    canvas.organ("fluid", 0, -0.075, 0.088 * full, 0.062 * full, rough=0.05, rim="muscle", thick=0.007)
    canvas.paint("gland", canvas.blob(0, 0.022, 0.042, 0.027))
    outline = canvas.organ("stool", 0, 0.085, 0.036, 0.032, rough=0.1, rim="bowel", thick=0.009)
    if rng.random() < 0.7:
        canvas.paint("air", outline * 0.68 + (0, 0.085 * 0.32), upper=rng.uniform(0.3, 0.9))
    canvas.organ("marrow", 0, 0.148, 0.030, 0.012, rim="bone", thick=0.0065)


def _draw_hip(canvas: Canvas, body: Body, side: int, x: float) -> None:
    """Paint one hip: the head of the thigh bone in its socket, and the muscles around them."""
    muscles = (
        (0.40, 0.115, 0.150, 0.062, -28), (0.90, 0.02, 0.046, 0.105, -4), (0.78, -0.115, 0.055, 0.045, 30),
        (0.48, -0.112, 0.048, 0.040, -10), (0.27, 0.01, 0.026, 0.085, 12), (0.64, 0.075, 0.060, 0.020, -12),
    )  # fmt: skip
    for share, y, rx, ry, turn in muscles:
        place = (side * share * x / 0.56, y)
        canvas.paint("fat", canvas.blob(*place, rx + 0.006, ry + 0.006, side * turn))
        canvas.paint("muscle", canvas.blob(*place, rx, ry, side * turn))
    for shift in (-0.018, 0.018):
        canvas.organ("blood", side * (0.62 * x + shift), -0.142, 0.0125, 0.0125, rim="muscle", thick=0.002)
    # The socket is a cup that opens outwards, because the cartilage and the head cover most of a disc of bone.
    canvas.organ("marrow", side * 0.60 * x, -0.062, 0.068, 0.017, side * 33, 0.05, "bone", 0.009)
    canvas.organ("marrow", side * 0.68 * x, 0.058, 0.062, 0.020, side * -50, 0.05, "bone", 0.009)
    canvas.organ("marrow", side * (x - 0.022), 0.0, 0.052, 0.066, rough=0.03, rim="bone", thick=0.009)
    canvas.paint("cartilage", canvas.blob(side * (x + 0.006), 0.0, 0.058, 0.056, 0, 0.01))
    canvas.organ("marrow", side * (x + 0.050), 0.028, 0.058, 0.026, side * 24, 0.05, "bone", 0.008)
    canvas.organ("marrow", side * (x + 0.092), 0.044, 0.030, 0.036, side * -20, 0.06, "bone", 0.0065)
    canvas.organ("marrow", side * (x + 0.006), 0.0, 0.051, 0.050, 0, 0.015, "bone", 0.006)
    # Head and neck are one bone.
    canvas.paint("marrow", canvas.blob(side * (x + 0.05), 0.022, 0.045, 0.02, side * 24, 0.03))


LEVELS = {"chest": draw_chest, "belly": draw_belly, "pelvis": draw_pelvis, "hips": draw_hips}
"""The heights at which a slice cuts the body."""
